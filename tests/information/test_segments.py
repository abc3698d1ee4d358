"""Sums by group."""

from itertools import pairwise

import pytest
import torch

from ibtrack.information.segments import SEGMENT_ROWS, Segments, sum_between


@pytest.mark.parametrize("num_groups", [1, 3, 400])
def test_sums_are_those_of_a_loop(num_groups: int) -> None:
    generator = torch.Generator().manual_seed(0)
    groups = torch.cat([torch.arange(num_groups), torch.randint(num_groups, (20_000,), generator=generator)])
    values = torch.rand(len(groups), 2, 3, generator=generator)
    segments = Segments.from_groups(groups, num_groups)
    assert len(segments.levels) == (1 if num_groups > 3 else 2)  # 64 rows and 64 sums of them, or once more
    expected = torch.stack([values[groups == g].double().sum(0) for g in range(num_groups)])
    torch.testing.assert_close(segments.sum_rows(values).double(), expected, rtol=1e-6, atol=0)
    squares = torch.stack([values[groups == g].double().square().sum(0) for g in range(num_groups)])
    torch.testing.assert_close(segments.sum_squares(values).double(), squares, rtol=1e-6, atol=0)


def test_no_segment_is_longer_than_its_bound_or_holds_two_groups() -> None:
    groups = torch.arange(1000) % 3
    segments = Segments.from_groups(groups, 3)
    assert float(segments.sizes.max()) == SEGMENT_ROWS
    for start, size in zip(segments.starts.tolist(), segments.sizes.int().tolist(), strict=True):
        assert len(groups[segments.rows[start : start + size].long()].unique()) == 1


def test_chunks_hold_all_groups_once_and_begin_where_they_may() -> None:
    groups = torch.arange(3000) % 30
    segments = Segments.from_groups(groups, 30)
    firsts = torch.arange(0, 30, 2)
    chunks = segments.split(firsts, rows_at_once=500)
    assert len(chunks) > 2
    assert chunks[0][1] == 0
    assert chunks[-1][2] == len(firsts)
    assert all(end == begin for (_, _, end), (_, begin, _) in pairwise(chunks))
    values = torch.rand(3000, generator=torch.Generator().manual_seed(0))
    sums = torch.cat([chunk.sum_rows(values.unsqueeze(1)) for chunk, _, _ in chunks])
    torch.testing.assert_close(sums, segments.sum_rows(values.unsqueeze(1)))


@pytest.mark.parametrize(
    ("groups", "longer"), [([2, 0, 1], []), ([0, 1, 1, 2, 0, 0, 3], [0, 1]), ([0, 0, 0, 1, 1], None)]
)
def test_single_rows_are_copied_where_most_are_single(groups: list[int], longer: list[int] | None) -> None:
    segments = Segments.from_groups(torch.tensor(groups), max(groups) + 1)
    copying = segments.copying()
    assert (None if copying.copied is None else copying.copied[1].tolist()) == longer
    values = torch.rand(len(groups), 5, generator=torch.Generator().manual_seed(0))
    assert torch.equal(copying.sum_rows(values), segments.sum_rows(values))


def test_between_equal_starts_there_is_nothing() -> None:
    sums = sum_between(torch.tensor([0, 1, 1]), torch.tensor([2, 0]), torch.eye(3), torch.tensor([1.0, 0.5]))
    assert sums.tolist() == [[0, 0, 1], [0, 0, 0], [0.5, 0, 0]]
