"""The debiased reading: the information itself, estimated from rows of which many labels have only few.

    I = plug-in - γ Σ_x (n_x / N) [ Δ(τ² + σ² / n_eff,x) - Δ(τ²) ]

τ² and σ² are variance components, n_eff an effective sample size (`ibtrack.information.variance_components`), Δ a
Jensen gap (`ibtrack.information.jensen_gap`), γ a calibration by split halves. Up to the bias of
H(p), which is small and neglected, the bias of the plug-in is a difference of Jensen gaps. Closed ad hoc are the gap,
as only mean and variance of a label's mean are known; one variance for all labels; and the pre-test on r. Measured
in ``experiments/benchmarks/truth.py``; it errs upward where labels differ much in how much they tell.

Letters: K anchors, U bins of sample sizes. Leading dimensions of the moments are written (...).
"""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import torch
from torch import Tensor

from ibtrack.information.entropy import positive
from ibtrack.information.jensen_gap import gaps_at_powers, interpolate_cubic
from ibtrack.information.moments import Moments
from ibtrack.information.plugin import plugin_from_moments
from ibtrack.information.variance_components import inverse_effective_sizes, variance_components, variance_ratio

# Standard errors by which r must show before it counts, a one-sided pre-test at 2.3 % if s_r is right: on a part of the
# grid of truth.py .0013 of log K off on average, .0015 without it (ablation.py).
CAUTION = 2.0
LARGEST_BETWEEN = 0.98  # of p (1 - p), the variance of means that are 0 or 1; a guard: .9 and .999 change no cloud
CALIBRATION_RANGE = (0.1, 3.0)  # γ, a guard against a predicted gap near 0: a wider range changes no cloud
_GIVEN = ("inverse_sizes", "concentrations", "num_rows", "collision_probability", "null_variance")  # by the design


def debiased_from_moments(moments: Moments) -> Tensor:
    """Estimate I(X;Z): the plug-in less the part of it that is due to labels having few rows.

    1. The ratio r of τ² to σ² is drawn towards 0 as far as its own noise goes, by the non-negative garrote r (1 - (2
       s_r / r)²) with its standard error s_r (Breiman, Technometrics 37, 1995), a pre-test estimator: 0 below 2 s_r.
    2. The gap at every effective sample size, less the gap at infinity, is the predicted bias.
    3. Halving the rows of every label raises the plug-in by an amount that is seen, and by one that is predicted; their
       ratio γ scales the prediction (split halves as in Strong et al., Physical Review Letters 80, 1998, but as a
       calibration and not as an extrapolation).
    4. The result is kept where every information lies: between 0 and log(1 + χ²).

    Returns:
        (...) nats. It is ``nan`` if no label occurs in two of several documents, as nothing then tells the spread
        within a label from the spread between labels, and if there is a single label. It is 0 if no spread between
        labels can be told from its noise; the standard error does not vanish there.
    """
    within, between = variance_components(moments)
    ratio, noise = variance_ratio(moments, within, between)
    shrunk = ratio * (1 - (CAUTION * noise / ratio).square())
    ratio = torch.where(ratio > CAUTION * noise, shrunk, (0 * ratio).abs())  # nan stays nan
    chi_square_bound = torch.log1p(ratio * (within / positive(moments.mean)).sum(-1))
    unbounded = plugin_from_moments(moments) - _plugin_bias(moments, within, between, ratio)
    return torch.minimum(unbounded.clamp(min=0), chi_square_bound)


def debiased_gradient(moments: Moments) -> Moments:
    """Differentiate `debiased_from_moments` by every moment; r is held above its noise, as the gradient is 0 below."""
    names = [field.name for field in fields(Moments) if field.name not in _GIVEN]
    with torch.enable_grad():
        leaves: dict[str, Any] = {name: getattr(moments, name).detach().requires_grad_() for name in names}
        at = replace(moments, **leaves)
        within, between = variance_components(at)
        ratio, noise = variance_ratio(at, within, between)
        ratio = ratio + (torch.maximum(ratio, noise) - ratio).detach()
        value = plugin_from_moments(at) - _plugin_bias(at, within, between, ratio)
        gradients: Any = torch.autograd.grad(value.sum(), list(leaves.values()))
    return replace(moments, **dict(zip(names, gradients, strict=True)))


def _plugin_bias(moments: Moments, within: Tensor, between: Tensor, ratio: Tensor) -> Tensor:
    """Estimate what few rows per label add to the plug-in, with τ² scaled to the given ratio to σ²: (...)."""
    m, p = moments, positive(moments.mean)
    between = between.clamp(min=0)
    spread = (between / p).sum(-1)
    scale = torch.where(spread > 0, ratio * (within / p).sum(-1) / spread, 0.0)
    between = torch.minimum(between * scale.unsqueeze(-1), LARGEST_BETWEEN * p * (1 - p))
    gaps, true_gap = gaps_at_powers(m, p, within, between)
    gaps = interpolate_cubic(gaps, -inverse_effective_sizes(m).log2())  # (..., U)
    bias = (m.row_shares * (gaps - true_gap)).sum(-1)
    predicted = ((m.half_row_shares - m.halved_row_shares) * gaps).sum(-1)
    calibration = torch.where(predicted > 0, m.halving_gap / predicted, 1.0).clamp(*CALIBRATION_RANGE)
    return calibration * bias
