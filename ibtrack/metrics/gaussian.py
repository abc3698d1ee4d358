"""Gaussian information: what labels tell of activations that are Gaussian around the mean of their label.

Letters: N rows, D width, M labels, Σ covariances, ν degrees of freedom, ψ the digamma function.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from ibtrack._checks import check_integer, check_labels, check_option
from ibtrack.metrics._rows import checked_rows


class GaussianInformation(Metric):
    """Mutual information I(X; Z) = (log det Σ - log det Σ_within) / 2 of a Gaussian model of Z with label means.

    Source: the Gaussian channel (Cover and Thomas, Elements of Information Theory, chapter 9); it equals the sum of
    -log(1 - c²) / 2 over the canonical correlations c of Z with the labels. It is exact where rows and label means are
    Gaussian and all labels have one covariance. Otherwise it is a number about two covariances: it sees no differences
    of spread or shape between labels, and can exceed H(X).

    The log determinants of few rows are too low, for Gaussian rows by an amount that has a closed form (Misra, Singh
    and Demchuk 2005): ``covariance="corrected"`` adds it to both, and needs N - M of at least D. ``oas`` instead
    shrinks each covariance towards a multiple of the identity (Chen, Wiesel, Eldar and Hero 2010, arXiv 0907.4698).
    That is defined for any N, and good only where covariances are nearly round: use it where there are too few rows
    for ``corrected``.

    Args:
        width: Width D of the rows.
        num_labels: Number of labels M.
        covariance: Estimator of the covariances, ``corrected`` or ``oas``.
        **options: Further arguments of ``torchmetrics.Metric``.

    Example:
        >>> generator = torch.Generator().manual_seed(0)
        >>> labels = torch.arange(20_000) % 200
        >>> means = torch.randn(200, 1, generator=generator)
        >>> metric = GaussianInformation(width=1, num_labels=200)
        >>> metric.update(means[labels] + torch.randn(20_000, 1, generator=generator), labels)
        >>> abs(float(metric.compute()) - 0.5 * float((1 + means.var()).log())) < 0.01
        True
    """

    sums: Tensor
    occurrences: Tensor
    products: Tensor

    is_differentiable = False
    higher_is_better = None
    full_state_update = False

    def __init__(self, width: int, num_labels: int, *, covariance: str = "corrected", **options: Any) -> None:
        super().__init__(**options)
        self.width = check_integer("width", width, minimum=1)
        self.num_labels = check_integer("num_labels", num_labels, minimum=2)
        self.covariance = check_option("covariance", covariance, ("corrected", "oas"))
        zeros = torch.zeros(num_labels, width, dtype=torch.float64)
        self.add_state("sums", zeros, dist_reduce_fx="sum")
        self.add_state("occurrences", zeros.new_zeros(num_labels), dist_reduce_fx="sum")
        self.add_state("products", zeros.new_zeros(width, width), dist_reduce_fx="sum")

    def update(self, activations: Tensor, labels: Tensor) -> None:
        """Add rows with their labels.

        Args:
            activations: (N, D) of any floating type.
            labels: (N,) integers in [0, M).

        Raises:
            ValueError: Shapes, types or values are out of range, or a row is not finite; nothing is added then.
        """
        labels = check_labels(labels, self.num_labels, len(activations))
        rows = checked_rows(activations, self.width, zero_allowed=True)
        self.sums.index_add_(0, labels, rows)
        self.occurrences += torch.bincount(labels, minlength=self.num_labels)
        self.products += rows.T @ rows

    def compute(self) -> Tensor:
        """Return I(X; Z), () float64, in nats.

        It is about 0, of either sign, where labels tell nothing, and ``nan`` if no label occurs twice.

        Raises:
            RuntimeError: There are fewer than two rows, or too few for the width.
        """
        total, used = int(self.occurrences.sum()), int((self.occurrences > 0).sum())
        if total < 2:
            raise RuntimeError(f"GaussianInformation.compute() needs at least two rows, got {total}")
        freedom = total - used
        if freedom == 0:
            return self.sums.new_tensor(torch.nan)
        mean = self.sums.sum(0) / total
        label_means = self.sums / self.occurrences.clamp(min=1).unsqueeze(1)
        whole = (self.products - total * mean.outer(mean)) / (total - 1)
        within = (self.products - self.sums.T @ label_means) / freedom
        return (self._log_det(whole, total - 1) - self._log_det(within, freedom)) / 2

    def _log_det(self, covariance: Tensor, freedom: int) -> Tensor:
        """Estimate the log determinant of the covariance that a sample covariance with ν degrees of freedom is of.

        Raises:
            RuntimeError: There are too few degrees of freedom, or rows do not vary in every dimension.
        """
        if self.covariance == "oas":
            share, level = oas_shrinkage(covariance, freedom), covariance.diagonal().mean()
            identity = torch.eye(self.width, dtype=covariance.dtype, device=covariance.device)
            covariance, bias = (1 - share) * covariance + share * level * identity, 0.0
        elif freedom < self.width:
            raise RuntimeError(
                f"covariance='corrected' needs at least {self.width} rows more than labels, got {freedom}; use 'oas'"
            )
        else:
            bias = log_det_bias(self.width, freedom)
        sign, value = torch.linalg.slogdet(covariance)
        if sign <= 0:
            raise RuntimeError("activations must vary in every dimension, got a covariance that has no inverse")
        corrected: Tensor = value - bias
        return corrected


def log_det_bias(width: int, freedom: int) -> float:
    """Return E log det S - log det Σ for the sample covariance S of Gaussian rows, in nats.

    Formula: the sum of ψ((ν - i) / 2) over i from 0 to D - 1, less D log(ν / 2); always below 0. Source: Misra, Singh
    and Demchuk, Journal of Multivariate Analysis 92, 2005.

    Args:
        width: Width D of the rows.
        freedom: Degrees of freedom ν of S, at least D.

    Example:
        >>> round(log_det_bias(1, 1), 4)  # the mean logarithm of a squared normal variable
        -1.2704
    """
    halves = (freedom - torch.arange(width, dtype=torch.float64)) / 2
    return float(torch.special.digamma(halves).sum()) - width * math.log(freedom / 2)


def oas_shrinkage(covariance: Tensor, num_rows: float) -> Tensor:
    """Return the share of the identity in the oracle approximating shrinkage of a covariance, () in [0, 1].

    Source: Chen, Wiesel, Eldar and Hero 2010, arXiv 0907.4698, equation 23.

    Args:
        covariance: (D, D) sample covariance S.
        num_rows: Degrees of freedom ν that it was estimated with.

    Example:
        >>> float(oas_shrinkage(torch.eye(3).double(), num_rows=9))  # round already, so all of it may be the identity
        1.0
    """
    width = len(covariance)
    if width == 1:  # a multiple of the identity already
        return covariance.new_zeros(())
    square, level = covariance.square().sum(), covariance.diagonal().sum().square()  # tr(S²), tr(S)²
    numerator = (1 - 2 / width) * square + level
    return (numerator / ((num_rows + 1 - 2 / width) * (square - level / width))).clamp(max=1)
