"""Isolation: everything that a measurement could change is afterwards as before."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from ibtrack.capture.isolation import undisturbed
from tests.models import Model, Module, tokens

State = dict[str, Any]  # what must be as before


def _state(model: Model) -> State:
    numpy_state: Any = np.random.get_state()
    return {
        "modes": [module.training for module in model.modules()],
        "buffers": {name: buffer.clone() for name, buffer in model.named_buffers()},
        "python": random.getstate(),
        "numpy": numpy_state[1].tolist(),
        "torch": torch.get_rng_state().tolist(),
        "grad": torch.is_grad_enabled(),
    }


def _same(one: State, other: State) -> bool:
    buffers = all(one["buffers"][name].equal(other["buffers"][name]) for name in one["buffers"])
    return buffers and all(one[key] == other[key] for key in one if key != "buffers")


def _disturb(model: Model) -> None:
    model.train()
    model(tokens(4, seed=0))  # dropout draws, batch norm counts
    random.random(), np.random.rand(), torch.rand(3)
    model.get_submodule("blocks.0.norm")._buffers["running_mean"] = torch.ones(
        16
    )  # a buffer that is replaced, not written


def _disturb_inside(model: Model, fails: bool) -> None:
    with undisturbed(model):
        _disturb(model)
        if fails:
            raise ZeroDivisionError


@pytest.mark.parametrize("fails", [False, True])
def test_everything_is_as_before(fails: bool) -> None:
    model = Model()
    model.blocks[1].eval()  # a submodule that the user has frozen
    before = _state(model)
    if fails:
        with pytest.raises(ZeroDivisionError):
            _disturb_inside(model, fails)
    else:
        _disturb_inside(model, fails)
    assert _same(before, _state(model))


def test_the_test_above_can_fail() -> None:
    model = Model()
    before = _state(model)
    _disturb(model)
    assert not _same(before, _state(model))


def test_inside_everything_is_in_eval_mode_without_gradients() -> None:
    model = Model()
    with undisturbed(model):
        assert not any(module.training for module in model.modules())
        assert not model(tokens(2, seed=0)).requires_grad


def test_an_eval_method_with_consequences_is_not_called() -> None:
    class Merging(nn.Linear):
        def train(self, mode: bool = True) -> Merging:
            pytest.fail("adapters merge their weights here")

    with undisturbed(nn.Sequential(Merging(2, 2))):
        pass


def test_weights_are_cast_anew_inside_an_autocast() -> None:
    model, rows = nn.Linear(4, 4), torch.ones(1, 4)
    with torch.autocast("cpu", torch.bfloat16):
        before = model(rows)  # the autocast keeps the cast of the weights
        with torch.no_grad():
            model.weight += 1
        with undisturbed(model):
            now = model(rows)
        kept = model(rows)
    with torch.autocast("cpu", torch.bfloat16):
        assert now.equal(model(rows))
    assert kept.equal(before)  # as without a measurement


def test_what_a_lightning_module_logs_is_dropped() -> None:
    logged: list[str] = []

    class Logging(Module):
        def log(self, name: str, *args: Any, **options: Any) -> None:
            logged.append(name)

        def forward(self, ids: torch.Tensor) -> torch.Tensor:
            self.log("a", 1)
            self.log_dict({"b": 1})
            return super().forward(ids)

    module = Logging()
    with undisturbed(nn.Sequential(module)):
        module(tokens(2, seed=0))
    assert logged == []
    module.log("c", 1)
    assert logged == ["c"]
    assert not {"log", "log_dict"} & set(vars(module))
