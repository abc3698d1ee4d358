"""Which rows share a label, and which of these a document."""

import pytest
import torch

from ibtrack.information.document_design import DocumentDesign
from ibtrack.information.label_design import LabelDesign, null_variance_factors, to_device
from tests.information.samples import repeated_text


def _halves(design: LabelDesign, documents: DocumentDesign) -> list[tuple[set[int], set[int]]]:
    """Documents in the two halves of each label that has them."""
    halves = []
    for chunk in design.chunks:
        document = documents.document_of_segment(chunk.segments)
        parts = [set(document[chunk.segments.group == part].tolist()) for part in range(2 * chunk.num_halved)]
        halves += list(zip(parts[::2], parts[1::2], strict=True))
    return halves


def test_halves_of_a_label_share_no_document() -> None:
    _, labels, index = repeated_text()
    documents = DocumentDesign.from_index(index)
    design = LabelDesign.from_labels(labels, documents)
    halves = _halves(design, documents)
    assert len(halves) == design.num_halved > 50
    for first, second in halves:
        assert first
        assert second
        assert not first & second


def test_every_row_is_in_a_half_in_a_single_document_or_alone() -> None:
    labels = torch.tensor([0, 0, 1, 1, 2, 3, 3, 3])
    documents = DocumentDesign.from_index(torch.tensor([0, 1, 0, 0, 1, 0, 1, 1]))
    design = LabelDesign.from_labels(labels, documents)
    assert (design.num_halved, design.occurrences.tolist()) == (2, [2, 3, 2])  # labels 0 and 3, then 1
    assert design.segment_size.tolist() == [1, 1, 2, 2, 0, 1, 2, 2]
    assert design.cross_weight == pytest.approx((1 + 2) / 8)
    assert design.same_weight == pytest.approx((1 + 1) / 8)
    assert design.collision_probability == pytest.approx((4 + 4 + 1 + 9) / 64)


def test_rows_of_one_document_are_dealt_one_by_one() -> None:
    design = LabelDesign.from_labels(torch.tensor([0, 0, 0, 1]), DocumentDesign.from_index(torch.zeros(4).long()))
    assert design.num_halved == 1
    assert design.chunks[0].part_occurrences.tolist() == [2, 1]


def test_null_variance_is_the_product_of_two_design_effects() -> None:
    weights = torch.tensor([3.0]).double()
    inverse, concentrations = torch.tensor([[0.5, 0.25]]).double(), torch.tensor([[0.6, 0.3]]).double()
    first, second, third = null_variance_factors(weights, inverse, concentrations)
    rho = 0.3
    expected = ((1 - rho) * 0.5 + rho * 0.6) * ((1 - rho) * 0.25 + rho * 0.3)
    assert first * (1 - rho) ** 2 + second * rho * (1 - rho) + third * rho**2 == pytest.approx(expected)


def test_a_design_moves_with_all_its_tensors() -> None:
    _, labels, index = repeated_text()
    documents = DocumentDesign.from_index(index)
    design = to_device(LabelDesign.from_labels(labels, documents), torch.device("meta"))
    assert design.occurrences.is_meta
    assert design.chunks[0].segments.rows.is_meta
    assert design.bins.row_shares.is_meta
