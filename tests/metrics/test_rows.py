"""Rows that are checked, and the table that stores them."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from ibtrack.metrics import MatrixInformation, NeighbourInformation
from ibtrack.metrics._rows import checked_rows
from tests.metrics.contract import OtherProcess, clouds

NAN, ZERO, FINE = [math.nan, 1.0], [0.0, 0.0], [1.0, 2.0]


def test_rows_come_out_in_double_precision_and_without_a_gradient() -> None:
    rows = torch.tensor([FINE], dtype=torch.bfloat16, requires_grad=True)
    checked = checked_rows(rows, 2)
    assert checked.dtype == torch.float64
    assert not checked.requires_grad
    assert checked.tolist() == [FINE]


@pytest.mark.parametrize(
    ("rows", "zero_allowed", "sentence"),
    [
        ([FINE, ZERO, NAN], False, "activations must be finite and not zero, got 2 rows of 3 that are not"),
        ([FINE, ZERO, NAN], True, "activations must be finite, got 1 rows of 3 that are not"),
        ([[1.0]], True, r"activations must be a floating point tensor of shape \(N, 2\)"),
    ],
)
def test_bad_rows(rows: list[list[float]], zero_allowed: bool, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        checked_rows(torch.tensor(rows), 2, zero_allowed=zero_allowed)


def test_a_zero_row_may_be_allowed() -> None:
    assert checked_rows(torch.tensor([ZERO]), 2, zero_allowed=True).tolist() == [ZERO]


def test_rows_come_back_in_the_order_in_which_they_came() -> None:
    rows, ids = clouds(number=30)
    metric = NeighbourInformation(5, 6, max_rows=40)
    for part in (slice(0, 10), slice(10, 30)):
        metric.update(rows[part], ids[part])
    stored, labels = metric.all_rows()
    assert stored.equal(rows.double())
    assert labels.equal(ids)


@pytest.mark.parametrize("make", [NeighbourInformation, MatrixInformation])
def test_more_rows_than_are_stored_are_refused(make: Any) -> None:
    rows, ids = clouds(number=30)
    metric = make(5, 6, max_rows=40)
    metric.update(rows, ids)
    before = float(metric.compute())
    with pytest.raises(ValueError, match=r"takes at most max_rows=40 rows, .* got 60; give every n-th row"):
        metric.update(rows, ids)
    assert float(metric.compute()) == before


def test_more_rows_than_are_stored_are_refused_of_all_processes_together() -> None:
    rows, ids = clouds(number=30)
    one, other = (NeighbourInformation(5, 6, max_rows=40) for _ in range(2))
    one.update(rows, ids)
    other.update(rows, ids)
    exchange: Any = OtherProcess(other)
    one.dist_sync_fn, one.distributed_available_fn = exchange, lambda: True
    with pytest.raises(ValueError, match=r"takes at most max_rows=40 rows, .* got 60"):
        one.compute()


def test_at_least_two_rows_can_be_stored() -> None:
    with pytest.raises(ValueError, match="max_rows must be an integer of at least 2, got 1"):
        NeighbourInformation(4, 2, max_rows=1)
