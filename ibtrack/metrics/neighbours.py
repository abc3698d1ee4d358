"""Nearest neighbours: how far the k-th of one's own label is, and how many of any label are nearer.

Letters: N rows, D width, M labels, n_x rows of label x.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ibtrack._checks import check_integer
from ibtrack.metrics._rows import KeptRows

_CELLS = 1 << 22  # distances held at a time: 32 MB


class NeighbourInformation(KeptRows):
    """Mutual information I(X; Z) of discrete labels with continuous activations, by nearest neighbours.

    Source: Ross, Mutual Information between Discrete and Continuous Data Sets, PLoS ONE 9(2), 2014:
    ψ(N) + ψ(k) - mean ψ(n_x) - mean ψ(m), where m counts the rows, of any label, that are no farther from a row than
    its k-th neighbour of its own label. Rows of labels seen once are left out, and k is at most n_x - 1.

    No bins and no kernel, and consistent for few dimensions. Not for many: neighbours are all about as far, and it
    reads far too low unless labels are apart; it cannot pass what N rows can show, about log N. Distances are
    Euclidean, so scale and outlying dimensions matter. Equal rows count as neighbours at distance 0.

    Args:
        width: D.
        num_labels: M.
        neighbours: k.
        max_rows: most rows, over all processes; time grows with their square.

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
        """() float64, nats; about 0, of either sign, where labels tell nothing; ``nan`` if no label occurs twice."""
        rows, labels = self.kept()
        occurrences = torch.bincount(labels)
        again = occurrences[labels] > 1
        rows, labels = rows[again], labels[again]
        number = occurrences[labels]
        if not len(rows):
            return rows.new_tensor(torch.nan)
        nearest = (number - 1).clamp(max=self.neighbours)
        pieces = torch.arange(len(rows), device=rows.device).split(max(1, _CELLS // len(rows)))
        within = torch.cat([_rows_within(piece, nearest[piece], rows, labels) for piece in pieces])
        digamma = torch.special.digamma
        means = [digamma(x.double()).mean() for x in (nearest, number, within)]
        return digamma(rows.new_tensor(len(rows))) + means[0] - means[1] - means[2]


def _rows_within(which: Tensor, nearest: Tensor, rows: Tensor, labels: Tensor) -> Tensor:
    """(n,) how many rows, of any label, are no farther than the k-th of the own label; for some of the rows."""
    distances = torch.cdist(rows[which], rows, compute_mode="donot_use_mm_for_euclid_dist")
    own = torch.where(labels[which].unsqueeze(1) == labels, distances, torch.inf)
    most = int(nearest.max()) + 1
    reach = own.topk(most, largest=False).values.gather(1, nearest.unsqueeze(1))  # place 0 is the row itself
    return (distances <= reach).sum(1) - 1
