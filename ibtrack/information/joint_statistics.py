"""Statistics of the rows by label, of all label sets at once: what `label_statistics` works out, in few calls.

Sums by document are taken in double precision, and totals are sums of those, so no pass over the cells is for totals
alone. Numbers differ from those of `label_statistics` in the rounding of single precision.

Letters: N rows, K anchors, L sites, C label sets, G documents, c a cell.
"""

from __future__ import annotations

from functools import reduce

import torch
from torch import Tensor
from torch.linalg import vector_norm
from torch.nn.functional import pad

from ibtrack.information.entropy import entropy
from ibtrack.information.joint_design import JointDesign
from ibtrack.information.label_design import LabelChunk
from ibtrack.information.label_statistics import LabelStatistics, label_sums, log_means
from ibtrack.information.row_statistics import RowStatistics
from ibtrack.information.segments import sum_between

SUM = 0  # how torch numbers the mode of its weighted sums


def joint_statistics(site: RowStatistics, joint: JointDesign) -> list[LabelStatistics]:
    """Work out the statistics of every label set at the L sites of a table."""
    zeros = site.mean.new_zeros(5, len(joint.names), site.rows.shape[1], site.documents.num_documents)
    sums = [_statistics_of_chunk(site, joint, chunk) for chunk in joint.chunks]
    conditional, halving, weighted_halving, cross, same = reduce(torch.add, sums) if sums else zeros  # (C, L, G) each
    rows = torch.cat(
        [site.entropy.unsqueeze(1) * joint.single, site.weighted_squares.unsqueeze(1) * joint.inverse_cell_sizes], 1
    )
    single, squares = site.documents.segments.sum_rows(rows).double().permute(1, 2, 0).chunk(2)  # (C, L, G) each
    conditional = conditional + single
    parts = (conditional.sum(-1), halving.sum(-1), conditional, weighted_halving, cross, same - squares)
    return [LabelStatistics(*of_set) for of_set in zip(*(part.unbind() for part in parts), strict=True)]


def joint_conditional_entropies(site: RowStatistics, joint: JointDesign) -> Tensor:
    """Work out Σ_x n_x H(P_x) of each label set, (C, L), which is all that the plug-in reading needs."""
    rows = (site.entropy.unsqueeze(1) * joint.single).flatten(1)
    total = site.documents.segments.sum_rows(rows).double().sum(0).view(len(joint.names), -1)
    for chunk in joint.chunks:
        cells = chunk.cells.sum_rows(site.rows)
        labels = label_sums(chunk, chunk.parts.sum_rows(cells))
        by_cell = _products(chunk.label_of_cell, cells, log_means(labels, chunk.occurrences))
        total = total - _by_document(by_cell.unsqueeze(1), joint, chunk)[0].sum(-1)
    return total


def joint_equally_weighted_entropies(site: RowStatistics, joint: JointDesign, fewest: int) -> Tensor:
    """Work out the mean of H(P_x) over the labels x of each label set that occur ``fewest`` times or more, at least 2.

    Returns:
        (C, L) float64; ``nan`` where no label of a label set is that frequent.
    """
    sums = site.mean.new_zeros(2, len(joint.names), site.rows.shape[1], dtype=torch.float64)
    for chunk in joint.chunks:
        labels = label_sums(chunk, chunk.parts.sum_rows(chunk.cells.sum_rows(site.rows)))
        entropies = entropy(labels / chunk.occurrences.view(-1, 1, 1))  # (labels, L)
        # a label has no set of its own, but its cells have: each cell stands for its part of the label
        cells = torch.zeros_like(chunk.occurrences).index_add_(
            0, chunk.label_of_cell, torch.ones_like(chunk.occurrences).index_select(0, chunk.label_of_cell)
        )
        part = ((chunk.occurrences >= fewest) / cells).unsqueeze(1).expand_as(entropies)
        by_cell = torch.stack([entropies * part, part], 1).index_select(0, chunk.label_of_cell)  # (cells, 2, L)
        sums = sums + _by_document(by_cell, joint, chunk).sum(-1)
    return sums[0] / sums[1]


def _statistics_of_chunk(site: RowStatistics, joint: JointDesign, chunk: LabelChunk) -> Tensor:
    """Work out the (5, C, L, G) sums over the cells of each document, halving both without and with its weights."""
    two, in_halves = 2 * chunk.num_halved, len(chunk.part_of_cell)
    cells = chunk.cells.sum_rows(site.rows)  # (cells, L, K)
    parts = chunk.parts.sum_rows(cells)
    labels = label_sums(chunk, parts)
    conditional = -_products(chunk.label_of_cell, cells, log_means(labels, chunk.occurrences))  # (cells, L)
    log_half = log_means(parts[:two], chunk.part_occurrences[:two])
    halving = _products(chunk.part_of_cell, cells[:in_halves], log_half) + conditional[:in_halves]
    halving = pad(halving, (0, 0, 0, len(cells) - in_halves))
    squares = vector_norm(cells * site.weight.sqrt(), dim=-1).square()
    cross = _products(chunk.label_of_cell, cells, labels.mul_(site.weight)) - squares
    factor = 2 / chunk.occurrences.index_select(0, chunk.label_of_cell)
    factor[in_halves:] = 0
    sizes = chunk.cell_sizes.unsqueeze(1)
    weighted = halving * chunk.cell_weights.unsqueeze(1)
    sums = [conditional, halving, weighted, cross * factor.unsqueeze(1), squares * (sizes > 1) / sizes]
    return _by_document(torch.stack(sums, 1), joint, chunk)


def _by_document(by_cell: Tensor, joint: JointDesign, chunk: LabelChunk) -> Tensor:
    """Add up (cells, q, L) float32 by label set and document, in float64: (q, C, L, G)."""
    sums = sum_between(chunk.document_starts, chunk.document_order, by_cell.double())
    return sums.unflatten(0, (len(joint.names), -1)).permute(2, 0, 3, 1)


def _products(lines: Tensor, sums: Tensor, table: Tensor) -> Tensor:
    """Multiply (cells, L, K) sums with lines of a (m, L, K) table: (cells, L).

    It is the gradient of a weighted sum of lines by the weights, for which torch has one call that makes no copies.
    """
    number, num_sites, _ = sums.shape
    own = torch.arange(number * num_sites, dtype=torch.int32, device=sums.device)
    theirs = (lines.unsqueeze(1) * num_sites + own[:num_sites]).flatten()
    products: Tensor = torch.ops.aten._embedding_bag_per_sample_weights_backward(
        table.flatten(0, 1), sums.flatten(0, 1), own, own, theirs, SUM
    )
    return products.view(number, num_sites)
