"""The nested design of a label set: which rows share a label, and which of these share a document.

It is worked out once per probe and used at every measurement. Rows of one document are alike for reasons of their own,
as a text repeats itself. So the rows of each label are dealt to two halves by documents: what the means of the two
halves have in common is due to the label. Where there is a single document, rows are dealt instead.

Letters: N rows, K anchors, M labels, G documents, n_x rows of label x, h one of its two halves, n_xh rows of it.
Of the M labels, R occur in two documents or more and have halves; R' occur several times in a single document; the
others occur once.
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
from ibtrack.information.segments import Segments, sum_between

CHUNK_ROWS = 1 << 14  # rows of labels that are read together, so that the table of their means stays in a core's cache;
#                       up to four times as many where documents are many, as each chunk also has a table of those

_Design = TypeVar("_Design")


@dataclass(frozen=True)
class LabelChunk:
    """Some labels that occur more than once, with their rows in 2 r + s parts.

    Part 2 x + h is half h of one of r labels that have halves; s further parts are labels in a single document.

    Attributes:
        segments: The rows by part; a segment is at most 64 rows of one label and one document.
        num_halved: Number r of labels that have halves.
        occurrences: (r + s,) n_x, float32.
        part_occurrences: (2 r + s,) rows in each part, float32.
        deletion_factors: (segments,) G_x / (G_x - 1) for the G_x documents in which label x of a segment occurs,
            float32, and 0 without halves. Leaving out a document leaves out all it adds to a label in two documents,
            and with it the halves; this factor gives the derivative by a document's weight the size of that.
        multi_row: (number,) segments of several rows.
        part_pattern: (2 r + s, segments) sparse, an entry for each segment in the line of its part.
        label_pattern: (r, segments in halves) sparse, an entry for each segment of a half in the line of its label.
        document_order: (segments,) segments, document after document.
        document_starts: (G,) where in ``document_order`` each document begins.
    """

    segments: Segments
    num_halved: int
    occurrences: Tensor
    part_occurrences: Tensor
    deletion_factors: Tensor
    multi_row: Tensor
    part_pattern: Tensor
    label_pattern: Tensor
    document_order: Tensor
    document_starts: Tensor

    @classmethod
    def from_segments(
        cls, segments: Segments, documents: DocumentDesign, num_halved: int, deletion_factors: Tensor
    ) -> LabelChunk:
        """Describe the rows of a chunk.

        Args:
            segments: The rows by part.
            documents: Documents of all rows.
            num_halved: Number r of labels that have halves.
            deletion_factors: (r,) factor of each label that has halves, float64.
        """
        document = documents.document_of_segment(segments)
        rows = segments.sizes.new_zeros(segments.num_groups).index_add_(0, segments.group, segments.sizes)
        halves = rows[: 2 * num_halved].view(-1, 2)
        in_halves = int((segments.group < 2 * num_halved).sum())
        label_starts = segments.group_starts[: 2 * num_halved : 2]
        per_document = torch.bincount(document, minlength=documents.num_documents)
        label = segments.group[:in_halves].long() // 2
        return cls(
            segments=segments,
            num_halved=num_halved,
            occurrences=torch.cat([halves.sum(1), rows[2 * num_halved :]]),
            part_occurrences=rows,
            deletion_factors=pad(deletion_factors[label].float(), (0, len(document) - in_halves)),
            multi_row=(segments.sizes > 1).nonzero().flatten().int(),
            part_pattern=_pattern(segments.group_starts, len(segments.starts)),
            label_pattern=_pattern(label_starts, in_halves),
            document_order=torch.argsort(document, stable=True).int(),
            document_starts=(per_document.cumsum(0) - per_document).int(),
        )

    def sum_by_document(self, values: Tensor, lines: Tensor | None = None, weights: Tensor | None = None) -> Tensor:
        """Add up a table by document, in single precision, which does for standard errors.

        Args:
            values: (m, ...) float32, the table.
            lines: (segments,) line of the table for each segment, in the order of documents; by default line b for
            segment b.
            weights: (segments,) factor of each of these lines; by default 1.

        Returns:
            (G, ...) float32.
        """
        return sum_between(self.document_starts, self.document_order if lines is None else lines, values, weights)


@dataclass(frozen=True)
class LabelDesign:
    """The nested design of one label set.

    Attributes:
        num_rows: Number N of rows.
        num_halved: Number R of labels that have halves.
        segment_size: (N,) rows in the segment of each row, 0 for rows whose label occurs once, uint8.
        chunks: The labels that occur more than once, those with halves first, a few at a time.
        occurrences: (R + R',) n_x, float64.
        bins: The sample sizes of all labels and halves.
        document_cross_weight: (G,) rows of each document whose label has halves.
        document_same_weight: (G,) rows of each document, less their segments.
        cross_weight: Σ_x (n_x - 1) / N over the labels that have halves: weight of pairs of rows in two documents.
        same_weight: Σ_b (n_b - 1) / N over segments b of n_b rows: weight of pairs of rows in one document.
        collision_probability: Σ_x n_x² / N², the chance that two rows share their label (Simpson's index).
        null_variance_factors: See `null_variance_factors`.
    """

    num_rows: int
    num_halved: int
    segment_size: Tensor
    chunks: tuple[LabelChunk, ...]
    occurrences: Tensor
    bins: SampleSizeBins
    document_cross_weight: Tensor
    document_same_weight: Tensor
    cross_weight: float
    same_weight: float
    collision_probability: float
    null_variance_factors: tuple[float, float, float]

    @classmethod
    def from_labels(cls, labels: Tensor, documents: DocumentDesign) -> LabelDesign:
        """Describe a label set.

        Args:
            labels: (N,) dense labels in [0, M).
            documents: Documents of the rows.
        """
        total, document = len(labels), documents.index
        unit = document if documents.num_documents > 1 else torch.arange(total)  # what is dealt to halves
        cells = torch.unique(labels * (int(unit.max()) + 1) + unit, return_inverse=True)[1]  # by label, then document
        cell_sizes = torch.bincount(cells)
        cell_label = labels.new_zeros(len(cell_sizes)).index_put_((cells,), labels)
        num_units = torch.bincount(cell_label)  # documents of each label
        occurrences = torch.bincount(labels)
        concentrations = concentration(cell_label, cell_sizes, len(occurrences))

        halved, single = num_units > 1, (num_units == 1) & (occurrences > 1)
        num_halved, num_single = int(halved.sum()), int(single.sum())
        part_of_label = torch.where(halved, 2 * (halved.cumsum(0) - 1), 2 * num_halved + single.cumsum(0) - 1)
        # the documents of a label go to its first half and its second half in turn, in their own order
        part_of_cell = part_of_label[cell_label] + occurrence_ranks(cell_label) % 2 * halved[cell_label]
        rows = (occurrences[labels] > 1).nonzero().flatten()
        part = part_of_cell[cells[rows]]
        segments = Segments.from_groups(part, 2 * num_halved + num_single, rows, cells[rows])
        deletion_factors = num_units.double() / (num_units - 1).clamp(min=1)  # by label
        chunks = _chunks(segments, documents, num_halved, deletion_factors[halved])

        part_occurrences = torch.bincount(part, minlength=segments.num_groups)
        in_halves = halved[cell_label]
        half_concentrations = concentration(part_of_cell[in_halves], cell_sizes[in_halves], 2 * num_halved)
        halved_rows = halved[labels].nonzero().flatten()
        half = part_of_cell[cells[halved_rows]]
        bins = SampleSizeBins.from_rows(
            documents,
            (occurrences[labels], concentrations[labels]),
            halved_rows,
            (part_occurrences[half], half_concentrations[half]),
            deletion_factors[labels[halved_rows]],
        )
        same_weight = segments.sizes.new_zeros(documents.num_documents, dtype=torch.float64).index_add_(
            0, documents.document_of_segment(segments), (segments.sizes - 1).double()
        )
        segment_size = torch.zeros(total, dtype=torch.uint8)
        segment_size[segments.rows.long()] = segments.sizes.byte().repeat_interleave(segments.sizes.long())
        weights = occurrences[halved].double() - 1
        inverse_sizes = 1 / part_occurrences[: 2 * num_halved].double().view(-1, 2)
        return cls(
            num_rows=total,
            num_halved=num_halved,
            segment_size=segment_size,
            chunks=chunks,
            occurrences=torch.cat([occurrences[halved], occurrences[single]]).double(),
            bins=bins,
            document_cross_weight=torch.bincount(document[halved_rows], minlength=documents.num_documents).double(),
            document_same_weight=same_weight,
            cross_weight=float(weights.sum()) / total,
            same_weight=float(same_weight.sum()) / total,
            collision_probability=float((occurrences.double() / total).square().sum()),
            null_variance_factors=null_variance_factors(weights, inverse_sizes, half_concentrations.view(-1, 2)),
        )


def _chunks(
    segments: Segments, documents: DocumentDesign, num_halved: int, deletion_factors: Tensor
) -> tuple[LabelChunk, ...]:
    """Split the parts of a label set into chunks that begin with a whole label."""
    num_single = segments.num_groups - 2 * num_halved
    rows_at_once = min(max(CHUNK_ROWS, 4 * documents.num_documents), 4 * CHUNK_ROWS)
    firsts = torch.cat([2 * torch.arange(num_halved), 2 * num_halved + torch.arange(num_single)])
    return tuple(
        LabelChunk.from_segments(
            chunk, documents, min(end, num_halved) - min(begin, num_halved), deletion_factors[begin:end]
        )
        for chunk, begin, end in segments.split(firsts, rows_at_once)
    )


def null_variance_factors(weights: Tensor, inverse_sizes: Tensor, concentrations: Tensor) -> tuple[float, float, float]:
    """Work out how Σ_x w_x P_x1 P_x2 / Σ_x w_x would vary if labels told nothing.

    By Kish's design effect the mean of a half varies by σ² ((1 - ρ) / n + ρ q), where ρ is the intraclass correlation
    of rows in a document. The product of the means of two halves varies by the product of two such terms, in units of
    the variance of a product of two rows.

    Args:
        weights: (R,) w.
        inverse_sizes: (R, 2) 1 / n of the halves.
        concentrations: (R, 2) q of the halves.

    Returns:
        The factors of (1 - ρ)², of ρ (1 - ρ) and of ρ² in that variance.
    """
    share = (weights / weights.sum()).square()
    crossed = inverse_sizes * concentrations.flip(1)
    terms = inverse_sizes.prod(1), crossed.sum(1), concentrations.prod(1)
    first, second, third = (float(share @ term) for term in terms)
    return first, second, third


def to_device(design: _Design, device: torch.device) -> _Design:
    """Move every tensor of a design, of a tuple of designs, or a tensor itself, to a device."""
    if isinstance(design, Tensor):
        return design.to(device)  # type: ignore[return-value]
    if isinstance(design, tuple):
        return tuple(to_device(part, device) for part in design)  # type: ignore[return-value]
    if is_dataclass(design):
        changed = {field.name: to_device(getattr(design, field.name), device) for field in fields(design)}
        return replace(design, **changed)  # type: ignore[type-var]
    return design


def _pattern(starts: Tensor, num_columns: int) -> Tensor:
    """Make a sparse (lines, num_columns) matrix with consecutive columns in the line where they start."""
    ends = torch.cat([starts, starts.new_tensor([num_columns])])
    places = torch.arange(num_columns, dtype=torch.int32)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse")  # torch says that they are in beta, and are not checked
        shape = (len(starts), num_columns)
        return torch.sparse_csr_tensor(ends, places, places.float(), shape, check_invariants=False)
