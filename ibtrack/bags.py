"""Rows in bags: sums by group in single precision that are good to the last digits, and fast.

Letters: N rows, K anchors, B bags.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

from ibtrack.counts import occurrence_ranks

BAG = 64  # rows, or bags, that are added up in single precision; beyond, the sums would lose digits
ROWS_AT_ONCE = 1 << 11  # more or less: what is worked out per row stays in the cache


@dataclass(frozen=True)
class Bags:
    """Rows by group, each group in bags of at most 64 rows.

    Attributes:
        rows: (n,) rows, group after group.
        of: (n,) group of each of them, ascending.
        starts: (B,) where in ``rows`` each bag begins.
        sizes: (B,) rows in each bag, as float32.
        bag_group: (B,) group of each bag.
        group_starts: (number,) where in the bags each group begins.
        pattern: (number, N) sparse, a place for each row in the line of its group.
        number: of groups, none of which is empty.
        pieces: consecutive parts of ``rows`` and of the bags: first and last row, first and last bag.
        short: whether no group has more than 64 bags.
    """

    rows: Tensor
    of: Tensor
    starts: Tensor
    sizes: Tensor
    bag_group: Tensor
    group_starts: Tensor
    pattern: Tensor
    number: int
    pieces: tuple[tuple[int, int, int, int], ...]
    short: bool

    @classmethod
    def of_groups(
        cls,
        groups: Tensor,
        number: int,
        rows: Tensor | None = None,
        num_rows: int | None = None,
        cells: Tensor | None = None,
    ) -> Bags:
        """Put rows into bags.

        Args:
            groups: (n,) in [0, number).
            number: of groups.
            rows: (n,) which rows are in them, by default all.
            num_rows: N, if these are not all rows.
            cells: (n,) dense index of parts of the groups; no bag holds rows of two.
        """
        cells = groups if cells is None else cells
        order = torch.argsort(groups * (int(cells.max()) + 1 if len(cells) else 1) + cells, stable=True)
        starts = (occurrence_ranks(cells)[order] % BAG == 0).nonzero().flatten()
        of = groups[order]
        bag_group = of[starts]
        sizes = torch.diff(starts, append=starts.new_tensor([len(of)])).float()
        piece_of = starts // ROWS_AT_ONCE
        cuts = [*(piece_of.diff(prepend=piece_of.new_tensor([-1])).nonzero().flatten()).tolist(), len(starts)]
        ends = [*starts[cuts[:-1]].tolist(), len(of)]
        bags = torch.bincount(bag_group, minlength=number)
        chosen = order if rows is None else rows[order]
        return cls(
            chosen,
            of,
            starts,
            sizes,
            bag_group,
            bags.cumsum(0) - bags,
            _pattern(torch.bincount(groups, minlength=number), chosen, len(groups) if num_rows is None else num_rows),
            number,
            tuple(zip(ends[:-1], ends[1:], cuts[:-1], cuts[1:], strict=True)),
            int(bags.max()) <= BAG if len(bags) else True,
        )

    def sums(self, values: Tensor) -> Tensor:
        """Add up the rows of (N, K) float32 by group: (number, K) float32, good to the last digits.

        Example:
            >>> bags = Bags.of_groups(torch.tensor([1, 0, 1]), number=2)
            >>> bags.sums(torch.tensor([[1.0, 0.0], [0.5, 0.5], [0.0, 1.0]])).tolist()
            [[0.5, 0.5], [1.0, 1.0]]
        """
        return self.by_group(self.bag_sums(values))

    def bag_sums(self, values: Tensor) -> Tensor:
        """Add up the rows of (N, K) float32 by bag: (B, K)."""
        return embedding_bag(self.rows, values, self.starts, mode="sum")

    def sums_of_squares(self, values: Tensor) -> Tensor:
        """Add up the squares of the rows of (N, K) float32 by group: (number, K) float32."""
        sums = []
        for begin, end, first, last in self.pieces:
            squares = values.index_select(0, self.rows[begin:end]).square_()
            places = torch.arange(end - begin, device=values.device)
            sums.append(embedding_bag(places, squares, self.starts[first:last] - begin, mode="sum"))
        return self.by_group(torch.cat(sums))

    def products(self, values: Tensor, table: Tensor) -> Tensor:
        """Multiply every row of (N, K) float32 with the row of its group in a (number, K) table: (n,), in the order of
        ``rows``."""
        return torch.sparse.sampled_addmm(self.pattern, table, values.T, beta=0).values()

    def by_group(self, sums: Tensor) -> Tensor:
        """Add up (B, K) sums of bags: (number, K) float32."""
        if len(sums) == self.number:
            return sums
        if self.short:
            return embedding_bag(torch.arange(len(sums), device=sums.device), sums, self.group_starts, mode="sum")
        whole = sums.new_zeros(self.number, sums.shape[1], dtype=torch.float64)
        return whole.index_add_(0, self.bag_group, sums.double()).float()


def _pattern(sizes: Tensor, columns: Tensor, num_columns: int) -> Tensor:
    ends = torch.cat([sizes.new_zeros(1), sizes.cumsum(0)])
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse")  # that they are young, and are not checked
        return torch.sparse_csr_tensor(
            ends, columns, torch.zeros(len(columns)), (len(sizes), num_columns), check_invariants=False
        )
