"""Which document each row belongs to."""

import torch

from ibtrack.information.document_design import DocumentDesign
from ibtrack.information.segments import Segments


def test_influences_on_a_mean_are_the_deviations_of_the_documents() -> None:
    documents = DocumentDesign.from_index(torch.tensor([0, 0, 1, 2, 2, 2]))
    values = torch.tensor([1.0, 3.0, 2.0, 0.0, 6.0, 6.0]).double()
    totals = torch.tensor([4.0, 2.0, 12.0]).double()
    expected = (totals - documents.sizes * values.mean()) / 6
    torch.testing.assert_close(documents.influence(totals), expected)
    assert abs(float(documents.influence(totals).sum())) < 1e-12


def test_documents_are_partitioned_once() -> None:
    index = torch.arange(5000) % 7
    documents = DocumentDesign.from_index(index)
    assert documents.num_documents == 7
    assert documents.sizes.tolist() == torch.bincount(index).tolist()
    assert sum(len(chunk.rows) for chunk in documents.chunks) == 5000


def test_a_segment_knows_its_document() -> None:
    index = torch.tensor([0, 1, 0, 1])
    documents = DocumentDesign.from_index(index)
    segments = Segments.from_groups(torch.tensor([0, 0, 1, 1]), 2, cells=torch.tensor([0, 1, 2, 3]))
    assert documents.document_of_segment(segments).tolist() == [0, 1, 0, 1]
