import math
from dataclasses import fields

import pytest
import torch

from ibtrack import entropies
from ibtrack.counts import count
from ibtrack.groups import Documents, LabelGroups
from ibtrack.moments import GroupMeans, SiteRows, document_effects, moments_of_counts, moments_of_rows
from tests import truths


def _by_rows(rows, labels, documents=None):
    documents = Documents.of_rows(torch.arange(len(rows))) if documents is None else documents  # a row is one
    site, groups = SiteRows.of(rows, documents), LabelGroups.of(labels, documents)
    means = GroupMeans.of(site, groups)
    return site, groups, means, moments_of_rows(site, groups, means)


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
    occurrences = [1, 1, 2, 5, 17, 18, 40, 41, 300, 301]
    labels = torch.repeat_interleave(torch.arange(10), torch.tensor(occurrences))
    *_, moments = _by_rows(torch.rand(len(labels), 4).softmax(-1), labels)
    assert len(moments.inverse) < 3 + 2 * 6  # with the halves
    inverse = float((moments.shares * moments.inverse).sum())
    assert inverse == pytest.approx(10 / len(labels), rel=0.02)  # Σ_x n_x (1 / n_x) / N


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
    *_, repeated = _by_rows(rows, labels, Documents.of_rows(of))
    assert float(entropies.likeness(repeated)) == pytest.approx(0.5, abs=0.1)  # .7² of .7² + .7²
    moved = torch.randperm(len(of), generator=torch.Generator().manual_seed(0))
    *_, apart = _by_rows(rows, labels, Documents.of_rows(of[moved]))
    assert float(entropies.likeness(apart)) < 0.3


def _information(rows, labels, of):
    labels = torch.unique(labels, return_inverse=True)[1]
    documents = Documents.of_rows(torch.unique(of, return_inverse=True)[1])
    return entropies.debiased_information(_by_rows(rows, labels, documents)[-1])


def test_effects_of_documents_have_the_spread_of_leaving_each_out():
    rows, labels, of = _repeated_text()
    documents = Documents.of_rows(of)
    site, groups, means, moments = _by_rows(rows, labels, documents)
    effects = document_effects(site, groups, means, entropies.debiased_gradient(moments))
    left_out = torch.stack([_information(rows[of != d], labels[of != d], of[of != d]) for d in range(40)])
    changes = left_out.mean() - left_out
    assert float(torch.corrcoef(torch.stack([effects, changes]))[0, 1]) > 0.75
    assert float(effects.norm() / changes.norm()) == pytest.approx(1, abs=0.25)
    assert abs(float(effects.sum())) < 1e-9


def test_a_nan_row_makes_no_number_that_looks_right():
    rows, labels, _ = truths.clusters(20, 500, 16, spread=1, zipf=True, seed=1, truth_rows=2)
    rows[7] = math.nan
    *_, moments = _by_rows(rows, torch.unique(labels, return_inverse=True)[1])
    assert entropies.debiased_information(moments).isnan() and entropies.plugin_information(moments).isnan()
