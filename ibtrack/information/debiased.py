"""Counts to entropies and informations, in three readings, in nats.

``plugin`` is the published number: H(Z) - Σ_x p(x) H(Z | X=x) with the observed mean of each label. The mean of few
rows looks purer than it is, so it is biased upward, by most of its value where labels are rare. ``null`` is what the
plug-in would read if labels told nothing. ``debiased`` estimates the information itself.

Letters: N rows, K anchors, M labels, n_x rows of label x, U classes of n, J powers of 2. Moments may be those of one
label set at one site, or of several at several; the results have the same leading dimensions, written (...).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from ibtrack.information.moments import Moments
from ibtrack.information.row_statistics import RowStatistics, positive, row_entropies

CAUTION = 2.0  # standard errors by which a spread between labels must show before it counts
SMOOTHER, SMOOTH_POWER = 0.15, 8  # label means are smooth, so more lognormal than means of a few spiky rows
_GIVEN = ("inverse", "clumps", "num_rows", "crowding", "noise")  # not differentiated
NULL_BASES, NULL_LARGEST = (1, 3), 32  # the null is learned at 1, 2, 4 … and 3, 6, 12 … rows, up to 32
NULL_GROUPS = 16  # of rows, at least, to average over


def entropy(distribution: Tensor) -> Tensor:
    """Shannon entropy of (..., K) distributions, (...), nats.

    Example:
        >>> float(entropy(torch.tensor([0.5, 0.5]))) == float(torch.tensor(2.0).log())
        True
    """
    return torch.special.entr(distribution).sum(-1)


def marginal_entropy(moments: Moments) -> Tensor:
    """H(Z): entropy of the mean assignment, in [0, log K]."""
    return entropy(positive(moments.mean))  # whose gradient is finite where nothing ever is


def ceiling(moments: Moments) -> Tensor:
    """I(Z; J) = H(Z) - mean_i H(A_i): what the soft assignment J can tell of anything at all.

    The assignment is a channel from the activation to an anchor J, so no label can share more than this with J. A
    collapsed cloud has a large H(Z), the kernel's own, and a ceiling of 0.
    """
    return marginal_entropy(moments) - moments.row_entropy


def plugin_information(moments: Moments) -> Tensor:
    """H(Z) - Σ_x p(x) H(Z | X=x) with the observed mean of every label: the published reading."""
    return marginal_entropy(moments) - moments.conditional


def debiased_information(moments: Moments) -> Tensor:
    """I(X; Z) itself: the plug-in less the part of it that is due to labels having few rows.

    1. Products of two rows of one label, in two documents, split the spread of the rows into σ²_k within and τ²_k
       between labels. Their ratio r = Σ τ²_k p_k^-½ / Σ σ²_k p_k^-½ is drawn towards 0 as far as its own noise goes.
    2. The mean of n rows of one label has variance v_k = τ²_k + σ²_k ( (1 - ρ) / n + ρ q ), where ρ is how alike rows
       of one label and document are, and 1 / q the effective number of documents: a word that a text repeats has been
       seen in one context, not in many. The information j(n) of a random distribution
       with mean p and these variances is between that of Beta and that of lognormal marginals, both known in closed
       form; the single rows, whose j is I(Z; J), say where between.
    3. Halving the rows of every label raises the plug-in by something seen and something predicted by j; their ratio κ
       puts j to scale.
    4. I = plug-in - κ Σ_x (n_x / N) ( j(n_x) - j(∞) ), kept where every information lies: between 0 and log(1 + χ²). If
       no spread between labels can be told from its noise, that is 0; the error does not vanish there.

    Measured in ``experiments/benchmarks/truth.py``. It goes wrong where labels differ much in how much they tell.

    Returns:
        (...) nats; ``nan`` if no label occurs in two documents, as nothing then tells the spread within a label from
        the spread between labels, and if there is one label alone.
    """
    within, between = variance_components(moments)
    ratio, noise = variance_ratio(moments, within, between)
    kept = ratio * (1 - (CAUTION * noise / ratio).square())
    ratio = torch.where(ratio > CAUTION * noise, kept, (0 * ratio).abs())  # still nan where there is none
    bound = torch.log1p(ratio * (within / positive(moments.mean)).sum(-1))
    return torch.minimum((plugin_information(moments) - _excess(moments, within, between, ratio)).clamp(min=0), bound)


def debiased_gradient(moments: Moments) -> Moments:
    """Gradient of `debiased_information` in every moment; the ratio is held above its noise, where it would vanish."""
    names = [field.name for field in fields(Moments) if field.name not in _GIVEN]
    with torch.enable_grad():
        leaves: dict[str, Any] = {name: getattr(moments, name).detach().requires_grad_() for name in names}
        at = replace(moments, **leaves)
        within, between = variance_components(at)
        ratio, noise = variance_ratio(at, within, between)
        ratio = ratio + (torch.maximum(ratio, noise) - ratio).detach()
        value = plugin_information(at) - _excess(at, within, between, ratio)
        gradients: Any = torch.autograd.grad(value.sum(), list(leaves.values()))
    return replace(moments, **dict(zip(names, gradients, strict=True)))


def variance_components(moments: Moments) -> tuple[Tensor, Tensor]:
    """(..., K) variance of the rows within labels, and of the true means between, which may come out negative."""
    m = moments
    total = m.squares - m.mean.square()
    alike = m.pairs / m.degrees.unsqueeze(-1) + total / (m.num_rows - 1)  # two rows of N are never the same one
    seen = alike - m.mean.square()
    within = (total - seen) / (1 - 1 / m.num_rows)
    return within.maximum(1e-12 * positive(m.mean).square()), seen / (1 - m.crowding.unsqueeze(-1))


def variance_ratio(moments: Moments, within: Tensor, between: Tensor) -> tuple[Tensor, Tensor]:
    """(...) pooled variance between over within labels, and its standard error if labels told nothing."""
    weight = positive(moments.mean).rsqrt().detach()
    scale = (weight * within).sum(-1)
    alike = intraclass_correlation(moments).detach()
    parts = torch.stack([(1 - alike).square(), alike * (1 - alike), alike.square()], -1)
    return (weight * between).sum(-1) / scale, ((parts * moments.noise).sum(-1).sqrt() / scale).detach()


def intraclass_correlation(moments: Moments) -> Tensor:
    """(...) correlation ρ of two rows of one label and document, beyond what the label makes alike, in [0, 1].

    Its gradient is that of the estimate before it is held there, so that its error does not vanish at the ends; further
    out than twice that range there is only noise, and no gradient.
    """
    m, weight = moments, positive(moments.mean).rsqrt().detach()
    apart = (weight * m.pairs).sum(-1) / m.degrees
    any_mates = m.mate_degrees > 0  # else neither the number nor its gradient may be nan
    together = m.mates / torch.where(any_mates, m.mate_degrees, 1.0)
    found = (together - apart) / ((weight * m.squares).sum(-1) - apart)
    found = torch.where(any_mates, found, 0.0).clamp(-0.5, 1.5)
    return found + (found.clamp(0, 1) - found).detach()


def _excess(moments: Moments, within: Tensor, between: Tensor, ratio: Tensor) -> Tensor:
    """(...) what few rows per label add to the plug-in, with true variances in the given ratio to those within."""
    m, p = moments, positive(moments.mean)
    true = between.clamp(min=0)
    spread = (true / p).sum(-1)
    true = true * torch.where(spread > 0, ratio * (within / p).sum(-1) / spread, 0.0).unsqueeze(-1)
    true = torch.minimum(true, 0.98 * p * (1 - p))
    each, p_each = true.unsqueeze(-2), p.unsqueeze(-2)  # (..., 1, K)
    nodes = _nodes(m.num_rows, like=p)
    variance = each + within.unsqueeze(-2) / nodes.exp2().unsqueeze(-1)  # (..., J, K)
    signal = (each / p_each).sum(-1) / (variance / p_each).sum(-1)  # (..., J) share of it that is no noise
    mixture = _mixture(m).unsqueeze(-1)
    of_nodes = _information(p_each, variance, mixture + SMOOTHER * signal**SMOOTH_POWER)  # (..., J) j(2^nodes)
    of_truth = _information(p_each, each, mixture + SMOOTHER)  # (..., 1) j(∞)
    alike = intraclass_correlation(m).unsqueeze(-1)
    of_means = _cubic(of_nodes, -((1 - alike) * m.inverse + alike * m.clumps).log2())  # (..., U) j of effective numbers
    excess = (m.shares * (of_means - of_truth)).sum(-1)
    predicted = ((m.half_shares - m.repeated) * of_means).sum(-1)
    scale = torch.where(predicted > 0, m.halving / predicted, 1.0).clamp(0.1, 3.0)
    return scale * excess


def _mixture(moments: Moments) -> Tensor:
    """(...) where the rows' own information lies between that of Beta, 0, and of lognormal marginals, 1."""
    p = positive(moments.mean)
    variance = (moments.squares - p.square()).clamp(min=0)
    beta, lognormal = _beta(p, variance), _lognormal(p, variance)
    return ((ceiling(moments) - beta) / (lognormal - beta)).clamp(-0.25, 1.0)


def _information(p: Tensor, variance: Tensor, mixture: Tensor) -> Tensor:
    beta = _beta(p, variance)
    return beta + mixture * (_lognormal(p, variance) - beta)


def _beta(p: Tensor, variance: Tensor) -> Tensor:
    """(...) H(p) - E[H] of a random distribution with Beta marginals: Σ_k p_k ( ψ(p_k s + 1) - ψ(s + 1) - log p_k )."""
    variance = torch.minimum(variance, 0.999 * p * (1 - p)).maximum(1e-9 * p.square())
    s = p * (1 - p) / variance - 1
    return entropy(p) + (p * (torch.digamma(p * s + 1) - torch.digamma(s + 1))).sum(-1)


def _lognormal(p: Tensor, variance: Tensor) -> Tensor:
    """(...) the same with lognormal marginals: Σ_k p_k / 2 log(1 + v_k / p_k²)."""
    return (p * torch.log1p(variance / p.square())).sum(-1) / 2


def _nodes(most: int, like: Tensor) -> Tensor:
    """(J,) logarithms to base 2 between which `_cubic` reaches all numbers from 1 to ``most``."""
    return torch.arange(max(4, most.bit_length() + 1), dtype=like.dtype, device=like.device)


def _cubic(values: Tensor, places: Tensor) -> Tensor:
    """Lagrange polynomials through four of (..., J) values at 0, 1, 2 …, around each of (..., U) places.

    Between powers of two, informations of means of so many rows are good to 1e-4 log K, between 1 and 2 to 3e-4.

    Example:
        >>> cubes = torch.arange(6.0) ** 3
        >>> _cubic(cubes, torch.tensor([0.5, 2.5, 5.0])).tolist()
        [0.125, 15.625, 125.0]
    """
    first = (places.detach().nan_to_num().floor() - 1).clamp(0, values.shape[-1] - 4)  # nan comes out as nan
    t = places - first
    weights = (
        (1 - t) * (t - 2) * (t - 3) / 6,
        t * (t - 2) * (t - 3) / 2,
        t * (1 - t) * (t - 3) / 2,
        t * (t - 1) * (t - 2) / 6,
    )
    start = first.long()
    one, two, three, four = (weight * values.gather(-1, start + i) for i, weight in enumerate(weights))
    return one + two + three + four


@dataclass(frozen=True)
class NullCurve:
    """Expected entropy h(n) of the mean of n random rows of L sites; see `null_curve`.

    Attributes:
        mean: (L, K) p.
        variance: (L, K) variance of one row.
        sizes: (G,) the n at which groups of rows were averaged, ascending from 1.
        excess: (L, G) observed minus Beta entropy at these n.
        num_rows: N, the largest n there may be.
    """

    mean: Tensor
    variance: Tensor
    sizes: Tensor
    excess: Tensor
    num_rows: int

    def __call__(self, n: Tensor) -> Tensor:
        """(L, U) h(n) in nats for the distinct group sizes n (U,)."""
        p, nodes = positive(self.mean).unsqueeze(1), _nodes(self.num_rows, like=n)
        beta = entropy(p) - _beta(p, self.variance.unsqueeze(1) / nodes.exp2().unsqueeze(1))  # (L, J)
        return _cubic(beta, n.log2().expand(len(beta), -1)) + _interpolate(n, self.sizes, self.excess)


def null_curve(sites: Sequence[RowStatistics]) -> NullCurve:
    """Learn h(n), the entropy that the mean of n random rows has on average.

    For n = 1 it is the mean entropy of the rows. For a few n up to 32 the random rows of the site's sample are averaged
    in disjoint groups. Between and beyond them, the curve follows that of Beta marginals with the moments of the mean,
    p_k and v_k / n, plus the excess over it, linear in log n and falling as 1 / n beyond the last. One curve serves
    every label set of a layer, and agrees with permuting the labels to about .002 log K.
    """
    mean = torch.cat([site.mean for site in sites])
    squares = torch.cat([site.squares for site in sites])
    variance, none = (squares - mean.square()).clamp(min=0), mean.new_zeros(len(mean), 1)
    curve = NullCurve(mean, variance, mean.new_ones(1), none, len(sites[0].rows))
    observed = [_entropies_of_means(site) for site in sites]
    sizes = sorted(observed[0])
    at = mean.new_tensor(sizes)
    found = torch.cat([torch.stack([of_site[n] for n in sizes], 1) for of_site in observed])  # (L, G)
    return replace(curve, sizes=at, excess=found - curve(at))


def _entropies_of_means(site: RowStatistics) -> dict[int, Tensor]:
    """Number of rows to the (L,) mean entropy of the mean of as many."""
    observed = {1: site.row_entropy}
    for base in NULL_BASES:
        sums, n = _sums_of_groups(site.sample, base), base
        while n <= NULL_LARGEST and len(sums) >= NULL_GROUPS:
            if n > 1:
                observed[n] = row_entropies(sums / n).mean(0, dtype=torch.float64)
            sums, n = _sums_of_groups(sums, 2), 2 * n
    return observed


def _sums_of_groups(rows: Tensor, size: int) -> Tensor:
    """Sums of consecutive groups of so many rows; a rest is dropped."""
    first, *others = rows[: len(rows) // size * size].view(-1, size, *rows.shape[1:]).unbind(1)
    return sum(others, start=first)


def _interpolate(n: Tensor, sizes: Tensor, excess: Tensor) -> Tensor:
    """(L, U) linear in log n between the sizes, and falling as 1 / n beyond the last."""
    right = torch.searchsorted(sizes, n).clamp(1, max(len(sizes) - 1, 1)).clamp(max=len(sizes) - 1)
    left = (right - 1).clamp(min=0)
    span = (sizes[right] / sizes[left]).log()
    share = torch.where(span > 0, (n / sizes[left]).log() / span, 0.0)
    between = excess[:, left] + share * (excess[:, right] - excess[:, left])
    return torch.where(n > sizes[-1], excess[:, -1:] * sizes[-1] / n, between)
