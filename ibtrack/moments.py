"""Counts, or rows in known groups, to the few means per label set that the readings are functions of.

Every moment is a mean over rows of something that each row adds; so the first-order effect of a document on any smooth
function of the moments follows from its gradient.

Letters: N rows, K anchors, L sites, S label sets, M labels, n_x rows of label x, P_x their mean; R labels whose
occurrences are dealt to two halves h, P_xh the mean of one; R' labels that occur several times in a single document; B
bags of rows of one label and document; U classes of labels; G documents.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property, reduce

import torch
from torch import Tensor
from torch.nn.functional import pad
from torch.nn.utils.rnn import pad_sequence

from ibtrack.bags import ROWS_AT_ONCE
from ibtrack.counts import Counts
from ibtrack.groups import Documents, LabelGroups, LabelPiece, pair_noise, size_classes

SAMPLE = 1 << 13  # rows that tell what a random row is like; the noise of what they tell is about .001 log K


@dataclass(frozen=True)
class Moments:
    """Means over the N rows of a label set, or, with leading dimensions (S, L), of several at several sites.

    Attributes:
        mean: (K,) of A_i: p.
        squares: (K,) of A_i².
        row_entropy: () of H(A_i).
        pairs: (K,) Σ_x (n_x - 1) P_x1 P_x2 / N: what two rows of one label, in two documents, have in common.
        conditional: () Σ_x n_x H(P_x) / N, the plug-in H(Z | X).
        halving: () Σ_x ( n_x H(P_x) - Σ_h n_xh H(P_xh) ) / N: what the halves lack.
        degrees: () Σ_x (n_x - 1) / N.
        shares: (U,) rows whose label is in this class.
        half_shares: (U,) rows whose half is in this class.
        repeated: (U,) rows in the class whose label has halves.
        inverse: (U,) mean of 1 / n in each class.
        clumps: (U,) mean of one over the effective number of documents of a label.
        mates: () Σ_b Σ_{i≠j in b} Σ_k p_k^-½ A_ik A_jk / n_b / N over bags b of one label and document: what two rows
            of one label in one document have in common.
        mate_degrees: () Σ_b (n_b - 1) / N.
        num_rows: N.
        crowding: () Σ_x n_x² / N², the chance that two rows share their label.
        noise: (3,) expected square of Σ_k p_k^-½ ( pairs / degrees - p² )_k if labels told nothing: the factors of
            (1 - ρ)², ρ (1 - ρ) and ρ², see `ibtrack.groups.pair_noise`.
    """

    mean: Tensor
    squares: Tensor
    row_entropy: Tensor
    pairs: Tensor
    conditional: Tensor
    halving: Tensor
    degrees: Tensor
    shares: Tensor
    half_shares: Tensor
    repeated: Tensor
    inverse: Tensor
    clumps: Tensor
    mates: Tensor
    mate_degrees: Tensor
    num_rows: int
    crowding: Tensor
    noise: Tensor


@dataclass(frozen=True)
class SiteRows:
    """The rows of L sites and what all of their label sets share, worked out when it is first asked for.

    Attributes:
        rows: (N, L, K) assignments, float32.
        documents: of the rows.
    """

    rows: Tensor
    documents: Documents

    @cached_property
    def entropy(self) -> Tensor:
        """(N, L) H(A_i), float32."""
        return row_entropies(self.rows)

    @cached_property
    def document_sums(self) -> Tensor:
        """(L, G, K) Σ A_i over the rows of a document, float64."""
        return self.documents.bags.sums(self.rows).double().movedim(1, 0)

    @cached_property
    def mean(self) -> Tensor:
        """(L, K) p, float64."""
        return self.document_sums.sum(1) / len(self.rows)

    @cached_property
    def document_squares(self) -> Tensor:
        """(L, G, K) Σ A_i² over the rows of a document, float64."""
        squares = [piece.sums_of_squares(self.rows) for piece in self.documents.pieces]
        return torch.cat(squares).double().movedim(1, 0)

    @cached_property
    def document_entropy(self) -> Tensor:
        """(L, G) Σ H(A_i) over the rows of a document, float64."""
        return self.documents.bags.sums(self.entropy).double().T

    @cached_property
    def row_entropy(self) -> Tensor:
        """(L,) mean of H(A_i), float64."""
        return self.entropy.mean(0, dtype=torch.float64)

    @cached_property
    def squares(self) -> Tensor:
        """(L, K) mean of A_i², float64."""
        return self.document_squares.sum(1) / len(self.rows)

    @cached_property
    def weight(self) -> Tensor:
        """(L, K) p^-½, float32: what products of rows are weighted by."""
        return _positive(self.mean).rsqrt().float()

    @cached_property
    def weighted_squares(self) -> Tensor:
        """(N, L) Σ_k p_k^-½ A_ik², float32."""
        pieces = [piece.square().mul_(self.weight).sum(-1) for piece in self.rows.split(ROWS_AT_ONCE)]
        return pieces[0] if len(pieces) == 1 else torch.cat(pieces)

    @cached_property
    def sample(self) -> Tensor:
        """(S, L, K) rows in random order, at most 8192, the same for every site."""
        drawn = torch.randperm(len(self.rows), generator=torch.Generator().manual_seed(0))[:SAMPLE]
        return self.rows.index_select(0, drawn.to(self.rows.device))

    @cached_property
    def spread(self) -> Tensor:
        """(L,), see `weighted_spread`."""
        few = self.sample[: SAMPLE // 4].movedim(1, 0)  # (L, S', K)
        return weighted_spread((few.mT @ few).double() / few.shape[1], few.mean(1, dtype=torch.float64))


def row_entropies(rows: Tensor) -> Tensor:
    """(N, ...) entropies of (N, ..., K) float32 distributions in nats, without a copy of them all."""
    pieces = [(piece * piece.clamp(min=_TINY).log_()).sum(-1).neg_() for piece in rows.split(ROWS_AT_ONCE)]
    return pieces[0] if len(pieces) == 1 else torch.cat(pieces)


def weighted_spread(products: Tensor, mean: Tensor) -> Tensor:
    """(...) tr(C²) for C_kl = cov(A_k, A_l) (p_k p_l)^-¼, from (..., K, K) mean products and (..., K) means: the
    variance of Σ_k p_k^-½ a_k b_k over independent rows a, b."""
    covariance = products - mean.unsqueeze(-1) * mean.unsqueeze(-2)
    weight = _positive(mean).pow(-0.25)
    return (weight.unsqueeze(-1) * covariance * weight.unsqueeze(-2)).square().sum((-2, -1))


@dataclass(frozen=True)
class LabelSums:
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

    def plus(self, other: LabelSums) -> LabelSums:
        """With other labels of the same set, added in place."""
        for field in fields(LabelSums)[1:]:
            getattr(self, field.name).add_(getattr(other, field.name))
        return replace(self, label_entropy=torch.cat([self.label_entropy, other.label_entropy], 1))

    @staticmethod
    def join(parts: Sequence[LabelSums]) -> LabelSums:
        """The sites of all parts, one after the other."""
        return LabelSums(*(torch.cat([getattr(p, field.name) for p in parts]) for field in fields(LabelSums)))


def label_entropies(sites: Sequence[SiteRows], label_sets: Sequence[LabelGroups]) -> list[tuple[Tensor, Tensor]]:
    """For each label set (L, R + R') n_x H(P_x) of the labels seen more than once, and (L,) Σ H(A_i) over the other
    rows, float64."""
    found = []
    for groups in label_sets:
        of_labels, once = zip(*(_entropies_of_labels(site, groups) for site in sites), strict=True)
        found.append((torch.cat(of_labels), torch.cat(once)))
    return found


def _entropies_of_labels(site: SiteRows, groups: LabelGroups) -> tuple[Tensor, Tensor]:
    once = (site.entropy * (groups.bag_size == 0).unsqueeze(1)).sum(0, dtype=torch.float64)
    entropies = [once.new_zeros(len(once), 0)]
    for piece in groups.pieces:
        parts, two = piece.bags.sums(site.rows), 2 * piece.num_halved
        sums = torch.cat([parts[:two:2] + parts[1:two:2], parts[two:]])
        entropies.append((sums * _log_means(sums, piece.occurrences)).sum(-1).double().T.neg())
    return torch.cat(entropies, 1), once


def label_sums(sites: Sequence[SiteRows], label_sets: Sequence[LabelGroups]) -> list[LabelSums]:
    """All sums of label sets whose groups are known."""
    factors = [[_PairFactors.of(piece) for piece in groups.pieces] for groups in label_sets]
    found = []
    for site in sites:  # its rows stay in the cache for all label sets
        found.append([_sums_of_labels(site, *known) for known in zip(label_sets, factors, strict=True)])
    joined = [LabelSums.join(of_set) for of_set in zip(*found, strict=True)]
    return [_with_rows(of_set, sites, groups) for of_set, groups in zip(joined, label_sets, strict=True)]


def _sums_of_labels(site: SiteRows, groups: LabelGroups, factors: Sequence[_PairFactors]) -> LabelSums:
    """What the rows of labels add that occur more than once."""
    if groups.pieces:
        pieces = zip(groups.pieces, factors, strict=True)
        return reduce(LabelSums.plus, (_sums_of_piece(site, piece, known) for piece, known in pieces))
    _, number, anchors = site.rows.shape
    none = site.mean.new_zeros(number, site.documents.number)
    pairs = site.rows.new_zeros(*none.shape, anchors)
    return LabelSums(none[:, :0], none[:, 0], none[:, 0], pairs[:, 0].double(), none, none, none, pairs)


def _with_rows(sums: LabelSums, sites: Sequence[SiteRows], groups: LabelGroups) -> LabelSums:
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
    def of(cls, piece: LabelPiece) -> _PairFactors:
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


def _sums_of_piece(site: SiteRows, piece: LabelPiece, factors: _PairFactors) -> LabelSums:
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
    return LabelSums(
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
    return (sums / occurrences.view(-1, 1, 1)).clamp_(min=_TINY).log_()


def _products(pattern: Tensor, sums: Tensor, table: Tensor) -> Tensor:
    """(B, L) products of (B, L, K) sums by bag with the line of a (m, L, K) table that the bag has in the pattern."""
    if sums.shape[1] == 1:
        found = torch.sparse.sampled_addmm(pattern, table.flatten(1), sums.flatten(1).T, beta=0)
        return found.values().unsqueeze(1)
    line = torch.arange(len(table), device=table.device).repeat_interleave(pattern.crow_indices().diff())
    return table.index_select(0, line).mul_(sums).sum(-1)


def moments_of_rows(sites: Sequence[SiteRows], label_sets: Sequence[LabelGroups], sums: Sequence[LabelSums]) -> Moments:
    """The moments of S label sets whose groups are known at the L sites of all ``sites``, (S, L, ...)."""
    total, like = len(sites[0].rows), sites[0].mean
    num_sites = sum(len(site.mean) for site in sites)

    def of_sites(name: str) -> Tensor:
        values = torch.cat([getattr(site, name) for site in sites])
        return values.expand(len(label_sets), *values.shape)

    def of_sums(name: str) -> Tensor:
        return torch.stack([getattr(of_set, name) for of_set in sums]) / total

    def of_groups(name: str) -> Tensor:
        values = like.new_tensor([getattr(groups, name) for groups in label_sets])
        return values.unsqueeze(1).expand(-1, num_sites, *values.shape[1:])

    def of_classes(name: str, beyond: float = 0.0) -> Tensor:
        values = pad_sequence([getattr(groups, name) for groups in label_sets], True, beyond)
        return values.unsqueeze(1).expand(-1, num_sites, -1)

    return Moments(
        of_sites("mean"),
        of_sites("squares"),
        of_sites("row_entropy"),
        of_sums("pairs"),
        of_sums("conditional"),
        of_sums("halving"),
        of_groups("degrees"),
        of_classes("shares"),
        of_classes("half_shares"),
        of_classes("repeated"),
        of_classes("inverse", 1.0),
        of_classes("clumps", 1.0),
        torch.stack([of_set.document_mates.sum(1) for of_set in sums]) / total,
        of_groups("mate_degrees"),
        total,
        of_groups("crowding"),
        of_sites("spread").unsqueeze(-1) * of_groups("pair_noise"),
    )


def document_effects(
    sites: Sequence[SiteRows], label_sets: Sequence[LabelGroups], sums: Sequence[LabelSums], gradient: Moments
) -> Tensor:
    """(S, L, G) first-order effect of every document on a function of the moments, from its gradient (S, L, ...); they
    sum to about 0."""
    g, documents = gradient, sites[0].documents
    of_sums, squares, entropy = (
        torch.cat([getattr(site, f"document_{name}") for site in sites]) for name in ("sums", "squares", "entropy")
    )
    cloud = torch.einsum("lgk,slk->slg", of_sums, g.mean) + torch.einsum("lgk,slk->slg", squares, g.squares)
    cloud += entropy * g.row_entropy.unsqueeze(-1)
    effects = []
    for s, (groups, of_set) in enumerate(zip(label_sets, sums, strict=True)):
        effect = cloud[s] + _over_ranges(g.shares[s], groups, groups.shares) @ groups.document_sizes.T
        effect += _over_ranges(g.repeated[s], groups, groups.repeated) @ groups.document_repeated.T
        effect += _over_ranges(g.half_shares[s], groups, groups.half_shares) @ groups.document_half_sizes.T
        effect += g.conditional[s].unsqueeze(1) * of_set.document_conditional
        effect += g.halving[s].unsqueeze(1) * of_set.document_halving
        effect += g.mates[s].unsqueeze(1) * of_set.document_mates
        effect += torch.einsum("lgk,lk->lg", of_set.document_pairs, g.pairs[s].float())
        effect += g.degrees[s].unsqueeze(1) * groups.document_degrees
        effect += g.mate_degrees[s].unsqueeze(1) * groups.document_mates
        effects.append(effect)
    return documents.influence(torch.stack(effects))


def _over_ranges(gradient: Tensor, groups: LabelGroups, shares: Tensor) -> Tensor:
    """(L, V) float32 means of a gradient (L, U) over the rows whose class is in a range."""
    weighted = gradient[:, : len(shares)] * shares
    sums = weighted.new_zeros(len(weighted), groups.document_sizes.shape[1]).index_add_(1, groups.range_of, weighted)
    rows = shares.new_zeros(sums.shape[1]).index_add_(0, groups.range_of, shares)
    return (sums / rows.clamp(min=_TINY)).float()


def moments_of_counts(counts: Counts) -> Moments:
    """The moments of a label set that was streamed."""
    total = counts.total
    n, halves = counts.occurrences, counts.half_occurrences
    again = n > 1
    means = counts.sums / n.clamp(min=1).unsqueeze(1)
    half_means = counts.half_sums / halves.clamp(min=1).unsqueeze(2)
    entropies = _entropy(means)
    halving = (n * entropies - (halves * _entropy(half_means)).sum(0))[again].sum()
    inverse, class_of = size_classes(n.long(), halves[:, again].long().flatten())
    shares = n.new_zeros(len(inverse)).index_add_(0, class_of[n.long()], n)
    repeated = n.new_zeros(len(inverse)).index_add_(0, class_of[n[again].long()], n[again])
    first, second = half_means
    in_halves = halves[:, again].flatten()
    half_shares = n.new_zeros(len(inverse)).index_add_(0, class_of[in_halves.long()], in_halves)
    mean = counts.sums.sum(0) / total
    one_row = 1 / halves[:, again].T
    noise = mean.new_tensor(pair_noise(n[again] - 1, one_row, one_row))
    none = mean.new_zeros(())
    return Moments(
        mean,
        counts.products.diagonal() / total,
        counts.row_entropy / total,
        (n - 1).clamp(min=0) @ (first * second) / total,
        n @ entropies / total,
        halving / total,
        (total - (n > 0).sum()) / total,
        shares / total,
        half_shares / total,
        repeated / total,
        inverse,
        inverse,
        none,
        none,
        int(total),
        (n / total).square().sum(),
        weighted_spread(counts.products / total, mean) * noise,
    )


def _entropy(distribution: Tensor) -> Tensor:
    return torch.special.entr(distribution).sum(-1)


def _positive(mean: Tensor) -> Tensor:
    return mean.clamp(min=1e-12)


_TINY = 1e-37  # a probability that is 0 in single precision adds nothing to an entropy
