"""The memory of a step: counted before it is taken, against what a real step holds."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from experiments.model import LanguageModel
from experiments.step_memory import precision_of, step_memory, units, with_ddp, with_fsdp
from tests.runs import TRAINING

pytestmark = TRAINING

LLAMA = {"hidden_size": 128, "intermediate_size": 352, "num_hidden_layers": 4, "num_attention_heads": 4}
LLAMA |= {"num_key_value_heads": 4, "max_position_embeddings": 128}
ADAMW = partial(torch.optim.AdamW, fused=True)


def llama(optimizer: Any = ADAMW, *, tied: bool = True) -> LanguageModel:
    settings = {**LLAMA, "tie_word_embeddings": tied}
    return LanguageModel("llama", settings, vocab_size=2048, block_size=128, optimizer=optimizer)


def held(module: LanguageModel, optimizer: torch.optim.Optimizer, batch: torch.Tensor, dtype: Any) -> int:
    """Return the most bytes that the allocator has given out during a step, and did not have to before it."""

    def step() -> None:
        with torch.autocast("cpu", dtype or torch.bfloat16, enabled=dtype is not None):
            loss = module._loss(batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    step()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        step()
    now = most = 0
    for event in recorded.profiler.kineto_results.events():
        if event.name() == "[memory]":
            now += event.nbytes()
            most = max(most, now)
    return most


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_the_peak_is_that_of_a_real_step(precision: str) -> None:
    dtypes = precision_of(precision)
    assert dtypes is not None
    counted = step_memory(llama, 16, 128, precision=dtypes)
    module = llama()
    optimizer = ADAMW(module.parameters())
    most = held(module, optimizer, torch.zeros(16, 128, dtype=torch.long), dtypes[1])
    states = sum(value.nbytes for state in optimizer.state.values() for value in state.values())
    weights = sum(parameter.nbytes for parameter in module.parameters())
    assert counted.optimizer == states
    assert counted.gradients == weights
    assert 0 <= counted.weights - weights <= 1024, "and the buffers of the rotations"
    before = weights + states + weights  # the gradients of the step before
    assert counted.peak == pytest.approx(before + most, rel=0.1), "kernels hold a little for themselves"


@pytest.mark.parametrize(
    ("optimizer", "states"),
    [
        (partial(torch.optim.SGD, lr=0.1), lambda size: 0),
        (partial(torch.optim.SGD, lr=0.1, momentum=0.9), lambda size: size),
        (torch.optim.AdamW, lambda size: 2 * size),
    ],
)
def test_every_optimizer_has_the_states_that_it_has(optimizer: Any, states: Any) -> None:
    counted = step_memory(lambda: llama(optimizer), 2, 16)
    steps = 4 * len(list(llama().parameters()))  # AdamW counts the steps of every parameter
    assert 0 <= counted.optimizer - states(counted.gradients) <= steps


def test_adafactor_keeps_rows_and_columns() -> None:
    counted = step_memory(lambda: llama(partial(torch.optim.Adafactor, lr=0.1)), 2, 16)
    assert 0 < counted.optimizer < counted.gradients / 20


def test_accumulated_gradients_stay_and_halves_are_half() -> None:
    alone = step_memory(llama, 4, 128)
    mixed, kept = (
        step_memory(llama, 4, 128, precision=(torch.float32, torch.bfloat16), accumulates=each)
        for each in (False, True)
    )
    assert mixed.peak < kept.peak <= mixed.peak + mixed.gradients
    half = step_memory(llama, 4, 128, precision=(torch.bfloat16, None))
    assert half.gradients == alone.gradients / 2
    assert half.peak < 0.75 * alone.peak


def test_activations_grow_with_the_batch_and_the_rest_does_not() -> None:
    one, four = step_memory(llama, 8, 128), step_memory(llama, 32, 128)
    assert four.activations == pytest.approx(4 * one.activations, rel=0.02)
    assert (four.weights, four.gradients, four.optimizer) == (one.weights, one.gradients, one.optimizer)


def test_precisions_have_the_names_of_lightning() -> None:
    assert precision_of(32) == precision_of("32-true") == precision_of(None) == (torch.float32, None)
    assert precision_of("bf16") == precision_of("bf16-mixed") == (torch.float32, torch.bfloat16)
    assert precision_of("transformer-engine") is None


def test_ddp_holds_the_gradients_twice() -> None:
    alone = step_memory(llama, 4, 128)
    ddp = with_ddp(alone)
    assert ddp.buckets == alone.gradients
    assert ddp.peak == alone.peak + alone.gradients


def test_shards_add_up_to_the_whole() -> None:
    network = llama(tied=False).network
    block, rest = units(network)
    weights = sum(parameter.nbytes for parameter in network.parameters())
    assert 4 * block + rest == weights
    assert rest == 4 * (2 * 2048 * 128 + 128), "embedding, head and the norm before it"
    alone = step_memory(lambda: llama(tied=False), 1, 8)
    sharded = with_fsdp(alone, 4, block, rest)
    for kind in ("weights", "gradients", "optimizer"):
        assert 0 <= 4 * getattr(sharded, kind) - getattr(alone, kind) < 4
    assert sharded.buckets == rest + 2 * block
    assert with_fsdp(alone, 1, 0, 0).weights == alone.weights
