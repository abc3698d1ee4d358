"""Labels and documents to groups of rows: worked out once per probe, used at every measurement.

Letters: N rows, K anchors, M labels, n_x rows of label x; R labels whose occurrences are dealt to two halves h, R'
others that occur more than once; B bags; G documents.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import TypeVar

import torch
from torch import Tensor
from torch.nn.functional import pad

from ibtrack.information.counts import occurrence_ranks
from ibtrack.information.document_design import DocumentDesign
from ibtrack.information.sample_sizes import SampleSizeBins, concentration
from ibtrack.information.segments import Segments, segment_sums

PIECE_ROWS = 1 << 14  # of labels that are read together: the tables of their means stay small; up to four times as many
#                       where documents are many, as each piece also takes a table of those

_Groups = TypeVar("_Groups")


@dataclass(frozen=True)
class LabelChunk:
    """Some labels that occur more than once, with their rows in 2 r + s parts: halves of r labels, 2 x + h, and then
    the s labels that occur several times in a single document.

    Attributes:
        bags: the rows by part; a bag is of one label and one document.
        num_halved: r.
        occurrences: (r + s,) n_x, float32.
        part_occurrences: (2 r + s,) rows in each part, float32.
        absence: (B,) D / (D - 1) for D documents of the label of a bag, float32: without one of two, there are no
            halves left.
        crowded: (B',) bags of several rows.
        by_part: (2 r + s, B) sparse, a place for each bag in the line of its part.
        by_label: (r, B_r) sparse, a place for each bag of a half in the line of its label.
        order: (B,) bags, document after document.
        order_starts: (G,) where in ``order`` each document begins.
    """

    bags: Segments
    num_halved: int
    occurrences: Tensor
    part_occurrences: Tensor
    absence: Tensor
    crowded: Tensor
    by_part: Tensor
    by_label: Tensor
    order: Tensor
    order_starts: Tensor

    @classmethod
    def of(cls, bags: Segments, documents: DocumentDesign, num_halved: int, absence: Tensor) -> LabelChunk:
        """Take rows by part; ``absence`` is of each label that has halves."""
        document = documents.of_bags(bags)
        rows = bags.sizes.new_zeros(bags.number).index_add_(0, bags.group, bags.sizes)
        halves = rows[: 2 * num_halved].view(-1, 2)
        in_halves = int((bags.group < 2 * num_halved).sum())
        label_starts = bags.group_starts[: 2 * num_halved : 2]
        inside = torch.bincount(document, minlength=documents.number)
        label = bags.group[:in_halves].long() // 2
        return cls(
            bags,
            num_halved,
            torch.cat([halves.sum(1), rows[2 * num_halved :]]),
            rows,
            pad(absence[label].float(), (0, len(document) - in_halves)),
            (bags.sizes > 1).nonzero().flatten().int(),
            _pattern(bags.group_starts, len(bags.starts)),
            _pattern(label_starts, in_halves),
            torch.argsort(document, stable=True).int(),
            (inside.cumsum(0) - inside).int(),
        )

    def document_sums(self, values: Tensor, bags: Tensor | None = None, weights: Tensor | None = None) -> Tensor:
        """(G, ...) sums of (B, ...) float32 by document; they serve errors, so single precision will do.

        Args:
            values: a table.
            bags: (B,) which line of the table each bag has, in the order of documents; by default its own.
            weights: (B,) what it is multiplied with, in the same order.
        """
        return segment_sums(self.order_starts, self.order if bags is None else bags, values, weights)


@dataclass(frozen=True)
class LabelDesign:
    """The rows of a label set in groups: labels seen once need no slot, only their own row.

    Rows of one document are alike for reasons of their own: a text repeats itself. So the occurrences of a label are
    dealt to two halves by documents, and what they have in common is of the label. Where there is one document only,
    rows are dealt.

    Attributes:
        num_rows: N.
        num_halved: R, labels that occur in two documents; R' others occur several times in a single one.
        bag_size: (N,) rows in the bag of each row, 0 for rows whose label occurs once, uint8.
        pieces: the other labels, those that have halves first, a few at a time.
        occurrences: (R + R',) n_x.
        classes: of labels that occur about as often.
        document_degrees: (G,) rows of each document whose label has halves.
        document_mates: (G,) rows of each document less their bags.
        degrees: Σ_x (n_x - 1) / N over the labels that have halves.
        mate_degrees: Σ_b (n_b - 1) / N.
        crowding: Σ_x n_x² / N².
        pair_noise: of Σ_x (n_x - 1) P_x1 P_x2, see `pair_noise`.
    """

    num_rows: int
    num_halved: int
    bag_size: Tensor
    pieces: tuple[LabelChunk, ...]
    occurrences: Tensor
    classes: SampleSizeBins
    document_degrees: Tensor
    document_mates: Tensor
    degrees: float
    mate_degrees: float
    crowding: float
    pair_noise: tuple[float, float, float]

    @classmethod
    def of(cls, labels: Tensor, documents: DocumentDesign) -> LabelDesign:
        """Group (N,) dense labels."""
        total, of = len(labels), documents.of
        apart = of if documents.number > 1 else torch.arange(total)
        cells = torch.unique(labels * (int(apart.max()) + 1) + apart, return_inverse=True)[1]  # by label, then document
        cell_sizes = torch.bincount(cells)
        cell_label = labels.new_zeros(len(cell_sizes)).index_put_((cells,), labels)
        spread = torch.bincount(cell_label)  # documents of each label
        occurrences = torch.bincount(labels)
        clumps = concentration(cell_label, cell_sizes, len(occurrences))

        halved, single = spread > 1, (spread == 1) & (occurrences > 1)
        number, num_single = int(halved.sum()), int(single.sum())
        part_of_label = torch.where(halved, 2 * (halved.cumsum(0) - 1), 2 * number + single.cumsum(0) - 1)
        part_of_cell = part_of_label[cell_label] + occurrence_ranks(cell_label) % 2 * halved[cell_label]
        rows = (occurrences[labels] > 1).nonzero().flatten()
        part_of = part_of_cell[cells[rows]]
        bags = Segments.of_groups(part_of, 2 * number + num_single, rows, cells[rows])
        absence = spread.double() / (spread - 1).clamp(min=1)  # by label
        of_halved = absence[halved]
        rows_at_once = min(max(PIECE_ROWS, 4 * documents.number), 4 * PIECE_ROWS)
        firsts = torch.cat([2 * torch.arange(number), 2 * number + torch.arange(num_single)])
        pieces = tuple(
            LabelChunk.of(piece, documents, min(end, number) - min(begin, number), of_halved[begin:end])
            for piece, begin, end in bags.cut(firsts, rows_at_once)
        )

        part_occurrences = torch.bincount(part_of, minlength=bags.number)
        in_halves = halved[cell_label]
        half_clumps = concentration(part_of_cell[in_halves], cell_sizes[in_halves], 2 * number)
        half_rows = halved[labels].nonzero().flatten()
        half = part_of_cell[cells[half_rows]]
        classes = SampleSizeBins.of(
            documents,
            (occurrences[labels], clumps[labels]),
            half_rows,
            (part_occurrences[half], half_clumps[half]),
            absence[labels[half_rows]],
        )
        mates = documents.totals(bags.sizes - 1, documents.of_bags(bags))
        bag_size = torch.zeros(total, dtype=torch.uint8)
        bag_size[bags.rows.long()] = bags.sizes.byte().repeat_interleave(bags.sizes.long())
        weights = occurrences[halved].double() - 1
        return cls(
            total,
            number,
            bag_size,
            pieces,
            torch.cat([occurrences[halved], occurrences[single]]).double(),
            classes,
            torch.bincount(of[half_rows], minlength=documents.number).double(),
            mates,
            float(weights.sum()) / total,
            float(mates.sum()) / total,
            float((occurrences.double() / total).square().sum()),
            pair_noise(weights, 1 / part_occurrences[: 2 * number].double().view(-1, 2), half_clumps.view(-1, 2)),
        )


def moved(groups: _Groups, device: torch.device) -> _Groups:
    """The same groups with every tensor on a device."""
    if isinstance(groups, Tensor):
        return groups.to(device)  # type: ignore[return-value]
    if isinstance(groups, tuple):
        return tuple(moved(part, device) for part in groups)  # type: ignore[return-value]
    if is_dataclass(groups):
        changed = {field.name: moved(getattr(groups, field.name), device) for field in fields(groups)}
        return replace(groups, **changed)  # type: ignore[type-var]
    return groups


def _pattern(starts: Tensor, columns: int) -> Tensor:
    """(lines, columns) sparse: consecutive columns in the line where they start."""
    ends = torch.cat([starts, starts.new_tensor([columns])])
    places = torch.arange(columns, dtype=torch.int32)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse")  # that they are young, and are not checked
        return torch.sparse_csr_tensor(ends, places, places.float(), (len(starts), columns), check_invariants=False)


def pair_noise(weights: Tensor, inverse: Tensor, clumps: Tensor) -> tuple[float, float, float]:
    """How Σ_x w_x P_x1 P_x2 / Σ_x w_x varies if labels tell nothing, in units of the variance of one product of rows.

    The mean of a half varies by (1 - ρ) / n + ρ q, where ρ is how alike rows of one document are.

    Args:
        weights: (R,) w.
        inverse: (R, 2) 1 / n of the halves.
        clumps: (R, 2) q.

    Returns:
        the factors of (1 - ρ)², of ρ (1 - ρ) and of ρ².
    """
    share = (weights / weights.sum()).square()
    crossed = inverse * clumps.flip(1)
    terms = inverse.prod(1), crossed.sum(1), clumps.prod(1)
    first, second, third = (float(share @ term) for term in terms)
    return first, second, third
