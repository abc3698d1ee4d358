"""Statistics of the rows by label: what they add to the moments, in total and by document.

Letters: N rows, K anchors, L sites, G documents, x a label with n_x rows and mean P_x, h one of its two halves, c a
cell: the n_c rows of one label and one document, with sum S_c.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import reduce

import torch
from torch import Tensor

from ibtrack.information.entropy import TINY, entropy
from ibtrack.information.label_design import LabelChunk, LabelDesign
from ibtrack.information.row_statistics import RowStatistics


@dataclass(frozen=True)
class LabelStatistics:
    """What the rows of L sites add to the moments of one label set, float64.

    What is not linear in the rows, such as an entropy or a product of sums, is given by document to first order: as
    the derivative by the weight of the document.

    Attributes:
        conditional: (L,) Σ_x n_x H(P_x).
        halving_gap: (L,) Σ_x ( n_x H(P_x) - Σ_h n_xh H(P_xh) ).
        document_conditional: (L, G) Σ_i -A_i log P_x, or Σ_i H(A_i) where the label occurs once; sums to the total.
        document_halving: (L, G) Σ_i A_i ( log P_xh - log P_x ), which sums to the total, but that of labels in two
            documents times `ibtrack.information.label_design.HALVES_OF_TWO`.
        document_cross_products: (L, G) Σ_c (2 / n_x) Σ_k p_k^-½ S_ck ( S_xk - S_ck ), from pairs of rows of one label
            in two documents; sums to twice the total.
        document_same_products: (L, G) Σ_c Σ_{i≠j in c} Σ_k p_k^-½ A_ik A_jk / n_c, from pairs of rows of one cell.
    """

    conditional: Tensor
    halving_gap: Tensor
    document_conditional: Tensor
    document_halving: Tensor
    document_cross_products: Tensor
    document_same_products: Tensor

    def plus(self, other: LabelStatistics) -> LabelStatistics:
        """Add, in place, the statistics of other labels of the same set at the same sites."""
        for field in fields(LabelStatistics):
            getattr(self, field.name).add_(getattr(other, field.name))
        return self

    @staticmethod
    def join(parts: Sequence[LabelStatistics]) -> LabelStatistics:
        """Put the sites of all parts one after the other."""
        names = [field.name for field in fields(LabelStatistics)]
        return LabelStatistics(**{name: torch.cat([getattr(part, name) for part in parts]) for name in names})


def conditional_entropies(sites: Sequence[RowStatistics], designs: Sequence[LabelDesign]) -> list[Tensor]:
    """Work out Σ_x n_x H(P_x) of each label set, (L,), which is all that the plug-in reading needs."""
    return [torch.cat([_conditional_entropy(site, design) for site in sites]) for design in designs]


def _conditional_entropy(site: RowStatistics, design: LabelDesign) -> Tensor:
    total = (site.entropy * (design.cell_size == 0).unsqueeze(1)).sum(0, dtype=torch.float64)
    for chunk in design.chunks:
        labels = _label_sums(chunk, chunk.parts.sum_rows(chunk.cells.sum_rows(site.rows)))
        total -= (labels * _log_means(labels, chunk.occurrences)).sum((0, 2), dtype=torch.float64)
    return total


def equally_weighted_entropies(
    sites: Sequence[RowStatistics], designs: Sequence[LabelDesign], fewest: int
) -> list[Tensor]:
    """Work out the mean of H(P_x) over the labels x of each label set that occur ``fewest`` times or more, at least 2.

    Returns:
        One (L,) for each label set, float64; ``nan`` where no label is that frequent.
    """
    return [torch.cat([_equally_weighted_entropy(site, design, fewest) for site in sites]) for design in designs]


def _equally_weighted_entropy(site: RowStatistics, design: LabelDesign, fewest: int) -> Tensor:
    total = site.mean.new_zeros(site.rows.shape[1], dtype=torch.float64)
    number = total.new_zeros(())
    for chunk in design.chunks:
        often = chunk.occurrences >= fewest
        means = _label_sums(chunk, chunk.parts.sum_rows(chunk.cells.sum_rows(site.rows)))
        means /= chunk.occurrences.view(-1, 1, 1)
        total += (entropy(means) * often.unsqueeze(1)).sum(0, dtype=torch.float64)
        number += often.sum()
    return total / number


def label_statistics(sites: Sequence[RowStatistics], designs: Sequence[LabelDesign]) -> list[LabelStatistics]:
    """Work out the statistics of every label set at the L sites of all ``sites``."""
    by_site = [[_statistics_of_site(site, design) for design in designs] for site in sites]  # rows stay in the cache
    joined = [LabelStatistics.join(parts) for parts in zip(*by_site, strict=True)]
    return [_with_rows(statistics, sites, design) for statistics, design in zip(joined, designs, strict=True)]


def _statistics_of_site(site: RowStatistics, design: LabelDesign) -> LabelStatistics:
    """Add up what the rows of labels add that occur more than once."""
    if design.chunks:
        return reduce(LabelStatistics.plus, (_statistics_of_chunk(site, chunk) for chunk in design.chunks))
    zeros = site.mean.new_zeros(site.rows.shape[1], site.documents.num_documents)
    return LabelStatistics(zeros[:, 0], zeros[:, 0], zeros, zeros, zeros, zeros)


def _statistics_of_chunk(site: RowStatistics, chunk: LabelChunk) -> LabelStatistics:
    """Work out the statistics of r + s labels that occur more than once, in 2 r + s parts."""
    two = 2 * chunk.num_halved
    cells = chunk.cells.sum_rows(site.rows)  # (cells, L, K)
    parts = chunk.parts.sum_rows(cells)  # (2 r + s, L, K)
    labels = _label_sums(chunk, parts)  # (r + s, L, K)
    log_half = _log_means(parts[:two], chunk.part_occurrences[:two])
    log_label = _log_means(labels, chunk.occurrences)
    in_halves = len(chunk.part_of_cell)

    by_label = _products(chunk.label_pattern, chunk.label_of_cell, cells, log_label)  # (cells, L) Σ_i A_i log P_x
    halving = torch.zeros_like(by_label)
    halving[:in_halves] = (
        _products(chunk.part_pattern, chunk.part_of_cell, cells[:in_halves], log_half) - by_label[:in_halves]
    )
    weighted = labels.mul_(site.weight)
    squares = cells.square().mul_(site.weight).sum(-1)  # (cells, L)
    cross = _products(chunk.label_pattern, chunk.label_of_cell, cells, weighted) - squares
    factor = 2 / chunk.occurrences.index_select(0, chunk.label_of_cell)
    factor[in_halves:] = 0
    same = squares * (chunk.cell_sizes > 1).unsqueeze(1) / chunk.cell_sizes.unsqueeze(1)
    by_cell = torch.cat([-by_label, halving, cross * factor.unsqueeze(1), same], 1)
    totals = by_cell.sum(0, dtype=torch.float64).split(by_label.shape[1])
    by_cell.split(by_label.shape[1], 1)[1].mul_(chunk.cell_weights.unsqueeze(1))  # after the totals
    by_document = chunk.sum_by_document(by_cell).double().T.split(by_label.shape[1])
    return LabelStatistics(totals[0], totals[1], *by_document)


def _with_rows(statistics: LabelStatistics, sites: Sequence[RowStatistics], design: LabelDesign) -> LabelStatistics:
    """Add the entropies of rows whose label occurs once, and take the pairs i = j out of the products of cells."""
    size = design.cell_size.unsqueeze(1)
    single = torch.cat([site.entropy for site in sites], 1) * (size == 0)
    squares = torch.cat([site.weighted_squares for site in sites], 1) * torch.where(size > 1, 1 / size, 0.0)
    by_document = sites[0].documents.segments.sum_rows(torch.cat([single, squares], 1)).double().T
    document_single, document_squares = by_document.split(single.shape[1])
    return replace(
        statistics,
        conditional=statistics.conditional + document_single.sum(1),
        document_conditional=statistics.document_conditional + document_single,
        document_same_products=statistics.document_same_products - document_squares,
    )


def _label_sums(chunk: LabelChunk, parts: Tensor) -> Tensor:
    """Add the halves of labels that have them: (2 r + s, L, K) to (r + s, L, K)."""
    two = 2 * chunk.num_halved
    return torch.cat([parts[:two:2] + parts[1:two:2], parts[two:]])


def _log_means(sums: Tensor, occurrences: Tensor) -> Tensor:
    """Take logarithms of the (m, L, K) means of labels, from the sums of so many rows."""
    return (sums / occurrences.view(-1, 1, 1)).clamp_(min=TINY).log_()


def _products(pattern: Tensor, lines: Tensor, sums: Tensor, table: Tensor) -> Tensor:
    """Multiply (cells, L, K) sums with the lines of a (m, L, K) table that belong to them: (cells, L).

    The lines, (cells,), stand in the pattern, a sparse matrix with one entry for each cell, as well.
    """
    if sums.shape[1] == 1:
        products = torch.sparse.sampled_addmm(pattern, table.flatten(1), sums.flatten(1).T, beta=0)
        return products.values().unsqueeze(1)
    return table.index_select(0, lines).mul_(sums).sum(-1)
