"""All label sets in one design."""

import pytest
import torch

from ibtrack.information.document_design import DocumentDesign
from ibtrack.information.joint_design import JointDesign
from ibtrack.information.label_design import LabelChunk, LabelDesign
from tests.information.samples import repeated_text


def _designs() -> tuple[dict[str, LabelDesign], DocumentDesign]:
    """Label sets of which one has halves alone, one has labels of single documents too, and one occurs once each."""
    _, labels, documents = repeated_text()
    partition = DocumentDesign.from_index(documents)
    own = torch.unique(documents * 4 + labels % 4, return_inverse=True)[1]
    sets = {"many": labels, "few": labels % 3, "own": own, "once": torch.arange(len(labels))}
    return {name: LabelDesign.from_labels(ids, partition) for name, ids in sets.items()}, partition


@pytest.mark.parametrize("rows_at_once", [1, 700, 1 << 20])
def test_chunks_hold_the_cells_of_all_sets_once_each(rows_at_once: int) -> None:
    designs, partition = _designs()
    joint = JointDesign.from_designs(designs, rows_at_once)
    number = partition.num_documents
    found = torch.cat([chunk.cells.rows for chunk in joint.chunks]).sort().values
    expected = torch.cat([design.cells.rows for design in designs.values()]).sort().values
    assert torch.equal(found, expected)
    assert sum(chunk.num_halved for chunk in joint.chunks) == sum(design.num_halved for design in designs.values())
    for c, design in enumerate(designs.values()):
        for document in (0, number - 1):
            place = c * number + document
            sizes = torch.cat([chunk.cell_sizes[_cells(chunk, place)] for chunk in joint.chunks])
            wanted = [each.cell_sizes[_cells(each, document)] for each in design.chunks]
            assert sizes.sort().values.tolist() == torch.cat([torch.zeros(0), *wanted]).sort().values.tolist()


def _cells(chunk: LabelChunk, document: int) -> torch.Tensor:
    starts, order = chunk.document_starts, chunk.document_order.long()
    ends = [*starts.tolist(), len(order)]
    return order[ends[document] : ends[document + 1]]


def test_sums_of_pairs_by_document_are_those_of_each_design() -> None:
    designs, partition = _designs()
    joint = JointDesign.from_designs(designs, 1 << 20)
    most = joint.tables.row_shares.shape[-1]
    values = torch.randn(3, len(designs), 2, most, generator=torch.Generator().manual_seed(0)).double()
    sums = joint.sum_by_document(*values)
    assert sums.shape == (len(designs), 2, partition.num_documents)
    for c, design in enumerate(designs.values()):
        number = len(design.sizes.inverse_sizes)
        expected = design.sizes.sum_by_document(*(each[c, :, :number] for each in values))
        torch.testing.assert_close(sums[c], expected, rtol=1e-5, atol=1e-4)


def test_label_sets_whose_labels_all_occur_once_have_no_chunks() -> None:
    designs, _ = _designs()
    joint = JointDesign.from_designs({"once": designs["once"]}, 1 << 20)
    assert joint.chunks == ()
    assert joint.single.all()
    assert not joint.inverse_cell_sizes.any()
