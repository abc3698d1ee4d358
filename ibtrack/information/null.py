"""The null reading: what the plug-in would read if labels told nothing.

Letters: L sites, U pairs of sample size and concentration, n_x rows of label x, N rows.
"""

from __future__ import annotations

from torch import Tensor

from ibtrack.information.gap_curves import GapCurves, drawn_variance, read_curve
from ibtrack.information.sample_sizes import SampleSizes


def null_information(curves: GapCurves, sizes: SampleSizes) -> Tensor:
    """Work out Σ_x (n_x / N) Γ₀(t_x), with the null curve Γ₀, the gap of means of random rows of the site.

    The rows of a label are n_x of N, drawn without replacement, so t_x is (N / n_x - 1) / (N - 1).

    It is what the plug-in reads on average after permuting the labels of all rows, to about .002 of log K.

    Returns:
        (L,) float64, nats.
    """
    null = curves.beta + curves.null_excess
    t = drawn_variance(sizes.inverse_sizes, len(sizes.label_pair))
    return read_curve(null, t.expand(len(null), -1)) @ sizes.row_shares
