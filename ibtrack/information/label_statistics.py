"""Rows in known groups to sums: all that a label set adds to its moments, in all and by document.

Letters: N rows, K anchors, L sites, n_x rows of label x, P_x their mean; R labels whose occurrences are dealt to two
halves h, P_xh the mean of one; R' labels that occur several times in a single document; B bags of rows of one label and
document; G documents.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import reduce

import torch
from torch import Tensor
from torch.nn.functional import pad

from ibtrack.information.label_design import LabelChunk, LabelDesign
from ibtrack.information.row_statistics import TINY, RowStatistics


@dataclass(frozen=True)
class LabelStatistics:
    """What the rows of L sites add to the moments of a label set, in all and by document.

    The entropies and products of labels are not linear in their rows; by document they are to first order.

    Attributes:
        label_entropy: (L, R + R') n_x H(P_x) of the labels seen more than once.
        once: (L,) Σ H(A_i) over the rows of the others; zero if that is not added yet.
        halving: (L,) Σ_x ( n_x H(P_x) - Σ_h n_xh H(P_xh) ).
        pairs: (L, K) Σ_x (n_x - 1) P_x1 P_x2.
        document_conditional: (L, G) -Σ_i A_i log P_x, or H(A_i) where the label occurs once.
        document_halving: (L, G) Σ_i A_i ( log P_xh - log P_x ) D / (D - 1), for D documents of the label.
        document_mates: (L, G) Σ_b Σ_{i≠j in b} Σ_k p_k^-½ A_ik A_jk / n_b.
        document_pairs: (L, G, K) Σ_i ( P_xh + (n_x - 1) / n_xh (A_i - P_xh) ) P_xg with the other half g, float32.
    """

    label_entropy: Tensor
    once: Tensor
    halving: Tensor
    pairs: Tensor
    document_conditional: Tensor
    document_halving: Tensor
    document_mates: Tensor
    document_pairs: Tensor

    @property
    def conditional(self) -> Tensor:
        """(L,) Σ_x n_x H(P_x)."""
        return self.label_entropy.sum(1) + self.once

    def plus(self, other: LabelStatistics) -> LabelStatistics:
        """With other labels of the same set, added in place."""
        for field in fields(LabelStatistics)[1:]:
            getattr(self, field.name).add_(getattr(other, field.name))
        return replace(self, label_entropy=torch.cat([self.label_entropy, other.label_entropy], 1))

    @staticmethod
    def join(parts: Sequence[LabelStatistics]) -> LabelStatistics:
        """The sites of all parts, one after the other."""
        return LabelStatistics(
            *(torch.cat([getattr(p, field.name) for p in parts]) for field in fields(LabelStatistics))
        )


def label_entropies(sites: Sequence[RowStatistics], label_sets: Sequence[LabelDesign]) -> list[tuple[Tensor, Tensor]]:
    """For each label set (L, R + R') n_x H(P_x) of the labels seen more than once, and (L,) Σ H(A_i) over the other
    rows, float64."""
    found = []
    for groups in label_sets:
        of_labels, once = zip(*(_entropies_of_labels(site, groups) for site in sites), strict=True)
        found.append((torch.cat(of_labels), torch.cat(once)))
    return found


def _entropies_of_labels(site: RowStatistics, groups: LabelDesign) -> tuple[Tensor, Tensor]:
    once = (site.entropy * (groups.bag_size == 0).unsqueeze(1)).sum(0, dtype=torch.float64)
    entropies = [once.new_zeros(len(once), 0)]
    for piece in groups.pieces:
        parts, two = piece.bags.sums(site.rows), 2 * piece.num_halved
        sums = torch.cat([parts[:two:2] + parts[1:two:2], parts[two:]])
        entropies.append((sums * _log_means(sums, piece.occurrences)).sum(-1).double().T.neg())
    return torch.cat(entropies, 1), once


def label_statistics(sites: Sequence[RowStatistics], label_sets: Sequence[LabelDesign]) -> list[LabelStatistics]:
    """All sums of label sets whose groups are known."""
    factors = [[_PairFactors.of(piece) for piece in groups.pieces] for groups in label_sets]
    found = []
    for site in sites:  # its rows stay in the cache for all label sets
        found.append([_sums_of_labels(site, *known) for known in zip(label_sets, factors, strict=True)])
    joined = [LabelStatistics.join(of_set) for of_set in zip(*found, strict=True)]
    return [_with_rows(of_set, sites, groups) for of_set, groups in zip(joined, label_sets, strict=True)]


def _sums_of_labels(site: RowStatistics, groups: LabelDesign, factors: Sequence[_PairFactors]) -> LabelStatistics:
    """What the rows of labels add that occur more than once."""
    if groups.pieces:
        pieces = zip(groups.pieces, factors, strict=True)
        return reduce(LabelStatistics.plus, (_sums_of_piece(site, piece, known) for piece, known in pieces))
    _, number, anchors = site.rows.shape
    none = site.mean.new_zeros(number, site.documents.number)
    pairs = site.rows.new_zeros(*none.shape, anchors)
    return LabelStatistics(none[:, :0], none[:, 0], none[:, 0], pairs[:, 0].double(), none, none, none, pairs)


def _with_rows(sums: LabelStatistics, sites: Sequence[RowStatistics], groups: LabelDesign) -> LabelStatistics:
    """Add the entropies of rows whose label occurs once, and take the squares of rows out of those of bags."""
    size = groups.bag_size.unsqueeze(1)
    once = torch.cat([site.entropy for site in sites], 1) * (size == 0)
    alone = torch.cat([site.weighted_squares for site in sites], 1) * torch.where(size > 1, 1 / size.float(), 0.0)
    of_once, of_alone = sites[0].documents.bags.sums(torch.cat([once, alone], 1)).double().T.split(once.shape[1])
    return replace(
        sums,
        once=of_once.sum(1),
        document_conditional=sums.document_conditional + of_once,
        document_mates=sums.document_mates - of_alone,
    )


@dataclass(frozen=True)
class _PairFactors:
    """Factors of the sums of a piece in products of the two halves of a label; parts without halves have 0.

    Attributes:
        label: (r,) ( n_x - 1 ) / ( n_x1 n_x2 ).
        part: (2 r + s, 1, 1) the same by part.
        partner: (B,) the other half for each bag of one.
        bag_label: (B,) label of each bag in the order of documents, 0 for those without halves.
        bag: (B,) of P_x1 P_x2 in the same order: n_b ( 1 - ( n_x - 1 ) / n_xh ) / ( n_x1 n_x2 ).
    """

    label: Tensor
    part: Tensor
    partner: Tensor
    bag_label: Tensor
    bag: Tensor

    @classmethod
    def of(cls, piece: LabelChunk) -> _PairFactors:
        two, part = 2 * piece.num_halved, piece.bags.group
        halves = piece.part_occurrences[:two].view(-1, 2)
        inverse, degree = 1 / halves.prod(1, keepdim=True), piece.occurrences[: piece.num_halved].unsqueeze(1) - 1
        rest = pad((inverse * (1 - degree / halves)).flatten(), (0, len(piece.part_occurrences) - two))
        label = (degree * inverse).expand(-1, 2).flatten()
        in_halves, order = part < two, piece.order
        return cls(
            label[::2],
            pad(label, (0, len(piece.part_occurrences) - two)).view(-1, 1, 1),
            torch.where(in_halves, part ^ 1, part),
            (part // 2 * in_halves).index_select(0, order),
            (rest.index_select(0, part) * piece.bags.sizes).index_select(0, order),
        )


def _sums_of_piece(site: RowStatistics, piece: LabelChunk, factors: _PairFactors) -> LabelStatistics:
    """What the rows of labels that occur more than once add."""
    two, bags, shape = 2 * piece.num_halved, piece.bags, site.rows.shape[1:]
    in_bags = bags.bag_sums(site.rows)  # (B, L, K)
    parts = bags.by_group(in_bags)  # (2 r + s, L, K)
    first, second = parts[:two:2], parts[1:two:2]
    labels = first + second  # (r, L, K)
    log_part, log_label = _log_means(parts, piece.part_occurrences), _log_means(labels, piece.occurrences[: two // 2])
    of_part = (parts * log_part).sum(-1)  # (2 r + s, L), float32 like all that is worked out by label
    of_label = labels.mul_(log_label).sum(-1)
    halving = of_part[:two].sum(0, dtype=torch.float64) - of_label.sum(0, dtype=torch.float64)

    by_part = _products(piece.by_part, in_bags, log_part)  # (B, L)
    by_label = _products(piece.by_label, in_bags[: piece.by_label.shape[1]], log_label)
    by_label = torch.cat([by_label, by_part[len(by_label) :]])
    gain = (by_part - by_label) * piece.absence.unsqueeze(1)
    crowded = in_bags.index_select(0, piece.crowded).square_().mul_(site.weight).sum(-1)
    crowded /= bags.sizes.index_select(0, piece.crowded).unsqueeze(1)
    mates = torch.zeros_like(gain).index_copy_(0, piece.crowded.long(), crowded)
    by_bag = torch.cat([-by_label, gain, mates], 1)
    conditional, document_halving, mates = piece.document_sums(by_bag).double().T.split(len(halving))

    product = first * second  # (r, L, K)
    alone = (parts * factors.part).index_select(0, factors.partner).mul_(in_bags)  # (n_x - 1) / n_xh A_i P_xg
    of_documents = piece.document_sums(alone)
    if two:
        of_documents += piece.document_sums(product, factors.bag_label, factors.bag)
    return LabelStatistics(
        torch.cat([-of_label, -of_part[two:]]).double().T,
        torch.zeros_like(halving),
        halving,
        (factors.label @ product.flatten(1)).double().view(shape),
        conditional,
        document_halving,
        mates,
        of_documents.movedim(1, 0),
    )


def _log_means(sums: Tensor, occurrences: Tensor) -> Tensor:
    """(m, L, K) logarithms of means, from sums of so many rows."""
    return (sums / occurrences.view(-1, 1, 1)).clamp_(min=TINY).log_()


def _products(pattern: Tensor, sums: Tensor, table: Tensor) -> Tensor:
    """(B, L) products of (B, L, K) sums by bag with the line of a (m, L, K) table that the bag has in the pattern."""
    if sums.shape[1] == 1:
        found = torch.sparse.sampled_addmm(pattern, table.flatten(1), sums.flatten(1).T, beta=0)
        return found.values().unsqueeze(1)
    line = torch.arange(len(table), device=table.device).repeat_interleave(pattern.crow_indices().diff())
    return table.index_select(0, line).mul_(sums).sum(-1)
