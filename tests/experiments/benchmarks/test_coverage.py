"""How often intervals hold the truth: the counting."""

from __future__ import annotations

from dataclasses import replace

import pytest

from experiments.benchmarks.clouds import Recipe, Truth
from experiments.benchmarks.coverage import CoverageRow
from experiments.benchmarks.row import Row

SMALL = Recipe("small", 0.9, num_labels=20, width=8, sizes=(400,))


def test_interval_holds_the_truth_within_1_96_standard_errors() -> None:
    near = Row(
        recipe=SMALL,
        num_rows=400,
        truth=Truth(0.2, 0.0),
        plugin=0.5,
        without_null=0.1,
        debiased=0.219,
        standard_error=0.01,
        sampling_error=0.005,
        seen_twice=0.9,
    )
    far = replace(near, debiased=0.221)
    row = CoverageRow.from_rows([near, near, near, far])
    assert (row.held, row.held_by_sampling) == (0.75, 0.0)
    assert row.bias == pytest.approx(0.0195)
    assert row.spread == pytest.approx(0.001)
