"""Which element of a tuple is the stream of activations."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ibtrack.capture.hooks import CaptureError
from ibtrack.capture.streams import first_inputs, stream_elements

GRID = (1, 4)
WIDE, NARROW, WEIGHTS = torch.zeros(1, 4, 8), torch.zeros(1, 4, 3), torch.zeros(1, 2, 4, 4)


@pytest.mark.parametrize(
    ("output", "given", "element"),
    [
        (WIDE, None, 0),
        ({"hidden_states": WIDE}, None, 0),
        ((WIDE, WEIGHTS), None, 0),
        ((WEIGHTS, WIDE), None, 1),
        ((None, WIDE), None, 1),
        ((WIDE.long(), WIDE), None, 1),  # token ids, perhaps
        ((WEIGHTS, WIDE.transpose(0, 1)), None, 1),
        ((NARROW, WIDE), WIDE.clone(), 1),  # as wide as what came in
        ([NARROW, NARROW.clone(), WIDE], WIDE.clone(), 2),
        ((WEIGHTS,), None, 0),  # nothing fits, which the shape will say
    ],
)
def test_the_element_with_a_row_per_position_is_taken(output: Any, given: Tensor | None, element: int) -> None:
    assert stream_elements({"L00": output}, {} if given is None else {"L00": given}, GRID) == {"L00": element}


def test_of_several_that_fit_the_one_is_taken_that_goes_on() -> None:
    first, second = (torch.ones(1, 4, 8), torch.ones(1, 4, 8)), (torch.ones(1, 4, 8), torch.ones(1, 4, 8))
    given = {"L00": torch.ones(1, 4, 8), "L01": first[1]}
    assert stream_elements({"L00": first, "L01": second}, given, GRID) == {"L00": 1, "L01": 1}


def test_several_that_fit_equally_well_are_named() -> None:
    outputs = {"L00": (WIDE, WIDE.clone())}
    with pytest.raises(CaptureError, match="element 0 of width 8, element 1 of width 8; name modules that return one"):
        stream_elements(outputs, {}, GRID)


def test_inputs_are_those_of_each_site_by_name_too() -> None:
    class Named(nn.Module):
        def forward(self, ids: Tensor, hidden: Tensor) -> Tensor:
            return hidden

    model = nn.ModuleDict({"a": Named(), "b": nn.Identity()})
    hidden = torch.ones(1, 2)
    with first_inputs(model, {"L00": "a", "L01": "b"}) as inputs:
        model["a"](torch.zeros(1, dtype=torch.long), hidden=hidden)
    assert inputs["L00"] is hidden
    assert list(inputs) == ["L00"]
    assert not any(module._forward_pre_hooks for module in model.modules())
