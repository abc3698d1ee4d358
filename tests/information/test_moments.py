import math
from dataclasses import fields

import pytest
import torch

from ibtrack.information import debiased, label_design
from ibtrack.information.counts import count
from ibtrack.information.document_design import DocumentDesign
from ibtrack.information.label_design import LabelDesign
from ibtrack.information.label_statistics import LabelStatistics, label_entropies, label_statistics
from ibtrack.information.moments import Moments, document_influences, moments_of_counts, moments_of_rows
from ibtrack.information.row_statistics import RowStatistics
from tests import truths


def _by_rows(rows, labels, documents=None):
    documents = DocumentDesign.of_rows(torch.arange(len(rows))) if documents is None else documents  # a row is one
    site, groups = RowStatistics(rows.unsqueeze(1), documents), LabelDesign.of(labels, documents)
    sums = label_statistics([site], [groups])[0]
    moments = moments_of_rows([site], [groups], [sums])
    alone = Moments(*(v if isinstance(v, int) else v[0, 0] for v in vars(moments).values()))
    return site, groups, sums, moments, alone


@pytest.mark.parametrize("zipf", [False, True])
@pytest.mark.parametrize("num_labels", [5, 400, 3000])
def test_rows_in_groups_and_streamed_counts_have_the_same_moments(num_labels, zipf):
    rows, labels, _ = truths.clusters(num_labels, 2000, 16, spread=1, zipf=zipf, seed=0, truth_rows=2)
    labels = torch.unique(labels, return_inverse=True)[1]
    *_, by_rows = _by_rows(rows, labels)
    streamed = moments_of_counts(count(rows, labels, int(labels.max()) + 1))
    for field in fields(by_rows):
        one, other = (torch.as_tensor(getattr(m, field.name)).double() for m in (by_rows, streamed))
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-7)  # rows are float32


def test_moments_are_the_sums_of_their_definitions():
    rows, labels, _ = truths.clusters(7, 60, 16, spread=1, zipf=True, seed=0, truth_rows=2)
    labels = torch.unique(labels, return_inverse=True)[1]
    *_, moments = _by_rows(rows, labels)
    pairs, conditional, halving = torch.zeros(100).double(), 0.0, 0.0
    for x in labels.unique():
        mine = rows.double()[labels == x]
        entropy = float(torch.special.entr(mine.mean(0)).sum())
        conditional += len(mine) * entropy
        if len(mine) > 1:
            halves = mine[::2], mine[1::2]
            pairs += (len(mine) - 1) * halves[0].mean(0) * halves[1].mean(0)
            halving += len(mine) * entropy - sum(
                len(half) * float(torch.special.entr(half.mean(0)).sum()) for half in halves
            )
    torch.testing.assert_close(moments.pairs, pairs / 60, rtol=1e-5, atol=1e-9)
    assert float(moments.conditional) == pytest.approx(conditional / 60)
    assert float(moments.halving) == pytest.approx(halving / 60, rel=1e-5)
    assert float(moments.degrees) == pytest.approx((60 - len(labels.unique())) / 60)
    assert float(moments.shares.sum()) == pytest.approx(1)


def test_classes_of_similar_sizes_keep_the_rows_and_the_mean_inverse():
    occurrences = [1, 1, 2, 5, *range(100, 140)]
    labels = torch.repeat_interleave(torch.arange(len(occurrences)), torch.tensor(occurrences))
    *_, moments = _by_rows(torch.rand(len(labels), 4).softmax(-1), labels)
    assert len(moments.inverse) < 40  # of 64 that there are, with the halves
    inverse = float((moments.shares * moments.inverse).sum())
    assert inverse == pytest.approx(len(occurrences) / len(labels), rel=1e-9)  # Σ_x n_x (1 / n_x) / N


def _repeated_text(num_documents=40, length=30, seed=0):
    """Rows of a text that repeats its words: alike by label, and by label and document."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 150, (num_documents, length), generator=generator)
    for i in range(1, length):
        again = torch.rand(num_documents, generator=generator) < 0.5
        labels[:, i] = torch.where(again, labels[:, i // 2], labels[:, i])
    of = torch.arange(num_documents).repeat_interleave(length)
    labels = torch.unique(labels.flatten(), return_inverse=True)[1]
    cells = torch.unique(labels * num_documents + of, return_inverse=True)[1]
    own, shared = torch.randn(150, 20, generator=generator), torch.randn(len(cells), 20, generator=generator)
    noise = torch.randn(len(labels), 20, generator=generator)
    return (own[labels] + 0.7 * shared[cells] + 0.7 * noise).softmax(-1), labels, of


def test_likeness_of_a_repeated_text_is_found_and_of_independent_rows_is_none():
    rows, labels, of = _repeated_text()
    *_, repeated = _by_rows(rows, labels, DocumentDesign.of_rows(of))
    assert float(debiased.intraclass_correlation(repeated)) == pytest.approx(0.5, abs=0.1)  # .7² of .7² + .7²
    moved = torch.randperm(len(of), generator=torch.Generator().manual_seed(0))
    *_, apart = _by_rows(rows, labels, DocumentDesign.of_rows(of[moved]))
    assert float(debiased.intraclass_correlation(apart)) < 0.3


def _information(rows, labels, of):
    labels = torch.unique(labels, return_inverse=True)[1]
    documents = DocumentDesign.of_rows(torch.unique(of, return_inverse=True)[1])
    return debiased.debiased_information(_by_rows(rows, labels, documents)[-1])


def test_effects_of_documents_have_the_spread_of_leaving_each_out():
    rows, labels, of = _repeated_text()
    documents = DocumentDesign.of_rows(of)
    site, groups, sums, moments, _ = _by_rows(rows, labels, documents)
    (effects,) = document_influences([site], [groups], [sums], debiased.debiased_gradient(moments))[0]
    left_out = torch.stack([_information(rows[of != d], labels[of != d], of[of != d]) for d in range(40)])
    changes = left_out.mean() - left_out
    assert float(torch.corrcoef(torch.stack([effects, changes]))[0, 1]) > 0.75
    assert float(effects.norm() / changes.norm()) == pytest.approx(1, abs=0.25)
    assert abs(float(effects.sum())) < 1e-9


def test_a_nan_row_makes_no_number_that_looks_right():
    rows, labels, _ = truths.clusters(20, 500, 16, spread=1, zipf=True, seed=1, truth_rows=2)
    rows[7] = math.nan
    *_, moments = _by_rows(rows, torch.unique(labels, return_inverse=True)[1])
    assert debiased.debiased_information(moments).isnan() and debiased.plugin_information(moments).isnan()


def _assert_same_sums(one, other):
    for field in fields(LabelStatistics):
        torch.testing.assert_close(getattr(one, field.name), getattr(other, field.name), rtol=2e-5, atol=2e-5)


def test_labels_add_up_whatever_pieces_they_come_in(monkeypatch):
    rows, labels, of = _repeated_text()
    documents = DocumentDesign.of_rows(of)
    *_, whole, _, _ = _by_rows(rows, labels, documents)
    monkeypatch.setattr(label_design, "PIECE_ROWS", 100)
    _, in_pieces, sums, _, _ = _by_rows(rows, labels, documents)
    assert len(in_pieces.pieces) > 5
    assert sum(len(piece.bags.rows) for piece in in_pieces.pieces) == int((in_pieces.bag_size > 0).sum())
    _assert_same_sums(sums, whole)


def test_a_label_of_many_rows_is_summed_in_bags_of_bags():
    rows = torch.rand(9000, 8, generator=torch.Generator().manual_seed(0)).softmax(-1)
    labels = (torch.arange(9000) % 100 == 0).long()
    *_, moments = _by_rows(rows, labels)  # each row is a document: 4455 bags in a half
    mean = rows.double()[labels == 0].mean(0)
    entropy = float(torch.special.entr(mean).sum()) * 8910
    entropy += float(torch.special.entr(rows.double()[labels == 1].mean(0)).sum()) * 90
    assert float(moments.conditional) == pytest.approx(entropy / 9000, rel=1e-6)


def test_sites_side_by_side_are_read_as_each_alone():
    rows, labels, of = _repeated_text()
    documents = DocumentDesign.of_rows(of)
    known, others = LabelDesign.of(labels, documents), torch.stack([rows, rows.flip(1), rows.square()], 1)
    others /= others.sum(-1, keepdim=True)
    alone = [RowStatistics(others[:, index : index + 1].contiguous(), documents) for index in range(3)]
    together = [RowStatistics(others, documents)]
    _assert_same_sums(label_statistics(together, [known])[0], label_statistics(alone, [known])[0])
    first, second = (
        (m, document_influences(s, [known], label_statistics(s, [known]), debiased.debiased_gradient(m)))
        for s, m in ((s, moments_of_rows(s, [known], label_statistics(s, [known]))) for s in (together, alone))
    )
    for field in fields(Moments):
        torch.testing.assert_close(getattr(first[0], field.name), getattr(second[0], field.name), rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(first[1], second[1], rtol=1e-3, atol=1e-8)


def test_label_sets_side_by_side_are_read_as_each_alone():
    rows, labels, of = _repeated_text()
    documents = DocumentDesign.of_rows(of)
    sets = [LabelDesign.of(found, documents) for found in (labels, torch.arange(len(of)) % 7)]
    sites = [RowStatistics(rows.unsqueeze(1), documents)]
    sums = label_statistics(sites, sets)
    together = moments_of_rows(sites, sets, sums)
    gradient = debiased.debiased_gradient(together)
    effects = document_influences(sites, sets, sums, gradient)
    for index, (known, of_set) in enumerate(zip(sets, sums, strict=True)):
        alone = moments_of_rows(sites, [known], [of_set])
        torch.testing.assert_close(
            debiased.debiased_information(together)[index], debiased.debiased_information(alone)[0]
        )
        own = document_influences(sites, [known], [of_set], debiased.debiased_gradient(alone))
        torch.testing.assert_close(effects[index], own[0], rtol=1e-5, atol=1e-9)


def test_the_plug_in_alone_takes_the_same_entropies_of_labels():
    rows, labels, of = _repeated_text()
    site, known, sums, _, _ = _by_rows(rows, labels, DocumentDesign.of_rows(of))
    ((label_entropy, once),) = label_entropies([site], [known])
    torch.testing.assert_close(label_entropy, sums.label_entropy, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(once, sums.once, rtol=1e-5, atol=1e-5)
