"""Streamed counts: sums by label that grow with every batch, from which entropies and informations are computed.

They serve the metrics that see rows in batches and do not know the labels beforehand. All sums are float64: in
bfloat16, 200 000 rows add up to 61 000.

Letters: N rows, K anchors, M labels, n_x rows of label x.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Counts:
    """Sufficient statistics of N rows with labels. They form a monoid under `merge`, with `zero_counts` as its zero.

    The rows of a label are dealt to two halves in turn, so that every label seen twice is in both halves. How much the
    plug-in information changes from the halves to the whole tells how its bias falls with n.

    Attributes:
        half_sums: (2, M, K) Σ_i A_i over the rows of label x in either half.
        half_occurrences: (2, M) rows of label x in either half, as float64.
        products: (K, K) Σ_i A_i A_iᵀ.
        row_entropy: () Σ_i H(A_i) in nats.
    """

    half_sums: Tensor
    half_occurrences: Tensor
    products: Tensor
    row_entropy: Tensor

    @property
    def sums(self) -> Tensor:
        """(M, K) Σ_{i: x_i = x} A_i."""
        return self.half_sums.sum(0)

    @property
    def occurrences(self) -> Tensor:
        """(M,) rows with each label, n_x."""
        return self.half_occurrences.sum(0)

    @property
    def total(self) -> Tensor:
        """() number of rows N."""
        return self.half_occurrences.sum()


def zero_counts(num_labels: int, num_anchors: int, device: torch.device | str = "cpu") -> Counts:
    """Make the counts of no rows."""
    zeros = torch.zeros(2, num_labels, num_anchors, dtype=torch.float64, device=device)
    return Counts(
        half_sums=zeros,
        half_occurrences=zeros.new_zeros(2, num_labels),
        products=zeros.new_zeros(num_anchors, num_anchors),
        row_entropy=zeros.new_zeros(()),
    )


def count(assignments: Tensor, labels: Tensor, num_labels: int, before: Tensor | None = None) -> Counts:
    """Add up soft assignments by label.

    Args:
        assignments: (N, K) soft assignments of any floating dtype.
        labels: (N,) labels in [0, M).
        num_labels: M.
        before: (M,) rows of each label in earlier batches, so that the halves go on taking turns; by default none.

    Example:
        >>> counts = count(torch.tensor([[1.0, 0.0], [0.5, 0.5]]), torch.tensor([0, 0]), num_labels=2)
        >>> counts.sums.tolist(), counts.half_occurrences.tolist()
        ([[1.5, 0.5], [0.0, 0.0]], [[1.0, 0.0], [1.0, 0.0]])
    """
    rows = assignments.double()
    seen = occurrence_ranks(labels)
    if before is not None:
        seen = seen + before.long()[labels]
    slots = seen % 2 * num_labels + labels
    sums = rows.new_zeros(2 * num_labels, rows.shape[1]).index_add_(0, slots, rows)
    occurrences = rows.new_zeros(2 * num_labels).index_add_(0, slots, rows.new_ones(len(rows)))
    return Counts(
        half_sums=sums.view(2, num_labels, -1),
        half_occurrences=occurrences.view(2, num_labels),
        products=rows.T @ rows,
        row_entropy=torch.special.entr(rows).sum(),
    )


def occurrence_ranks(labels: Tensor) -> Tensor:
    """Count how many earlier rows have the label of each row.

    Example:
        >>> occurrence_ranks(torch.tensor([5, 7, 5, 5, 7])).tolist()
        [0, 0, 1, 2, 1]
    """
    order = torch.argsort(labels, stable=True)
    grouped = labels[order]
    place = torch.arange(len(labels), device=labels.device)
    first = torch.searchsorted(grouped, grouped)  # where the group of each row begins
    return torch.empty_like(labels).index_put_((order,), place - first)


def merge(left: Counts, right: Counts) -> Counts:
    """Add up the counts of two sets of rows."""
    names = [field.name for field in fields(Counts)]
    return Counts(**{name: getattr(left, name) + getattr(right, name) for name in names})
