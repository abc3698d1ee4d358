"""Clouds: their true information against quadrature, and their samples against the truth."""

from __future__ import annotations

import math
from dataclasses import replace
from statistics import fmean, stdev

import numpy as np
import pytest
import torch
from scipy.special import xlogy
from scipy.stats import norm

from experiments.benchmarks import cases
from experiments.benchmarks.clouds import LOG_K, Cloud, Recipe, true_information

SMALL = Recipe("small", 0.9, num_labels=20, width=8, sizes=(400,))


def information_on_the_circle(cloud: Cloud) -> float:
    """I(X; J) / log K of a cloud in the plane, from the density of the angle of a Gaussian, by quadrature."""
    angles = np.linspace(0, 2 * np.pi, 20_001)[:-1]
    directions = np.stack([np.cos(angles), np.sin(angles)])  # (2, angles)
    scores = cloud.anchors.numpy().astype(float) @ directions / cloud.temperature
    assignments = np.exp(scores - scores.max(0))
    assignments /= assignments.sum(0)  # (K, angles)
    entropies, marginal = 0.0, np.zeros(len(assignments))
    for share, mean, spread in zip(cloud.share.numpy(), cloud.means.numpy(), cloud.spread.numpy(), strict=True):
        mean = mean.astype(float) / (spread / math.sqrt(2))
        towards = mean @ directions
        density = np.exp(-mean @ mean / 2) * (1 + towards * norm.cdf(towards) / norm.pdf(towards))
        conditional = assignments @ density / len(angles)  # (K,)
        entropies -= float(share * xlogy(conditional, conditional).sum())
        marginal = marginal + share * conditional
    return (-float(xlogy(marginal, marginal).sum()) - entropies) / LOG_K


@pytest.mark.parametrize("spreads", ["equal", "unequal"])
def test_truth_is_what_quadrature_finds_in_the_plane(spreads: str) -> None:
    cloud = Cloud(Recipe("plane", 1.0, 0.7, offset=0.5, spreads=spreads, num_labels=12, width=2))
    truth = true_information(cloud, rows_per_label=8192)
    assert truth.error < 0.003
    assert truth.value == pytest.approx(information_on_the_circle(cloud), abs=3 * truth.error)


def test_error_of_the_truth_is_its_spread() -> None:
    """20 repetitions know a spread to 16 %; the error is larger by what the expansion might have left out."""
    cloud = Cloud(SMALL)
    truths = [true_information(cloud, rows_per_label=256, repetition=repetition) for repetition in range(20)]
    claimed = math.sqrt(fmean(truth.error**2 for truth in truths))
    assert 0.6 < stdev(truth.value for truth in truths) / claimed < 1.3


@pytest.mark.parametrize("seed", range(3))
def test_independent_labels_have_no_information(seed: int) -> None:
    truth = true_information(Cloud(replace(SMALL, spreads="heavy", independent=True, seed=seed)))
    assert abs(truth.value) < 3 * truth.error < 0.02


def test_seeds_differ_and_cloud_means_do_not_lie_on_anchors() -> None:
    recipes = [*cases.grid(), *cases.others()]
    assert len({recipe.seed for recipe in recipes}) == len(recipes)
    cloud = Cloud(recipes[8])
    cosines = torch.nn.functional.normalize(cloud.means, dim=1) @ cloud.anchors.T
    assert cosines.abs().max() < 0.95
