"""Nearest neighbours: how far the k-th row of a row's own label is, and how many rows of any label are nearer.

Letters: N rows, D width, M labels, n_x rows of label x, ψ the digamma function.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ibtrack._checks import check_integer
from ibtrack.metrics._rows import StoredRows

MAX_DISTANCES = 1 << 22  # held at a time: a table of 32 MB in float64


class NeighbourInformation(StoredRows):
    """Mutual information I(X; Z) of discrete labels with continuous activations, by nearest neighbours.

    Source: Ross, Mutual Information between Discrete and Continuous Data Sets, PLoS ONE 9(2), 2014:
    ψ(N) + ψ(k) - mean ψ(n_x) - mean ψ(m), where m counts the rows, of any label, that are no farther from a row than
    the k-th neighbour of its own label. Rows of labels seen once are left out, and k is at most n_x - 1.

    It needs no bins and no kernel, and is consistent for few dimensions. Do not use it for many: all neighbours are
    about equally far there, and it is far too low unless labels are well separated; it cannot exceed what N rows can
    show, about log N. Distances are Euclidean, so scale and outlying dimensions matter. Equal rows count as neighbours
    at distance 0.

    Args:
        width: Width D of the rows.
        num_labels: Number of labels M.
        neighbours: Which neighbour of the own label sets the distance, the k of the formula.
        max_rows: Largest number of rows, over all processes. Time grows with their square: 8192 rows of width 256 take
            some twenty seconds on one core.
        **options: Further arguments of ``torchmetrics.Metric``.

    Example:
        >>> rows = torch.randn(400, 2, generator=torch.Generator().manual_seed(0))
        >>> labels = torch.arange(400) % 4
        >>> metric = NeighbourInformation(width=2, num_labels=4)
        >>> metric.update(rows + 100.0 * labels.unsqueeze(1), labels)  # four clusters far from each other
        >>> round(float(metric.compute()), 2)  # log 4
        1.39
    """

    def __init__(
        self, width: int, num_labels: int, *, neighbours: int = 3, max_rows: int = 8192, **options: Any
    ) -> None:
        super().__init__(width, num_labels, max_rows, zero_allowed=True, **options)
        self.neighbours = check_integer("neighbours", neighbours, minimum=1)

    def compute(self) -> Tensor:
        """Return I(X; Z), () float64, in nats.

        It is about 0, of either sign, where labels tell nothing, and ``nan`` if no label occurs twice.
        """
        rows, labels = self.all_rows()
        occurrences = torch.bincount(labels)
        repeated = occurrences[labels] > 1
        rows, labels = rows[repeated], labels[repeated]
        number = occurrences[labels]
        if not len(rows):
            return rows.new_tensor(torch.nan)
        nearest = (number - 1).clamp(max=self.neighbours)
        pieces = torch.split(torch.arange(len(rows), device=rows.device), max(1, MAX_DISTANCES // len(rows)))
        within = torch.cat([_rows_within(piece, nearest[piece], rows, labels) for piece in pieces])
        nearest_term, number_term, within_term = (_digamma(x.double()).mean() for x in (nearest, number, within))
        return _digamma(rows.new_tensor(len(rows))) + nearest_term - number_term - within_term


def _digamma(values: Tensor) -> Tensor:
    """Return ψ of each value."""
    result: Tensor = torch.special.digamma(values)
    return result


def _rows_within(which: Tensor, nearest: Tensor, rows: Tensor, labels: Tensor) -> Tensor:
    """Count, for some of the rows, the rows of any label that are no farther than the k-th of the own label.

    Args:
        which: Indices of the rows to count for.
        nearest: The k of each of these.
        rows: (N, D) all rows.
        labels: (N,) all labels.
    """
    distances = torch.cdist(rows[which], rows, compute_mode="donot_use_mm_for_euclid_dist")  # equal rows at exactly 0
    own = torch.where(labels[which].unsqueeze(1) == labels, distances, torch.inf)
    most = int(nearest.max()) + 1
    reach = own.topk(most, largest=False).values.gather(1, nearest.unsqueeze(1))  # place 0 is the row itself
    return (distances <= reach).sum(1) - 1
