"""The readings of samples whose information is known."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from experiments.benchmarks.clouds import MEANS, SPREADS, Cloud, Recipe, true_information
from experiments.benchmarks.row import read

SMALL = Recipe("small", 0.9, heavy_rows=5, num_labels=20, width=8)
KINDS = [*(replace(SMALL, means=name) for name in MEANS), *(replace(SMALL, spreads=name) for name in SPREADS)]


@pytest.mark.parametrize("recipe", KINDS, ids=lambda recipe: f"{recipe.means} {recipe.spreads}")
def test_samples_have_the_information_of_their_cloud(recipe: Recipe) -> None:
    """With 1500 rows for each label there is next to nothing to correct: what is left are three standard errors."""
    cloud = Cloud(recipe)
    row = read(recipe, cloud.sample(30_000), true_information(cloud))
    assert abs(row.error("debiased")) < 3 * math.hypot(row.sampling_error, row.truth.error)
    assert row.plugin - row.debiased < 0.005
    assert row.sampling_error < row.truth.value / 20
