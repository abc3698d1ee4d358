"""Nearest neighbours: a slow loop, an integral, and the limits at which the information has a value."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.special import digamma
from torch import Tensor

from ibtrack.metrics import NeighbourInformation
from tests.metrics.contract import LabelledContract, clouds, value


def slow(rows: Tensor, ids: Tensor, neighbours: int) -> float:
    """The formula of Ross, row by row."""
    points, labels = rows.double().numpy(), ids.numpy()
    repeated = [i for i in range(len(labels)) if (labels == labels[i]).sum() > 1]
    terms = []
    for i in repeated:
        distances = {j: float(np.linalg.norm(points[i] - points[j])) for j in repeated if j != i}
        own = sorted(d for j, d in distances.items() if labels[j] == labels[i])
        k = min(neighbours, len(own))
        within = sum(d <= own[k - 1] for d in distances.values())
        terms.append(digamma(k) - digamma(len(own) + 1) - digamma(within))
    return float(digamma(len(repeated)) + np.mean(terms))


class TestNeighbourInformation(LabelledContract):
    def make(self) -> NeighbourInformation:
        return NeighbourInformation(5, 6)

    def reference(self, *data: Tensor) -> float:
        return slow(data[0], data[1], neighbours=3)


def test_labels_that_are_seen_once_or_twice() -> None:
    rows, ids = clouds(number=90, width=3)
    ids[0], ids[1:3] = 6, 7  # seen once: left out; seen twice: one neighbour only
    expected = slow(rows, ids, neighbours=4)
    assert value(NeighbourInformation(3, 8, neighbours=4), rows, ids) == pytest.approx(expected, abs=1e-12)


def test_neighbours_of_gaussians_read_the_integral() -> None:
    """Two unit Gaussians two apart, in 1 and in 3 dimensions of which one matters: the information is one integral."""
    x = np.linspace(-12, 12, 20_001)
    densities = [np.exp(-((x - m) ** 2) / 2) / math.sqrt(2 * math.pi) for m in (-1, 1)]
    mixture = sum(densities) / 2
    truth = sum(np.trapezoid(d * np.log(d / mixture), x) for d in densities) / 2
    generator = torch.Generator().manual_seed(0)
    ids = torch.arange(4000) % 2
    for width in (1, 3):
        rows = torch.randn(4000, width, generator=generator)
        rows[:, 0] += 2.0 * ids - 1
        information = value(NeighbourInformation(width, 2), rows, ids)
        assert information == pytest.approx(truth, abs=0.04)  # over seeds it spreads by 0.008


def test_neighbours_of_separate_clusters_read_the_entropy_and_of_noise_nothing() -> None:
    rows, ids = clouds(number=1200, apart=200.0)
    assert value(NeighbourInformation(5, 6), rows, ids) == pytest.approx(math.log(6), abs=0.005)  # of 1200 rows, 0.002
    rows, ids = clouds(number=1200, apart=0.0)
    assert value(NeighbourInformation(5, 6), rows, ids) == pytest.approx(
        0.0, abs=0.04
    )  # over seeds it spreads by 0.015


def test_neighbours_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, ids = clouds()
    whole = value(NeighbourInformation(5, 6), rows, ids)
    monkeypatch.setattr("ibtrack.metrics.neighbours.MAX_DISTANCES", 600 * 37)
    assert value(NeighbourInformation(5, 6), rows, ids) == whole


def test_neighbours_of_distinct_labels_are_nan() -> None:
    assert math.isnan(value(NeighbourInformation(2, 6), torch.randn(6, 2), torch.arange(6)))


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: NeighbourInformation(4, 2, neighbours=0), "neighbours must be an integer of at least 1, got 0"),
        (lambda: NeighbourInformation(5, 1), "num_labels must be an integer of at least 2, got 1"),
    ],
)
def test_bad_arguments(make: Callable[[], object], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        make()
