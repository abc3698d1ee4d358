"""The plug-in reading and the ceiling, from entropies of observed means, in nats.

Source: Conklin et al., arXiv 2604.07569; Conklin, arXiv 2505.23960, section 5.4.
Letters: n_x rows of label x, N rows. Leading dimensions of the moments are written (...).
"""

from __future__ import annotations

from torch import Tensor

from ibtrack.information.moments import Moments


def ceiling(moments: Moments) -> Tensor:
    """Work out I(Z;J) = H(Z) - mean_i H(A_i), what the soft assignment J can tell of anything at all: (...).

    The assignment is a channel from the activation to an anchor J, so no label can share more than this with J. A
    collapsed cloud has a large H(Z), the kernel's own, and a ceiling of 0.
    """
    return moments.marginal_entropy - moments.row_entropy


def plugin_from_moments(moments: Moments) -> Tensor:
    """Work out H(Z) - Σ_x (n_x / N) H(Z | X=x) with the observed mean of every label: (...).

    It is the published reading. The mean of few rows looks purer than it is, so it is biased upward, by most of its
    value where labels are rare.
    """
    return moments.marginal_entropy - moments.conditional
