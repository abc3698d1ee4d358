"""Forward passes that change a model for good are refused, and the thing that they change is named."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from ibtrack.capture import holding
from ibtrack.capture.isolation import undisturbed
from ibtrack.capture.traces import TraceError, refuse_traces, weight_sums
from tests.models import Model, tokens


def test_a_pass_without_a_trace_is_fine() -> None:
    model = Model()
    model.head.weight.grad = torch.ones_like(model.head.weight)
    with refuse_traces(model), undisturbed(model):
        model(tokens(2, seed=0))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.complex64])
def test_a_changed_parameter_of_any_type_is_named(dtype: torch.dtype) -> None:
    model: Any = nn.Module()
    model.scale = nn.Parameter(torch.ones((), dtype=dtype))
    with (
        pytest.raises(TraceError, match="changes the parameter 'scale', and it is not known how to undo that; pass"),
        refuse_traces(model),
    ):
        model.scale.data += 1


def test_gradients_are_looked_at() -> None:
    model = nn.Linear(1, 1)
    model.bias.grad = torch.zeros(1)
    with (
        pytest.raises(TraceError, match="changes the gradient of 'weight', gradient of 'bias', and"),
        refuse_traces(model),
    ):
        model(torch.ones(1, 1)).sum().backward()


def test_many_changes_are_counted() -> None:
    model = nn.Sequential(*[nn.Linear(1, 1) for _ in range(3)])
    with pytest.raises(TraceError, match=r"parameter '0\.weight', .* and 3 more, and it"), refuse_traces(model):
        nn.utils.vector_to_parameters(torch.ones(6), model.parameters())


def test_large_tensors_that_are_not_held_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(holding, "MAX_BYTES", 10)
    model: Any = nn.Linear(1, 1)
    model.cache = torch.zeros(8)
    with pytest.raises(TraceError, match=r"changes the tensor 'cache', and"), refuse_traces(model), undisturbed(model):
        model.cache += 1


def test_parameters_without_a_shape_are_refused() -> None:
    with (
        pytest.raises(TraceError, match=r"'weight', 'bias' get their shape in the first forward pass; run one before"),
        refuse_traces(nn.LazyLinear(2)),
    ):
        pytest.fail("nothing is run")


def test_an_error_inside_is_that_error() -> None:
    model = nn.Linear(1, 1)
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"), refuse_traces(model):
        model(torch.ones(1, 2))


def test_sums_tell_weights_apart() -> None:
    model = Model()
    before = weight_sums(model)
    assert weight_sums(model) == before
    model.head.bias.data[0] += 1e-6
    assert [one != other for one, other in zip(weight_sums(model), before, strict=True)].count(True) == 1
