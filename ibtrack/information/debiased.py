"""The debiased reading: the information itself, estimated from rows of which many labels have only few.

    I = plug-in + δ - γ Σ_x (n_x / N) [ Γ_x(t_x) - Γ(r) ]        t_x = r + (1 - r) / n_eff,x

The mean of the n_x rows of a label varies around p by the share t_x of a row's variance: r between labels, and the
rest for its few rows, with an effective sample size (`ibtrack.information.variance_components`). Γ(t) is the Jensen gap
of a mean that varies so (`ibtrack.information.gap_curves`), and the difference in square brackets is the entropy that
the label's few rows cost. γ is a calibration by split halves; δ corrects H(p) for few documents. docs/estimator.md
derives it, says which steps are closures, and how far the result is off.

Letters: U pairs of sample size and concentration. Leading dimensions of the moments are written (...).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ibtrack.information.curve_table import read_curves
from ibtrack.information.gap_curves import read_curve
from ibtrack.information.moments import CURVES, LABEL_MOMENTS, SHARES, SITE_MOMENTS, Moments
from ibtrack.information.plugin import ceiling, plugin_from_moments
from ibtrack.information.variance_components import intraclass_correlation, inverse_effective_sizes, label_share

# The gap of means of rows goes over into that of means of labels and cells, which are smooth, as λ⁶ with λ their share
# in the variance; its mixture is nearer to lognormal than that of rows by .3. Both were chosen on parts of the three
# sets of truth.py; ablation.py shows what other values do.
SMOOTHING, SMOOTH_POWER = 0.3, 6
CALIBRATION_RANGE = (0.1, 3.0)  # γ, a guard against a predicted gap near 0: a wider range changes no cloud
_Read = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]  # of two curves at the same places
_DIFFERENTIATED = (*SITE_MOMENTS, *LABEL_MOMENTS, *CURVES, *SHARES)


def debiased_from_moments(moments: Moments, *, few_calls: bool = False) -> Tensor:
    """Estimate I(X;Z): the plug-in less the part of it that is due to labels having few rows.

    1. r, the share of a row's variance that lies between labels, and n_eff say how much each label's mean varies.
    2. The gap at that variance, less the gap at r, is the predicted bias.
    3. Halving the rows of every label raises the plug-in by an amount that is seen, and by one that is predicted; their
       ratio γ scales the prediction (split halves as in Strong et al., Physical Review Letters 80, 1998, but as a
       calibration and not as an extrapolation).

    Args:
        moments: The moments of label sets at sites.
        few_calls: Whether all curves are read at once, for an accelerator; the numbers differ by rounding.

    Returns:
        (...) nats, neither clipped nor tested: where labels tell nothing it is noise around 0. It is ``nan`` if no
        label occurs in two of several documents, as nothing then tells the spread within a label from the spread
        between labels, and if there is a single label.
    """
    m = moments
    r = label_share(m).unsqueeze(-1)
    of_documents = (1 - r) * intraclass_correlation(m).unsqueeze(-1) * m.concentrations
    smooth, t = r + of_documents, r + (1 - r) * inverse_effective_sizes(m)  # (..., U)
    if few_calls:
        gaps, at_r = _gaps(m, torch.cat([smooth, r], -1), torch.cat([t, r], -1), _read_at_once).split(
            [t.shape[-1], 1], -1
        )
    else:
        gaps, at_r = _gaps(m, smooth, t), _gaps(m, r, r)
    bias = (m.row_shares * (gaps - at_r)).sum(-1)
    predicted = ((m.half_row_shares - m.halved_row_shares) * gaps).sum(-1)
    calibration = (m.halving_gap / predicted).masked_fill(~(predicted > 0), 1.0)
    return plugin_from_moments(m) + m.marginal_bias - _held(calibration) * bias


def debiased_with_gradient(moments: Moments, *, few_calls: bool = False) -> tuple[Tensor, dict[str, Tensor]]:
    """Work out `debiased_from_moments` and its derivatives by the moments, which come by name."""
    with torch.enable_grad():
        leaves: dict[str, Any] = {name: getattr(moments, name).detach().clone() for name in _DIFFERENTIATED}
        shape = moments.conditional.shape
        for name in SHARES:  # one for all sites: each site needs a derivative of its own
            leaves[name] = leaves[name].expand(*shape, -1).clone()
        for leaf in leaves.values():
            leaf.requires_grad_()
        value = debiased_from_moments(replace(moments, **leaves), few_calls=few_calls)
        gradients = torch.autograd.grad(value.sum(), list(leaves.values()), materialize_grads=True)
    return value.detach(), dict(zip(leaves, gradients, strict=True))


def _held(calibration: Tensor) -> Tensor:
    """Hold γ in its range.

    Above it γ keeps its relative derivative: noise of r and ρ moves the bias and the gap that is predicted for halves
    alike, so it hardly moves their ratio, with γ below the bound or at it. Below the range it has none.
    """
    lowest, highest = CALIBRATION_RANGE
    calibration = calibration.clamp(min=lowest)
    return calibration.clamp(max=highest).detach() * (calibration / calibration.detach())


def _read_both(one: Tensor, other: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    return read_curve(one, t), read_curve(other, t)


def _read_at_once(one: Tensor, other: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    first, second = read_curves(torch.stack([one, other]), t)
    return first, second


def _gaps(moments: Moments, smooth: Tensor, t: Tensor, read: _Read = _read_both) -> Tensor:
    """Work out Γ(t), (..., U), for means that vary by (..., U) t, of which (..., U) is due to labels and documents."""
    m = moments
    null, difference = m.beta + m.null_excess, m.lognormal - m.beta
    mixture = (ceiling(m) - m.beta[..., 0]) / difference[..., 0]
    of_rows, of_means = read(null, m.beta + (mixture.unsqueeze(-1) + SMOOTHING) * difference, t)
    none = (smooth <= 0) | (t <= 0)
    share = (smooth / t.masked_fill(none, 1.0)).masked_fill(none, 0.0)
    return of_rows + share**SMOOTH_POWER * (of_means - of_rows)
