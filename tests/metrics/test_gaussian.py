"""Gaussian information: closed forms, no bias of few rows, and rows that a Gaussian cannot have."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.special import digamma
from torch import Tensor

from ibtrack.metrics import GaussianInformation
from ibtrack.metrics.gaussian import log_det_bias, oas_shrinkage
from tests.metrics.contract import LabelledContract, clouds, value


class TestGaussianInformation(LabelledContract):
    def make(self) -> GaussianInformation:
        return GaussianInformation(5, 6)

    def reference(self, *data: Tensor) -> float:
        """Two covariances by numpy, each log determinant less its bias in a loop."""
        rows, ids = data[0].double().numpy(), data[1].numpy()
        centred = np.concatenate([rows[ids == x] - rows[ids == x].mean(0) for x in range(6)])

        def log_det(covariance: np.ndarray, freedom: int) -> float:
            bias = sum(digamma((freedom - i) / 2) - math.log(freedom / 2) for i in range(5))
            return float(np.linalg.slogdet(covariance)[1] - bias)

        return (log_det(np.cov(rows.T), 599) - log_det(centred.T @ centred / 594, 594)) / 2


@pytest.mark.parametrize("covariance", ["corrected", "oas"])
def test_gaussian_clouds_have_their_closed_form(covariance: str) -> None:
    """Means and noise are Gaussian: I = log det( 1 + Σ_between Σ_within⁻¹ ) / 2."""
    generator = torch.Generator().manual_seed(0)
    mix, spread = torch.randn(4, 4, generator=generator), torch.tensor([2.0, 1.0, 0.5, 0.0])
    ids = torch.arange(60_000) % 3000
    means = torch.randn(3000, 4, generator=generator) * spread
    rows = (means[ids] + torch.randn(60_000, 4, generator=generator)) @ mix  # any mixing keeps the information
    truth = 0.5 * math.log(5 * 2 * 1.25)
    information = value(GaussianInformation(4, 3000, covariance=covariance), rows, ids)
    assert information == pytest.approx(truth, abs=0.03)  # over seeds it spreads by 0.012


def test_gaussian_information_of_few_rows_is_without_bias() -> None:
    """60 dimensions, 80 rows more than labels: uncorrected, labels that tell nothing read 6.4 nats."""
    nothing = [value(GaussianInformation(60, 40), *clouds(120, 60, 40, apart=0.0, seed=seed)) for seed in range(20)]
    assert np.mean(nothing) == pytest.approx(0.0, abs=4 * float(np.std(nothing)) / math.sqrt(20))
    assert np.std(nothing) < 1.5
    truth = value(GaussianInformation(60, 40), *clouds(40_000, 60, 40, apart=0.3))
    few = value(GaussianInformation(60, 40), *clouds(120, 60, 40, apart=0.3))
    assert few == pytest.approx(truth, abs=2.0)  # over seeds it spreads by 0.6


def test_oas_reads_round_clouds_of_fewer_rows_than_dimensions() -> None:
    few = clouds(90, 60, 40, apart=0.3)
    truth = value(GaussianInformation(60, 40), *clouds(40_000, 60, 40, apart=0.3))
    shrunk = value(GaussianInformation(60, 40, covariance="oas"), *few)
    assert shrunk == pytest.approx(truth, abs=1.5)  # over seeds it is 0.3 too high and spreads by 0.3
    with pytest.raises(
        RuntimeError, match="covariance='corrected' needs at least 60 rows more than labels, got 50; use"
    ):
        value(GaussianInformation(60, 40), *few)


def test_oas_is_the_formula_of_the_paper() -> None:
    rows = np.random.default_rng(0).normal(size=(30, 10)) * np.arange(1, 11)
    s = np.cov(rows.T)
    tr, tr2, p, n = np.trace(s), np.trace(s @ s), 10, 29
    expected = ((1 - 2 / p) * tr2 + tr**2) / ((n + 1 - 2 / p) * (tr2 - tr**2 / p))
    assert float(oas_shrinkage(torch.from_numpy(s), 29)) == pytest.approx(expected)
    assert float(oas_shrinkage(torch.eye(3).double(), 29)) == 1.0
    assert float(oas_shrinkage(torch.ones(1, 1).double(), 29)) == 0.0


def test_the_bias_of_the_log_determinant_is_what_samples_show() -> None:
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(4000, 12, 4, generator=generator, dtype=torch.float64)
    log_dets = torch.linalg.slogdet(rows.mT @ rows / 12)[1]
    error = float(log_dets.std()) / math.sqrt(4000)
    assert log_det_bias(4, 12) == pytest.approx(float(log_dets.mean()), abs=4 * error)


def test_rows_that_a_gaussian_cannot_have() -> None:
    assert math.isnan(value(GaussianInformation(2, 6), torch.randn(6, 2), torch.arange(6)))
    flat = torch.randn(60, 2) * torch.tensor([1.0, 0.0])
    with pytest.raises(RuntimeError, match="activations must vary in every dimension"):
        value(GaussianInformation(2, 6), flat, torch.arange(60) % 6)
    with pytest.raises(ValueError, match="covariance must be one of 'corrected', 'oas', got 'ridge'"):
        GaussianInformation(2, 6, covariance="ridge")


def test_at_least_two_labels() -> None:
    with pytest.raises(ValueError, match="num_labels must be an integer of at least 2, got 1"):
        GaussianInformation(5, 1)
