"""Standard errors over documents, by the infinitesimal jackknife, and how far a bias correction may be off.

A number that is a smooth function of moments changes to first order by ψ_d when the weight of document d changes: its
influence. Rows inside a document depend on each other and documents do not, so G / (G - 1) Σ_d ψ_d² estimates the
variance of the number: the infinitesimal jackknife (Jaeckel 1972; Efron, The Jackknife, the Bootstrap and Other
Resampling Plans, 1982, chapter 6) with documents as clusters.

Letters: N rows, K anchors, L sites, C label sets, G documents, U' coarse bins of sample sizes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ibtrack.information.entropy import TINY
from ibtrack.information.label_design import LabelDesign
from ibtrack.information.label_statistics import LabelStatistics
from ibtrack.information.moments import Moments
from ibtrack.information.row_statistics import RowStatistics
from ibtrack.information.sample_sizes import SampleSizeBins

CORRECTION_ERROR = 0.04  # of the bias correction, one deviation; from the cases of experiments/benchmarks/truth.py
FAINT = 0.02  # fraction of log K at which half of that error is taken, as independent labels have none in truth.py


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


def document_influences(
    sites: Sequence[RowStatistics],
    designs: Sequence[LabelDesign],
    statistics: Sequence[LabelStatistics],
    gradient: Moments,
) -> Tensor:
    """Work out the influence of every document on a function of the moments.

    Args:
        sites: Rows of L sites.
        designs: Designs of C label sets.
        statistics: Statistics of the same label sets at these sites.
        gradient: (C, L, ...) derivative of the function by every moment.

    Returns:
        (C, L, G) influences; they sum to about 0.
    """
    g, documents = gradient, sites[0].documents
    sums, squares, entropy = (
        torch.cat([getattr(site, f"document_{name}") for site in sites]) for name in ("sums", "squares", "entropy")
    )
    cloud = torch.einsum("lgk,clk->clg", sums, g.mean) + torch.einsum("lgk,clk->clg", squares, g.squares)
    cloud += entropy * g.row_entropy.unsqueeze(-1)
    totals = []
    for c, (design, labels) in enumerate(zip(designs, statistics, strict=True)):
        bins = design.bins
        total = cloud[c] + _by_coarse_bin(g.row_shares[c], bins, bins.row_shares) @ bins.document_rows.T
        total += _by_coarse_bin(g.halved_row_shares[c], bins, bins.halved_row_shares) @ bins.document_halved_rows.T
        total += _by_coarse_bin(g.half_row_shares[c], bins, bins.half_row_shares) @ bins.document_half_rows.T
        total += g.conditional[c].unsqueeze(1) * labels.document_conditional
        total += g.halving_gap[c].unsqueeze(1) * labels.document_halving
        total += g.same_products[c].unsqueeze(1) * labels.document_same_products
        total += torch.einsum("lgk,lk->lg", labels.document_cross_products, g.cross_products[c].float())
        total += g.cross_weight[c].unsqueeze(1) * design.document_cross_weight
        total += g.same_weight[c].unsqueeze(1) * design.document_same_weight
        totals.append(total)
    return documents.influence(torch.stack(totals))


def correction_error(debiased: Tensor, plugin: Tensor, num_anchors: int) -> Tensor:
    """Say how far a bias correction may be off: 4 % of it, and nothing where there is no information.

    Args:
        debiased: (...) debiased information, nats.
        plugin: (...) plug-in information, nats.
        num_anchors: K.

    Returns:
        (...) one standard deviation, nats.
    """
    return CORRECTION_ERROR * (plugin - debiased).abs() * debiased / (debiased + FAINT * math.log(num_anchors))


def _by_coarse_bin(gradient: Tensor, bins: SampleSizeBins, shares: Tensor) -> Tensor:
    """Average a gradient (L, U) over the rows of each coarse bin: (L, U') float32."""
    weighted = gradient[:, : len(shares)] * shares
    sums = weighted.new_zeros(len(weighted), bins.document_rows.shape[1]).index_add_(1, bins.coarse_bin, weighted)
    rows = shares.new_zeros(sums.shape[1]).index_add_(0, bins.coarse_bin, shares)
    return (sums / rows.clamp(min=TINY)).float()
