"""One definition of entropy."""

import math

import pytest
import torch

from ibtrack.information.devices import ROWS_AT_ONCE
from ibtrack.information.entropy import entropy, positive, row_entropies
from tests import references


def test_entropy_is_the_formula() -> None:
    rows = torch.rand(7, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).softmax(-1)
    expected = [references.entropy(row) for row in rows.numpy()]
    assert entropy(rows).tolist() == pytest.approx(expected, abs=1e-14)


def test_a_probability_of_zero_adds_nothing() -> None:
    rows = torch.tensor([[0.0, 1.0, 0.0], [0.5, 0.5, 0.0]])
    expected = [0.0, math.log(2)]
    assert entropy(rows).tolist() == pytest.approx(expected, abs=1e-7)
    assert row_entropies(rows).tolist() == pytest.approx(expected, abs=1e-7)


def test_rows_in_pieces_are_those_of_the_whole() -> None:
    rows = torch.rand(ROWS_AT_ONCE + 7, 2, 5, generator=torch.Generator().manual_seed(0)).softmax(-1)
    torch.testing.assert_close(row_entropies(rows), entropy(rows), rtol=1e-5, atol=1e-6)


def test_a_mean_of_zero_can_be_divided_by() -> None:
    assert positive(torch.tensor([0.0, 0.5])).reciprocal().isfinite().all()
