"""Standard errors over documents, by the infinitesimal jackknife, and how far a bias correction may be off.

A number that is a smooth function of moments changes to first order by ψ_d when the weight of document d changes: its
influence. Rows inside a document depend on each other and documents do not, so G / (G - 1) Σ_d ψ_d² estimates the
variance of the number: the infinitesimal jackknife (Jaeckel 1972; Efron, The Jackknife, the Bootstrap and Other
Resampling Plans, 1982, chapter 6) with documents as clusters.

Letters: K anchors, L sites, G documents.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

# One deviation of what a bias correction is off, as a share of it: .06 where all rows are of labels that are met in two
# documents, more where few are, as the others need not be like them; and nothing where labels tell nothing, as the null
# is observed. From the errors on the clouds of experiments/benchmarks/truth.py, and on probes of a trained model.
CORRECTION_ERROR, UNMET_ERROR = 0.06, 0.012
FAINT = 0.01  # fraction of log K at which half of that error is taken


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """Numbers of L sites, how much each document moves them, and how far their bias correction may be off.

    Attributes:
        value: (L,) the numbers.
        influence: (L, G) first-order change of ``value`` by each document; they sum to about 0.
        systematic: (L,) standard deviation of the error that no number of documents would remove.
    """

    value: Tensor
    influence: Tensor
    systematic: Tensor

    @property
    def standard_error(self) -> Tensor:
        """(L,) error of sampling and of the correction together; ``nan`` for a single document."""
        documents = self.influence.shape[-1]
        if documents < 2:
            return torch.full_like(self.value, torch.nan)
        sampling = self.influence.square().sum(-1) * documents / (documents - 1)
        return (sampling + self.systematic.square()).sqrt()

    def ratio(self, other: Estimate) -> Estimate:
        """Divide by another estimate; the influences follow by the delta method."""
        value = self.value / other.value
        influence = (self.influence - value.unsqueeze(-1) * other.influence) / other.value.unsqueeze(-1)
        systematic = torch.hypot(self.systematic, value * other.systematic) / other.value.abs()
        return Estimate(value=value, influence=influence, systematic=systematic)

    def minus(self, other: Estimate) -> Estimate:
        """Subtract another estimate, whose correction errs in the same direction."""
        return Estimate(
            value=self.value - other.value,
            influence=self.influence - other.influence,
            systematic=(self.systematic - other.systematic).abs(),
        )

    def scaled(self, factor: float) -> Estimate:
        """Multiply by a number."""
        return Estimate(
            value=self.value * factor,
            influence=self.influence * factor,
            systematic=self.systematic * abs(factor),
        )

    def map(self, change: Callable[[Tensor], Tensor]) -> Estimate:
        """Change the leading dimension of value, influence and systematic error."""
        return Estimate(value=change(self.value), influence=change(self.influence), systematic=change(self.systematic))


def correction_error(debiased: Tensor, plugin: Tensor, num_anchors: int, met_share: float) -> Tensor:
    """Say how far a bias correction may be off.

    Args:
        debiased: (...) debiased information, nats.
        plugin: (...) plug-in information, nats.
        num_anchors: K.
        met_share: Share of the rows whose label is met in two documents.

    Returns:
        (...) one standard deviation, nats.
    """
    told = debiased.abs() / (debiased.abs() + FAINT * math.log(num_anchors))
    share = max(CORRECTION_ERROR, UNMET_ERROR / met_share) if met_share else math.nan
    return share * (plugin - debiased).abs() * told
