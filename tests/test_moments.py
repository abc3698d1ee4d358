import math
from dataclasses import fields, replace

import pytest
import torch

from ibtrack import entropies
from ibtrack.counts import count
from ibtrack.groups import Documents, LabelGroups
from ibtrack.moments import GroupMeans, SiteRows, document_effects, moments_of_counts, moments_of_rows
from tests import truths


def _by_rows(rows, labels, documents=None):
    documents = Documents.of_rows(torch.arange(len(rows)) // 10) if documents is None else documents
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
    assert len(moments.sizes) < 3 + 2 * 6  # with the halves
    inverse = float((moments.shares / moments.sizes).sum())
    assert inverse == pytest.approx(10 / len(labels), rel=0.02)  # Σ_x n_x (1 / n_x) / N


def _weighted_moments(weights, rows, labels, like):
    """The definitions with a weight for every row, for automatic differentiation."""
    total, whole, halved, pairs, singles, degrees = weights.sum(), 0, 0, 0, 0, 0
    entropy = torch.special.entr
    for x in labels.unique():
        index = (labels == x).nonzero().flatten()
        n = weights[index].sum()
        mean = weights[index] @ rows[index] / n
        if len(index) == 1:
            singles = singles + n * entropy(mean).sum()
            continue
        parts = [(weights[i].sum(), weights[i] @ rows[i] / weights[i].sum()) for i in (index[::2], index[1::2])]
        whole = whole + n * entropy(mean).sum()
        halved = halved + sum(m * entropy(part).sum() for m, part in parts)
        pairs = pairs + (n - 1) * parts[0][1] * parts[1][1]
        degrees = degrees + n - 1
    mean = weights @ rows / total
    return replace(
        like,
        mean=mean,
        squares=weights @ rows.square() / total,
        row_entropy=weights @ entropy(rows).sum(1) / total,
        pairs=pairs / total,
        conditional=(whole + singles) / total,
        halving=(whole - halved) / total,
        degrees=degrees / total,
    )


def test_effects_are_the_gradient_in_the_weights_of_the_rows():
    rows, labels, _ = truths.clusters(60, 600, 32, spread=1, zipf=True, seed=1, truth_rows=2)
    labels = torch.unique(labels, return_inverse=True)[1]
    each = Documents.of_rows(torch.arange(len(rows)))  # every row a document
    site, groups, means, moments = _by_rows(rows, labels, each)
    effects = document_effects(site, groups, means, entropies.debiased_gradient(moments), each)
    weights = torch.ones(len(rows), dtype=torch.float64, requires_grad=True)
    weighted = _weighted_moments(weights, rows.double(), labels, moments)
    weighted = replace(
        weighted,
        shares=weights @ groups.document_sizes / weights.sum(),
        half_shares=weights @ groups.document_half_sizes / weights.sum(),
    )
    within, between = entropies.variances(weighted)
    ratio, noise = entropies.signal_ratio(weighted, within, between)
    assert ratio > 10 * noise  # where the gradient is that of the reading itself
    value = entropies.plugin_information(weighted) - entropies._excess(weighted, within, between, ratio)
    (gradient,) = torch.autograd.grad(value, weights)
    torch.testing.assert_close(effects, gradient - gradient.mean(), rtol=1e-4, atol=1e-4 / len(rows))


def test_effects_of_documents_are_the_sums_of_those_of_their_rows():
    rows, labels, _ = truths.clusters(60, 600, 32, spread=1, zipf=True, seed=1, truth_rows=2)
    labels = torch.unique(labels, return_inverse=True)[1]
    effects = {}
    for length in (1, 20):
        documents = Documents.of_rows(torch.arange(len(rows)) // length)
        site, groups, means, moments = _by_rows(rows, labels, documents)
        effects[length] = document_effects(site, groups, means, entropies.debiased_gradient(moments), documents)
    torch.testing.assert_close(effects[20], effects[1].view(-1, 20).sum(1), rtol=1e-5, atol=1e-9)


def test_a_nan_row_makes_no_number_that_looks_right():
    rows, labels, _ = truths.clusters(20, 500, 16, spread=1, zipf=True, seed=1, truth_rows=2)
    rows[7] = math.nan
    *_, moments = _by_rows(rows, torch.unique(labels, return_inverse=True)[1])
    assert entropies.debiased_information(moments).isnan() and entropies.plugin_information(moments).isnan()
