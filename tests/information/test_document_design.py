"""Which document each row belongs to."""

import torch

from ibtrack.information.document_design import DocumentDesign


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


def test_rows_of_one_document_stand_for_documents() -> None:
    one, several = (DocumentDesign.from_index(torch.arange(6) // size) for size in (6, 2))
    assert one.units.index.tolist() == list(range(6))
    assert one.units.num_documents == 6
    assert several.units is several
    single = DocumentDesign.from_index(torch.zeros(1).long())
    assert single.units is single
