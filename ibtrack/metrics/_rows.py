"""Rows of activations: checked when they come in, and stored by metrics that need all of them at once.

Letters: N rows, D width, M labels.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from ibtrack._checks import check_integer, check_labels, check_rows


def checked_rows(activations: Tensor, width: int, *, zero_allowed: bool = False) -> Tensor:
    """Return activations in float64 if all are finite and, unless it is allowed, none is zero.

    Args:
        activations: (N, D) of any floating type.
        width: Width D that the rows must have.
        zero_allowed: Whether a row may be zero, which has no direction.

    Raises:
        ValueError: The activations are not of this form, or a row is zero or not finite.

    Example:
        >>> checked_rows(torch.ones(1, 2), width=2)
        tensor([[1., 1.]], dtype=torch.float64)
    """
    rows = check_rows(activations, width).detach().double()
    bad = ~rows.isfinite().all(1)
    if not zero_allowed:
        bad |= (rows == 0).all(1)
    if bad.any():
        kinds = "finite" if zero_allowed else "finite and not zero"
        raise ValueError(f"activations must be {kinds}, got {int(bad.sum())} rows of {len(rows)} that are not")
    return rows


class StoredRows(Metric):
    """A metric that needs all rows at once: it stores them in a table of fixed size, which processes can exchange.

    Args:
        width: Width D of the rows.
        num_labels: Number of labels M.
        max_rows: Largest number of rows, over all processes.
        zero_allowed: Whether a row may be zero.
        **options: Further arguments of ``torchmetrics.Metric``.
    """

    rows: Tensor
    labels: Tensor
    filled: Tensor

    is_differentiable = False
    higher_is_better = None
    full_state_update = True  # where rows go depends on how many came before

    def __init__(self, width: int, num_labels: int, max_rows: int, *, zero_allowed: bool, **options: Any) -> None:
        super().__init__(**options)
        self.width = check_integer("width", width, minimum=1)
        self.num_labels = check_integer("num_labels", num_labels, minimum=2)
        self.max_rows = check_integer("max_rows", max_rows, minimum=2)
        self.zero_allowed = zero_allowed
        self.add_state("rows", torch.zeros(max_rows, width, dtype=torch.float64), dist_reduce_fx=None)
        self.add_state("labels", torch.full((max_rows,), -1), dist_reduce_fx=None)
        self.add_state("filled", torch.tensor(0), dist_reduce_fx="sum")

    def update(self, activations: Tensor, labels: Tensor) -> None:
        """Add rows with their labels.

        Args:
            activations: (N, D) of any floating type.
            labels: (N,) integers in [0, M).

        Raises:
            ValueError: Shapes, types or values are out of range, a row cannot be used, or there are more than
                ``max_rows`` in all; nothing is added then.
        """
        labels = check_labels(labels, self.num_labels, len(activations))
        rows = checked_rows(activations, self.width, zero_allowed=self.zero_allowed)
        start, end = int(self.filled), int(self.filled) + len(rows)
        self._check_number(end)
        self.rows[start:end], self.labels[start:end] = rows, labels
        self.filled += len(rows)

    def all_rows(self) -> tuple[Tensor, Tensor]:
        """Return the rows of all processes, (N, D), and their labels, (N,).

        Raises:
            RuntimeError: There is no row.
            ValueError: All processes together have more than ``max_rows``.
        """
        if not self.filled:
            raise RuntimeError(f"{type(self).__name__}.compute() needs at least one row; call update() first")
        self._check_number(int(self.filled))
        labels = self.labels.flatten()  # gathered states have one more dimension, that of the processes
        there = labels >= 0
        return self.rows.reshape(-1, self.width)[there], labels[there]

    def _check_number(self, number: int) -> None:
        """Refuse more rows than the table holds.

        Raises:
            ValueError: There are more.
        """
        if number > self.max_rows:
            raise ValueError(
                f"{type(self).__name__} takes at most max_rows={self.max_rows} rows, as its cost grows faster than "
                f"their number, got {number}; give every n-th row, or a larger max_rows"
            )
