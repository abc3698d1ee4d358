"""Segment sums: rows added up by group, in single precision, good to the last digits, and fast.

Single precision loses digits where many numbers are added to one sum. Rows are therefore added in segments of at most
64, segments again in segments of at most 64, and so on (pairwise summation with a fan-in of 64).

Letters: N rows, K anchors, L sites.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

from ibtrack.information.grouping import grouped

SEGMENT_ROWS = 64  # summands of one float32 sum: with 64 the relative error stays near 1e-7


@dataclass(frozen=True)
class Segments:
    """Rows by group, each group in segments of at most 64 rows. Indices are int32.

    Attributes:
        rows: (n,) rows, group after group.
        starts: (number of segments,) where in ``rows`` each segment begins.
        sizes: (number of segments,) rows in each segment, as float32.
        group: (number of segments,) group of each segment, ascending.
        group_starts: (num_groups,) where in the segments each group begins.
        num_groups: Number of groups, none of which is empty.
        levels: Where sums of up to 64 segments begin, then where sums of up to 64 of these do, and so on until there is
            one sum for each group; int32.
        copied: What it takes to copy the segments of one row and add up the others alone, as an accelerator copies
            faster than it adds up; the results are equal. First row of each segment, then the segments of several rows,
            where each of these begins among their rows, and these rows; int32, but the segments.
    """

    rows: Tensor
    starts: Tensor
    sizes: Tensor
    group: Tensor
    group_starts: Tensor
    num_groups: int
    levels: tuple[Tensor, ...]
    copied: tuple[Tensor, Tensor, Tensor, Tensor] | None = None

    @classmethod
    def from_groups(cls, groups: Tensor, num_groups: int, rows: Tensor | None = None) -> Segments:
        """Sort rows into segments.

        Args:
            groups: (n,) group of each row, in [0, num_groups).
            num_groups: Number of groups.
            rows: (n,) indices of the rows; by default 0 to n - 1.
        """
        order, begins = grouped(groups, num_groups)
        ranks = torch.arange(len(order), device=order.device) - begins[:-1].repeat_interleave(
            begins.diff()
        )  # of rows within their group
        starts = (ranks % SEGMENT_ROWS == 0).nonzero().flatten()
        group = groups.index_select(0, order.index_select(0, starts))
        segments_per_group = torch.bincount(group, minlength=num_groups)
        group_starts = segments_per_group.cumsum(0) - segments_per_group
        return cls(
            rows=(order if rows is None else rows.index_select(0, order)).int(),
            starts=starts.int(),
            sizes=torch.diff(starts, append=starts.new_tensor([len(order)])).float(),
            group=group.int(),
            group_starts=group_starts.int(),
            num_groups=num_groups,
            levels=_levels(group, group_starts),
        )

    def split(self, firsts: Tensor, rows_at_once: int) -> list[tuple[Segments, int, int]]:
        """Split into chunks of consecutive groups, as few as hold about so many rows each.

        Args:
            firsts: (m,) groups that a chunk may begin with, ascending from 0.
            rows_at_once: Rows in a chunk, unless what begins with a single one of ``firsts`` has more.

        Returns:
            For each chunk its segments, and the range of ``firsts`` in it: the first, and the one after the last.
        """
        before = self.starts[self.group_starts[firsts].long()].long() // rows_at_once
        cuts = before.diff(prepend=before.new_tensor([-1])).nonzero().flatten()
        begins = [*cuts.tolist(), len(firsts)]
        group_ends = [*firsts[cuts].tolist(), self.num_groups]
        segment_ends = [*self.group_starts[group_ends[:-1]].tolist(), len(self.starts)]
        row_ends = [*self.starts[segment_ends[:-1]].tolist(), len(self.rows)]
        chunks = []
        for i in range(len(cuts)):
            group, segment, row = (slice(ends[i], ends[i + 1]) for ends in (group_ends, segment_ends, row_ends))
            group_of, group_starts = self.group[segment] - group.start, self.group_starts[group] - segment.start
            chunk = Segments(
                rows=self.rows[row],
                starts=self.starts[segment] - row.start,
                sizes=self.sizes[segment],
                group=group_of,
                group_starts=group_starts,
                num_groups=group.stop - group.start,
                levels=_levels(group_of, group_starts),
            )
            chunks.append((chunk, begins[i], begins[i + 1]))
        return chunks

    def sum_rows(self, values: Tensor) -> Tensor:
        """Add up the rows of a table by group.

        Args:
            values: (N, ...) float32.

        Returns:
            (num_groups, ...) float32, good to the last digits.

        Example:
            >>> segments = Segments.from_groups(torch.tensor([1, 0, 1]), num_groups=2)
            >>> segments.sum_rows(torch.tensor([[1.0, 0.0], [0.5, 0.5], [0.0, 1.0]])).tolist()
            [[0.5, 0.5], [1.0, 1.0]]
        """
        return self.sum_segments(self.sum_within(values))

    def sum_squares(self, values: Tensor) -> Tensor:
        """Add up the squares of the rows of (N, ...) float32 by group: (num_groups, ...) float32."""
        squares = values.index_select(0, self.rows).square_()
        return self.sum_segments(sum_between(self.starts, _indices(squares), squares))

    def sum_within(self, values: Tensor) -> Tensor:
        """Add up the rows of (N, ...) float32 by segment: (number of segments, ...)."""
        if self.copied is None:
            return sum_between(self.starts, self.rows, values)
        first, longer, starts, rows = self.copied
        sums = values.index_select(0, first)
        return sums.index_copy_(0, longer, sum_between(starts, rows, values)) if len(longer) else sums

    def copying(self) -> Segments:
        """Return the same segments with `copied`, for an accelerator, if most of them are of one row."""
        several = self.sizes > 1
        longer = several.nonzero().flatten()
        if 2 * len(longer) > len(several):
            return self
        sizes = self.sizes[longer].long()
        rows = self.rows[several.repeat_interleave(self.sizes.long())]
        return replace(self, copied=(self.rows[self.starts.long()], longer, (sizes.cumsum(0) - sizes).int(), rows))

    def sum_segments(self, sums: Tensor) -> Tensor:
        """Add up sums of segments, (number of segments, ...), by group: (num_groups, ...)."""
        for starts in self.levels:
            sums = sum_between(starts, _indices(sums), sums)
        return sums


def sum_between(starts: Tensor, rows: Tensor, values: Tensor, weights: Tensor | None = None) -> Tensor:
    """Add up rows of a table in single precision, from each start to the next.

    Args:
        starts: (m,) places in ``rows``, ascending; between equal ones there are no rows, and the sum is 0.
        rows: (n,) indices of rows of the table.
        values: (N, ...) float32, the table.
        weights: (n,) float32 factor of each row; by default 1.

    Returns:
        (m, ...) float32.
    """
    sums = embedding_bag(rows, values.flatten(1), starts, mode="sum", per_sample_weights=weights)
    return sums.unflatten(1, values.shape[1:])


def _levels(group: Tensor, group_starts: Tensor) -> tuple[Tensor, ...]:
    """Say where sums of up to 64 parts begin, level after level, from the group of each segment."""
    levels: list[Tensor] = []
    place = torch.arange(len(group), device=group.device) - group_starts[group]
    while len(place) > len(group_starts):
        firsts = (place % SEGMENT_ROWS == 0).nonzero().flatten()
        levels.append(firsts.int())
        place = place[firsts] // SEGMENT_ROWS
    return tuple(levels)


def _indices(values: Tensor) -> Tensor:
    return torch.arange(len(values), dtype=torch.int32, device=values.device)
