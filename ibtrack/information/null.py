"""The null reading: what the plug-in would read if labels told nothing.

Letters: L sites, U pairs of sample size and concentration, n_x rows of label x, N rows.
"""

from __future__ import annotations

from torch import Tensor

from ibtrack.information.gap_curves import GapCurves, read_curve
from ibtrack.information.sample_sizes import SampleSizes


def null_information(curves: GapCurves, sizes: SampleSizes) -> Tensor:
    """Work out Σ_x (n_x / N) Γ₀(1 / n_x), with the null curve Γ₀, the gap of means of n_x random rows of the site.

    It is what the plug-in reads on average after permuting the labels of all rows, to about .002 of log K.

    Returns:
        (L,) float64, nats.
    """
    null = curves.beta + curves.null_excess
    return read_curve(null, sizes.inverse_sizes.expand(len(null), -1)) @ sizes.row_shares
