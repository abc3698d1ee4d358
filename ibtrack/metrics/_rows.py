"""What the estimators have in common: checked rows, rows that are kept, and the information of a table.

Letters: N rows, D width, M labels, R most rows that are kept.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from ibtrack._checks import check_integer, check_labels, check_rows


def checked_rows(activations: Tensor, width: int, *, zero_allowed: bool = False) -> Tensor:
    """(N, D) activations in float64, if all are finite and, unless allowed, none is zero."""
    rows = check_rows(activations, width).detach().double()
    bad = ~rows.isfinite().all(1)
    if not zero_allowed:
        bad |= (rows == 0).all(1)
    if bad.any():
        kinds = "finite" if zero_allowed else "finite and not zero"
        raise ValueError(f"activations must be {kinds}, got {int(bad.sum())} such rows of {len(rows)}")
    return rows


def information_of_table(table: Tensor) -> Tensor:
    """Plug-in mutual information of a table of counts, () float64, nats.

    Example:
        >>> round(float(information_of_table(torch.tensor([[2, 0], [0, 2]]))), 4)
        0.6931
    """
    joint = table.double() / table.sum()
    entropy = torch.special.entr
    return entropy(joint.sum(0)).sum() + entropy(joint.sum(1)).sum() - entropy(joint).sum()


class KeptRows(Metric):
    """A metric that needs all rows at once: they are kept in a table of fixed size, so that processes can exchange it.

    Args:
        width: D.
        num_labels: M.
        max_rows: R.
        zero_allowed: whether a row may be zero.
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
        """Add (N, D) activations with (N,) labels in [0, M).

        Raises:
            ValueError: shapes, types or values out of range, rows that cannot be used, or more than R rows in all;
                nothing is added then.
        """
        labels = check_labels(labels, self.num_labels, len(activations))
        rows = checked_rows(activations, self.width, zero_allowed=self.zero_allowed)
        start, end = int(self.filled), int(self.filled) + len(rows)
        self._check_number(end)
        self.rows[start:end], self.labels[start:end] = rows, labels
        self.filled += len(rows)

    def kept(self) -> tuple[Tensor, Tensor]:
        """(N, D) rows and (N,) labels of all processes.

        Raises:
            RuntimeError: there is no row.
            ValueError: all processes together have more than R rows.
        """
        if not self.filled:
            raise RuntimeError(f"{type(self).__name__}.compute() needs at least one row; call update() first")
        self._check_number(int(self.filled))
        labels = self.labels.flatten()  # (processes x R,): gathered states have one more dimension
        there = labels >= 0
        return self.rows.reshape(-1, self.width)[there], labels[there]

    def _check_number(self, number: int) -> None:
        if number > self.max_rows:
            raise ValueError(
                f"{type(self).__name__} takes at most max_rows={self.max_rows} rows, as its cost grows faster than "
                f"their number, got {number}; give every n-th row, or a larger max_rows"
            )
