"""The patterns of the experiment: their geometry, their labels and their split."""

from __future__ import annotations

import math

import pytest
import torch

from experiments.tishby import patterns
from experiments.tishby.patterns import PatternData


def test_corners_are_evenly_spread() -> None:
    cosines = patterns.corners() @ patterns.corners().T
    near = 1 / math.sqrt(5)
    expected = torch.tensor([-1] + [-near] * 5 + [near] * 5 + [1], dtype=torch.float64)
    torch.testing.assert_close(cosines.sort(1).values, expected.expand(12, 12))


def test_the_power_spectrum_is_that_of_the_spherical_harmonics() -> None:
    """Degree 1: the harmonics are x, y and z, so P_1 is the squared length of the sum of lit corners."""
    lit = patterns.patterns() @ patterns.corners()
    torch.testing.assert_close(patterns.power_spectrum()[:, 1], lit.square().sum(1))


def test_a_rotation_changes_neither_function_nor_orbit() -> None:
    turn = torch.tensor([[0.0, 0, 1], [1, 0, 0], [0, 1, 0]], dtype=torch.float64)  # about the axis (1, 1, 1)
    cosines = patterns.corners() @ (patterns.corners() @ turn).T
    moved = cosines.argmax(1)  # corner to the corner it comes to lie on
    ids = (patterns.patterns()[:, moved] @ (2.0 ** torch.arange(12)).double()).long()
    function, orbits = patterns.symmetric_function()
    assert not ids.equal(torch.arange(4096))
    assert len(set(ids.tolist())) == 4096
    assert orbits[ids].equal(orbits)
    torch.testing.assert_close(function[ids], function)


def test_labels_are_as_the_paper_has_them() -> None:
    function, orbits = patterns.symmetric_function()
    probability = patterns.label_probability(function)
    assert int(orbits.max()) + 1 == 64
    assert float(probability.mean()) == pytest.approx(0.5, abs=1e-9)
    assert patterns.label_information(probability) == pytest.approx(0.99, abs=1e-6)


def test_the_split_holds_every_pattern_once_and_labels_do_not_depend_on_the_run() -> None:
    data, again = PatternData(batch_size=512), PatternData(batch_size=100)
    data.setup()
    again.setup()
    batches = [batch[0] for loader in (data.train_dataloader(), data.val_dataloader()) for batch in loader]
    rows = [tuple(row) for row in torch.cat(batches).tolist()]
    assert len(rows) == len(set(rows)) == 4096
    assert data.labels.equal(again.labels)
    with pytest.raises(ValueError, match="train_share must lie between 0 and 1, got 1"):
        PatternData(batch_size=1, train_share=1)
