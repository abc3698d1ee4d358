"""Which document each row belongs to."""

import torch

from ibtrack.information.document_design import DocumentDesign
from ibtrack.information.segments import Segments


def test_influences_are_what_a_little_more_weight_of_a_document_does_to_the_mean() -> None:
    index = torch.tensor([0, 0, 1, 2, 2, 2])
    documents = DocumentDesign.from_index(index)
    values = torch.tensor([1.0, 3.0, 2.0, 0.0, 6.0, 6.0]).double()
    totals = torch.tensor([4.0, 2.0, 12.0]).double()
    step = 1e-6
    changes = []
    for d in range(3):
        weights = 1 + step * (index == d).double()
        changes.append(((weights * values).sum() / weights.sum() - values.mean()) / step)
    # the second-order part is of the size of the step
    torch.testing.assert_close(documents.influence(totals), torch.stack(changes), rtol=0, atol=1e-5)
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
