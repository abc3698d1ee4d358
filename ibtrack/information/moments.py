"""Moments: the few means per label set that the readings are functions of.

They come from rows in a known design, or from streamed counts. What of them is not linear in the rows, such as
entropies and products of label means, comes with its first-order part by document in `LabelStatistics`; so the
first-order effect of a document on any smooth function of the moments follows from its gradient.

Letters: N rows, K anchors, L sites, C label sets, n_x rows of label x, P_x their mean, P_xh that of one of two halves
h, U bins of sample sizes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from ibtrack.information.counts import Counts
from ibtrack.information.entropy import entropy
from ibtrack.information.label_design import LabelDesign, null_variance_factors
from ibtrack.information.label_statistics import LabelStatistics
from ibtrack.information.row_statistics import RowStatistics, product_variance
from ibtrack.information.sample_sizes import size_bins


@dataclass(frozen=True)
class Moments:
    """Means over the N rows of a label set; with leading dimensions (C, L), those of several sets at several sites.

    Attributes:
        mean: (K,) mean of A_i, p.
        squares: (K,) mean of A_i².
        row_entropy: () mean of H(A_i).
        cross_products: (K,) Σ_x (n_x - 1) P_x1 P_x2 / N: products of two rows of one label in two documents.
        cross_weight: () Σ_x (n_x - 1) / N over the labels that have halves.
        same_products: () Σ_b Σ_{i≠j in b} Σ_k p_k^-½ A_ik A_jk / n_b / N over segments b: products of two rows of one
            label in one document.
        same_weight: () Σ_b (n_b - 1) / N.
        conditional: () Σ_x n_x H(P_x) / N, the plug-in H(Z|X).
        halving_gap: () Σ_x ( n_x H(P_x) - Σ_h n_xh H(P_xh) ) / N: how much entropy halves of labels lack.
        row_shares: (U,) share of the rows whose label is in the bin.
        halved_row_shares: (U,) share of the rows whose label is in the bin and has halves.
        half_row_shares: (U,) share of the rows whose half is in the bin.
        inverse_sizes: (U,) mean of 1 / n in each bin.
        concentrations: (U,) mean in each bin of q, one over the effective number of documents.
        num_rows: N.
        collision_probability: () Σ_x n_x² / N², the chance that two rows share their label.
        null_variance: (3,) expected square of Σ_k p_k^-½ ( cross_products / cross_weight - p² )_k if labels told
            nothing, as factors of (1 - ρ)², ρ (1 - ρ) and ρ²; see `null_variance_factors`.
    """

    mean: Tensor
    squares: Tensor
    row_entropy: Tensor
    cross_products: Tensor
    cross_weight: Tensor
    same_products: Tensor
    same_weight: Tensor
    conditional: Tensor
    halving_gap: Tensor
    row_shares: Tensor
    halved_row_shares: Tensor
    half_row_shares: Tensor
    inverse_sizes: Tensor
    concentrations: Tensor
    num_rows: int
    collision_probability: Tensor
    null_variance: Tensor


def moments_of_rows(
    sites: Sequence[RowStatistics], designs: Sequence[LabelDesign], statistics: Sequence[LabelStatistics]
) -> Moments:
    """Collect the moments of C label sets whose designs are known at the L sites of all ``sites``: (C, L, ...)."""
    total, like = len(sites[0].rows), sites[0].mean
    num_sites = sum(len(site.mean) for site in sites)

    def from_sites(name: str) -> Tensor:
        values = torch.cat([getattr(site, name) for site in sites])
        return values.expand(len(designs), *values.shape)

    def from_labels(name: str) -> Tensor:
        return torch.stack([getattr(each, name) for each in statistics]) / total

    def from_designs(name: str) -> Tensor:
        values = like.new_tensor([getattr(design, name) for design in designs])
        return values.unsqueeze(1).expand(-1, num_sites, *values.shape[1:])

    def from_bins(name: str, beyond: float = 0.0) -> Tensor:
        values = pad_sequence([getattr(design.bins, name) for design in designs], True, beyond)
        return values.unsqueeze(1).expand(-1, num_sites, -1)

    return Moments(
        mean=from_sites("mean"),
        squares=from_sites("squares"),
        row_entropy=from_sites("row_entropy"),
        cross_products=from_labels("cross_products"),
        cross_weight=from_designs("cross_weight"),
        same_products=torch.stack([each.document_same_products.sum(1) for each in statistics]) / total,
        same_weight=from_designs("same_weight"),
        conditional=from_labels("conditional"),
        halving_gap=from_labels("halving_gap"),
        row_shares=from_bins("row_shares"),
        halved_row_shares=from_bins("halved_row_shares"),
        half_row_shares=from_bins("half_row_shares"),
        inverse_sizes=from_bins("inverse_sizes", 1.0),
        concentrations=from_bins("concentrations", 1.0),
        num_rows=total,
        collision_probability=from_designs("collision_probability"),
        null_variance=from_sites("product_variance").unsqueeze(-1) * from_designs("null_variance_factors"),
    )


def moments_of_counts(counts: Counts) -> Moments:
    """Work out the moments of one label set from streamed counts, whose rows count as documents of their own."""
    total = counts.total
    n, halves = counts.occurrences, counts.half_occurrences
    repeated = n > 1
    entropies = entropy(counts.sums / n.clamp(min=1).unsqueeze(1))
    half_means = counts.half_sums / halves.clamp(min=1).unsqueeze(2)
    gap = (n * entropies - (halves * entropy(half_means)).sum(0))[repeated].sum()
    in_halves = halves[:, repeated].flatten()
    inverse_sizes, bins = size_bins(n.long(), in_halves.long())

    def shares(sizes: Tensor) -> Tensor:
        return n.new_zeros(len(inverse_sizes)).index_add_(0, bins[sizes.long()], sizes) / total

    first, second = half_means
    mean = counts.sums.sum(0) / total
    inverse_half_sizes = 1 / halves[:, repeated].T
    factors = mean.new_tensor(null_variance_factors(n[repeated] - 1, inverse_half_sizes, inverse_half_sizes))
    none = mean.new_zeros(())
    return Moments(
        mean=mean,
        squares=counts.products.diagonal() / total,
        row_entropy=counts.row_entropy / total,
        cross_products=(n - 1).clamp(min=0) @ (first * second) / total,
        cross_weight=(total - (n > 0).sum()) / total,
        same_products=none,
        same_weight=none,
        conditional=n @ entropies / total,
        halving_gap=gap / total,
        row_shares=shares(n),
        halved_row_shares=shares(n[repeated]),
        half_row_shares=shares(in_halves),
        inverse_sizes=inverse_sizes,
        concentrations=inverse_sizes,
        num_rows=int(total),
        collision_probability=(n / total).square().sum(),
        null_variance=product_variance(counts.products / total, mean) * factors,
    )
