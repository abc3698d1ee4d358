"""Variance components of soft assignments: what of their spread lies between labels, documents and rows.

The model is a random-effects analysis of variance with two nested random factors, labels and the documents of a label:

    A_i = p + t_x + c_xd + e_i        label x, document d of the label, row i of both

with the intraclass correlation ρ = var c / var (c + e) of rows of one label and document. The components are estimated
by the method of moments (Searle, Casella and McCulloch, Variance Components, 1992), from products of two rows (the
symmetric sums of Koch, Technometrics 9, 1967), pooled over anchors with weights p_k^-½. Products of two rows of one
label are compared with products of two rows of any labels, both in two documents: what a document does to all of its
rows, whatever their label, then enters neither.

Letters: K anchors, U pairs of sample size and concentration. Results have the leading dimensions of the moments,
written (...).
"""

from __future__ import annotations

import torch
from torch import Tensor

from ibtrack.information.moments import Moments

INTRACLASS_RANGE = (-0.5, 1.5)  # a guard for standard errors alone: beyond it an estimate of ρ has no gradient
LARGEST_SHARE = 0.98  # a guard: where labels tell all, the gap within labels is a difference of equal numbers


def label_share(moments: Moments) -> Tensor:
    """Estimate r, the share of a row's variance that lies between labels.

    Two of the rows share their label by chance with probability Q, and the products over all labels see that, which is
    why the difference is divided by 1 - Q.

    Returns:
        (...) at most .98; it may come out negative where labels tell little. Beyond the bound it has no gradient: no
        document moves it there.
    """
    m = moments
    total = m.squares - m.other_products
    others = (1 - m.collision_probability).masked_fill(m.collision_probability >= 1, torch.nan)  # for a single label
    return (_fraction(m.cross_products - m.other_products, total) / others).clamp(max=LARGEST_SHARE)


def null_deviation(moments: Moments) -> Tensor:
    """Work out s_r, the standard deviation of r if labels told nothing: (...), without a gradient.

    The factor 1 / sqrt(1 - Q) follows from a comparison of M labels whose means have one constraint. With few labels
    the distribution of r is skewed, as that of χ² with M - 1 degrees of freedom.
    """
    m = moments
    rho = intraclass_correlation(m).detach()
    factors = torch.stack([(1 - rho).square(), rho * (1 - rho), rho.square()], -1)
    deviation = (factors * m.null_variance).sum(-1).sqrt() / (m.squares - m.other_products)
    return (deviation / (1 - m.collision_probability).sqrt()).detach()


def intraclass_correlation(moments: Moments) -> Tensor:
    """Estimate ρ, how alike two rows of one label and document are beyond what the label makes alike.

    Returns:
        (...) in [0, 1]; 0 where no document holds two rows of one label. Its gradient is that of the estimate before it
        is held in this range, so that its error does not vanish at the ends.
    """
    m = moments
    rho = _fraction(m.same_products - m.cross_products, m.squares - m.cross_products)
    rho = rho.masked_fill(~m.has_pairs, 0.0).clamp(*INTRACLASS_RANGE)
    return rho + (rho.clamp(0, 1) - rho).detach()


def inverse_effective_sizes(moments: Moments) -> Tensor:
    """Work out 1 / n_eff = (1 - ρ) / n + ρ q for each n and q: the mean of n rows varies by σ² / n_eff within a label.

    Source: the design effect 1 + ρ (n q - 1) of a cluster sample (Kish, Survey Sampling, 1965, section 8.2; for
    clusters of unequal size Gabler, Häder and Lahiri, Survey Methodology 25, 1999). A word that one text repeats has
    been seen in one context, not in many.

    Returns:
        (..., U).
    """
    rho = intraclass_correlation(moments).unsqueeze(-1)
    return (1 - rho) * moments.inverse_sizes + rho * moments.concentrations


def _fraction(part: Tensor, whole: Tensor) -> Tensor:
    """Divide; where all rows are equal, and the whole is 0 as its part is, the fraction is 0."""
    return part / whole.masked_fill(whole == 0, 1.0)
