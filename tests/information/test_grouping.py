"""Groups of rows, against sorting."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch._subclasses.fake_tensor import FakeTensorMode

from ibtrack.information.grouping import grouped, occurrence_ranks, pairs_of


@given(st.lists(st.integers(0, 6), max_size=60))
def test_rows_keep_their_order_within_a_group(groups: list[int]) -> None:
    labels = torch.tensor(groups, dtype=torch.int64)
    order, starts = grouped(labels, 7)
    assert order.tolist() == sorted(range(len(groups)), key=groups.__getitem__)
    assert starts.tolist() == [sum(group < line for group in groups) for line in range(8)]
    assert occurrence_ranks(labels, 7).tolist() == [groups[:i].count(group) for i, group in enumerate(groups)]


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 8)), min_size=1, max_size=60), st.booleans())
def test_pairs_are_numbered_as_they_are_sorted(rows: list[tuple[int, int]], by_second: bool) -> None:
    rows = sorted(rows, key=lambda row: row[1]) if by_second else rows
    first, second = torch.tensor(rows).unbind(1)
    pairs = pairs_of(first, second, num_first=6, num_second=9)
    distinct = sorted(set(rows))
    assert pairs.number.tolist() == [distinct.index(row) for row in rows]
    assert list(zip(pairs.first.tolist(), pairs.second.tolist(), strict=True)) == distinct
    assert pairs.sizes.tolist() == [rows.count(pair) for pair in distinct]


@pytest.mark.parametrize("number", [0, 1])
def test_there_may_be_no_rows(number: int) -> None:
    order, starts = grouped(torch.zeros(0, dtype=torch.int64), number)
    assert order.tolist() == []
    assert starts.tolist() == [0] * (number + 1)


def test_on_a_gpu_rows_are_sorted_there() -> None:
    """A fake tensor has no numbers; those of a real GPU are compared in test_cuda.py."""
    with FakeTensorMode():
        order, starts = grouped(torch.zeros(9, dtype=torch.int64, device="cuda"), 4)
    assert (order.device.type, starts.device.type) == ("cuda", "cuda")
    assert (order.shape, starts.shape) == ((9,), (5,))
