"""Standard errors over documents, by the infinitesimal jackknife, and how far a bias correction may be off.

A number that is a smooth function of moments changes to first order by ψ_d when the weight of document d changes: its
influence. Rows inside a document depend on each other and documents do not, so G / (G - 1) Σ_d ψ_d² estimates the
variance of the number: the infinitesimal jackknife (Jaeckel 1972; Efron, The Jackknife, the Bootstrap and Other
Resampling Plans, 1982, chapter 6) with documents as clusters.

Letters: K anchors, L sites, G documents.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

# One deviation of what a bias correction is off: .08 of the geometric mean of correction and information, so that 95 %
# of intervals hold over the cases of truth.py --coverage, which is thus no test of it. Where labels tell nothing the
# gap is observed, and where they are frequent there is nothing to correct. Where fewer than a tenth of the rows are of
# labels that are met in two documents it grows as one over that share, as the others need not be like them: from probes
# of a trained model.
CORRECTION_ERROR, FEW_MET = 0.08, 0.1


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

    @staticmethod
    def join(parts: Sequence[Estimate]) -> Estimate:
        """Put the sites of all parts one after the other."""
        if len(parts) == 1:
            return parts[0]
        return Estimate(
            value=torch.cat([part.value for part in parts]),
            influence=torch.cat([part.influence for part in parts]),
            systematic=torch.cat([part.systematic for part in parts]),
        )

    def map(self, change: Callable[[Tensor], Tensor]) -> Estimate:
        """Change the leading dimension of value, influence and systematic error."""
        return Estimate(value=change(self.value), influence=change(self.influence), systematic=change(self.systematic))


def correction_error(debiased: Tensor, plugin: Tensor, factor: float | Tensor) -> Tensor:
    """Say how far a bias correction may be off.

    Args:
        debiased: (...) debiased information, nats.
        plugin: (...) plug-in information, nats.
        factor: See `correction_factor`; (...) if it is a tensor.

    Returns:
        (...) one standard deviation, nats.
    """
    return factor * ((plugin - debiased) * debiased).abs().sqrt()


def correction_factor(met_share: float) -> float:
    """Say what share of the geometric mean of correction and information a bias correction may be off.

    Args:
        met_share: Share of the rows whose label is met in two documents.
    """
    few = max(1.0, FEW_MET / met_share) if met_share else math.nan
    return CORRECTION_ERROR * few
