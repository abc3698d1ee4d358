"""The Jensen gap Δ(v) = H(p) - E[H(P)] of a random distribution P with mean p and variances v.

Entropy is concave, so a label's mean of few rows looks purer than it is: the plug-in information is too high by a
Jensen gap. Mean and variances do not fix the gap; it was found between, or near, two closures known in closed form:

- Beta marginals, as of a Dirichlet distribution (Wolpert and Wolf, Physical Review E 52, 1995, the expected entropy):
  Σ_k p_k ( digamma(p_k ν_k + 1) - digamma(ν_k + 1) - log p_k ) with ν_k = p_k (1 - p_k) / v_k - 1, light tails;
- lognormal marginals: Σ_k p_k / 2 log(1 + v_k / p_k²), heavy tails.

Which mixture of the two holds is read off the single rows, whose gap is observed: it is I(Z;J). The mixture is an ad
hoc closure for the higher cumulants of P; nothing but the benchmarks with known truth speaks for it.

Letters: K anchors, U bins of sample sizes. Leading dimensions are written (...).
"""

from __future__ import annotations

import torch
from torch import Tensor

from ibtrack.information.entropy import entropy, positive
from ibtrack.information.moments import Moments
from ibtrack.information.plugin import ceiling

# Label means are smooth, so their gap is nearer to the lognormal one than that of a few spiky rows is. Chosen on the
# grid of truth.py: .0013 off on average on a part of it, .0054 without (ablation.py); on clouds of other kinds .0058
# against .0108, on repeated texts .0113 against .0108.
SMOOTH_SHARE, SMOOTH_POWER = 0.15, 8
LARGEST_BETA_VARIANCE = 0.999  # of p (1 - p), the variance of a Beta distribution of 0 and 1 alone, where ν is 0
BETA_VARIANCE_FLOOR = 1e-9  # of p², below which ν has no digits left
MIXTURE_RANGE = (-0.25, 1.0)  # a guard: no cloud of ablation.py is changed by a wider range, or by [0, 1]


def beta_gap(p: Tensor, variance: Tensor) -> Tensor:
    """Work out the gap of Beta marginals with mean (..., K) and variance (..., K), in nats: (...)."""
    variance = torch.minimum(variance, LARGEST_BETA_VARIANCE * p * (1 - p)).maximum(BETA_VARIANCE_FLOOR * p.square())
    nu = p * (1 - p) / variance - 1
    return entropy(p) + (p * (torch.digamma(p * nu + 1) - torch.digamma(nu + 1))).sum(-1)


def lognormal_gap(p: Tensor, variance: Tensor) -> Tensor:
    """Work out the gap of lognormal marginals with mean (..., K) and variance (..., K), in nats: (...)."""
    return (p * torch.log1p(variance / p.square())).sum(-1) / 2


def jensen_gap(p: Tensor, variance: Tensor, mixture: Tensor) -> Tensor:
    """Interpolate between the two closures.

    Args:
        p: (..., K) mean.
        variance: (..., K) variance.
        mixture: (...) 0 for Beta, 1 for lognormal marginals.

    Returns:
        (...) in nats.
    """
    beta = beta_gap(p, variance)
    return beta + mixture * (lognormal_gap(p, variance) - beta)


def row_mixture(moments: Moments) -> Tensor:
    """Find the mixture under which the gap of single rows is the one observed, I(Z;J): (...), in [-.25, 1]."""
    p = positive(moments.mean)
    variance = (moments.squares - p.square()).clamp(min=0)
    beta, lognormal = beta_gap(p, variance), lognormal_gap(p, variance)
    return ((ceiling(moments) - beta) / (lognormal - beta)).clamp(*MIXTURE_RANGE)


def gaps_at_powers(moments: Moments, p: Tensor, within: Tensor, between: Tensor) -> tuple[Tensor, Tensor]:
    """Work out Δ(τ² + σ² / n) for n = 1, 2, 4 and so on, and Δ(τ²), the information under the model.

    The means of labels are smoother than rows, so their mixture moves towards lognormal as the noise in them goes.

    Args:
        moments: Moments of the rows, from which the mixture is read.
        p: (..., K) mean of the rows, above 0.
        within: (..., K) σ².
        between: (..., K) τ².

    Returns:
        (..., powers) and (..., 1), in nats; see `power_nodes`.
    """
    truth, p = between.unsqueeze(-2), p.unsqueeze(-2)  # (..., 1, K)
    variance = truth + within.unsqueeze(-2) / power_nodes(moments.num_rows, like=p).exp2().unsqueeze(-1)
    reliability = (truth / p).sum(-1) / (variance / p).sum(-1)  # (..., powers) share of the variance that is no noise
    mixture = row_mixture(moments).unsqueeze(-1)
    gaps = jensen_gap(p, variance, mixture + SMOOTH_SHARE * reliability**SMOOTH_POWER)
    return gaps, jensen_gap(p, truth, mixture + SMOOTH_SHARE)


def power_nodes(largest: int, like: Tensor) -> Tensor:
    """List logarithms to base 2 between which `interpolate_cubic` reaches all numbers from 1 to ``largest``."""
    return torch.arange(max(4, largest.bit_length() + 1), dtype=like.dtype, device=like.device)


def interpolate_cubic(values: Tensor, places: Tensor) -> Tensor:
    """Interpolate by the Lagrange polynomial through the four values around each place.

    Between powers of two, gaps of means of so many rows are good to 1e-4 of log K, between 1 and 2 to 3e-4.

    Args:
        values: (..., m) values at 0, 1, 2 and so on.
        places: (..., U) places in [0, m - 1].

    Returns:
        (..., U).

    Example:
        >>> cubes = torch.arange(6.0) ** 3
        >>> interpolate_cubic(cubes, torch.tensor([0.5, 2.5, 5.0])).tolist()
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
