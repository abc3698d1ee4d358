"""Rows, labels and documents that several tests of this package use."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from ibtrack.information.document_design import DocumentDesign
from ibtrack.information.gap_curves import gap_curves
from ibtrack.information.label_design import LabelDesign
from ibtrack.information.label_statistics import LabelStatistics, label_statistics
from ibtrack.information.moments import Influences, Moments, moments_of_rows
from ibtrack.information.row_statistics import RowStatistics


class Sample(NamedTuple):
    """A label set of one site, with everything that is worked out on the way to its moments."""

    site: RowStatistics
    design: LabelDesign
    statistics: LabelStatistics
    moments: Moments  # without the leading dimensions
    influences: Influences


def random_rows(
    num_rows: int = 300, num_labels: int = 40, num_anchors: int = 10, seed: int = 0
) -> tuple[Tensor, Tensor]:
    """(N, K) assignments, and (N,) labels that have nothing to do with them."""
    generator = torch.Generator().manual_seed(seed)
    rows = (4 * torch.randn(num_rows, num_anchors, generator=generator)).softmax(-1)
    return rows, torch.randint(0, num_labels, (num_rows,), generator=generator)


def repeated_text(num_documents: int = 40, length: int = 30, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Rows, labels and documents of a text that repeats its words: alike by label, and by label and document."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 150, (num_documents, length), generator=generator)
    for i in range(1, length):
        again = torch.rand(num_documents, generator=generator) < 0.5
        labels[:, i] = torch.where(again, labels[:, i // 2], labels[:, i])
    documents = torch.arange(num_documents).repeat_interleave(length)
    labels = torch.unique(labels.flatten(), return_inverse=True)[1]
    cells = torch.unique(labels * num_documents + documents, return_inverse=True)[1]
    own, shared = torch.randn(150, 20, generator=generator), torch.randn(len(cells), 20, generator=generator)
    noise = torch.randn(len(labels), 20, generator=generator)
    return (own[labels] + 0.7 * shared[cells] + 0.7 * noise).softmax(-1), labels, documents


def sample(rows: Tensor, labels: Tensor, documents: Tensor | None = None) -> Sample:
    """Everything up to the moments; by default each row is a document."""
    documents = torch.arange(len(rows)) if documents is None else documents
    dense, index = (torch.unique(values, return_inverse=True)[1] for values in (labels, documents))
    partition = DocumentDesign.from_index(index).units
    site, design = RowStatistics(rows.unsqueeze(1), partition), LabelDesign.from_labels(dense, partition)
    statistics = label_statistics([site], [design])[0]
    moments, influences = moments_of_rows([site], [design], [statistics], gap_curves([site]))
    single: dict[str, Any] = {name: value[0, 0] for name, value in vars(moments).items()}
    return Sample(site, design, statistics, Moments(**single), influences)


def side_by_side(rows: Tensor, documents: Tensor) -> tuple[list[RowStatistics], list[RowStatistics]]:
    """Three sites made of some rows: all in one table, as on an accelerator, and each in its own, as on a CPU."""
    partition = DocumentDesign.from_index(documents)
    table = torch.stack([rows, rows.flip(1), rows.square()], 1)
    table /= table.sum(-1, keepdim=True)
    apart = [RowStatistics(table[:, index : index + 1].contiguous(), partition) for index in range(3)]
    return [RowStatistics(table, partition)], apart
