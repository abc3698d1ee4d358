"""Which rows share a label, and which of these a document."""

import pytest
import torch
from torch import Tensor

from ibtrack.information.devices import to_device
from ibtrack.information.document_design import DocumentDesign
from ibtrack.information.label_design import LabelDesign, null_variance_factors
from ibtrack.information.segments import Segments
from tests.information.samples import repeated_text

# labels 0 and 3 are met in two documents, label 1 twice in one document, label 2 once
LABELS, DOCUMENTS = torch.tensor([0, 0, 1, 1, 2, 3, 3, 3]), torch.tensor([0, 1, 0, 0, 1, 0, 1, 1])


def _members(segments: Segments) -> list[Tensor]:
    group = segments.group.repeat_interleave(segments.sizes.long())
    return [segments.rows[group == g].long() for g in range(segments.num_groups)]


def _halves(design: LabelDesign) -> list[tuple[Tensor, Tensor]]:
    """Rows in the two halves of each label that has them."""
    halves = []
    for chunk in design.chunks:
        cells = _members(chunk.cells)
        parts = [torch.cat([cells[c] for c in part]) for part in _members(chunk.parts)[: 2 * chunk.num_halved]]
        halves += list(zip(parts[::2], parts[1::2], strict=True))
    return halves


def test_halves_are_all_rows_of_one_label_and_share_no_document() -> None:
    _, labels, index = repeated_text()
    design = LabelDesign.from_labels(labels, DocumentDesign.from_index(index))
    halves = _halves(design)
    assert len(halves) == design.num_halved > 50
    for first, second in halves:
        assert first.numel()
        assert second.numel()
        assert not set(index[first].tolist()) & set(index[second].tolist())
        rows = torch.cat([first, second]).sort().values
        assert rows.tolist() == (labels == labels[first[0]]).nonzero().flatten().tolist()


def test_documents_of_a_label_go_to_its_halves_in_turn() -> None:
    documents = torch.tensor([4, 4, 0, 1, 2, 2, 3])
    design = LabelDesign.from_labels(torch.zeros(7).long(), DocumentDesign.from_index(documents))
    ((first, second),) = _halves(design)
    assert set(documents[first].tolist()) == {0, 2, 4}
    assert set(documents[second].tolist()) == {1, 3}


def test_every_row_is_in_a_half_in_a_single_document_or_alone() -> None:
    design = LabelDesign.from_labels(LABELS, DocumentDesign.from_index(DOCUMENTS))
    assert (design.num_rows, design.num_halved) == (8, 2)
    assert design.cell_size.tolist() == [1, 1, 2, 2, 0, 1, 2, 2]
    assert design.met_share == pytest.approx(5 / 8)
    (chunk,) = design.chunks
    assert chunk.num_halved == 2
    assert chunk.occurrences.tolist() == [2, 3, 2]  # labels 0 and 3, then 1
    assert chunk.part_occurrences.tolist() == [1, 1, 1, 2, 2]
    assert chunk.cell_sizes.tolist() == [1, 1, 1, 2, 2]
    assert chunk.label_of_cell.tolist() == [0, 0, 1, 1, 2]


def test_pairs_of_rows_weigh_one_over_the_rows_of_their_label_or_cell() -> None:
    design = LabelDesign.from_labels(LABELS, DocumentDesign.from_index(DOCUMENTS))
    # ordered pairs of label 0 in two documents: 2, over its 2 rows; of label 3: 4, over its 3 rows
    assert design.cross_weight == pytest.approx((2 / 2 + 4 / 3) / 8)
    assert design.document_cross_weight.tolist() == pytest.approx([2 / 2 + 4 / 3, 2 / 2 + 4 / 3])
    # ordered pairs in one cell: 2 of label 1 in document 0, and 2 of label 3 in document 1, each over 2 rows
    assert design.same_weight == pytest.approx((1 + 1) / 8)
    assert design.document_same_weight.tolist() == [1, 1]


def test_collisions_are_counted_among_rows_of_two_documents() -> None:
    design = LabelDesign.from_labels(LABELS, DocumentDesign.from_index(DOCUMENTS))
    assert design.collision_probability == pytest.approx((2 + 4) / (64 - 16 - 16))
    _, labels, index = repeated_text()
    other = index[:, None] != index
    expected = (labels[:, None] == labels)[other].double().mean()
    design = LabelDesign.from_labels(labels, DocumentDesign.from_index(index))
    assert design.collision_probability == pytest.approx(float(expected))
    one = LabelDesign.from_labels(torch.zeros(300).long(), DocumentDesign.from_index(torch.arange(300) // 3))
    assert one.collision_probability == 1


def test_rows_of_one_document_count_as_documents() -> None:
    labels = torch.tensor([0, 0, 0, 1])
    design = LabelDesign.from_labels(labels, DocumentDesign.from_index(torch.zeros(4).long()))
    assert design.num_halved == 1
    assert design.chunks[0].part_occurrences.tolist() == [2, 1]
    assert design.cell_size.tolist() == [1, 1, 1, 0]
    assert design.collision_probability == pytest.approx(6 / 12)


def test_one_row_has_a_design() -> None:
    design = LabelDesign.from_labels(torch.zeros(1).long(), DocumentDesign.from_index(torch.zeros(1).long()))
    assert (design.num_halved, design.chunks, design.cross_weight, design.collision_probability) == (0, (), 0, 1)


def test_null_variance_is_that_of_a_loop_over_pairs_of_cells() -> None:
    """If labels tell nothing, a cell's sum varies by n_c (1 - ρ) + n_c² ρ, independently of all others."""
    label, sizes = torch.tensor([0, 0, 0, 1, 1, 2]), torch.tensor([3.0, 1.0, 2.0, 1.0, 4.0, 5.0]).double()
    weights, rho = torch.tensor([0.5, 2.0, 7.0]).double(), 0.3
    variance = pairs = 0.0
    for c in range(6):
        for other in range(6):
            if c != other and label[c] == label[other]:
                one, two = (float(n * (1 - rho) + n * n * rho) for n in (sizes[c], sizes[other]))
                variance += 2 * float(weights[label[c]]) ** 2 * one * two  # each pair is met twice, and both are equal
                pairs += float(weights[label[c]] * sizes[c] * sizes[other])
    first, second, third = null_variance_factors(weights, label, sizes)
    varies = first * (1 - rho) ** 2 + second * rho * (1 - rho) + third * rho**2
    assert varies == pytest.approx(variance / pairs**2)


def test_without_a_pair_of_cells_there_is_no_null_variance() -> None:
    factors = null_variance_factors(torch.ones(3).double(), torch.arange(3), torch.ones(3).double())
    assert torch.tensor(factors).isnan().all()


def test_a_design_moves_with_all_its_tensors() -> None:
    _, labels, index = repeated_text()
    documents = DocumentDesign.from_index(index)
    design = to_device(LabelDesign.from_labels(labels, documents), torch.device("meta"))
    assert design.cell_size.is_meta
    assert design.chunks[0].cells.rows.is_meta
    assert design.chunks[0].part_pattern.is_meta
    assert design.sizes.row_shares.is_meta
    assert to_device(documents, torch.device("meta")).segments.rows.is_meta
