"""All label sets of a probe as one nested design, for accelerators, where a call costs more than what it does.

The labels of one set are other labels than those of another, and so are the cells: one table of cells holds those of
all label sets. Only sums by document must know which set a cell belongs to, so there each set has documents of its own.

Letters: N rows, C label sets, L sites, G documents, R labels that have halves, U pairs of sample size and
concentration.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ibtrack.information.design_tables import DesignTables
from ibtrack.information.grouping import grouped
from ibtrack.information.label_design import LabelChunk, LabelDesign, chunks_of_cells
from ibtrack.information.segments import Segments, sum_between


@dataclass(frozen=True)
class JointDesign:
    """C label sets in one design.

    Attributes:
        names: Names of the label sets.
        tables: Their numbers.
        chunks: The labels of all sets that occur more than once; document d of label set c is c G + d in them.
        single: (N, C, 1) 1 for rows whose label occurs once, and otherwise 0, float32.
        inverse_cell_sizes: (N, C, 1) 1 / n_c for rows in cells of several rows, and otherwise 0, float32.
        label_pair: (C N,) pair of the label of each row, set after set and document after document, int32: c U and the
            pair's number in label set c.
        label_starts: (C G,) where in ``label_pair`` each document begins.
        halved_pair: (m,) pair of the label of each row whose label has two halves, in the same order, int32.
        half_pair: (m,) pair of the half of these rows.
        half_starts: (C G,) where in ``half_pair`` each document begins.
        half_weights: (m,) what these rows count as, see `ibtrack.information.sample_sizes.SampleSizes`, float32.
    """

    names: tuple[str, ...]
    tables: DesignTables
    chunks: tuple[LabelChunk, ...]
    single: Tensor
    inverse_cell_sizes: Tensor
    label_pair: Tensor
    label_starts: Tensor
    halved_pair: Tensor
    half_pair: Tensor
    half_starts: Tensor
    half_weights: Tensor

    @classmethod
    def from_designs(cls, designs: Mapping[str, LabelDesign], rows_at_once: int) -> JointDesign:
        """Join label sets.

        Args:
            designs: Name of a label set to its design, on the CPU.
            rows_at_once: Rows of a chunk, unless a single label has more.
        """
        sets = list(designs.values())
        tables = DesignTables.from_designs(sets)
        sizes = torch.stack([design.cell_size for design in sets], 1).unsqueeze(-1)
        pairs = tables.row_shares.shape[-1]
        label_starts, half_starts = [], []
        rows = halves = 0
        for design in sets:
            label_starts.append(design.sizes.label_starts + rows)
            half_starts.append(design.sizes.half_starts + halves)
            rows, halves = rows + len(design.sizes.label_pair), halves + len(design.sizes.half_pair)

        def numbered(name: str) -> Tensor:
            return torch.cat([getattr(design.sizes, name) + c * pairs for c, design in enumerate(sets)])

        return cls(
            names=tuple(designs),
            tables=tables,
            chunks=_joint_chunks(sets, rows_at_once),
            single=(sizes == 0).float(),
            inverse_cell_sizes=torch.where(sizes > 1, 1 / sizes, 0.0),
            label_pair=numbered("label_pair"),
            label_starts=torch.cat(label_starts),
            halved_pair=numbered("halved_pair"),
            half_pair=numbered("half_pair"),
            half_starts=torch.cat(half_starts),
            half_weights=torch.cat([design.sizes.half_weights for design in sets]),
        )

    def sum_by_document(self, rows: Tensor, halved_rows: Tensor, half_rows: Tensor) -> Tensor:
        """Add up numbers that belong to pairs over the rows of each document.

        Args:
            rows: (C, L, U), see `ibtrack.information.sample_sizes.SampleSizes.sum_by_document`.
            halved_rows: (C, L, U).
            half_rows: (C, L, U).

        Returns:
            (C, L, G) float32.
        """
        table = torch.stack([rows, halved_rows, half_rows]).mT.flatten(1, 2).float()  # (3, C U, L)
        sums = sum_between(self.label_starts, self.label_pair, table[0])
        sums += sum_between(self.half_starts, self.halved_pair, table[1], self.half_weights)
        sums += sum_between(self.half_starts, self.half_pair, table[2], self.half_weights)
        return sums.unflatten(0, (len(self.names), -1)).mT


def _joint_chunks(sets: list[LabelDesign], rows_at_once: int) -> tuple[LabelChunk, ...]:
    """Number the cells of all label sets: first those of labels that have halves, set after set, then the others."""
    halved = [2 * design.num_halved for design in sets]
    number = len(sets[0].document_cross_weight)
    before, after = 0, sum(halved)  # parts of the sets before, of halves and of other labels
    parts, documents, groups, rows, is_other = [], [], [], [], []
    cells = 0
    for c, (design, two) in enumerate(zip(sets, halved, strict=True)):
        others = design.part_of_cell >= two
        parts.append(design.part_of_cell + torch.where(others, after - two, before))
        documents.append(design.cell_documents + c * number)
        is_other.append(others)
        groups.append(design.cells.group.long().repeat_interleave(design.cells.sizes.long()) + cells)
        rows.append(design.cells.rows)
        cells += design.cells.num_groups
        before += two
        after += int(design.part_of_cell[-1]) + 1 - two if others.any() else 0
    if not cells:
        return ()
    order = grouped(torch.cat(is_other).long(), 2).order  # within halves and others the parts ascend
    place = torch.empty_like(order).index_put_((order,), torch.arange(cells))
    segments = Segments.from_groups(place[torch.cat(groups)], cells, torch.cat(rows))
    joint_parts, joint_documents = torch.cat(parts)[order], torch.cat(documents)[order]
    chunks = chunks_of_cells(segments, joint_parts, sum(halved) // 2, joint_documents, len(sets) * number, rows_at_once)
    return tuple(replace(chunk, cells=chunk.cells.copying(), parts=chunk.parts.copying()) for chunk in chunks)
