"""Counts, or rows in known groups, to the few means per label set that the readings are functions of.

Every moment is a mean over rows of something that each row adds; so the first-order effect of a document on any smooth
function of the moments follows from its gradient.

Letters: N rows, K anchors, M labels, n_x rows of label x, P_x their mean; R labels that occur more than once; U classes
of n; G documents; h the half that a row was dealt to, P_xh the mean of that half.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from ibtrack.counts import Counts
from ibtrack.groups import Documents, LabelGroups, pair_noise, size_classes

SAMPLE = 1 << 13  # rows that tell what a random row is like; the noise of what they tell is about .001 log K
ROWS_AT_ONCE = 1 << 11  # what is worked out per row stays in the cache
_ALIKE = ("sizes", "num_rows")  # of a label set at every site


@dataclass(frozen=True)
class Moments:
    """Means over the N rows of a label set.

    Attributes:
        mean: (K,) of A_i: p.
        squares: (K,) of A_i².
        row_entropy: () of H(A_i).
        pairs: (K,) Σ_x (n_x - 1) P_x1 P_x2 / N: what two rows of one label have in common.
        conditional: () Σ_x n_x H(P_x) / N, the plug-in H(Z | X).
        halving: () Σ_x ( n_x H(P_x) - Σ_h n_xh H(P_xh) ) / N: what the halves lack.
        degrees: () Σ_x (n_x - 1) / N.
        shares: (U,) rows whose label is in this class of n.
        half_shares: (U,) rows of repeated labels whose half is in this class of n.
        sizes: (U,) n of each class.
        num_rows: N.
        crowding: () Σ_x n_x² / N², the chance that two rows share their label.
        noise: () expected square of Σ_k p_k^-½ ( pairs / degrees - p² )_k if labels told nothing.
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
    sizes: Tensor
    num_rows: int
    crowding: Tensor
    noise: Tensor

    @staticmethod
    def stack(moments: Sequence[Moments]) -> Moments:
        """The moments of one label set at several sites, with a leading dimension; ``sizes`` are theirs in common."""
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
    def sample(self) -> Tensor:
        """(S, K) rows in random order, at most 8192, the same for every site."""
        drawn = torch.randperm(len(self.rows), generator=torch.Generator().manual_seed(0))[:SAMPLE]
        return self.rows.index_select(0, drawn.to(self.rows.device))

    @cached_property
    def spread(self) -> Tensor:
        """(), see `weighted_spread`."""
        few = self.sample[: SAMPLE // 2]
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
    """Observed means of the repeated labels and of their halves, float32.

    Attributes:
        half: (2 R, K) P_xh.
        log_label: (R, K) log P_x.
        log_half: (2 R, K) log P_xh.
        label_entropy: (R,) H(P_x), float64.
        half_entropy: (2 R,) H(P_xh), float64.
    """

    half: Tensor
    log_label: Tensor
    log_half: Tensor
    label_entropy: Tensor
    half_entropy: Tensor

    @classmethod
    def of(cls, site: SiteRows, groups: LabelGroups) -> GroupMeans:
        sums = groups.halves.sums(site.rows)
        label = sums.view(-1, 2, sums.shape[1]).sum(1).div_(groups.occurrences.float().unsqueeze(1))
        half = sums.div_(groups.half_occurrences.float().unsqueeze(1))
        log_label, log_half = label.clamp(min=_TINY).log_(), half.clamp(min=_TINY).log_()
        of_label, of_half = -label.mul_(log_label).sum(1).double(), -(half * log_half).sum(1).double()
        return cls(half, log_label, log_half, of_label, of_half)


def label_entropies(site: SiteRows, groups: LabelGroups) -> Tensor:
    """(R,) H(P_x) of the repeated labels alone, float64."""
    sums = groups.halves.sums(site.rows)
    label = sums.view(-1, 2, sums.shape[1]).sum(1).div_(groups.occurrences.float().unsqueeze(1))
    return row_entropies(label).double()


def moments_of_rows(site: SiteRows, groups: LabelGroups, means: GroupMeans) -> Moments:
    """The moments of a label set whose groups are known."""
    total = groups.num_rows
    whole = groups.occurrences @ means.label_entropy
    halved = groups.half_occurrences @ means.half_entropy
    first, second = means.half.view(-1, 2, means.half.shape[1]).unbind(1)
    pairs = (groups.occurrences - 1).float() @ (first * second)
    new = site.mean.new_tensor
    return Moments(
        site.mean,
        site.squares,
        site.entropy.mean(),
        pairs.double() / total,
        (whole + site.entropy.index_select(0, groups.once).sum()) / total,
        (whole - halved) / total,
        new((total - groups.num_labels) / total),
        groups.shares,
        groups.half_shares,
        groups.sizes,
        total,
        new(groups.crowding),
        site.spread * groups.pair_noise,
    )


def document_effects(
    site: SiteRows, groups: LabelGroups, means: GroupMeans, gradient: Moments, documents: Documents
) -> Tensor:
    """(G,) first-order effect of every document on a function of the moments, from its gradient; they sum to about 0.

    What a row adds to each moment: A to ``mean``; A² to ``squares``; H(A) to ``row_entropy``; with the other half g,
    P_xh P_xg + (n_x - 1) / n_xh (A - P_xh) P_xg to ``pairs``; -A log P_x to ``conditional``; A log P_xh - A log P_x to
    ``halving``; 1 to ``degrees``; and one row to its classes of n.
    """
    g = gradient
    effect = site.document_sums @ g.mean + site.document_squares @ g.squares + site.document_entropy * g.row_entropy
    effect += groups.document_sizes @ g.shares + groups.document_half_sizes @ g.half_shares
    effect += documents.totals(site.entropy.index_select(0, groups.once), groups.once_document) * g.conditional
    pairs, conditional, halving = (part.float() for part in (g.pairs, g.conditional, g.halving))
    other = means.half.view(-1, 2, len(pairs)).flip(1).reshape_as(means.half)  # (2 R, K) P_xg
    weight = (groups.occurrences - 1).repeat_interleave(2) / groups.half_occurrences  # (2 R,)
    other.mul_(pairs)
    common = (means.half * other).sum(1)  # (2 R,)
    table = other.mul_(weight.float().unsqueeze(1)).add_(halving * means.log_half)  # (2 R, K)
    table.view(-1, 2, len(pairs)).sub_(((conditional + halving) * means.log_label).unsqueeze(1))
    constant = common * (1 - weight) + g.degrees  # (2 R,)
    again = groups.halves.products(site.rows, table) + constant.index_select(0, groups.halves.of)
    return documents.influence(effect + documents.totals(again, groups.half_document))


def moments_of_counts(counts: Counts) -> Moments:
    """The moments of a label set that was streamed."""
    total = counts.total
    n, halves = counts.occurrences, counts.half_occurrences
    again = n > 1
    means = counts.sums / n.clamp(min=1).unsqueeze(1)
    half_means = counts.half_sums / halves.clamp(min=1).unsqueeze(2)
    entropies = _entropy(means)
    halving = (n * entropies - (halves * _entropy(half_means)).sum(0))[again].sum()
    sizes, class_of = size_classes(n.long(), halves[:, again].long().flatten())
    shares = n.new_zeros(len(sizes)).index_add_(0, class_of[n.long()], n)
    first, second = half_means
    in_halves = halves[:, again].flatten()
    half_shares = n.new_zeros(len(sizes)).index_add_(0, class_of[in_halves.long()], in_halves)
    mean = counts.sums.sum(0) / total
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
        sizes,
        int(total),
        (n / total).square().sum(),
        weighted_spread(counts.products / total, mean) * pair_noise(n[again], halves[:, again]),
    )


def _entropy(distribution: Tensor) -> Tensor:
    return torch.special.entr(distribution).sum(-1)


def _positive(mean: Tensor) -> Tensor:
    return mean.clamp(min=1e-12)


_TINY = 1e-37  # a probability that is 0 in single precision adds nothing to an entropy
