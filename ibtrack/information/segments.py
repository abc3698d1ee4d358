"""Rows in bags: sums by group in single precision that are good to the last digits, and fast.

Letters: N rows, K anchors, L sites, B bags.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

from ibtrack.information.counts import occurrence_ranks

BAG = 64  # rows, or bags, that are added up in single precision; beyond, the sums would lose digits
ROWS_AT_ONCE = 1 << 11  # more or less: what is worked out per row stays in the cache


@dataclass(frozen=True)
class Segments:
    """Rows by group, each group in bags of at most 64 rows. Indices are int32.

    Attributes:
        rows: (n,) rows, group after group.
        starts: (B,) where in ``rows`` each bag begins.
        sizes: (B,) rows in each bag, as float32.
        group: (B,) group of each bag, ascending.
        group_starts: (number,) where in the bags each group begins.
        number: of groups, none of which is empty.
        short: whether no group has more than 64 bags.
    """

    rows: Tensor
    starts: Tensor
    sizes: Tensor
    group: Tensor
    group_starts: Tensor
    number: int
    short: bool

    @classmethod
    def of_groups(
        cls, groups: Tensor, number: int, rows: Tensor | None = None, cells: Tensor | None = None
    ) -> Segments:
        """Put rows into bags.

        Args:
            groups: (n,) in [0, number).
            number: of groups.
            rows: (n,) which rows are in them, by default all.
            cells: (n,) dense index of parts of the groups; no bag holds rows of two.
        """
        cells = groups if cells is None else cells
        order = torch.argsort(groups * (int(cells.max()) + 1 if len(cells) else 1) + cells, stable=True)
        starts = (occurrence_ranks(cells)[order] % BAG == 0).nonzero().flatten()
        group = groups[order[starts]]
        bags = torch.bincount(group, minlength=number)
        return cls(
            (order if rows is None else rows[order]).int(),
            starts.int(),
            torch.diff(starts, append=starts.new_tensor([len(order)])).float(),
            group.int(),
            (bags.cumsum(0) - bags).int(),
            number,
            _short(bags),
        )

    def cut(self, firsts: Tensor, rows_at_once: int) -> list[tuple[Segments, int, int]]:
        """Consecutive groups by themselves, as few pieces as hold about so many rows each.

        Args:
            firsts: (m,) groups that a piece may begin with, ascending from 0.
            rows_at_once: in a piece, unless what begins with one of ``firsts`` has more.

        Returns:
            bags, and which of ``firsts`` they begin with and end before.
        """
        before = self.starts[self.group_starts[firsts].long()].long() // rows_at_once
        cuts = before.diff(prepend=before.new_tensor([-1])).nonzero().flatten()
        begins = [*cuts.tolist(), len(firsts)]
        groups = [*firsts[cuts].tolist(), self.number]
        bags = [*self.group_starts[groups[:-1]].tolist(), len(self.starts)]
        rows = [*self.starts[bags[:-1]].tolist(), len(self.rows)]
        pieces = []
        for i in range(len(cuts)):
            group, bag, row = (slice(ends[i], ends[i + 1]) for ends in (groups, bags, rows))
            piece = Segments(
                self.rows[row],
                self.starts[bag] - row.start,
                self.sizes[bag],
                self.group[bag] - group.start,
                self.group_starts[group] - bag.start,
                group.stop - group.start,
                _short(torch.bincount(self.group[bag] - group.start)),
            )
            pieces.append((piece, begins[i], begins[i + 1]))
        return pieces

    def sums(self, values: Tensor) -> Tensor:
        """Add up the rows of (N, ...) float32 by group: (number, ...) float32, good to the last digits.

        Example:
            >>> bags = Segments.of_groups(torch.tensor([1, 0, 1]), number=2)
            >>> bags.sums(torch.tensor([[1.0, 0.0], [0.5, 0.5], [0.0, 1.0]])).tolist()
            [[0.5, 0.5], [1.0, 1.0]]
        """
        return self.by_group(self.bag_sums(values))

    def sums_of_squares(self, values: Tensor) -> Tensor:
        """Add up the squares of the rows of (N, ...) float32 by group: (number, ...) float32."""
        squares = values.index_select(0, self.rows).square_()
        return self.by_group(segment_sums(self.starts, _count(squares), squares))

    def bag_sums(self, values: Tensor) -> Tensor:
        """Add up the rows of (N, ...) floats by bag: (B, ...)."""
        return segment_sums(self.starts, self.rows, values)

    def by_group(self, sums: Tensor) -> Tensor:
        """Add up (B, ...) sums of bags: (number, ...)."""
        if len(sums) == self.number:
            return sums
        if self.short:
            return segment_sums(self.group_starts, _count(sums), sums)
        place = _count(sums) - self.group_starts.index_select(0, self.group)
        while len(sums) > self.number:  # bags of 64 bags, and so on
            firsts = (place % BAG == 0).nonzero().flatten()
            sums, place = segment_sums(firsts.int(), _count(sums), sums), place.index_select(0, firsts) // BAG
        return sums


def segment_sums(starts: Tensor, rows: Tensor, values: Tensor, weights: Tensor | None = None) -> Tensor:
    """Add up rows of a table in single precision, from each start to the next.

    Args:
        starts: (B,) places in ``rows``, ascending; no rows lie between equal ones.
        rows: (n,) of the table.
        values: (N, ...) float32, the table.
        weights: (n,) float32, what each row is multiplied with, by default 1.

    Returns:
        (B, ...) float32.
    """
    sums = embedding_bag(rows, values.flatten(1), starts, mode="sum", per_sample_weights=weights)
    return sums.unflatten(1, values.shape[1:])


def _short(bags: Tensor) -> bool:
    return not len(bags) or int(bags.max()) <= BAG


def _count(values: Tensor) -> Tensor:
    return torch.arange(len(values), dtype=torch.int32, device=values.device)
