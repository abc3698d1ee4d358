"""Assignments to counts: the sums from which every entropy and information is computed.

Letters: N rows, K anchors, M labels. All sums are float64: in bfloat16, 200 000 rows add up to 61 000.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Counts:
    """Sufficient statistics of N rows with labels; a monoid under `merge`.

    Attributes:
        sums: (M, K) Σ_{i: x_i = x} A_i.
        occurrences: (M,) rows with each label, as float64.
        squares: (K,) Σ_i A_ik².
        row_entropy: () Σ_i H(A_i) in nats.
    """

    sums: Tensor
    occurrences: Tensor
    squares: Tensor
    row_entropy: Tensor

    @property
    def total(self) -> Tensor:
        """() number of rows N."""
        return self.occurrences.sum()

    @property
    def marginal(self) -> Tensor:
        """(K,) mean assignment p."""
        return self.sums.sum(0) / self.total


def zero_counts(num_labels: int, num_anchors: int, device: torch.device | str = "cpu") -> Counts:
    """The counts of no rows."""
    zeros = torch.zeros(num_labels, num_anchors, dtype=torch.float64, device=device)
    return Counts(zeros, zeros.new_zeros(num_labels), zeros.new_zeros(num_anchors), zeros.new_zeros(()))


def count(assignments: Tensor, labels: Tensor, num_labels: int) -> Counts:
    """Sum up (N, K) assignments by (N,) labels in [0, M).

    Example:
        >>> counts = count(torch.tensor([[1.0, 0.0], [0.5, 0.5]]), torch.tensor([0, 0]), num_labels=2)
        >>> counts.sums.tolist(), counts.occurrences.tolist()
        ([[1.5, 0.5], [0.0, 0.0]], [2.0, 0.0])
    """
    rows = assignments.double()
    sums = rows.new_zeros(num_labels, rows.shape[1]).index_add_(0, labels, rows)
    occurrences = rows.new_zeros(num_labels).index_add_(0, labels, rows.new_ones(len(rows)))
    return Counts(sums, occurrences, rows.square().sum(0), torch.special.entr(rows).sum())


def merge(left: Counts, right: Counts) -> Counts:
    """The counts of both sets of rows."""
    return Counts(
        left.sums + right.sums,
        left.occurrences + right.occurrences,
        left.squares + right.squares,
        left.row_entropy + right.row_entropy,
    )
