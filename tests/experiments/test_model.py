"""The model: its architectures and sizes, its loss, and the schedules of its learning rate."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from torch.optim import Optimizer
from torch.utils.data import DataLoader, Dataset

from experiments.model import LanguageModel, count_parameters
from tests.runs import TRAINING, config, options

pytestmark = TRAINING

SMALL_MODEL = ["model.settings.hidden_size=32", "model.settings.num_hidden_layers=2", "data.block_size=16"]
ARCHITECTURES = ["llama_1M", "gpt2", "gpt_neox", "olmo2"]


def language_model(name: str, *overrides: str) -> LanguageModel:
    torch.manual_seed(0)
    cfg = config(f"model={name}", *SMALL_MODEL, *overrides).model
    model: LanguageModel = instantiate(cfg, vocab_size=64, block_size=16)
    return model


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_each_architecture_learns_and_does_not_look_ahead(name: str) -> None:
    model = language_model(name)
    batch = torch.randint(64, (4, 16), generator=torch.Generator().manual_seed(0))
    optimizer = model.optimizer(model._parameter_groups())
    losses = []
    for _ in range(30):
        losses.append(model._loss(batch))
        torch.autograd.backward(losses[-1])
        optimizer.step()
        optimizer.zero_grad()
    assert losses[-1] < losses[0] - 1  # nats; it learns the batch by heart
    changed = batch.clone()
    changed[:, 8:] = 0
    with torch.no_grad():
        logits, others = model(batch).logits, model(changed).logits
    torch.testing.assert_close(logits[:, :8], others[:, :8])
    assert model.network.get_input_embeddings().padding_idx is None, "or a token's embedding stays zero"


def test_loss_is_the_cross_entropy_of_each_next_token() -> None:
    model = language_model("gpt2")
    batch = torch.randint(64, (2, 16), generator=torch.Generator().manual_seed(0))
    log_p = model(batch).logits.log_softmax(-1)
    expected = -sum(log_p[s, t, batch[s, t + 1]] for s in range(2) for t in range(15)) / 30
    torch.testing.assert_close(model._loss(batch), expected)
    torch.testing.assert_close(model.network(batch, labels=batch).loss, expected)


@pytest.mark.parametrize(
    ("name", "millions"), [(name, float(name[6:-1])) for name in options("model") if "llama_" in name]
)
def test_a_size_has_the_parameters_its_name_says(name: str, millions: float) -> None:
    with torch.device("meta"):
        model = instantiate(config(f"model={name}").model, vocab_size=2048, block_size=128)
    assert sum(p.numel() for p in model.parameters()) / 1e6 == pytest.approx(millions, rel=0.15)


def test_parameters_are_counted_as_they_are_made() -> None:
    model = language_model("gpt2", "model.vocab_multiple=48")
    settings = config("model=gpt2", *SMALL_MODEL).model.settings
    found = count_parameters("gpt2", settings, vocab_size=64, vocab_multiple=48)
    assert found.total == sum(p.numel() for p in model.parameters())
    assert found.embedding == 96 * 32 + 16 * 32, "the head is the embedding, and the positions are learned"
    with pytest.raises(ValueError, match="vocab_multiple must be at least 1, got 0"):
        count_parameters("gpt2", settings, vocab_size=64, vocab_multiple=0)


def test_only_matrices_decay() -> None:
    matrices, vectors = language_model("gpt2")._parameter_groups()
    assert {p.ndim for p in matrices["params"]} == {2}
    assert {p.ndim for p in vectors["params"]} == {1}
    assert vectors["weight_decay"] == 0


class Rates(Callback):
    """Keeps the learning rate of each step."""

    def __init__(self) -> None:
        self.values: list[float] = []

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        self.values.append(optimizer.param_groups[0]["lr"])


def learning_rates(*overrides: str, **settings: Any) -> list[float]:
    """Return the rate of each step of a short fit."""
    rates = Rates()
    quiet = dict.fromkeys(["logger", "enable_progress_bar", "enable_checkpointing", "enable_model_summary"], False)
    options: dict[str, Any] = {**quiet, "max_steps": 6, "max_epochs": -1, **settings}
    trainer = Trainer(accelerator="cpu", limit_val_batches=0, callbacks=[rates], **options)
    loader: Any = DataLoader(cast("Dataset[Tensor]", torch.zeros(3, 16, dtype=torch.long)))
    trainer.fit(language_model("llama_1M", "model.warmup_steps=2", *overrides), loader, loader)
    return rates.values


def test_the_rate_warms_up_and_falls_to_its_minimum() -> None:
    cosine = [0.1 + 0.9 * 0.5 * (1 + np.cos(np.pi * step / 4)) for step in range(4)]
    assert learning_rates() == pytest.approx([0, 0.5 * 2e-3, *(2e-3 * share for share in cosine)])


@pytest.mark.parametrize("name", options("model/schedule"))
def test_every_schedule_has_its_shape(name: str) -> None:
    falls: dict[str, Callable[[float], float]] = {
        "constant": lambda step: 1.0,
        "cosine": lambda step: 0.1 + 0.9 * 0.5 * (1 + np.cos(np.pi * step / 4)),
        "linear": lambda step: 1 - step / 4,
        "wsd": lambda step: min(1.0, 0.5 * (1 + np.cos(np.pi * (step - 2) / 2)) if step > 2 else 1.0),
    }
    decay = ["model.schedule_settings.num_decay_steps=2"] if name == "wsd" else []
    rates = learning_rates(f"model/schedule={name}", *decay)
    assert rates == pytest.approx([0, 1e-3, *(2e-3 * falls[name](step) for step in range(4))])


def test_a_constant_rate_needs_no_last_step() -> None:
    constant = ["model/schedule=constant"]
    assert learning_rates(*constant) == pytest.approx([0, 1e-3, 2e-3, 2e-3, 2e-3, 2e-3])
    endless: dict[str, Any] = {"max_steps": -1, "max_time": {"seconds": 1}}
    assert learning_rates(*constant, **endless)[:4] == pytest.approx([0, 1e-3, 2e-3, 2e-3])
    with pytest.raises(ValueError, match="schedule 'cosine_with_min_lr' must know the last step; give the trainer"):
        learning_rates(**endless)


def test_a_block_longer_than_the_context_is_refused() -> None:
    with pytest.raises(ValueError, match="block_size must be at most 16, the model's context, got 32"):
        LanguageModel("llama", {"max_position_embeddings": 16}, vocab_size=64, block_size=32)


def test_an_unknown_architecture_is_answered_with_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"architecture must be a causal .* such as .*llama.*, got 'lama'"):
        LanguageModel("lama", {}, vocab_size=64, block_size=16)
    with pytest.raises(ValueError, match=r"such as llama, gpt2, olmo2, got '\?'"):
        LanguageModel("?", {}, vocab_size=64, block_size=16)


def test_an_unknown_setting_is_refused() -> None:
    with pytest.raises(ValueError, match="settings must be those of a llama configuration, got 'num_layerz'"):
        LanguageModel("llama", {"num_layerz": 3}, vocab_size=64, block_size=16)


def test_an_unknown_schedule_is_answered_with_the_known() -> None:
    with pytest.raises(ValueError, match=r"x is not a valid SchedulerType, please select one of .*cosine"):
        LanguageModel("llama", {}, vocab_size=64, block_size=16, schedule="x")
