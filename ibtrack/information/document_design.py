"""Which document each row belongs to: rows of one document depend on each other, documents do not.

Letters: N rows, G documents.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from ibtrack.information.devices import ROWS_AT_ONCE
from ibtrack.information.segments import Segments


@dataclass(frozen=True)
class DocumentDesign:
    """The partition of N rows into G documents, the clusters over which standard errors are taken.

    Attributes:
        index: (N,) document of each row, in [0, G).
        num_documents: G.
        sizes: (G,) rows of each document, as float64.
        segments: The rows by document.
        chunks: The same, a few documents at a time.
    """

    index: Tensor
    num_documents: int
    sizes: Tensor
    segments: Segments
    chunks: tuple[Segments, ...]

    @classmethod
    def from_index(cls, index: Tensor) -> DocumentDesign:
        """Partition rows by the dense (N,) index of their documents."""
        number = int(index.max()) + 1
        segments = Segments.from_groups(index, number)
        firsts = torch.arange(number, device=index.device)
        chunks = tuple(chunk for chunk, _, _ in segments.split(firsts, ROWS_AT_ONCE))
        return cls(
            index=index, num_documents=number, sizes=torch.bincount(index).double(), segments=segments, chunks=chunks
        )

    @cached_property
    def units(self) -> DocumentDesign:
        """What pairs of rows are taken across: the documents, or the rows where there is a single document."""
        if self.num_documents > 1 or len(self.index) == 1:
            return self
        return DocumentDesign.from_index(torch.arange(len(self.index), device=self.index.device))

    def influence(self, totals: Tensor) -> Tensor:
        """Turn what the rows of each document add to a sum into its influence on the mean over rows.

        Args:
            totals: (..., G) sums over the rows of each document.

        Returns:
            (..., G) first-order change of the mean by each document; they sum to 0. This is the infinitesimal
            jackknife (Jaeckel 1972; Efron 1982, chapter 6) with documents as clusters.
        """
        number = len(self.index)
        return (totals - self.sizes * (totals.sum(-1, keepdim=True) / number)) / number
