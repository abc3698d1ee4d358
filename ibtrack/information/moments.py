"""Moments: the few numbers per site and label set that the readings are functions of, with their influences.

The first-order effect of a document on any smooth function of the moments follows from the function's gradient and
from what the document does to each moment.

Letters: N rows, K anchors, L sites, C label sets, G documents, U pairs of sample size and concentration, J + 1 nodes,
n_x rows of label x, P_x their mean, P_xh that of one of two halves h.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

import torch
from torch import Tensor

from ibtrack.information.design_tables import DesignTables
from ibtrack.information.gap_curves import GapCurves
from ibtrack.information.joint_design import JointDesign
from ibtrack.information.label_design import LabelDesign
from ibtrack.information.label_statistics import LabelStatistics
from ibtrack.information.row_statistics import RowStatistics, together

SITE_MOMENTS = ("marginal_entropy", "row_entropy", "squares", "other_products")
LABEL_MOMENTS = ("cross_products", "same_products", "conditional", "halving_gap")
CURVES = ("beta", "lognormal")
SHARES = ("row_shares", "halved_row_shares", "half_row_shares")


@dataclass(frozen=True)
class Moments:
    """Moments of C label sets at L sites, float64. Products are Σ_k p_k^-½ A_ik A_jk of two rows i and j.

    Attributes:
        marginal_entropy: (C, L) H(p), p the mean of A_i.
        marginal_bias: (C, L) see `RowStatistics.marginal_bias`.
        row_entropy: (C, L) mean of H(A_i).
        squares: (C, L) mean product of a row with itself.
        other_products: (C, L) mean product of two rows of two documents.
        cross_products: (C, L) mean product of two rows of one label in two documents, where each label weighs
            n_x (1 - q_x).
        same_products: (C, L) mean product of two rows of one label in one document.
        conditional: (C, L) Σ_x n_x H(P_x) / N, the plug-in H(Z|X).
        halving_gap: (C, L) Σ_x ( n_x H(P_x) - Σ_h n_xh H(P_xh) ) / N: how much entropy halves of labels lack.
        beta: (C, L, J + 1), lognormal: the same, null_excess: the same; see `GapCurves`.
        row_shares: (C, 1, U) share of the rows whose label has this sample size and concentration.
        halved_row_shares: (C, 1, U) the same for labels that have halves.
        half_row_shares: (C, 1, U) share of the rows whose half has this sample size and concentration.
        inverse_sizes: (C, 1, U) 1 / n.
        concentrations: (C, 1, U) q, one over the effective number of documents.
        has_pairs: (C, 1) whether there are two rows of one label in one document.
        collision_probability: (C, 1) chance that two rows of two documents share their label.
        null_variance: (C, L, 3) variance of ``cross_products`` if labels told nothing, as factors of (1 - ρ)²,
            ρ (1 - ρ) and ρ²; see `ibtrack.information.label_design.null_variance_factors`.
    """

    marginal_entropy: Tensor
    marginal_bias: Tensor
    row_entropy: Tensor
    squares: Tensor
    other_products: Tensor
    cross_products: Tensor
    same_products: Tensor
    conditional: Tensor
    halving_gap: Tensor
    beta: Tensor
    lognormal: Tensor
    null_excess: Tensor
    row_shares: Tensor
    halved_row_shares: Tensor
    half_row_shares: Tensor
    inverse_sizes: Tensor
    concentrations: Tensor
    has_pairs: Tensor
    collision_probability: Tensor
    null_variance: Tensor


@dataclass(frozen=True)
class Influences:
    """First-order change of the moments by each of G documents; each sums to about 0 over documents.

    What the halves of a label in two documents do is raised, see `ibtrack.information.label_design.HALVES_OF_TWO`.

    Attributes:
        site: Name in `SITE_MOMENTS` to (L, G).
        labels: Name in `LABEL_MOMENTS` to (C, L, G).
        curves: Name in `CURVES` to (L, J + 1, G).
        designs: The designs of the label sets, for the shares; one that joins them, or one of each.
        sites: The rows of the sites.
    """

    site: dict[str, Tensor]
    labels: dict[str, Tensor]
    curves: dict[str, Tensor]
    designs: JointDesign | Sequence[LabelDesign]
    sites: Sequence[RowStatistics]

    def of(self, gradient: dict[str, Tensor]) -> Tensor:
        """Work out the influence of each document on a function of the moments.

        Args:
            gradient: Name of a moment to the derivative of the function by it, of the shape of the moment.

        Returns:
            (C, L, G).
        """
        changes = (*self.site.items(), *self.labels.items())
        total = reduce(torch.add, (gradient[name].unsqueeze(-1) * change for name, change in changes))
        for name, change in self.curves.items():
            total += torch.einsum("clj,ljg->clg", gradient[name], change)
        documents = self.sites[0].documents
        if isinstance(self.designs, JointDesign):
            sums = self.designs.sum_by_document(*(gradient[name] for name in SHARES))
            return total.add_(documents.influence(sums.double()))
        for c, design in enumerate(self.designs):
            number = len(design.sizes.inverse_sizes)
            rows, halved, half = (gradient[name][c, :, :number] for name in SHARES)
            total[c] += documents.influence(design.sizes.sum_by_document(rows, halved, half).double())
        return total


def moments_of_rows(
    sites: Sequence[RowStatistics],
    designs: JointDesign | Sequence[LabelDesign],
    statistics: Sequence[LabelStatistics],
    curves: GapCurves,
) -> tuple[Moments, Influences]:
    """Collect the moments of C label sets at the L sites of all ``sites``, and what documents do to them."""
    documents, number = sites[0].documents, len(statistics)
    total = len(documents.index)
    tables = designs.tables if isinstance(designs, JointDesign) else DesignTables.from_designs(designs)

    def of_sites(name: str) -> Tensor:
        return together([getattr(site, name) for site in sites])

    def by_document(name: str) -> Tensor:
        return torch.stack([getattr(each, f"document_{name}") for each in statistics])

    mean, squares = of_sites("mean"), of_sites("document_squares")
    weight = of_sites("weight").double().unsqueeze(-1)
    other, other_change = (together(parts) for parts in zip(*(site.other_products for site in sites), strict=True))
    surprise, entropy = of_sites("document_surprise"), of_sites("document_entropy")
    weighted_squares = (squares @ weight).squeeze(-1)  # (L, G)

    cross, same = by_document("cross_products"), by_document("same_products")  # (C, L, G)
    cross_weight, same_weight = (each.unsqueeze(-1) * total for each in (tables.cross_weight, tables.same_weight))
    cross_mean = cross.sum(-1, keepdim=True) / (2 * cross_weight)
    has_pairs = same_weight > 0  # without pairs neither the number nor its gradient may be nan
    same_weight = torch.where(has_pairs, same_weight, 1.0)
    same_mean = same.sum(-1, keepdim=True) / same_weight
    conditional, halving = by_document("conditional"), by_document("halving")

    def expanded(values: Tensor) -> Tensor:
        return values.expand(number, *values.shape)

    moments = Moments(
        marginal_entropy=expanded(surprise.sum(1) / total),
        marginal_bias=expanded(of_sites("marginal_bias")),
        row_entropy=expanded(of_sites("row_entropy")),
        squares=expanded(weighted_squares.sum(1) / total),
        other_products=expanded(other),
        cross_products=cross_mean.squeeze(-1),
        same_products=same_mean.squeeze(-1),
        conditional=torch.stack([each.conditional for each in statistics]) / total,
        halving_gap=torch.stack([each.halving_gap for each in statistics]) / total,
        beta=expanded(curves.beta),
        lognormal=expanded(curves.lognormal),
        null_excess=expanded(curves.null_excess),
        row_shares=tables.row_shares,
        halved_row_shares=tables.halved_row_shares,
        half_row_shares=tables.half_row_shares,
        inverse_sizes=tables.inverse_sizes,
        concentrations=tables.concentrations,
        has_pairs=has_pairs.squeeze(-1),
        collision_probability=tables.collision_probability,
        null_variance=of_sites("product_variance").unsqueeze(-1) * tables.null_variance_factors,
    )
    influences = Influences(
        site={
            "marginal_entropy": documents.influence(surprise),
            "row_entropy": documents.influence(entropy),
            "squares": documents.influence(weighted_squares),
            "other_products": other_change,
        },
        labels={
            "cross_products": (cross - cross_mean * tables.document_cross_weight) / cross_weight,
            "same_products": (same - same_mean * tables.document_same_weight) / same_weight,
            "conditional": documents.influence(conditional),
            "halving_gap": documents.influence(halving),
        },
        curves=_curve_influences(curves, sites, mean),
        designs=designs,
        sites=sites,
    )
    return moments, influences


def _curve_influences(curves: GapCurves, sites: Sequence[RowStatistics], mean: Tensor) -> dict[str, Tensor]:
    """Work out how each document moves the nodes of the curves, through p and the mean of A², (L, J + 1, G)."""
    sums = together([site.document_sums for site in sites]).mT  # (L, K, G)
    squares = together([site.document_squares for site in sites]).mT
    documents = sites[0].documents
    return {
        name: documents.influence(by_mean @ sums + by_squares @ squares)
        for name, (by_mean, by_squares) in curves.jacobians(mean).items()
    }
