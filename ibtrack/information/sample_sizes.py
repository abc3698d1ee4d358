"""Sample sizes of labels, in bins: labels that occur about as often in about as many documents share one bias.

The bias of a label's entropy depends on its effective sample size (Kish 1965, chapter 8), which follows from two
numbers: n, its rows, and q = Σ_d n_d² / n², the concentration of its rows on documents (a Herfindahl index; 1 / q is
the effective number of documents).

Letters: N rows, G documents, n rows of a label or of one half of its rows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ibtrack.information.document_design import DocumentDesign

EXACT_SIZES = 4  # n up to 4 have bins of their own: the bias falls fastest there, and a ratio of 1.05 parts them anyway
BIN_RATIO = 1.05  # n and q within a bin: .0013 off on a part of the grid, .0015 with 1.2, .0022 with 1.5 (ablation.py)
COARSE_RATIOS = (1.5, 1.25)  # n and q within a coarse bin, for influences alone; chosen by hand, effect not measured


@dataclass(frozen=True)
class SampleSizeBins:
    """The bins of a label set. U is the number of bins, U' that of coarse bins.

    Attributes:
        inverse_sizes: (U,) mean of 1 / n over the rows of each bin, where n is of labels and of halves of labels.
        concentrations: (U,) mean of q over the rows of each bin.
        coarse_bin: (U,) coarse bin of each bin, in [0, U').
        row_shares: (U,) share of the rows whose label is in the bin.
        halved_row_shares: (U,) share of the rows whose label is in the bin and has two halves.
        half_row_shares: (U,) share of the rows whose half is in the bin.
        document_rows: (G, U') rows of each document whose label is in the coarse bin, float32.
        document_halved_rows: (G, U') those of them whose label has two halves, times its deletion factor.
        document_half_rows: (G, U') rows of each document whose half is in the coarse bin, times the same factor.
    """

    inverse_sizes: Tensor
    concentrations: Tensor
    coarse_bin: Tensor
    row_shares: Tensor
    halved_row_shares: Tensor
    half_row_shares: Tensor
    document_rows: Tensor
    document_halved_rows: Tensor
    document_half_rows: Tensor

    @property
    def sizes(self) -> Tensor:
        """(U,) harmonic mean of n in each bin."""
        return 1 / self.inverse_sizes

    @classmethod
    def from_rows(
        cls,
        documents: DocumentDesign,
        labels: tuple[Tensor, Tensor],
        halved_rows: Tensor,
        halves: tuple[Tensor, Tensor],
        deletion_factors: Tensor,
    ) -> SampleSizeBins:
        """Bin the labels of N rows, and the halves of those labels that have two.

        Args:
            documents: Documents of the rows.
            labels: (N,) n and (N,) q of the label of each row.
            halved_rows: (m,) rows whose label has two halves.
            halves: (m,) n and (m,) q of the half of each of these rows.
            deletion_factors: (m,) G_x / (G_x - 1) for a label in G_x documents, see `LabelChunk`.
        """
        total = len(documents.index)
        sizes, concentrations = (torch.cat(both) for both in zip(labels, halves, strict=True))
        bin_of_row, inverse_sizes, concentrations = _bins(sizes, concentrations, BIN_RATIO, BIN_RATIO)
        label_bin, half_bin = bin_of_row[:total], bin_of_row[total:]
        coarse_bin, _, _ = _bins(1 / inverse_sizes, concentrations, *COARSE_RATIOS)
        num_coarse = int(coarse_bin.max()) + 1

        def by_document(rows: Tensor, bins: Tensor, weights: Tensor | None = None) -> Tensor:
            cells = documents.index[rows] * num_coarse + coarse_bin[bins]
            counts = torch.bincount(cells, weights, documents.num_documents * num_coarse)
            return counts.view(-1, num_coarse).float()

        def shares(bins: Tensor) -> Tensor:
            return torch.bincount(bins, minlength=len(inverse_sizes)).double() / total

        return cls(
            inverse_sizes=inverse_sizes,
            concentrations=concentrations,
            coarse_bin=coarse_bin,
            row_shares=shares(label_bin),
            halved_row_shares=shares(label_bin[halved_rows]),
            half_row_shares=shares(half_bin),
            document_rows=by_document(torch.arange(total), label_bin),
            document_halved_rows=by_document(halved_rows, label_bin[halved_rows], deletion_factors),
            document_half_rows=by_document(halved_rows, half_bin, deletion_factors),
        )


def concentration(groups: Tensor, cell_sizes: Tensor, num_groups: int) -> Tensor:
    """Work out q = Σ_d n_d² / ( Σ_d n_d )² of each group.

    Args:
        groups: (number of cells,) group of each cell, where a cell holds the rows of one group and one document.
        cell_sizes: (number of cells,) n_d, rows in each cell.
        num_groups: Number of groups.

    Returns:
        (num_groups,) float64, 1 for a group in one document, 1 / g for one spread evenly over g documents.
    """
    sizes = cell_sizes.double()
    sums = torch.bincount(groups, sizes, minlength=num_groups).double()  # float32 if there is nothing to count
    return torch.bincount(groups, sizes.square(), minlength=num_groups) / sums.clamp(min=1).square()


def size_bins(occurrences: Tensor, half_occurrences: Tensor) -> tuple[Tensor, Tensor]:
    """Bin the sample sizes of a label set whose rows are documents of their own, so that q = 1 / n.

    Args:
        occurrences: (M,) n of each label.
        half_occurrences: (m,) n of the halves.

    Returns:
        (U,) mean of 1 / n over the rows of each bin, and the bin of every n from 0 up.
    """
    number = torch.bincount(torch.cat([occurrences, half_occurrences]))
    number[0] = 0
    used = number.nonzero().flatten()
    bins, inverse_sizes, _ = _bins(used, 1 / used.double(), BIN_RATIO, BIN_RATIO, rows=number[used] * used)
    return inverse_sizes, torch.zeros_like(number).index_put_((used,), bins)


def _bins(
    sizes: Tensor,
    concentrations: Tensor,
    size_ratio: float,
    concentration_ratio: float,
    rows: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Bin pairs of n and q: n up to 4 one by one, then in steps of a ratio; q in steps of a ratio.

    Args:
        sizes: (m,) n.
        concentrations: (m,) q.
        size_ratio: Ratio of the ends of a bin of n.
        concentration_ratio: Ratio of the ends of a bin of q.
        rows: (m,) rows that each pair stands for; by default one.

    Returns:
        (m,) bin of each pair, (U,) mean of 1 / n and (U,) mean of q over the rows of each bin.
    """
    beyond = (sizes.double().clamp(min=EXACT_SIZES) / EXACT_SIZES).log() / math.log(size_ratio)
    size_step = (sizes.double().clamp(max=EXACT_SIZES) + beyond).round().long()
    concentration_step = (-concentrations.log() / math.log(concentration_ratio)).round().long()
    steps = size_step * (int(concentration_step.max()) + 1) + concentration_step
    bins = torch.unique(steps, return_inverse=True)[1]
    weights = torch.ones_like(concentrations) if rows is None else rows.double()
    number = torch.bincount(bins, weights)
    inverse_sizes, means = (torch.bincount(bins, weights * v) / number for v in (1 / sizes.double(), concentrations))
    return bins, inverse_sizes, means
