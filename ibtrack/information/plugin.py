"""The plug-in reading and the ceiling, from entropies of observed means, in nats.

Labels weigh by their share of the rows in it, as an information wants it, and as the package soft-entropy 0.1.5 has it.
In the first submission of the paper all labels counted alike and those that occurred fewer than five times were left
out: H(Z) - mean_x H(Z | X=x). That is no mutual information, and it depends on the size of the probe, as more labels
occur five times in a larger one; it is there to be compared with numbers that were made so. It is said of the
conditional entropy alone; here H(Z) is that of all rows.

Source: Conklin et al., arXiv 2604.07569; Conklin, arXiv 2505.23960, section 5.4.
Letters: n_x rows of label x, N rows. Leading dimensions of the moments are written (...).
"""

from __future__ import annotations

from torch import Tensor

from ibtrack.information.moments import Moments

FEWEST_OCCURRENCES = 5  # of a label, where all labels count alike: as in the first submission


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
