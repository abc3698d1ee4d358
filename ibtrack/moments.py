"""Counts, or rows in known groups, to the few means per label set that the readings are functions of.

Every moment is a mean over rows of something that each row adds; so the first-order effect of a document on any smooth
function of the moments follows from its gradient.

Letters: N rows, K anchors, M labels, n_x rows of label x, P_x their mean; R labels whose occurrences are dealt to two
halves h, P_xh the mean of one; R' labels that occur several times in a single document; U classes of labels; G
documents.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from ibtrack.bags import ROWS_AT_ONCE
from ibtrack.counts import Counts
from ibtrack.groups import Documents, LabelGroups, pair_noise, size_classes

SAMPLE = 1 << 13  # rows that tell what a random row is like; the noise of what they tell is about .001 log K
_ALIKE = ("inverse", "clumps", "num_rows")  # of a label set at every site


@dataclass(frozen=True)
class Moments:
    """Means over the N rows of a label set.

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

    @staticmethod
    def stack(moments: Sequence[Moments]) -> Moments:
        """The moments of one label set at several sites, with a leading dimension; classes are theirs in common."""
        columns = {field.name: [getattr(m, field.name) for m in moments] for field in fields(Moments)}
        stacked: dict[str, Any] = {k: v[0] if k in _ALIKE else torch.stack(v) for k, v in columns.items()}
        return Moments(**stacked)

    def unstack(self) -> list[Moments]:
        """The moments of each site."""
        return [
            Moments(*(v if name in _ALIKE else v[index] for name, v in vars(self).items()))
            for index in range(len(self.mean))
        ]


@dataclass(frozen=True)
class SiteRows:
    """The rows of a site and what all of its label sets share, worked out when it is first asked for.

    Attributes:
        rows: (N, K) assignments, float32.
        documents: of the rows.
        entropy: (N,) H(A_i), float64 like all that follows.
        document_sums: (G, K) Σ A_i over the rows of a document.
        mean: (K,) p.
    """

    rows: Tensor
    documents: Documents
    entropy: Tensor
    document_sums: Tensor
    mean: Tensor

    @classmethod
    def of(cls, assignments: Tensor, documents: Documents) -> SiteRows:
        """Take (N, K) float32 assignments."""
        sums = documents.bags.sums(assignments).double()
        entropy = row_entropies(assignments).double()
        return cls(assignments, documents, entropy, sums, sums.sum(0) / len(assignments))

    @cached_property
    def document_squares(self) -> Tensor:
        """(G, K) Σ A_i² over the rows of a document."""
        return self.documents.bags.sums_of_squares(self.rows).double()

    @cached_property
    def document_entropy(self) -> Tensor:
        """(G,) Σ H(A_i) over the rows of a document."""
        return self.documents.totals(self.entropy)

    @cached_property
    def squares(self) -> Tensor:
        """(K,) mean of A_i²."""
        return self.document_squares.sum(0) / len(self.rows)

    @cached_property
    def weight(self) -> Tensor:
        """(K,) p^-½, float32: what products of rows are weighted by."""
        return _positive(self.mean).rsqrt().float()

    @cached_property
    def weighted_squares(self) -> Tensor:
        """(N,) Σ_k p_k^-½ A_ik²."""
        return torch.cat([piece.square() @ self.weight for piece in self.rows.split(ROWS_AT_ONCE)])

    @cached_property
    def sample(self) -> Tensor:
        """(S, K) rows in random order, at most 8192, the same for every site."""
        drawn = torch.randperm(len(self.rows), generator=torch.Generator().manual_seed(0))[:SAMPLE]
        return self.rows.index_select(0, drawn.to(self.rows.device))

    @cached_property
    def spread(self) -> Tensor:
        """(), see `weighted_spread`."""
        few = self.sample[: SAMPLE // 4]
        return weighted_spread((few.T @ few).double() / len(few), few.mean(0, dtype=torch.float64))


def row_entropies(rows: Tensor) -> Tensor:
    """(N,) entropies of (N, K) float32 distributions in nats, without a copy of them all."""
    pieces = [-(piece * piece.clamp(min=_TINY).log_()).sum(1) for piece in rows.split(ROWS_AT_ONCE)]
    return pieces[0] if len(pieces) == 1 else torch.cat(pieces)


def weighted_spread(products: Tensor, mean: Tensor) -> Tensor:
    """tr(C²) for C_kl = cov(A_k, A_l) (p_k p_l)^-¼: the variance of Σ_k p_k^-½ a_k b_k over independent rows a, b."""
    covariance = products - mean.outer(mean)
    weight = _positive(mean).pow(-0.25)
    return (weight[:, None] * covariance * weight).square().sum()


@dataclass(frozen=True)
class GroupMeans:
    """Observed means of the labels seen more than once and of their halves, float32.

    Attributes:
        part: (2 R + R', K) P_xh of the halves, then P_x of the labels that have none.
        log_label: (R, K) log P_x of the labels that have halves.
        log_part: (2 R + R', K) log of ``part``.
        label_entropy: (R + R',) H(P_x), float64.
        part_entropy: (2 R + R',) H of ``part``, float64.
        bag_mates: (B,) of every bag, what it adds to `Moments.mates`, float64.
    """

    part: Tensor
    log_label: Tensor
    log_part: Tensor
    label_entropy: Tensor
    part_entropy: Tensor
    bag_mates: Tensor

    @classmethod
    def of(cls, site: SiteRows, groups: LabelGroups) -> GroupMeans:
        bags, two = groups.parts, 2 * groups.num_halved
        sums = bags.bag_sums(site.rows)
        alone = torch.bincount(
            groups.bag_of, weights=site.weighted_squares.index_select(0, bags.rows), minlength=len(bags.starts)
        )
        in_bags, sums = sums, bags.by_group(sums)
        squares = in_bags.square() if sums is in_bags else in_bags.square_()
        mates = ((squares @ site.weight).double() - alone) / bags.sizes
        label = sums[:two].view(-1, 2, sums.shape[1]).sum(1)
        label = label.div_(groups.occurrences[: groups.num_halved].float().unsqueeze(1))
        part = sums / groups.part_occurrences.float().unsqueeze(1)
        log_label, log_part = label.clamp(min=_TINY).log_(), part.clamp(min=_TINY).log_()
        of_label, of_part = -label.mul_(log_label).sum(1).double(), -(part * log_part).sum(1).double()
        return cls(part, log_label, log_part, torch.cat([of_label, of_part[two:]]), of_part, mates)


def label_entropies(site: SiteRows, groups: LabelGroups) -> Tensor:
    """(R + R',) H(P_x) of the labels seen more than once alone, float64."""
    sums, two = groups.parts.sums(site.rows), 2 * groups.num_halved
    label = torch.cat([sums[:two].view(-1, 2, sums.shape[1]).sum(1), sums[two:]])
    return row_entropies(label.div_(groups.occurrences.float().unsqueeze(1))).double()


def moments_of_rows(site: SiteRows, groups: LabelGroups, means: GroupMeans) -> Moments:
    """The moments of a label set whose groups are known."""
    total, number = groups.num_rows, groups.num_halved
    whole = groups.occurrences[:number] @ means.label_entropy[:number]
    halved = groups.part_occurrences[: 2 * number] @ means.part_entropy[: 2 * number]
    single = groups.occurrences[number:] @ means.label_entropy[number:]
    first, second = means.part[: 2 * number].view(-1, 2, means.part.shape[1]).unbind(1)
    pairs = ((groups.occurrences[:number] - 1).float() @ (first * second)).double() / total
    new = site.mean.new_tensor
    return Moments(
        site.mean,
        site.squares,
        site.entropy.mean(),
        pairs,
        (whole + single + site.entropy.index_select(0, groups.once).sum()) / total,
        (whole - halved) / total,
        new(groups.degrees),
        groups.shares,
        groups.half_shares,
        groups.repeated,
        groups.inverse,
        groups.clumps,
        means.bag_mates.sum() / total,
        new((len(groups.parts.rows) - len(groups.parts.starts)) / total),
        total,
        new(groups.crowding),
        site.spread * new(groups.pair_noise),
    )


def document_effects(site: SiteRows, groups: LabelGroups, means: GroupMeans, gradient: Moments) -> Tensor:
    """(G,) first-order effect of every document on a function of the moments, from its gradient; they sum to about 0.

    What a row adds to each moment: A to ``mean``; A² to ``squares``; H(A) to ``row_entropy``; with the other half g,
    P_xh P_xg + (n_x - 1) / n_xh (A - P_xh) P_xg to ``pairs``; -A log P_x to ``conditional``; A log P_xh - A log P_x to
    ``halving``; 1 to ``degrees``; and one row to its classes of n.
    """
    g, documents, two = gradient, site.documents, 2 * groups.num_halved
    effect = site.document_sums @ g.mean + site.document_squares @ g.squares + site.document_entropy * g.row_entropy
    effect += groups.document_sizes @ g.shares + groups.document_repeated @ g.repeated
    effect += groups.document_half_sizes @ g.half_shares
    effect += documents.totals(site.entropy.index_select(0, groups.once), groups.once_document) * g.conditional
    mates = means.bag_mates * g.mates + (groups.parts.sizes - 1) * g.mate_degrees  # a bag is of one document
    effect += documents.totals(mates, groups.bag_document)
    pairs, conditional, halving = (part.float() for part in (g.pairs, g.conditional, g.halving))
    half = means.part[:two]
    table = means.log_part * -conditional  # (2 R + R', K): of the labels without halves it stays so
    of_halves = table[:two]
    of_halves.copy_(half.view(-1, 2, len(pairs)).flip(1).reshape_as(half)).mul_(pairs)  # P_xg
    common = (half * of_halves).sum(1)  # (2 R,)
    more = (groups.occurrences[: groups.num_halved] - 1).repeat_interleave(2)
    weight = more / groups.part_occurrences[:two]  # (2 R,)
    of_halves.mul_(weight.float().unsqueeze(1))
    gain = means.log_part[:two].view(-1, 2, len(pairs)) - means.log_label.unsqueeze(1)
    gain.mul_(halving * groups.absence.float().view(-1, 1, 1)).sub_((conditional * means.log_label).unsqueeze(1))
    of_halves.add_(gain.view(two, len(pairs)))
    constant = torch.cat([common * (1 - weight) + g.degrees, weight.new_zeros(len(table) - two)])
    again = groups.parts.products(site.rows, table) + constant.index_select(0, groups.parts.of)
    return documents.influence(effect + documents.totals(again, groups.part_document))


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
