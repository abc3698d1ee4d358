"""Hard assignment: each activation goes wholly to the anchor that it is nearest to.

Letters: N rows, D width, K anchors, M labels, J index of the nearest anchor.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from ibtrack._checks import check_integer, check_labels
from ibtrack.information.assignments import draw_anchors
from ibtrack.information.entropy import entropy
from ibtrack.metrics._rows import checked_rows


class HardMutualInformation(Metric):
    """Mutual information I(X; J) of labels with the nearest of K random directions, from the table of their counts.

    Source: the limit of the soft assignment of Conklin et al., arXiv 2604.07569, at temperature 0; a binning, as in
    Shwartz-Ziv and Tishby, arXiv 1703.00810, with cells that are cones. It is a lower bound of I(X; Z) but for its
    bias: the plug-in is too high by about (cells of the table in use - M - K + 1) / 2N nats (Miller 1955), so it says
    little where labels are rare. Moves within a cell, and the norm, do not show.

    Args:
        width: Width D of the rows.
        num_labels: Number of labels M.
        num_anchors: Number of anchors K.
        seed: Seed of the anchors; they are those of `ibtrack.metrics.SoftMutualInformation` with this seed.
        **options: Further arguments of ``torchmetrics.Metric``.

    Example:
        >>> metric = HardMutualInformation(width=8, num_labels=2)
        >>> rows = torch.randn(1, 8, generator=torch.Generator().manual_seed(0))
        >>> metric.update(torch.cat([rows, -rows]), torch.tensor([0, 1]))  # opposite directions, so not one cell
        >>> round(float(metric.compute()), 4)
        0.6931
    """

    anchors: Tensor
    table: Tensor

    is_differentiable = False
    higher_is_better = None
    full_state_update = False

    def __init__(self, width: int, num_labels: int, num_anchors: int = 100, *, seed: int = 0, **options: Any) -> None:
        super().__init__(**options)
        self.width, self.num_labels = width, check_integer("num_labels", num_labels, minimum=2)
        self.register_buffer("anchors", draw_anchors(width, num_anchors, seed=seed), persistent=False)
        self.add_state("table", torch.zeros(num_labels, num_anchors, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, activations: Tensor, labels: Tensor) -> None:
        """Add rows with their labels.

        Args:
            activations: (N, D) of any floating type.
            labels: (N,) integers in [0, M).

        Raises:
            ValueError: Shapes, types or values are out of range, or a row is zero or not finite; nothing is added
                then.
        """
        labels = check_labels(labels, self.num_labels, len(activations))
        rows = checked_rows(activations, self.width)
        nearest = (rows.float() @ self.anchors.T).argmax(1)
        self.table.view(-1).index_add_(0, labels * self.table.shape[1] + nearest, torch.ones_like(nearest))

    def compute(self) -> Tensor:
        """Return I(X; J), () float64, in nats, in [0, log K].

        Raises:
            RuntimeError: There is no row.
        """
        if not self.table.any():
            raise RuntimeError("HardMutualInformation.compute() needs at least one row; call update() first")
        return table_information(self.table)


def table_information(table: Tensor) -> Tensor:
    """Return the plug-in mutual information of the lines and columns of a table of counts, () float64, in nats.

    Args:
        table: (M, K) counts, at least one of them above 0.

    Example:
        >>> round(float(table_information(torch.tensor([[2, 0], [0, 2]]))), 4)
        0.6931
    """
    joint = table.double() / table.sum()
    return entropy(joint.sum(0)) + entropy(joint.sum(1)) - entropy(joint.flatten())
