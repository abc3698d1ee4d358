"""The Jensen gap and its closures."""

import numpy as np
import pytest
import torch

from ibtrack.information.jensen_gap import (
    beta_gap,
    gaps_at_powers,
    interpolate_cubic,
    jensen_gap,
    lognormal_gap,
    power_nodes,
    row_mixture,
)
from ibtrack.information.plugin import ceiling
from tests import references
from tests.information.samples import random_rows, streamed

MEAN = torch.tensor([0.5, 0.3, 0.2]).double()


def test_beta_gap_is_that_of_a_dirichlet() -> None:
    concentration = 7.0
    variance = MEAN * (1 - MEAN) / (concentration + 1)
    draws = np.random.default_rng(0).dirichlet((MEAN * concentration).numpy(), 20_000)
    expected = references.entropy(MEAN.numpy()) - np.mean([references.entropy(p) for p in draws])
    assert float(beta_gap(MEAN, variance)) == pytest.approx(expected, abs=0.005)  # noise of the draws


def test_both_closures_agree_to_first_order_in_the_variance() -> None:
    variance = 1e-6 * MEAN.square()
    expected = float((variance / MEAN).sum() / 2)  # the Taylor expansion of H around p
    assert float(beta_gap(MEAN, variance)) == pytest.approx(expected, rel=1e-3)
    assert float(lognormal_gap(MEAN, variance)) == pytest.approx(expected, rel=1e-3)


def test_the_mixture_gives_back_the_gap_of_the_rows() -> None:
    moments = streamed(*random_rows(num_rows=2000, num_labels=10), 10)
    variance = moments.squares - moments.mean.square()
    mixture = row_mixture(moments)
    assert -0.25 < float(mixture) < 1  # so that it is not held at an end
    assert float(jensen_gap(moments.mean, variance, mixture)) == pytest.approx(float(ceiling(moments)))


def test_the_gap_falls_with_the_sample_size_to_that_of_the_truth() -> None:
    moments = streamed(*random_rows(num_rows=2000, num_labels=10), 10)
    p = moments.mean
    gaps, truth = gaps_at_powers(moments, p, within=0.3 * p * (1 - p), between=0.02 * p * (1 - p))
    assert (gaps.diff() < 0).all()
    assert (gaps > truth).all()
    assert float(gaps[-1]) == pytest.approx(float(truth), rel=0.05)


def test_powers_of_two_reach_every_sample_size() -> None:
    for largest in (1, 7, 8, 1000):
        assert 2 ** float(power_nodes(largest, MEAN)[-1]) >= largest


def test_a_cubic_is_interpolated_exactly_and_nan_stays_nan() -> None:
    values = torch.arange(8.0).double() ** 3
    places = torch.tensor([0.0, 0.25, 3.5, 6.9, torch.nan]).double()
    at = interpolate_cubic(values, places)
    torch.testing.assert_close(at[:4], places[:4] ** 3)
    assert at[4].isnan()
