"""Counts, or rows in known groups, to the few means per label set that the readings are functions of.

Every moment is a mean over rows of something that each row adds; so the first-order effect of a row, and of a document,
on any smooth function of the moments follows from its gradient.

Letters: N rows, K anchors, M labels, n_x rows of label x, P_x their mean; R labels that occur more than once; U classes
of n; h the half that a row was dealt to, P_xh the mean of that half.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from ibtrack.counts import Counts, occurrence_ranks

EXACT_SIZES = 12  # labels seen more often are put into classes of similar n
SIZE_RATIO = 1.3
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
    """The rows of a site and what all of its label sets share.

    Attributes:
        single: (N, K) assignments as they came, in float32.
        rows: (N, K) the same in float64.
        entropy: (N,) H(A_i).
        mean: (K,) p.
        squares: (K,) mean of A_i².
        spread: (), see `weighted_spread`.
    """

    single: Tensor
    rows: Tensor
    entropy: Tensor
    mean: Tensor
    squares: Tensor
    spread: Tensor

    @classmethod
    def of(cls, assignments: Tensor) -> SiteRows:
        rows = assignments.double()
        products = (assignments.T @ assignments).double() / len(rows)
        mean = rows.mean(0)
        entropy = torch.special.entr(rows).sum(-1)
        squares = torch.linalg.vector_norm(rows, dim=0).square() / len(rows)
        return cls(assignments, rows, entropy, mean, squares, weighted_spread(products, mean))


def weighted_spread(products: Tensor, mean: Tensor) -> Tensor:
    """tr(C²) for C_kl = cov(A_k, A_l) (p_k p_l)^-¼: the variance of Σ_k p_k^-½ a_k b_k over independent rows a, b."""
    covariance = products - mean.outer(mean)
    weight = _positive(mean).pow(-0.25)
    return (weight[:, None] * covariance * weight).square().sum()


@dataclass(frozen=True)
class LabelGroups:
    """The rows of a label set in groups, worked out once: labels seen once need no slot, only their own row.

    Attributes:
        num_rows: N.
        num_labels: M.
        once: (N1,) rows whose label occurs once.
        rows: (N - N1,) the other rows.
        slots: (N - N1,) repeated label of each, in [0, R).
        halves: (N - N1,) repeated label and half of each, 2 slot + h in [0, 2 R).
        occurrences: (R,) n_x.
        half_occurrences: (2 R,) n_xh.
        sizes: (U,) classes of n.
        size_class: (N,) class of n_x of every row.
        half_class: (N - N1,) class of n_xh of every row of a repeated label.
        shares: (U,) share of the rows in each class.
        half_shares: (U,) share of the rows in each class of their half.
        crowding: Σ_x n_x² / N².
        pair_noise: Σ_x (n_x - 1)² / (n_x1 n_x2) / ( Σ_x (n_x - 1) )².
    """

    num_rows: int
    num_labels: int
    once: Tensor
    rows: Tensor
    slots: Tensor
    halves: Tensor
    occurrences: Tensor
    half_occurrences: Tensor
    sizes: Tensor
    size_class: Tensor
    half_class: Tensor
    shares: Tensor
    half_shares: Tensor
    crowding: float
    pair_noise: float

    @classmethod
    def of(cls, labels: Tensor) -> LabelGroups:
        """Group (N,) dense labels."""
        occurrences = torch.bincount(labels)
        repeated = occurrences > 1
        slot_of = repeated.cumsum(0) - 1  # by label
        again = repeated[labels]
        rows = again.nonzero().flatten()
        slots = slot_of[labels[rows]]
        halves = 2 * slots + occurrence_ranks(labels)[rows] % 2
        half_occurrences = torch.bincount(halves, minlength=2 * int(repeated.sum()))
        sizes, class_of = _size_classes(occurrences, half_occurrences)
        size_class, half_class = class_of[occurrences[labels]], class_of[half_occurrences[halves]]
        return cls(
            len(labels),
            len(occurrences),
            (~again).nonzero().flatten(),
            rows,
            slots,
            halves,
            occurrences[repeated].double(),
            half_occurrences.double(),
            sizes,
            size_class,
            half_class,
            torch.bincount(size_class, minlength=len(sizes)).double() / len(labels),
            torch.bincount(half_class, minlength=len(sizes)).double() / len(labels),
            float((occurrences.double() / len(labels)).square().sum()),
            float(_pair_noise(occurrences[repeated].double(), half_occurrences.double().view(-1, 2).T)),
        )

    def to(self, device: torch.device) -> LabelGroups:
        moved: dict[str, Any] = {k: v.to(device) for k, v in vars(self).items() if isinstance(v, Tensor)}
        return replace(self, **moved)


@dataclass(frozen=True)
class GroupMeans:
    """Observed means of the repeated labels and of their halves.

    Attributes:
        label: (R, K) P_x.
        half: (2 R, K) P_xh.
        log_label: (R, K) log P_x.
        log_half: (2 R, K) log P_xh.
    """

    label: Tensor
    half: Tensor
    log_label: Tensor
    log_half: Tensor

    @classmethod
    def of(cls, site: SiteRows, groups: LabelGroups) -> GroupMeans:
        number = len(groups.half_occurrences)
        sums = site.rows.new_zeros(number, site.rows.shape[1]).index_add_(0, groups.halves, site.rows[groups.rows])
        label = sums.view(-1, 2, sums.shape[1]).sum(1) / groups.occurrences.unsqueeze(1)
        half = sums / groups.half_occurrences.unsqueeze(1)
        return cls(label, half, log_or_zero(label), log_or_zero(half))


def moments_of_rows(site: SiteRows, groups: LabelGroups, means: GroupMeans) -> Moments:
    """The moments of a label set whose groups are known."""
    total = groups.num_rows
    whole = -(groups.occurrences @ (means.label * means.log_label).sum(1))
    halved = -(groups.half_occurrences @ (means.half * means.log_half).sum(1))
    first, second = means.half.view(-1, 2, means.half.shape[1]).unbind(1)
    pairs = (groups.occurrences - 1) @ (first * second)
    rows = site.rows
    return Moments(
        site.mean,
        site.squares,
        site.entropy.mean(),
        pairs / total,
        (whole + site.entropy[groups.once].sum()) / total,
        (whole - halved) / total,
        rows.new_tensor((total - groups.num_labels) / total),
        groups.shares,
        groups.half_shares,
        groups.sizes,
        total,
        rows.new_tensor(groups.crowding),
        site.spread * groups.pair_noise,
    )


def row_effects(site: SiteRows, groups: LabelGroups, means: GroupMeans, gradient: Moments) -> Tensor:
    """(N,) first-order effect of every row on a function of the moments, from its gradient; about 0 on average.

    What a row adds to each moment: A to ``mean``; A² to ``squares``; H(A) to ``row_entropy``; with the other half g,
    P_xh P_xg + (n_x - 1) / n_xh (A - P_xh) P_xg to ``pairs``; -A log P_x to ``conditional``; A log P_xh - A log P_x to
    ``halving``; 1 to ``degrees``; and one row to its classes of n.
    """
    g, rows = gradient, site.single  # errors need no more than single precision
    effect = (rows * (g.mean.float() + rows * g.squares.float())).sum(1).double()
    effect = effect + site.entropy * g.row_entropy + g.shares[groups.size_class]
    effect = effect.index_add(0, groups.once, site.entropy[groups.once] * g.conditional)
    other = means.half.view(-1, 2, rows.shape[1]).flip(1).reshape_as(means.half)  # (2 R, K) P_xg
    weight = (groups.occurrences - 1).repeat_interleave(2) / groups.half_occurrences  # (2 R,)
    common = (means.half * other) @ g.pairs  # (2 R,)
    table = weight.unsqueeze(1) * other * g.pairs + g.halving * means.log_half  # (2 R, K)
    table = table - ((g.conditional + g.halving) * means.log_label).repeat_interleave(2, 0)
    constant = common * (1 - weight) + g.degrees  # (2 R,)
    again = (rows[groups.rows] * table.float()[groups.halves]).sum(-1).double() + constant[groups.halves]
    again = again + g.half_shares[groups.half_class]
    effect = effect.index_add(0, groups.rows, again)
    return effect - effect.mean()


def moments_of_counts(counts: Counts) -> Moments:
    """The moments of a label set that was streamed."""
    total = counts.total
    n, halves = counts.occurrences, counts.half_occurrences
    again = n > 1
    means = counts.sums / n.clamp(min=1).unsqueeze(1)
    half_means = counts.half_sums / halves.clamp(min=1).unsqueeze(2)
    entropies = _entropy(means)
    halving = (n * entropies - (halves * _entropy(half_means)).sum(0))[again].sum()
    sizes, class_of = _size_classes(n.long(), halves[:, again].long().flatten())
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
        weighted_spread(counts.products / total, mean) * _pair_noise(n[again], halves[:, again]),
    )


def _pair_noise(occurrences: Tensor, halves: Tensor) -> Tensor:
    """Σ_x (n_x - 1)² / (n_x1 n_x2) / ( Σ_x (n_x - 1) )² for (R,) occurrences and (2, R) halves of repeated labels."""
    return ((occurrences - 1).square() / halves.prod(0)).sum() / (occurrences - 1).sum().square()


def _size_classes(occurrences: Tensor, half_occurrences: Tensor) -> tuple[Tensor, Tensor]:
    """Classes of n: every n up to 16, then ranges of similar n under the mean of their 1 / n.

    Returns:
        (U,) sizes in float64, and the class of every n from 0 up.
    """
    number = torch.bincount(torch.cat([occurrences, half_occurrences]))
    n = torch.arange(len(number), device=number.device)
    grid = n.clamp(max=EXACT_SIZES) + (n.clamp(min=EXACT_SIZES) / EXACT_SIZES).log().div(_LOG_RATIO).round().long()
    used = (number > 0) & (n > 0)
    kept, where = torch.unique(grid[used], return_inverse=True)
    rows = (number * n)[used].double()
    weight = rows.new_zeros(len(kept)).index_add_(0, where, rows)
    inverse = rows.new_zeros(len(kept)).index_add_(0, where, rows / n[used])
    class_of = torch.zeros_like(n).masked_scatter_(used, where)
    return weight / inverse, class_of


_LOG_RATIO = float(torch.tensor(SIZE_RATIO, dtype=torch.float64).log())


def _entropy(distribution: Tensor) -> Tensor:
    return torch.special.entr(distribution).sum(-1)


def log_or_zero(distribution: Tensor) -> Tensor:
    """log, and 0 where nothing ever is: there it is only multiplied by 0."""
    return distribution.log().nan_to_num(nan=torch.nan, neginf=0.0)


def _positive(mean: Tensor) -> Tensor:
    return mean.clamp(min=1e-12)
