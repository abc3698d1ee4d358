"""Documents: rows that depend on each other.

Letters: N rows, G documents, B bags.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ibtrack.information.segments import ROWS_AT_ONCE, Segments


@dataclass(frozen=True)
class DocumentDesign:
    """Which document each row belongs to: rows inside a document depend on each other, documents do not.

    Attributes:
        of: (N,) index in [0, G).
        number: G.
        sizes: (G,) rows of each, as float64.
        bags: the rows by document.
        pieces: the same, a few documents at a time.
    """

    of: Tensor
    number: int
    sizes: Tensor
    bags: Segments
    pieces: tuple[Segments, ...]

    @classmethod
    def of_rows(cls, of: Tensor) -> DocumentDesign:
        """Group (N,) rows, from their dense index."""
        number = int(of.max()) + 1
        bags = Segments.of_groups(of, number)
        pieces = tuple(piece for piece, _, _ in bags.cut(torch.arange(number), ROWS_AT_ONCE))
        return cls(of, number, torch.bincount(of).double(), bags, pieces)

    def of_bags(self, bags: Segments) -> Tensor:
        """(B,) document of each bag, if none holds rows of two."""
        return self.of[bags.rows[bags.starts.long()].long()]

    def totals(self, values: Tensor, of: Tensor | None = None) -> Tensor:
        """(G, ...) sums of (n, ...) numbers by document, float64; ``of`` says of which, by default those of all
        rows."""
        zeros = torch.zeros(self.number, *values.shape[1:], dtype=torch.float64, device=values.device)
        return zeros.index_add_(0, self.of if of is None else of, values.double())

    def influence(self, totals: Tensor) -> Tensor:
        """(..., G) sums of what the rows add to a mean over rows, to (..., G) influences on it."""
        number = len(self.of)
        return (totals - self.sizes * (totals.sum(-1, keepdim=True) / number)) / number
