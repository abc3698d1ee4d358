"""Statistics by label, in total and by document."""

from dataclasses import fields

import pytest
import torch

from ibtrack.information import label_design
from ibtrack.information.label_design import LabelDesign
from ibtrack.information.label_statistics import LabelStatistics, label_entropies, label_statistics
from tests.information.samples import repeated_text, sample, side_by_side


def assert_same_statistics(one: LabelStatistics, other: LabelStatistics) -> None:
    for field in fields(LabelStatistics):
        torch.testing.assert_close(getattr(one, field.name), getattr(other, field.name), rtol=2e-5, atol=2e-5)


def test_labels_add_up_whatever_chunks_they_come_in(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, labels, documents = repeated_text()
    whole = sample(rows, labels, documents)
    monkeypatch.setattr(label_design, "CHUNK_ROWS", 100)
    in_chunks = sample(rows, labels, documents)
    assert len(in_chunks.design.chunks) > 5
    num_rows = sum(len(chunk.segments.rows) for chunk in in_chunks.design.chunks)
    assert num_rows == int((in_chunks.design.segment_size > 0).sum())
    assert_same_statistics(in_chunks.statistics, whole.statistics)


def test_sites_side_by_side_have_the_statistics_of_each() -> None:
    rows, labels, documents = repeated_text()
    together, apart = side_by_side(rows, documents)
    design = LabelDesign.from_labels(labels, together[0].documents)
    assert_same_statistics(label_statistics(together, [design])[0], label_statistics(apart, [design])[0])


def test_the_plug_in_takes_the_same_entropies_of_labels() -> None:
    site, design, statistics, _ = sample(*repeated_text())
    ((entropies, single),) = label_entropies([site], [design])
    torch.testing.assert_close(entropies, statistics.label_entropies, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(single, statistics.single_entropy, rtol=1e-5, atol=1e-5)


def test_what_documents_add_sums_up_to_the_total() -> None:
    site, _, statistics, _ = sample(*repeated_text())
    torch.testing.assert_close(statistics.document_conditional.sum(1), statistics.conditional, rtol=1e-5, atol=1e-4)
    assert statistics.document_conditional.shape == (1, site.documents.num_documents)


def test_labels_that_occur_once_have_statistics_too() -> None:
    rows, _, documents = repeated_text()
    site, _, statistics, _ = sample(rows, torch.arange(len(rows)), documents)
    assert statistics.label_entropies.shape == (1, 0)
    torch.testing.assert_close(statistics.single_entropy, site.row_entropy * len(rows), rtol=1e-5, atol=1e-4)
