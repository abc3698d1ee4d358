"""The null reading: what the plug-in would read if labels told nothing.

Letters: L sites, C label sets, U pairs of sample size and concentration, n_x rows of label x, N rows.
"""

from __future__ import annotations

from torch import Tensor

from ibtrack.information.curve_table import read_curves
from ibtrack.information.design_tables import DesignTables
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


def null_informations(curves: GapCurves, tables: DesignTables) -> Tensor:
    """Work out `null_information` of C label sets at once, in few calls: (C, L)."""
    null = (curves.beta + curves.null_excess).unsqueeze(0)  # (1, L, J + 1), of one curve for all label sets
    number, num_sites = len(tables.drawn_variances), null.shape[1]
    t = tables.drawn_variances.expand(-1, num_sites, -1)
    return (read_curves(null.expand(number, -1, -1).unsqueeze(0), t)[0] * tables.row_shares).sum(-1)
