"""Counts to entropies and informations, in three readings, in nats.

``plugin`` is the published number: H(Z) - Σ_x p(x) H(Z | X=x) with the observed mean of each label. The mean of few
rows looks purer than it is, so it is biased upward, by most of its value where labels are rare. ``null`` is what the
plug-in would read if labels told nothing. ``debiased`` estimates the information itself.

Letters: N rows, K anchors, M labels, n_x rows of label x.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ibtrack._checks import check_option
from ibtrack.counts import Counts

NULL_ROWS = 1 << 13  # rows that are averaged to learn the null; its noise is then about .001 log K
NULL_SIZES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)


def entropy(distribution: Tensor) -> Tensor:
    """Shannon entropy of (..., K) distributions, (...), nats.

    Example:
        >>> float(entropy(torch.tensor([0.5, 0.5]))) == float(torch.tensor(2.0).log())
        True
    """
    return torch.special.entr(distribution).sum(-1)


def marginal_entropy(counts: Counts) -> Tensor:
    """H(Z): entropy of the mean assignment, in [0, log K]."""
    return entropy(counts.marginal)


def ceiling(counts: Counts) -> Tensor:
    """I(Z; J) = H(Z) - mean_i H(A_i): what the soft assignment J can tell of anything at all.

    The assignment is a channel from the activation to an anchor J, so no label can share more than this with J. A
    collapsed cloud has a large H(Z), the kernel's own, and a ceiling of 0.
    """
    return marginal_entropy(counts) - counts.row_entropy / counts.total


def information(counts: Counts, reading: str = "debiased") -> Tensor:
    """I(X; Z), ``debiased`` or ``plugin``, (), nats. For the null see `null_information`.

    Returns:
        the estimate, never clipped; ``nan`` for ``debiased`` when every label occurs once, as nothing then tells the
        spread within a label from the spread between labels.
    """
    check_option("reading", reading, ("debiased", "plugin"))
    means = shrunken_means(counts) if reading == "debiased" else observed_means(counts)
    return conditional_information(counts, means)


def conditional_information(counts: Counts, means: Tensor) -> Tensor:
    """H(Z) - Σ_x (n_x / N) H(Q_x) for the (M, K) label means Q."""
    return marginal_entropy(counts) - (counts.occurrences @ entropy(means)) / counts.total


def observed_means(counts: Counts) -> Tensor:
    """(M, K) mean assignment of each label; zeros for a label that does not occur."""
    return counts.sums / counts.occurrences.clamp(min=1).unsqueeze(1)


def shrunken_means(counts: Counts) -> Tensor:
    """(M, K) label means drawn towards p until they spread as much as the true ones are estimated to.

    Variance-matched shrinkage (constrained empirical Bayes: Louis 1984, Ghosh 1992). A one-way analysis of variance
    splits the spread of the rows into σ²_k within and τ²_k between labels; with T = Σ_k τ²_k / p_k and
    S = Σ_k σ²_k / p_k,

        Q_x = p + b_x (P_x - p),    b_x = sqrt( T / (T + S / n_x) )

    which is a mixture of p and the observed mean, so again a distribution. Without dependence T is about 0 and Q_x = p;
    with many rows per label b_x goes to 1 and Q_x to the observed mean.

    Returns:
        the means; ``nan`` when no label occurs twice.
    """
    n = counts.occurrences
    total, present, p = counts.total, (n > 0).sum(), counts.marginal
    between_squares = (counts.sums.square() / n.clamp(min=1).unsqueeze(1)).sum(0)  # (K,)
    within = (counts.squares - between_squares) / (total - present)  # (K,) σ²
    between = (between_squares - total * p.square() - (present - 1) * within) / (total - n.square().sum() / total)
    weight = torch.where(p > 0, 1 / p, 0.0)
    spread = (between * weight).sum().clamp(min=0)  # T
    noise = (within * weight).sum()  # S
    shrink = torch.sqrt(spread / (spread + noise / n.clamp(min=1)))  # (M,)
    shrink = torch.where(spread > 0, shrink, 0.0) + 0 * (
        noise + spread
    )  # a collapsed cloud reads 0, unknown spread nan
    return p + shrink.unsqueeze(1) * (observed_means(counts) - p)


@dataclass(frozen=True)
class NullCurve:
    """Expected entropy h(n) of the mean of n random rows; see `null_curve`.

    Attributes:
        mean: (K,) p.
        variance: (K,) variance of one row.
        sizes: (G,) the n at which groups of rows were averaged, ascending from 1.
        excess: (G,) observed minus Beta entropy at these n.
    """

    mean: Tensor
    variance: Tensor
    sizes: Tensor
    excess: Tensor

    def __call__(self, n: Tensor) -> Tensor:
        """h(n) in nats for the distinct group sizes n (U,)."""
        beta = expected_entropy(self.mean, self.variance / n.unsqueeze(1))
        return beta + _interpolate(n, self.sizes, self.excess)


def null_curve(assignments: Tensor, *, seed: int = 0) -> NullCurve:
    """Learn h(n), the entropy that the mean of n random rows has on average.

    For n = 1 it is the mean entropy of the rows. For a few n up to 32 random rows are averaged in disjoint groups.
    Between and beyond them, the curve follows that of Beta marginals with the moments of the mean, p_k and v_k / n,
    plus the excess over it, linear in log n and falling as 1 / n beyond the last. One curve serves every label set of a
    layer, and agrees with permuting the labels to about .002 log K.

    Args:
        assignments: (N, K).
        seed: of the random order of the rows, drawn on the CPU.
    """
    rows = assignments.double()
    mean = rows.mean(0)
    curve = NullCurve(mean, (rows.square().mean(0) - mean.square()).clamp(min=0), mean.new_ones(1), mean.new_zeros(1))
    shuffled = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))[:NULL_ROWS]
    sample = assignments[shuffled.to(assignments.device)]
    sizes = [n for n in NULL_SIZES if n == 1 or len(sample) >= 16 * n]
    observed = [entropy(rows).mean()]
    for n in sizes[1:]:
        groups = sample[: len(sample) // n * n].view(-1, n, sample.shape[1])
        observed.append(entropy(groups.mean(1)).double().mean())
    at = mean.new_tensor(sizes)
    return replace(curve, sizes=at, excess=torch.stack(observed) - curve(at))


def null_information(curve: NullCurve, occurrences: Tensor) -> Tensor:
    """What the plug-in would read, on average, if the labels were permuted: H(p) - Σ_x (n_x / N) h(n_x).

    Args:
        curve: of the rows.
        occurrences: (M,) rows of each label.
    """
    sizes, where = torch.unique(occurrences.clamp(min=1), return_inverse=True)
    return entropy(curve.mean) - (occurrences @ curve(sizes)[where]) / occurrences.sum()


def _interpolate(n: Tensor, sizes: Tensor, excess: Tensor) -> Tensor:
    """Linear in log n between the sizes, and falling as 1 / n beyond the last."""
    right = torch.searchsorted(sizes, n).clamp(1, max(len(sizes) - 1, 1)).clamp(max=len(sizes) - 1)
    left = (right - 1).clamp(min=0)
    span = (sizes[right] / sizes[left]).log()
    share = torch.where(span > 0, (n / sizes[left]).log() / span, 0.0)
    between = excess[left] + share * (excess[right] - excess[left])
    return torch.where(n > sizes[-1], excess[-1] * sizes[-1] / n, between)


def expected_entropy(mean: Tensor, variance: Tensor) -> Tensor:
    """Expected entropy of a random distribution over K anchors with Beta marginals of the given moments.

    Args:
        mean: (K,) expected distribution.
        variance: (..., K) variances; 0 gives the entropy of ``mean``.

    Returns:
        (...) nats.
    """
    concentration = mean * (1 - mean) / variance - 1  # (..., K)
    spread_out = mean * (torch.digamma(concentration + 1) - torch.digamma(mean * concentration + 1))
    return torch.where((variance > 0) & (mean > 0), spread_out, torch.special.entr(mean)).sum(-1)
