"""Statistics by label, in total and by document."""

from dataclasses import fields

import pytest
import torch
from torch import Tensor

from ibtrack.information import label_design
from ibtrack.information.entropy import entropy
from ibtrack.information.label_design import LabelDesign
from ibtrack.information.label_statistics import (
    LabelStatistics,
    conditional_entropies,
    equally_weighted_entropies,
    label_statistics,
)
from tests.information.samples import Sample, repeated_text, sample, side_by_side


def assert_same_statistics(one: LabelStatistics, other: LabelStatistics) -> None:
    for field in fields(LabelStatistics):
        torch.testing.assert_close(getattr(one, field.name), getattr(other, field.name), rtol=2e-5, atol=2e-5)


@pytest.fixture(scope="module")
def text() -> Sample:
    return sample(*repeated_text())


def _loop(rows: Tensor, labels: Tensor, documents: Tensor) -> LabelStatistics:
    """From the formulas, label by label and cell by cell, in float64."""
    rows = rows.double()
    weight = rows.mean(0).rsqrt()
    number = int(documents.max()) + 1
    by_document = {name: torch.zeros(number).double() for name in ("conditional", "halving", "cross", "same")}
    conditional = halving_gap = torch.zeros(()).double()
    for x in labels.unique():
        mine = labels == x
        n, mean = int(mine.sum()), rows[mine].mean(0)
        conditional = conditional + n * entropy(mean)
        distinct = documents[mine].unique()
        halves = [mine & torch.isin(documents, distinct[h::2]) for h in (0, 1)]
        means = [rows[half].mean(0) for half in halves]
        if len(distinct) > 1:
            lacks = sum(half.sum() * entropy(m) for half, m in zip(halves, means, strict=True))
            halving_gap = halving_gap + n * entropy(mean) - lacks
        for place, d in enumerate(distinct.tolist()):
            cell = rows[mine & (documents == d)]
            total = cell.sum(0)
            by_document["conditional"][d] -= total @ mean.log()
            if len(distinct) > 1:
                weight_of_halves = 2**0.5 if len(distinct) == 2 else 1.0
                by_document["halving"][d] += weight_of_halves * (total @ (means[place % 2] / mean).log())
                rest = rows[mine & (documents != d)].sum(0)
                by_document["cross"][d] += 2 / n * float((weight * total) @ rest)
            products = (cell * weight) @ cell.T
            by_document["same"][d] += (products.sum() - products.trace()) / len(cell)
    return LabelStatistics(
        conditional.unsqueeze(0), halving_gap.unsqueeze(0), *(part.unsqueeze(0) for part in by_document.values())
    )


@pytest.mark.parametrize("rows_at_once", [64, 1 << 20])
def test_frequent_labels_count_alike_in_any_number_of_chunks(
    monkeypatch: pytest.MonkeyPatch, rows_at_once: int
) -> None:
    monkeypatch.setattr(label_design, "CHUNK_ROWS", rows_at_once // 4)
    rows, labels, documents = repeated_text()
    together, apart = side_by_side(rows, documents)
    design = LabelDesign.from_labels(labels, together[0].documents)
    assert (len(design.chunks) > 1) == (rows_at_once == 64)
    expected = [
        torch.stack([entropy(site.rows[labels == x, 0].double().mean(0)) for x in labels.unique() if often[x]]).mean()
        for often in [torch.bincount(labels) >= 9]
        for site in apart
    ]
    for sites in (together, apart):
        (found,) = equally_weighted_entropies(sites, [design], 9)
        torch.testing.assert_close(found, torch.stack(expected), rtol=0, atol=1e-6)
    assert equally_weighted_entropies(apart, [design], 10**6)[0].isnan().all()


def test_statistics_are_those_of_a_loop(text: Sample) -> None:
    assert_same_statistics(text.statistics, _loop(*repeated_text()))


def test_statistics_of_rows_that_are_documents_are_those_of_a_loop() -> None:
    rows, labels, _ = repeated_text()
    assert_same_statistics(sample(rows, labels).statistics, _loop(rows, labels, torch.arange(len(rows))))


def test_labels_add_up_whatever_chunks_they_come_in(monkeypatch: pytest.MonkeyPatch, text: Sample) -> None:
    monkeypatch.setattr(label_design, "CHUNK_ROWS", 100)
    in_chunks = sample(*repeated_text())
    chunks = in_chunks.design.chunks
    assert len(chunks) > 5
    assert sum(len(chunk.cells.rows) for chunk in chunks) == int((in_chunks.design.cell_size > 0).sum())
    assert sum(chunk.num_halved for chunk in chunks) == in_chunks.design.num_halved
    assert sum(len(chunk.occurrences) for chunk in chunks) == len(text.design.chunks[0].occurrences)  # none is cut
    assert_same_statistics(in_chunks.statistics, text.statistics)


def test_sites_side_by_side_have_the_statistics_of_each() -> None:
    rows, labels, documents = repeated_text()
    together, apart = side_by_side(rows, documents)
    design = LabelDesign.from_labels(labels, together[0].documents)
    assert_same_statistics(label_statistics(together, [design])[0], label_statistics(apart, [design])[0])


def test_the_plug_in_takes_the_same_entropies_of_labels(text: Sample) -> None:
    (entropies,) = conditional_entropies([text.site], [text.design])
    torch.testing.assert_close(entropies, text.statistics.conditional, rtol=1e-6, atol=1e-5)


def test_what_documents_add_sums_up_to_the_total(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(label_design, "HALVES_OF_TWO", 1.0)
    text = sample(*repeated_text())
    statistics, total = text.statistics, len(text.site.rows)
    for by_document, whole in (
        (statistics.document_conditional, statistics.conditional),
        (statistics.document_halving, statistics.halving_gap),
        (statistics.document_cross_products, 2 * total * text.design.cross_weight * text.moments.cross_products),
        (statistics.document_same_products, total * text.design.same_weight * text.moments.same_products),
    ):
        assert by_document.shape == (1, 40)
        assert float(by_document.sum()) == pytest.approx(float(whole), rel=1e-5)


def test_labels_that_occur_once_have_statistics_too() -> None:
    rows, _, documents = repeated_text()
    site, _, statistics, _, _ = sample(rows, torch.arange(len(rows)), documents)
    torch.testing.assert_close(statistics.conditional, site.row_entropy * len(rows), rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(statistics.document_conditional, site.document_entropy, rtol=1e-6, atol=1e-5)
    for name in ("halving_gap", "document_halving", "document_cross_products", "document_same_products"):
        assert getattr(statistics, name).eq(0).all()
