"""Variance components of soft assignments: what of their spread lies between labels, documents and rows.

The model is a random-effects analysis of variance with two random factors, labels and the documents of a label, for
each anchor k:

    A_ik = p_k + t_xk + c_xdk + e_ik        label x, document d of the label, row i of both

with τ²_k = var t, σ²_k = var (c + e), and ρ = var c / σ², the intraclass correlation of rows of one label and document.
The components are estimated by the method of moments (Searle, Casella and McCulloch, Variance Components, 1992), from
products of two rows (the symmetric sums of Koch, Technometrics 9, 1967): of one label in two documents, E = p² + τ²; of
one label in one document, E = p² + τ² + ρ σ²; of one row with itself, E = p² + τ² + σ².

What a document does to all of its rows, whatever their label, has no term of its own: documents are crossed with labels
in truth, and the model keeps their interaction alone. It enters p² but not the products across documents, so τ² is too
low by about its variance times Σ_d (n_d / N)², which matters where documents are few and informations small.

Letters: K anchors, U bins of sample sizes. Results have the leading dimensions of the moments, written (...).
"""

from __future__ import annotations

import torch
from torch import Tensor

from ibtrack.information.entropy import positive
from ibtrack.information.moments import Moments

VARIANCE_FLOOR = 1e-12  # of a row, as a share of p²: a constant cloud must not divide by 0
INTRACLASS_RANGE = (-0.5, 1.5)  # a guard for standard errors alone: beyond it an estimate of ρ has no gradient


def variance_components(moments: Moments) -> tuple[Tensor, Tensor]:
    """Estimate σ², the variance of rows within labels, and τ², the variance of label means.

    Two of N rows are never the same row; the mean of products over all pairs is therefore p² less the variance of a row
    over N - 1, which is added back. And the share of pairs that agree in their label by chance sees both products,
    which is why τ² is divided by 1 - Σ_x (n_x / N)².

    Returns:
        (..., K) σ², held above 0, and (..., K) τ², which may come out negative.
    """
    m = moments
    total = m.squares - m.mean.square()
    cross = m.cross_products / m.cross_weight.unsqueeze(-1) + total / (m.num_rows - 1)
    covariance = cross - m.mean.square()
    within = (total - covariance) / (1 - 1 / m.num_rows)
    within = within.maximum(VARIANCE_FLOOR * positive(m.mean).square())
    return within, covariance / (1 - m.collision_probability.unsqueeze(-1))


def variance_ratio(moments: Moments, within: Tensor, between: Tensor) -> tuple[Tensor, Tensor]:
    """Pool τ² and σ² over anchors, with weights p_k^-½, to one ratio r = Σ τ²_k p_k^-½ / Σ σ²_k p_k^-½.

    The error leaves out the factor 1 / (1 - Q) that τ² has, with Q the collision probability, so it is too small where
    labels are few; and it takes the terms of different labels for independent.

    Returns:
        (...) r, and (...) its standard error s_r if labels told nothing, which carries no gradient.
    """
    weight = positive(moments.mean).rsqrt().detach()
    scale = (weight * within).sum(-1)
    rho = intraclass_correlation(moments).detach()
    factors = torch.stack([(1 - rho).square(), rho * (1 - rho), rho.square()], -1)
    noise = (factors * moments.null_variance).sum(-1).sqrt() / scale
    return (weight * between).sum(-1) / scale, noise.detach()


def intraclass_correlation(moments: Moments) -> Tensor:
    """Estimate ρ, how alike two rows of one label and document are beyond what the label makes alike.

    Returns:
        (...) in [0, 1]; 0 where no document holds two rows of one label. Its gradient is that of the estimate before it
        is held in this range, so that its error does not vanish at the ends.
    """
    m, weight = moments, positive(moments.mean).rsqrt().detach()
    cross = (weight * m.cross_products).sum(-1) / m.cross_weight
    has_pairs = m.same_weight > 0  # without pairs neither the number nor its gradient may be nan
    same = m.same_products / torch.where(has_pairs, m.same_weight, 1.0)
    rho = (same - cross) / ((weight * m.squares).sum(-1) - cross)
    rho = torch.where(has_pairs, rho, 0.0).clamp(*INTRACLASS_RANGE)
    return rho + (rho.clamp(0, 1) - rho).detach()


def inverse_effective_sizes(moments: Moments) -> Tensor:
    """Work out 1 / n_eff = (1 - ρ) / n + ρ q of each bin: the mean of n rows varies by σ² / n_eff within a label.

    Source: the design effect 1 + ρ (n q - 1) of a cluster sample (Kish, Survey Sampling, 1965, section 8.2; for
    clusters of unequal size Gabler, Häder and Lahiri, Survey Methodology 25, 1999). A word that one text repeats has
    been seen in one context, not in many.

    Returns:
        (..., U).
    """
    rho = intraclass_correlation(moments).unsqueeze(-1)
    return (1 - rho) * moments.inverse_sizes + rho * moments.concentrations
