"""Labels in classes: those that occur about as often, in about as many documents, are corrected alike.

Letters: N rows, n rows of a label or of a half of its occurrences; U classes, V ranges of classes; G documents.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ibtrack.information.document_design import DocumentDesign

EXACT_SIZES = 4  # labels seen more often are put into classes of similar n
CLASS_RATIO = 1.05  # of n, and of the effective number of documents, within a class
RANGE_RATIOS = (1.5, 1.25)  # of the same, in what is known of each document: it serves errors


@dataclass(frozen=True)
class SampleSizeBins:
    """The classes of a label set.

    Attributes:
        inverse: (U,) mean of 1 / n over the rows of each class, where n is of labels and of halves.
        clumps: (U,) mean of Σ_d n_d² / n², one over the effective number of documents.
        range_of: (U,) the range that a class is in.
        shares: (U,) share of the rows whose label is in the class.
        repeated: (U,) those of them whose label has halves.
        half_shares: (U,) share of the rows whose half is in the class.
        document_sizes: (G, V) rows of each document whose label is in a range of classes, float32.
        document_repeated: (G, V) those of them whose label has halves, times ``absence``.
        document_half_sizes: (G, V) rows of each document whose half is in the range, times the same.
    """

    inverse: Tensor
    clumps: Tensor
    range_of: Tensor
    shares: Tensor
    repeated: Tensor
    half_shares: Tensor
    document_sizes: Tensor
    document_repeated: Tensor
    document_half_sizes: Tensor

    @property
    def sizes(self) -> Tensor:
        """(U,) n of each class."""
        return 1 / self.inverse

    @classmethod
    def of(
        cls,
        documents: DocumentDesign,
        labels: tuple[Tensor, Tensor],
        half_rows: Tensor,
        halves: tuple[Tensor, Tensor],
        absence: Tensor,
    ) -> SampleSizeBins:
        """Put the labels of N rows, and the halves of some of these, into classes.

        Args:
            documents: of the rows.
            labels: (N,) n and (N,) clumps of the label of each row.
            half_rows: (m,) rows whose label has halves.
            halves: (m,) n and (m,) clumps of the half of each of them.
            absence: (m,) D / (D - 1) for D documents of its label, see `ibtrack.information.label_design.LabelChunk`.
        """
        total = len(documents.of)
        n, clumps = (torch.cat(both) for both in zip(labels, halves, strict=True))
        class_of, inverse, alike = _classes(n, clumps)
        of_label, of_half = class_of[:total], class_of[total:]
        range_of, _, _ = _classes(1 / inverse, alike, *RANGE_RATIOS)
        num_ranges = int(range_of.max()) + 1

        def by_document(rows: Tensor, classes: Tensor, weights: Tensor | None = None) -> Tensor:
            cells = documents.of[rows] * num_ranges + range_of[classes]
            return torch.bincount(cells, weights, documents.number * num_ranges).view(-1, num_ranges).float()

        def shares(classes: Tensor) -> Tensor:
            return torch.bincount(classes, minlength=len(inverse)).double() / total

        return cls(
            inverse,
            alike,
            range_of,
            shares(of_label),
            shares(of_label[half_rows]),
            shares(of_half),
            by_document(torch.arange(total), of_label),
            by_document(half_rows, of_label[half_rows], absence),
            by_document(half_rows, of_half, absence),
        )


def concentration(groups: Tensor, cell_sizes: Tensor, number: int) -> Tensor:
    """(number,) Σ n_d² / ( Σ n_d )² over the cells of each group."""
    sizes = cell_sizes.double()
    sums = torch.bincount(groups, sizes, minlength=number).double()  # float32 if there is nothing to count
    return torch.bincount(groups, sizes.square(), minlength=number) / sums.clamp(min=1).square()


def size_bins(occurrences: Tensor, half_occurrences: Tensor) -> tuple[Tensor, Tensor]:
    """Classes of n for a label set without documents.

    Returns:
        (U,) mean of 1 / n over the rows of each class, and the class of every n from 0 up.
    """
    number = torch.bincount(torch.cat([occurrences, half_occurrences]))
    number[0] = 0
    used = number.nonzero().flatten()
    classes, inverse, _ = _classes(used, 1 / used.double(), rows=number[used] * used)
    return inverse, torch.zeros_like(number).index_put_((used,), classes)


def _classes(
    n: Tensor,
    clumps: Tensor,
    size_ratio: float = CLASS_RATIO,
    clump_ratio: float = CLASS_RATIO,
    rows: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Classes of similar n and similar effective number of documents.

    Args:
        n: (m,) occurrences of a label or a half.
        clumps: (m,) one over its effective number of documents.
        size_ratio: of n within a class, beyond small ones.
        clump_ratio: of ``clumps``.
        rows: (m,) how many rows that goes for, by default one.

    Returns:
        (m,) class of each, (U,) mean of 1 / n and (U,) mean of ``clumps`` over the rows of each class.
    """
    beyond = (n.double().clamp(min=EXACT_SIZES) / EXACT_SIZES).log() / math.log(size_ratio)
    sizes = (n.double().clamp(max=EXACT_SIZES) + beyond).round().long()
    places = sizes, (-clumps.log() / math.log(clump_ratio)).round().long()
    class_of = torch.unique(places[0] * (int(places[1].max()) + 1) + places[1], return_inverse=True)[1]
    weights = torch.ones_like(clumps) if rows is None else rows.double()
    number = torch.bincount(class_of, weights)
    return class_of, *(torch.bincount(class_of, weights * values) / number for values in (1 / n.double(), clumps))
