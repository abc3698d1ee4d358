"""Hooks that hand over what passes through a model."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from ibtrack.capture.hooks import CaptureError, FiredError, capture, output_tensor
from ibtrack.capture.sites import find_sites
from tests.capture.test_names import COMPILE_WARNINGS
from tests.models import LENGTH, VOCABULARY, Model, tokens


def test_hooks_are_gone_afterwards_also_after_an_error() -> None:
    model = Model()
    with pytest.raises(KeyError, match=r"no\.such"), capture(model, {"L00": "blocks.0", "L01": "no.such"}, print):
        pytest.fail("the model has no such module")

    with pytest.raises(IndexError), capture(model, find_sites(model), lambda site, rows: None):
        model(torch.tensor([[1000]]))
    assert not any(module._forward_hooks for module in model.modules())


def test_a_forward_pass_runs_to_its_end_and_the_first_fault_is_raised_after_it() -> None:
    model, received = Model(), []

    def fail(site: str, rows: Tensor) -> None:
        received.append(site)
        if failing:
            raise ZeroDivisionError(site)

    with capture(model, find_sites(model), fail) as check:
        failing = True
        assert model(tokens(2, seed=0)).shape == (2, LENGTH, VOCABULARY)
        with pytest.raises(ZeroDivisionError, match="embed"):
            check()
        failing = False
        model(tokens(2, seed=0))
        check()
    assert received == ["embed", "embed", "L00", "L01"]


def test_a_site_that_fires_twice_or_never_is_an_error() -> None:
    class Odd(Model):
        def forward(self, ids: Tensor) -> Tensor:
            logits: Tensor = self.head(self.blocks[0](self.blocks[0](self.embed(ids))))
            return logits

    model = Odd()
    sites = find_sites(model)
    with capture(model, sites, lambda site, rows: None) as check:
        model(tokens(2, seed=0))
        with pytest.raises(FiredError, match=r"L00 \(blocks.0\) fired 2 times, L01 \(blocks.1\) fired 0 times"):
            check()


class _Output:
    last_hidden_state = torch.ones(1)


@pytest.mark.parametrize("output", [torch.ones(1), (torch.ones(1), None), [torch.ones(1)], _Output()])
def test_hidden_states_are_found(output: Any) -> None:
    assert output_tensor(output, "L00").equal(torch.ones(1))


@pytest.mark.parametrize("output", [None, (), (None, torch.ones(1)), {"loss": torch.ones(1)}])
def test_no_hidden_states(output: Any) -> None:
    with pytest.raises(CaptureError, match="L00 must return a tensor"):
        output_tensor(output, "L00")


@COMPILE_WARNINGS
@pytest.mark.parametrize("style", ["wrapped", "in place", "per block"])
def test_compiled_models_fire_every_hook_and_do_not_recompile(style: str) -> None:
    from torch._dynamo.utils import counters

    from ibtrack.capture.isolation import undisturbed

    torch._dynamo.reset()
    counters.clear()
    plain = Model().eval()
    model: Any = plain
    if style == "wrapped":
        model = torch.compile(plain, backend="eager")
    elif style == "in place":
        plain.compile(backend="eager")
    else:
        for index, block in enumerate(plain.blocks):
            compiled_block: Any = torch.compile(block, backend="eager")
            plain.blocks[index] = compiled_block
    ids = tokens(2, seed=0)
    with torch.no_grad():
        compiled = model(ids)
    graphs = counters["stats"]["unique_graphs"]
    assert graphs > 0
    for _ in range(3):
        seen: dict[str, Tensor] = {}
        with undisturbed(model), capture(model, find_sites(model), seen.__setitem__) as check:
            torch.testing.assert_close(model(ids), compiled)
            check()
        with torch.no_grad():
            model(ids)
    assert len(seen) == 3
    assert counters["stats"]["unique_graphs"] == graphs
