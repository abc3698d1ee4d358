"""Sample sizes: how many rows each label has, and on how few documents they lie.

The bias of a label's entropy depends on its effective sample size (Kish, Survey Sampling, 1965, chapter 8), which
follows from two numbers: n, its rows, and q = Σ_d n_d² / n², the concentration of its rows on documents (a Herfindahl
index; 1 / q is the effective number of documents). Labels with equal n and q share one bias.

Letters: N rows, G documents, U distinct pairs of n and q, L sites.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ibtrack.information.document_design import DocumentDesign
from ibtrack.information.grouping import grouped
from ibtrack.information.segments import sum_between


@dataclass(frozen=True)
class SampleSizes:
    """The sample sizes of a label set: of its labels, and of the halves of labels that have two.

    Attributes:
        inverse_sizes: (U,) 1 / n.
        concentrations: (U,) q.
        row_shares: (U,) share of the rows whose label has this n and q.
        halved_row_shares: (U,) the same for rows whose label has two halves.
        half_row_shares: (U,) share of the rows whose half has this n and q.
        label_pair: (N,) pair of the label of each row, document after document, int32.
        label_starts: (G,) where in ``label_pair`` each document begins.
        halved_pair: (m,) pair of the label of each row whose label has two halves, document after document, int32.
        half_pair: (m,) pair of the half of these rows.
        half_starts: (G,) where in ``half_pair`` each document begins.
        half_weights: (m,) what these rows count as in `sum_by_document`, float32.
    """

    inverse_sizes: Tensor
    concentrations: Tensor
    row_shares: Tensor
    halved_row_shares: Tensor
    half_row_shares: Tensor
    label_pair: Tensor
    label_starts: Tensor
    halved_pair: Tensor
    half_pair: Tensor
    half_starts: Tensor
    half_weights: Tensor

    @property
    def sizes(self) -> Tensor:
        """(U,) n."""
        return 1 / self.inverse_sizes

    @classmethod
    def from_labels(
        cls,
        documents: DocumentDesign,
        labels: tuple[Tensor, Tensor, Tensor],
        halved_rows: Tensor,
        halves: tuple[Tensor, Tensor, Tensor],
        weights: Tensor,
    ) -> SampleSizes:
        """Number the pairs of n and q that occur.

        Args:
            documents: Documents of the N rows.
            labels: (N,) label of each row, and of all labels n and Σ_d n_d².
            halved_rows: (m,) rows whose label has two halves, ascending.
            halves: (m,) half of each of these rows, and of all halves n and Σ_d n_d².
            weights: (m,) what each of these rows counts as in `sum_by_document`.
        """
        total = len(documents.index)
        sizes, squares = (torch.cat(both) for both in zip(labels[1:], halves[1:], strict=True))
        distinct, which = torch.unique(squares, return_inverse=True)
        keys, pair = torch.unique(sizes * len(distinct) + which, return_inverse=True)
        n = torch.div(keys, len(distinct), rounding_mode="floor").double()
        label_pair, half_pair = pair.index_select(0, labels[0]), pair.index_select(0, halves[0] + len(labels[1]))
        pair_of_halved, document_of_halved = (
            each.index_select(0, halved_rows) for each in (label_pair, documents.index)
        )

        def shares(pairs: Tensor) -> Tensor:
            return torch.bincount(pairs, minlength=len(keys)).double() / total

        by_document = grouped(document_of_halved, documents.num_documents).order
        return cls(
            inverse_sizes=1 / n,
            concentrations=distinct[keys % len(distinct)] / n.square(),
            row_shares=shares(label_pair),
            halved_row_shares=shares(pair_of_halved),
            half_row_shares=shares(half_pair),
            label_pair=label_pair.int().index_select(0, documents.segments.rows),
            label_starts=_starts(documents.index, documents.num_documents),
            halved_pair=pair_of_halved.index_select(0, by_document).int(),
            half_pair=half_pair.index_select(0, by_document).int(),
            half_starts=_starts(document_of_halved, documents.num_documents),
            half_weights=weights.index_select(0, by_document),
        )

    def sum_by_document(self, rows: Tensor, halved_rows: Tensor, half_rows: Tensor) -> Tensor:
        """Add up numbers that belong to pairs over the rows of each document.

        Args:
            rows: (L, U) a number for each row, by the n and q of its label.
            halved_rows: (L, U) the same for the rows whose label has two halves, each times its weight.
            half_rows: (L, U) a number for these rows, by the n and q of their half, each times its weight.

        Returns:
            (L, G) float32.
        """
        table = torch.stack([rows, halved_rows, half_rows]).float().mT  # (3, U, L)
        sums = sum_between(self.label_starts, self.label_pair, table[0])
        sums += sum_between(self.half_starts, self.halved_pair, table[1], self.half_weights)
        return (sums + sum_between(self.half_starts, self.half_pair, table[2], self.half_weights)).T


def square_sums(groups: Tensor, cell_sizes: Tensor, num_groups: int) -> Tensor:
    """Work out Σ_d n_d² of each group.

    Args:
        groups: (number of cells,) group of each cell, where a cell holds the rows of one group and one document.
        cell_sizes: (number of cells,) n_d, rows in each cell.
        num_groups: Number of groups.

    Returns:
        (num_groups,) int64.
    """
    return cell_sizes.new_zeros(num_groups).index_add_(0, groups, cell_sizes.square())


def _starts(documents: Tensor, num_documents: int) -> Tensor:
    """Say where each document begins when rows are sorted by their documents: (G,) int32."""
    rows = torch.bincount(documents, minlength=num_documents)
    return (rows.cumsum(0) - rows).int()
