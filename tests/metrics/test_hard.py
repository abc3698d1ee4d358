"""Hard assignment: the information of a table, blind to the norm."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from ibtrack.information.assignments import draw_anchors
from ibtrack.metrics import HardMutualInformation
from ibtrack.metrics.hard import table_information
from tests import references
from tests.metrics.contract import LabelledContract, clouds, value


def slow(rows: Tensor, ids: Tensor, num_anchors: int, seed: int) -> float:
    """The plug-in of assignments that are 1 at the nearest anchor and 0 elsewhere."""
    anchors = draw_anchors(rows.shape[1], num_anchors, seed=seed)
    nearest = (torch.nn.functional.normalize(rows, dim=1) @ anchors.T).argmax(1)
    one_hot = torch.nn.functional.one_hot(nearest, num_anchors).double().numpy()
    return references.plugin_information(one_hot, ids.numpy())


class TestHardMutualInformation(LabelledContract):
    refusal = "must be finite and not zero, got 1 rows of 600 that are not"

    def make(self) -> HardMutualInformation:
        return HardMutualInformation(5, 6, 20)

    def reference(self, *data: Tensor) -> float:
        return slow(data[0], data[1], num_anchors=20, seed=0)


def test_it_is_the_information_of_the_table() -> None:
    rows, ids = clouds(width=8)
    expected = slow(rows, ids, num_anchors=20, seed=3)
    assert value(HardMutualInformation(8, 6, 20, seed=3), rows, ids) == pytest.approx(expected, abs=1e-12)


def test_it_does_not_see_the_norm() -> None:
    rows, ids = clouds(width=8)
    scaled = rows * torch.rand(600, 1, generator=torch.Generator().manual_seed(1)).add(0.1)
    assert value(HardMutualInformation(8, 6), scaled, ids) == value(HardMutualInformation(8, 6), rows, ids)


def test_a_table_of_independent_labels_has_no_information() -> None:
    table = torch.tensor([1, 2, 3]).outer(torch.tensor([4, 5]))
    assert float(table_information(table)) == pytest.approx(0.0, abs=1e-15)


def test_rows_without_a_direction_are_refused() -> None:
    with pytest.raises(ValueError, match="finite and not zero, got 2 rows of 2 that are not"):
        HardMutualInformation(8, 6).update(torch.zeros(2, 8), torch.tensor([0, 1]))


def test_at_least_two_labels() -> None:
    with pytest.raises(ValueError, match="num_labels must be an integer of at least 2, got 1"):
        HardMutualInformation(5, 1)
