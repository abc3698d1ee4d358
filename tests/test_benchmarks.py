import doctest
import json
import math
import re
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from itertools import combinations
from operator import attrgetter
from statistics import fmean, stdev

import numpy as np
import pytest
import torch
import typer
from scipy.special import xlogy
from scipy.stats import norm

from experiments.benchmarks import cases, coverage, row, truth
from experiments.benchmarks.clouds import LOG_K, MEANS, SPREADS, Cloud, Recipe, Truth, true_information
from experiments.benchmarks.machine import machine, processor

SMALL = Recipe("small", 0.9, num_labels=20, width=8, sizes=(400,))


def _information_on_the_circle(cloud):
    """I(X; J) / log K of a cloud in the plane, from the density of the angle of a Gaussian, by quadrature."""
    angles = np.linspace(0, 2 * np.pi, 20_001)[:-1]
    directions = np.stack([np.cos(angles), np.sin(angles)])  # (2, angles)
    scores = cloud.anchors.numpy().astype(float) @ directions / cloud.temperature
    assignments = np.exp(scores - scores.max(0))
    assignments /= assignments.sum(0)  # (K, angles)
    entropies, marginal = 0, 0
    for share, mean, spread in zip(cloud.share.numpy(), cloud.means.numpy(), cloud.spread.numpy(), strict=True):
        mean = mean.astype(float) / (spread / math.sqrt(2))
        towards = mean @ directions
        density = np.exp(-mean @ mean / 2) * (1 + towards * norm.cdf(towards) / norm.pdf(towards))
        of_label = assignments @ density / len(angles)
        entropies = entropies - share * xlogy(of_label, of_label).sum()
        marginal = marginal + share * of_label
    return (-xlogy(marginal, marginal).sum() - entropies) / LOG_K


@pytest.mark.parametrize("spreads", ["equal", "unequal"])
def test_truth_is_what_quadrature_finds_in_the_plane(spreads):
    cloud = Cloud(Recipe("plane", 1.0, 0.7, offset=0.5, spreads=spreads, num_labels=12, width=2))
    found = true_information(cloud, rows_per_label=8192)
    assert found.error < 0.003
    assert found.value == pytest.approx(_information_on_the_circle(cloud), abs=3 * found.error)


def test_error_of_the_truth_is_its_spread():
    """20 repetitions know a spread to 16 %; the error is larger by what the expansion might have left out."""
    cloud = Cloud(SMALL)
    found = [true_information(cloud, rows_per_label=256, repetition=repetition) for repetition in range(20)]
    claimed = math.sqrt(fmean(each.error**2 for each in found))
    assert 0.6 < stdev(each.value for each in found) / claimed < 1.3


@pytest.mark.parametrize("seed", range(3))
def test_independent_labels_have_no_information(seed):
    found = true_information(Cloud(replace(SMALL, spreads="heavy", independent=True, seed=seed)))
    assert abs(found.value) < 3 * found.error < 0.02


@pytest.mark.parametrize("kind", [*({"means": name} for name in MEANS), *({"spreads": name} for name in SPREADS)])
def test_samples_have_the_information_of_their_cloud(kind):
    """With 1500 rows for each label there is next to nothing to correct: what is left are three standard errors."""
    recipe = replace(SMALL, heavy_rows=5, **kind)
    cloud = Cloud(recipe)
    found = row.read(recipe, cloud.sample(30_000), true_information(cloud))
    assert abs(found.error("debiased")) < 3 * math.hypot(found.sampling_error, found.truth.error)
    assert found.plugin - found.debiased < 0.005
    assert found.sampling_error < found.truth.value / 20


def test_the_grid_is_the_one_that_was_asked_for():
    recipes = cases.grid()
    assert sum(len(recipe.sizes) for recipe in recipes) == 192
    assert len({(recipe.name, recipe.width) for recipe in recipes}) == len(recipes) == 48
    assert {recipe.width for recipe in recipes} == {64, 512}
    assert sum(recipe.independent for recipe in recipes) == 16


def test_half_of_the_grid_is_balanced():
    recipes = cases.half()
    assert len(recipes) == 24
    for choices in combinations(("width", "exponent", "offset", "spreads"), 2):
        assert set(Counter(attrgetter(*choices)(recipe) for recipe in recipes).values()) == {6}
    assert set(Counter(recipe.strength for recipe in recipes).values()) == {8}


def test_seeds_differ_and_cloud_means_do_not_lie_on_anchors():
    recipes = [*cases.grid(), *cases.others()]
    assert len({recipe.seed for recipe in recipes}) == len(recipes)
    cloud = Cloud(recipes[8])
    cosines = torch.nn.functional.normalize(cloud.means, dim=1) @ cloud.anchors.T
    assert cosines.abs().max() < 0.95


def test_program_writes_what_it_prints(tmp_path):
    file = tmp_path / "truth.json"
    command = [sys.executable, truth.__file__, "--quick", "--json", str(file)]
    printed = subprocess.run(command, check=True, capture_output=True, text=True, cwd=tmp_path).stdout
    content = json.loads(file.read_text())
    assert len(content["rows"]) == 48
    assert {"python", "torch", "ibtrack"} == content["versions"].keys()
    assert content["machine"]["cores"] >= 1 and content["seconds"] > 0
    assert set(truth.WANTED) < set(content["summary"])
    for each in content["rows"]:
        assert f"{each['debiased']:.4f}" in printed
    assert f"{content['summary']['mean']['debiased']:.4f}  wanted ≤ 0.010" in printed


def test_program_counts_intervals(tmp_path, capsys):
    file = tmp_path / "coverage.json"
    truth.main(cases="others", intervals=True, repetitions=2, quick=True, file=file)
    content = json.loads(file.read_text())
    assert all(len(each["debiased"]) == 2 for each in content["rows"])
    assert content["summary"]["cases"] == len(content["rows"]) == len(re.findall("±", capsys.readouterr().out))


def test_unknown_set_is_refused():
    with pytest.raises(typer.BadParameter, match="--set must be one of grid, others, got 'all'"):
        truth.main(cases="all")


def test_summary_takes_each_figure_over_its_rows():
    sound = row.Row(SMALL, 400, Truth(0.2, 0.0), 0.5, 0.1, 0.21, 0.01, 0.01, seen_twice=0.9)
    rare = replace(sound, debiased=0.30, seen_twice=0.5)
    alone = replace(sound, recipe=replace(SMALL, independent=True), truth=Truth(0.0, 0.0), debiased=0.002)
    errors = {name: figures["debiased"] for name, figures in truth.summarise([sound, rare, alone]).items()}
    assert errors == pytest.approx(
        {"mean": 0.112 / 3, "worst": 0.1, "worst, 85 % seen twice": 0.01, "worst, independent": 0.002}
    )


def test_interval_holds_the_truth_within_1_96_standard_errors():
    near = row.Row(SMALL, 400, Truth(0.2, 0.0), 0.5, 0.1, 0.219, 0.01, 0.005, seen_twice=0.9)
    far = replace(near, debiased=0.221)
    found = coverage.CoverageRow.of([near, near, near, far])
    assert (found.held, found.held_by_sampling) == (0.75, 0.0)
    assert found.bias == pytest.approx(0.0195)
    assert found.spread == pytest.approx(0.001)


def test_processor_is_named(tmp_path):
    information = tmp_path / "cpuinfo"
    information.write_text("processor\t: 0\nmodel name\t: Some CPU @ 2 GHz\nmodel name\t: Another\n")
    assert processor(information) == "Some CPU @ 2 GHz"
    assert machine()["processor"] == processor() != ""


def test_examples():
    assert doctest.testmod(row).failed == 0
