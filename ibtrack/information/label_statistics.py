"""Statistics of the rows by label: all that a label set adds to its moments, in total and by document.

Letters: N rows, K anchors, L sites, G documents, n_x rows of label x, P_x their mean, P_xh the mean of one of its two
halves h. Of the labels, R have halves, R' occur several times in a single document, the others once. A segment b holds
n_b rows of one label and one document.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import reduce

import torch
from torch import Tensor
from torch.nn.functional import pad

from ibtrack.information.entropy import TINY
from ibtrack.information.label_design import LabelChunk, LabelDesign
from ibtrack.information.row_statistics import RowStatistics


@dataclass(frozen=True)
class LabelStatistics:
    """What the rows of L sites add to the moments of one label set, in total and by document.

    Entropies and products of label means are not linear in their rows; what is given by document is their first-order
    part. All are float64 but the last.

    Attributes:
        label_entropies: (L, R + R') n_x H(P_x) of the labels that occur more than once.
        single_entropy: (L,) Σ H(A_i) over the rows of the others; zero as long as that has not been added.
        halving_gap: (L,) Σ_x ( n_x H(P_x) - Σ_h n_xh H(P_xh) ).
        cross_products: (L, K) Σ_x (n_x - 1) P_x1 P_x2, from pairs of rows of one label in two documents.
        document_conditional: (L, G) Σ_i -A_i log P_x, or Σ_i H(A_i) where the label occurs once.
        document_halving: (L, G) Σ_i A_i ( log P_xh - log P_x ) G_x / (G_x - 1), for a label in G_x documents.
        document_same_products: (L, G) Σ_b Σ_{i≠j in b} Σ_k p_k^-½ A_ik A_jk / n_b, from pairs of rows of one label in
            one document.
        document_cross_products: (L, G, K) Σ_i ( P_xh + (n_x - 1) / n_xh (A_i - P_xh) ) P_xg with the other half g,
            float32.
    """

    label_entropies: Tensor
    single_entropy: Tensor
    halving_gap: Tensor
    cross_products: Tensor
    document_conditional: Tensor
    document_halving: Tensor
    document_same_products: Tensor
    document_cross_products: Tensor

    @property
    def conditional(self) -> Tensor:
        """(L,) Σ_x n_x H(P_x)."""
        return self.label_entropies.sum(1) + self.single_entropy

    def plus(self, other: LabelStatistics) -> LabelStatistics:
        """Add, in place, the statistics of other labels of the same set at the same sites."""
        for field in fields(LabelStatistics)[1:]:
            getattr(self, field.name).add_(getattr(other, field.name))
        return replace(self, label_entropies=torch.cat([self.label_entropies, other.label_entropies], 1))

    @staticmethod
    def join(parts: Sequence[LabelStatistics]) -> LabelStatistics:
        """Put the sites of all parts one after the other."""
        names = [field.name for field in fields(LabelStatistics)]
        return LabelStatistics(**{name: torch.cat([getattr(part, name) for part in parts]) for name in names})


def label_entropies(sites: Sequence[RowStatistics], designs: Sequence[LabelDesign]) -> list[tuple[Tensor, Tensor]]:
    """Work out the entropies of label means alone, which is all that the plug-in reading needs.

    Returns:
        For each label set ``label_entropies`` and ``single_entropy`` of `LabelStatistics`, (L, R + R') and (L,).
    """
    entropies = []
    for design in designs:
        by_site = [_label_entropies_of_site(site, design) for site in sites]
        labels, singles = zip(*by_site, strict=True)
        entropies.append((torch.cat(labels), torch.cat(singles)))
    return entropies


def _label_entropies_of_site(site: RowStatistics, design: LabelDesign) -> tuple[Tensor, Tensor]:
    single = (site.entropy * (design.segment_size == 0).unsqueeze(1)).sum(0, dtype=torch.float64)
    entropies = [single.new_zeros(len(single), 0)]
    for chunk in design.chunks:
        parts, two = chunk.segments.sum_rows(site.rows), 2 * chunk.num_halved
        sums = torch.cat([parts[:two:2] + parts[1:two:2], parts[two:]])
        entropies.append((sums * _log_means(sums, chunk.occurrences)).sum(-1).double().T.neg())
    return torch.cat(entropies, 1), single


def label_statistics(sites: Sequence[RowStatistics], designs: Sequence[LabelDesign]) -> list[LabelStatistics]:
    """Work out the statistics of every label set at the L sites of all ``sites``."""
    factors = [[_ProductFactors.from_chunk(chunk) for chunk in design.chunks] for design in designs]
    by_site = []
    for site in sites:  # its rows stay in the cache for all label sets
        by_site.append([_statistics_of_site(site, *both) for both in zip(designs, factors, strict=True)])
    joined = [LabelStatistics.join(parts) for parts in zip(*by_site, strict=True)]
    return [_with_rows(statistics, sites, design) for statistics, design in zip(joined, designs, strict=True)]


def _statistics_of_site(
    site: RowStatistics, design: LabelDesign, factors: Sequence[_ProductFactors]
) -> LabelStatistics:
    """Add up what the rows of labels add that occur more than once."""
    if design.chunks:
        chunks = zip(design.chunks, factors, strict=True)
        return reduce(LabelStatistics.plus, (_statistics_of_chunk(site, *both) for both in chunks))
    _, num_sites, num_anchors = site.rows.shape
    zeros = site.mean.new_zeros(num_sites, site.documents.num_documents)
    products = site.rows.new_zeros(*zeros.shape, num_anchors)
    return LabelStatistics(
        label_entropies=zeros[:, :0],
        single_entropy=zeros[:, 0],
        halving_gap=zeros[:, 0],
        cross_products=products[:, 0].double(),
        document_conditional=zeros,
        document_halving=zeros,
        document_same_products=zeros,
        document_cross_products=products,
    )


def _with_rows(statistics: LabelStatistics, sites: Sequence[RowStatistics], design: LabelDesign) -> LabelStatistics:
    """Add the entropies of rows whose label occurs once, and take the pairs i = j out of the products of segments."""
    size = design.segment_size.unsqueeze(1)
    single = torch.cat([site.entropy for site in sites], 1) * (size == 0)
    squares = torch.cat([site.weighted_squares for site in sites], 1) * torch.where(size > 1, 1 / size.float(), 0.0)
    by_document = sites[0].documents.segments.sum_rows(torch.cat([single, squares], 1)).double().T
    document_single, document_squares = by_document.split(single.shape[1])
    return replace(
        statistics,
        single_entropy=document_single.sum(1),
        document_conditional=statistics.document_conditional + document_single,
        document_same_products=statistics.document_same_products - document_squares,
    )


@dataclass(frozen=True)
class _ProductFactors:
    """Factors of P_x1 P_x2 in the statistics of a chunk of r + s labels; parts without halves have the factor 0.

    Attributes:
        label: (r,) ( n_x - 1 ) / ( n_x1 n_x2 ).
        part: (2 r + s, 1, 1) the same by part.
        partner: (segments,) the part of the other half, for each segment of a half.
        segment_label: (segments,) label of each segment in the order of documents, 0 for those without halves.
        segment: (segments,) factor of P_x1 P_x2 in the same order: n_b ( 1 - ( n_x - 1 ) / n_xh ) / ( n_x1 n_x2 ).
    """

    label: Tensor
    part: Tensor
    partner: Tensor
    segment_label: Tensor
    segment: Tensor

    @classmethod
    def from_chunk(cls, chunk: LabelChunk) -> _ProductFactors:
        two, part = 2 * chunk.num_halved, chunk.segments.group
        halves = chunk.part_occurrences[:two].view(-1, 2)
        inverse, weight = 1 / halves.prod(1, keepdim=True), chunk.occurrences[: chunk.num_halved].unsqueeze(1) - 1
        rest = pad((inverse * (1 - weight / halves)).flatten(), (0, len(chunk.part_occurrences) - two))
        label = (weight * inverse).expand(-1, 2).flatten()
        in_halves, order = part < two, chunk.document_order
        return cls(
            label=label[::2],
            part=pad(label, (0, len(chunk.part_occurrences) - two)).view(-1, 1, 1),
            partner=torch.where(in_halves, part ^ 1, part),
            segment_label=(part // 2 * in_halves).index_select(0, order),
            segment=(rest.index_select(0, part) * chunk.segments.sizes).index_select(0, order),
        )


def _statistics_of_chunk(site: RowStatistics, chunk: LabelChunk, factors: _ProductFactors) -> LabelStatistics:
    """Work out the statistics of r + s labels that occur more than once, in 2 r + s parts."""
    two, segments = 2 * chunk.num_halved, chunk.segments
    within = segments.sum_within(site.rows)  # (segments, L, K)
    parts = segments.sum_segments(within)  # (2 r + s, L, K)
    first, second = parts[:two:2], parts[1:two:2]
    product = first * second  # (r, L, K)
    labels = first + second  # (r, L, K)
    log_part, log_label = _log_means(parts, chunk.part_occurrences), _log_means(labels, chunk.occurrences[: two // 2])
    part_terms = (parts * log_part).sum(-1)  # (2 r + s, L) -n H(P), float32 like all that is worked out by label
    label_terms = labels.mul_(log_label).sum(-1)  # (r, L)
    gap = part_terms[:two].sum(0, dtype=torch.float64) - label_terms.sum(0, dtype=torch.float64)
    conditional, halving, same = _document_terms(site, chunk, within, log_part, log_label)

    rows_times_other = (parts * factors.part).index_select(0, factors.partner).mul_(within)  # (n_x-1)/n_xh A_i P_xg
    cross = chunk.sum_by_document(rows_times_other)
    if two:
        cross += chunk.sum_by_document(product, factors.segment_label, factors.segment)
    return LabelStatistics(
        label_entropies=torch.cat([-label_terms, -part_terms[two:]]).double().T,
        single_entropy=torch.zeros_like(gap),
        halving_gap=gap,
        cross_products=(factors.label @ product.flatten(1)).double().view(site.rows.shape[1:]),
        document_conditional=conditional,
        document_halving=halving,
        document_same_products=same,
        document_cross_products=cross.movedim(1, 0),
    )


def _document_terms(
    site: RowStatistics, chunk: LabelChunk, within: Tensor, log_part: Tensor, log_label: Tensor
) -> tuple[Tensor, ...]:
    """Add up by document, (L, G) each: the conditional entropy, the halving gap, the products within segments."""
    by_part = _products(chunk.part_pattern, within, log_part)  # (segments, L)
    by_label = _products(chunk.label_pattern, within[: chunk.label_pattern.shape[1]], log_label)
    by_label = torch.cat([by_label, by_part[len(by_label) :]])
    gap = (by_part - by_label) * chunk.deletion_factors.unsqueeze(1)
    squares = within.index_select(0, chunk.multi_row).square_().mul_(site.weight).sum(-1)
    squares /= chunk.segments.sizes.index_select(0, chunk.multi_row).unsqueeze(1)
    same = torch.zeros_like(gap).index_copy_(0, chunk.multi_row.long(), squares)
    by_segment = torch.cat([-by_label, gap, same], 1)
    return chunk.sum_by_document(by_segment).double().T.split(gap.shape[1])


def _log_means(sums: Tensor, occurrences: Tensor) -> Tensor:
    """Take logarithms of the (m, L, K) means of labels, from the sums of so many rows."""
    return (sums / occurrences.view(-1, 1, 1)).clamp_(min=TINY).log_()


def _products(pattern: Tensor, sums: Tensor, table: Tensor) -> Tensor:
    """Multiply (segments, L, K) sums with the lines of a (m, L, K) table that the pattern gives them: (segments, L)."""
    if sums.shape[1] == 1:
        products = torch.sparse.sampled_addmm(pattern, table.flatten(1), sums.flatten(1).T, beta=0)
        return products.values().unsqueeze(1)
    line = torch.arange(len(table), device=table.device).repeat_interleave(pattern.crow_indices().diff())
    return table.index_select(0, line).mul_(sums).sum(-1)
