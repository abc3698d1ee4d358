"""The nested design of a label set: which rows share a label, and which of these share a document.

It is worked out once per probe and used at every measurement. Rows of one label and one document are a cell: they are
alike for reasons of their own, as a text repeats itself. What two cells of one label have in common is due to the
label. The cells of a label are also dealt to two halves in turn; how much entropy the halves lack calibrates the
debiased reading.

Letters: N rows, M labels, G documents, n_x rows of label x, n_c rows of cell c, h one of two halves, n_xh rows of it.
Of the M labels, R occur in two documents or more and have halves; R' occur several times in a single document; the
others occur once.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from ibtrack.information.document_design import DocumentDesign
from ibtrack.information.grouping import Pairs, grouped, occurrence_ranks, pairs_of
from ibtrack.information.sample_sizes import SampleSizes, square_sums
from ibtrack.information.segments import Segments, sum_between

CHUNK_ROWS = 1 << 14  # rows of labels that are read together, so that the table of their means stays in a core's cache;
#                       up to four times as many where documents are many, as each chunk also has sums by document
ROWS_OF_THREADS = 1 << 15  # label sets of fewer rows are described in less time than threads take to start
# What the two documents of a label that is met in no third count as in the influence of its halves. How far the halves
# are apart depends on both together: the derivative puts down half of it to each, and the squares of two halves add up
# to half of the square of the whole. In n documents a quadratic form has 2 - 3 / n of its variance in that sum, which
# is too little for n = 2 alone (leaving documents out counts pairs twice: Efron and Stein, Annals of Statistics 9,
# 1981).
HALVES_OF_TWO = 2**0.5


@dataclass(frozen=True)
class LabelChunk:
    """Some labels that occur more than once, with their rows in cells, and their cells in 2 r + s parts.

    Part 2 x + h is half h of one of r labels that have halves; s further parts are labels in a single document.

    Attributes:
        cells: The rows by cell; cells of one part follow each other.
        parts: The cells by part.
        num_halved: Number r of labels that have halves.
        occurrences: (r + s,) n_x, float32.
        part_occurrences: (2 r + s,) rows in each part, float32.
        label_of_cell: (cells,) label of each cell, int32.
        part_of_cell: (cells of halves,) part of each cell whose label has halves, int32.
        cell_sizes: (cells,) n_c, float32.
        cell_weights: (cells,) what each cell counts as in the influence of halves, see `half_weights`, float32.
        part_pattern: (2 r, cells of halves) sparse, an entry for each cell in the line of its half.
        label_pattern: (r + s, cells) sparse, an entry for each cell in the line of its label.
        document_order: (cells,) cells, document after document, int32.
        document_starts: (G,) where in ``document_order`` each document begins, int32.
    """

    cells: Segments
    parts: Segments
    num_halved: int
    occurrences: Tensor
    part_occurrences: Tensor
    label_of_cell: Tensor
    part_of_cell: Tensor
    cell_sizes: Tensor
    cell_weights: Tensor
    part_pattern: Tensor
    label_pattern: Tensor
    document_order: Tensor
    document_starts: Tensor

    @classmethod
    def from_cells(
        cls, cells: Segments, parts: Tensor, num_halved: int, document: Tensor, num_documents: int
    ) -> LabelChunk:
        """Describe the cells of a chunk.

        Args:
            cells: The rows by cell.
            parts: (cells,) part of each cell, ascending from 0.
            num_halved: Number r of labels that have halves.
            document: (cells,) document of each cell.
            num_documents: Number G of documents.
        """
        two = 2 * num_halved
        label = torch.where(parts < two, parts // 2, parts - num_halved)
        num_parts, num_labels = int(parts[-1]) + 1, int(label[-1]) + 1
        sizes = cells.sizes.new_zeros(cells.num_groups).index_add_(0, cells.group.long(), cells.sizes)
        per_document = torch.bincount(document, minlength=num_documents)
        in_halves = int((parts < two).sum())
        return cls(
            cells=cells,
            parts=Segments.from_groups(parts, num_parts),
            num_halved=num_halved,
            occurrences=sizes.new_zeros(num_labels).index_add_(0, label, sizes),
            part_occurrences=sizes.new_zeros(num_parts).index_add_(0, parts, sizes),
            label_of_cell=label.int(),
            part_of_cell=parts[:in_halves].int(),
            cell_sizes=sizes,
            cell_weights=half_weights(torch.bincount(label)).index_select(0, label),
            part_pattern=_pattern(parts[:in_halves], two),
            label_pattern=_pattern(label, num_labels),
            document_order=grouped(document, num_documents).order.int(),
            document_starts=(per_document.cumsum(0) - per_document).int(),
        )

    def sum_by_document(self, values: Tensor) -> Tensor:
        """Add up (cells, ...) float32 by document: (G, ...), in single precision, which does for standard errors."""
        return sum_between(self.document_starts, self.document_order, values)


@dataclass(frozen=True)
class LabelDesign:
    """The nested design of one label set.

    Attributes:
        num_rows: Number N of rows.
        num_halved: Number R of labels that have halves.
        cell_size: (N,) rows in the cell of each row, 0 for rows whose label occurs once, float32.
        cells: The rows of labels that occur more than once by cell, those of labels with halves first.
        part_of_cell: (cells,) part of each of these cells, see `LabelChunk`.
        cell_documents: (cells,) document of each of these cells.
        chunks: The same labels, a few at a time.
        sizes: The sample sizes of all labels and halves.
        met_share: Share of the rows whose label is met in two documents, from which alone the readings learn.
        cross_weight: Σ_x n_x (1 - q_x) / N over the labels that have halves: weight of pairs of rows in two documents.
        document_cross_weight: (G,) what each document adds to N times that, float64.
        same_weight: Σ_c (n_c - 1) / N: weight of pairs of rows in one cell.
        document_same_weight: (G,) what each document adds to N times that, float64.
        collision_probability: Chance that two rows of two documents share their label.
        null_variance_factors: See `null_variance_factors`.
    """

    num_rows: int
    num_halved: int
    cell_size: Tensor
    cells: Segments
    part_of_cell: Tensor
    cell_documents: Tensor
    chunks: tuple[LabelChunk, ...]
    sizes: SampleSizes
    met_share: float
    cross_weight: float
    document_cross_weight: Tensor
    same_weight: float
    document_same_weight: Tensor
    collision_probability: float
    null_variance_factors: tuple[float, float, float]

    @classmethod
    def from_labels(cls, labels: Tensor, documents: DocumentDesign) -> LabelDesign:
        """Describe a label set.

        Args:
            labels: (N,) dense labels in [0, M).
            documents: Documents of the rows; where there is a single one, each row counts as a document.
        """
        documents = documents.units
        total, number = len(labels), documents.num_documents
        occurrences = torch.bincount(labels)
        cell, cell_label, cell_document, cell_sizes = cells_of(labels, documents)
        num_documents = torch.bincount(cell_label)
        halved, single = num_documents > 1, (num_documents == 1) & (occurrences > 1)
        num_halved = int(halved.sum())

        # the documents of a label go to its first half and its second half in turn, in their own order
        part_of_label = torch.where(halved, 2 * (halved.cumsum(0) - 1), 2 * num_halved + single.cumsum(0) - 1)
        in_halves = halved.index_select(0, cell_label)
        part_of_cell = part_of_label.index_select(0, cell_label)
        part_of_cell += occurrence_ranks(cell_label, len(occurrences)) % 2 * in_halves
        repeated = (halved | single).index_select(0, cell_label).nonzero().flatten()
        num_parts = 2 * num_halved + int(single.sum())
        repeated = repeated.index_select(0, grouped(part_of_cell.index_select(0, repeated), num_parts).order)
        part_of_repeated = part_of_cell.index_select(0, repeated)
        document_of_repeated = cell_document.index_select(0, repeated)
        place = torch.zeros_like(cell_sizes).index_copy_(0, repeated, torch.arange(len(repeated)))
        is_repeated = (occurrences > 1).index_select(0, labels)
        rows = is_repeated.nonzero().flatten()
        cells = Segments.from_groups(place.index_select(0, cell.index_select(0, rows)), len(repeated), rows)
        rows_at_once = min(max(CHUNK_ROWS, 4 * number), 4 * CHUNK_ROWS)
        chunks = chunks_of_cells(cells, part_of_repeated, num_halved, document_of_repeated, number, rows_at_once)

        label_squares = square_sums(cell_label, cell_sizes, len(occurrences))
        half_of_cell, half_sizes = part_of_cell[in_halves], cell_sizes[in_halves]
        half_occurrences = cell_sizes.new_zeros(2 * num_halved).index_add_(0, half_of_cell, half_sizes)
        half_squares = square_sums(half_of_cell, half_sizes, 2 * num_halved)
        halved_rows = halved.index_select(0, labels).nonzero().flatten()
        half = part_of_cell.index_select(0, cell.index_select(0, halved_rows))

        n, squares = occurrences.double(), label_squares.double()
        pairs = n.square() - squares  # of rows of one label in two documents
        # a document's n_c rows of a label are in 2 n_c (n_x - n_c) ordered pairs, which weigh 1 / n_x each
        n_of_cell = n.index_select(0, cell_label)
        added = 2 * cell_sizes * (n_of_cell - cell_sizes) / n_of_cell * in_halves
        by_document = torch.zeros(number, dtype=torch.float64)
        all_pairs = total**2 - float(documents.sizes.square().sum())
        sizes = SampleSizes.from_labels(
            documents,
            (labels, occurrences, label_squares),
            halved_rows,
            (half, half_occurrences, half_squares),
            half_weights(num_documents).index_select(0, labels.index_select(0, halved_rows)),
        )
        return cls(
            num_rows=total,
            num_halved=num_halved,
            cell_size=cell_sizes.float().index_select(0, cell) * is_repeated,
            cells=cells,
            part_of_cell=part_of_repeated,
            cell_documents=document_of_repeated,
            chunks=chunks,
            sizes=sizes,
            met_share=float(sizes.halved_row_shares.sum()),
            cross_weight=float((pairs / n).sum()) / total,
            document_cross_weight=by_document.index_add(0, cell_document, added),
            same_weight=float((cell_sizes - 1).sum()) / total,
            document_same_weight=by_document.index_add(0, cell_document, (cell_sizes - 1).double()),
            collision_probability=float(pairs.sum()) / all_pairs if all_pairs else 1.0,
            null_variance_factors=null_variance_factors(1 / n, cell_label, cell_sizes.double()),
        )


def designs_of(label_sets: Mapping[str, Tensor], documents: DocumentDesign) -> dict[str, LabelDesign]:
    """Describe several label sets, and large ones side by side.

    Args:
        label_sets: Name to (N,) dense labels.
        documents: Documents of the rows.
    """
    describe = partial(LabelDesign.from_labels, documents=documents)
    if len(documents.index) < ROWS_OF_THREADS:
        return {name: describe(labels) for name, labels in label_sets.items()}
    with ThreadPoolExecutor(len(label_sets)) as threads:
        return dict(zip(label_sets, threads.map(describe, label_sets.values()), strict=True))


def cells_of(labels: Tensor, documents: DocumentDesign) -> Pairs:
    """Number the cells of rows: pairs of a label and a document, label after label.

    Args:
        labels: (N,) dense labels in [0, M).
        documents: Documents of the rows.
    """
    number = documents.num_documents
    return pairs_of(labels, documents.index, num_first=int(labels.max()) + 1, num_second=number)


def chunks_of_cells(
    cells: Segments, parts: Tensor, num_halved: int, documents: Tensor, num_documents: int, rows_at_once: int
) -> tuple[LabelChunk, ...]:
    """Split the cells of a label set into chunks that begin with a whole label."""
    labels = torch.where(parts < 2 * num_halved, parts // 2, parts - num_halved)
    firsts = labels.diff(prepend=labels.new_tensor([-1])).nonzero().flatten()  # the first cell of each label
    ends = [*firsts.tolist(), len(parts)]
    chunks = []
    for chunk, begin, end in cells.split(firsts, rows_at_once):
        span = slice(ends[begin], ends[end])
        own = parts[span] - parts[ends[begin]]
        halved = min(end, num_halved) - min(begin, num_halved)
        chunks.append(LabelChunk.from_cells(chunk, own, halved, documents[span], num_documents))
    return tuple(chunks)


def half_weights(num_documents: Tensor) -> Tensor:
    """Say what a label's documents count as in the influence of halves, from its number of documents.

    Example:
        >>> half_weights(torch.tensor([2, 3, 40])).tolist()
        [1.4142135381698608, 1.0, 1.0]
    """
    return torch.ones_like(num_documents, dtype=torch.float32).masked_fill_(num_documents == 2, HALVES_OF_TWO)


def null_variance_factors(weights: Tensor, cell_label: Tensor, cell_sizes: Tensor) -> tuple[float, float, float]:
    """Work out how the weighted mean of products of pairs would vary if labels told nothing.

    The mean is Σ_x w_x Σ_{c≠c'} S_c S_c' / Σ_x w_x (n_x² - Σ_c n_c²), over pairs of cells of label x, with sums S_c. A
    cell's sum varies by σ² (n_c (1 - ρ) + n_c² ρ), where ρ is the intraclass correlation of its rows, and the product
    of two sums by the product of two such terms, in units of the variance of a product of two rows.

    Args:
        weights: (M,) w.
        cell_label: (cells,) label of each cell, in [0, M).
        cell_sizes: (cells,) n_c, float64.

    Returns:
        The factors of (1 - ρ)², of ρ (1 - ρ) and of ρ² in that variance; ``nan`` where there is no pair.
    """

    def by_label(power: int) -> Tensor:
        return torch.zeros_like(weights).index_add_(0, cell_label, powers[power])

    squared = cell_sizes.square()
    powers = {1: cell_sizes, 2: squared, 3: squared * cell_sizes, 4: squared.square()}
    n, squares, cubes, fourths = map(by_label, powers)
    pairs = float(weights @ (n.square() - squares))
    terms = n.square() - squares, 2 * (n * squares - cubes), squares.square() - fourths
    scale = 2 / pairs**2 if pairs else float("nan")  # each pair of cells is in the sum twice
    first, second, third = (scale * float(weights.square() @ term) for term in terms)
    return first, second, third


def _pattern(lines: Tensor, num_lines: int) -> Tensor:
    """Make a sparse matrix with one entry in each column, in the line that ``lines`` gives, ascending."""
    per_line = torch.bincount(lines, minlength=num_lines)
    ends = torch.cat([per_line.new_zeros(1), per_line.cumsum(0)]).int()
    places = torch.arange(len(lines), dtype=torch.int32)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse")  # torch says that they are in beta, and are not checked
        shape = (num_lines, len(lines))
        return torch.sparse_csr_tensor(ends, places, places.float(), shape, check_invariants=False)
