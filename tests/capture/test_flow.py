"""What runs in a pass, and which results depend on which others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from ibtrack.capture.flow import Flow, follow, tensors_in

ROWS = torch.ones(3, 4)


class _Two(nn.Module):
    """Two layers, with something between them."""

    def __init__(self, between: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.first, self.second, self.between = nn.Linear(4, 4), nn.Linear(4, 4), between

    def forward(self, rows: Tensor) -> Tensor:
        return self.second(self.between(rows, self.first(rows)))


def followed(model: nn.Module, members: list[str], rows: Tensor = ROWS) -> Flow:
    with torch.no_grad(), follow(dict(model.named_modules()), [members], rows, tuple(rows.shape[:-1])) as flow:
        model(rows)
    return flow


def _into(rows: Tensor, hidden: Tensor) -> Tensor:
    return torch.add(rows, hidden, out=torch.empty(3, 4))


def _written(rows: Tensor, hidden: Tensor) -> Tensor:
    place = torch.zeros(3, 4)
    place[:2] = hidden[:2]
    return place


def _nothing_returned(rows: Tensor, hidden: Tensor) -> Tensor:
    place = torch.zeros(3, 4)
    torch._foreach_add_([place], [hidden])
    return place


def _unrelated(rows: Tensor, hidden: Tensor) -> Tensor:
    for _ in range(100):
        hidden * 2  # memory that is let go of, and that the next tensor may get
    return torch.tensor([[1.0] * 4] * 3)


@pytest.mark.parametrize(
    ("between", "depends"),
    [
        (lambda rows, hidden: hidden, True),
        (lambda rows, hidden: hidden.view(4, 3).T.reshape(3, 4).half().float(), True),
        (lambda rows, hidden: rows + 0.1 * hidden, True),
        (lambda rows, hidden: torch.cat([rows, hidden])[3:], True),
        (lambda rows, hidden: rows.clone().add_(hidden), True),
        (_into, True),
        (_written, True),
        (_nothing_returned, True),
        (lambda rows, hidden: rows, False),
        (_unrelated, False),
    ],
)
def test_dependence_is_seen_through_every_kind_of_operation(
    between: Callable[[Tensor, Tensor], Tensor], depends: bool
) -> None:
    flow = followed(_Two(between), ["first", "second"])
    (call,) = flow.of("second")
    assert bool(call.given[0].members & flow.bits["first"]) == depends


def test_calls_are_in_order_with_what_they_get_and_give() -> None:
    flow = followed(_Two(lambda rows, hidden: hidden), ["first", "second"])
    assert [(call.name, call.begin, call.end) for call in flow.calls] == [("", 1, 6), ("first", 2, 3), ("second", 4, 5)]
    outer, first, second = flow.calls
    assert outer.holds(first)
    assert not first.holds(second)
    assert first.given[0].shape == first.made[0].shape == (3, 4)
    assert flow.of("third") == []
    assert second.given[0].has_rows((3,))
    assert not second.given[0].has_rows((4,))


def test_nothing_is_left_on_the_model_also_after_an_error() -> None:
    model = _Two(lambda rows, hidden: rows[:, :2])
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        followed(model, ["first"])
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in model.modules())


def test_a_member_of_two_lists_is_cut_in_both() -> None:
    model = nn.Sequential(*(nn.Linear(4, 4) for _ in range(3)))
    with torch.no_grad(), follow(dict(model.named_modules()), [["0", "1"], ["1", "2"]], ROWS, (3,)) as flow:
        model(ROWS)
    assert [flow.of(name)[0].made[0].members for name in "012"] == [flow.bits[name] | 0 for name in "01"] + [
        flow.bits["2"]
    ]


def test_a_module_that_hides_its_work_passes_on_what_it_got() -> None:
    class Hidden(nn.Module):
        def forward(self, rows: Tensor) -> Tensor:
            return torch.from_numpy(rows.numpy() * 2)

    flow = followed(nn.Sequential(nn.Linear(4, 4), Hidden(), nn.Linear(4, 4)), ["0", "2"])
    assert flow.of("2")[0].given[0].members == flow.bits["0"]


def test_tokens_are_known_also_where_they_are_turned() -> None:
    ids = torch.arange(6).view(2, 3)

    class Turned(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.tokens, self.places = nn.Embedding(6, 4), nn.Embedding(6, 4)

        def forward(self, ids: Tensor) -> Tensor:
            return self.tokens(ids.T) + self.places(torch.arange(3))[:, None]

    flow = followed(Turned(), [], ids)
    assert [flow.of(name)[0].given[0].are_tokens for name in ("tokens", "places")] == [True, False]


def test_modules_inside_of_a_transform_are_named() -> None:
    model = nn.Sequential(nn.Linear(4, 4))
    weights = {name: torch.stack([each.detach()] * 2) for name, each in model.named_parameters()}

    class Ensemble(nn.Module):
        def forward(self, rows: Tensor) -> Tensor:
            return vmap(lambda own: functional_call(model, own, (rows,)))(weights).mean(0)

    with torch.no_grad(), follow(dict(model.named_modules()), [["0"]], ROWS, (3,)) as flow:
        vmap(lambda own, rows: functional_call(model, own, (rows,)))(weights, torch.stack([ROWS, ROWS]))
    assert flow.transformed == ["", "0"]


@dataclass
class _Boxed:
    hidden: Tensor
    name: str = "box"


class _State:
    def __init__(self, tensor: Tensor) -> None:
        self.last_hidden_state = tensor


@pytest.mark.parametrize("box", [lambda t: t, lambda t: (None, [t]), lambda t: {"a": {"b": t}}, _Boxed, _State])
def test_tensors_are_found_in_what_modules_return(box: Callable[[Tensor], Any]) -> None:
    assert [each is ROWS for each in tensors_in(box(ROWS))] == [True]
    assert list(tensors_in([[[[ROWS]]]])) == [], "not deeper than modules put them"
