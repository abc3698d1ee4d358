"""Moments of rows in a known design, and of streamed counts."""

from dataclasses import fields

import pytest
import torch

from ibtrack.information.entropy import entropy
from ibtrack.information.label_design import LabelDesign
from ibtrack.information.label_statistics import label_statistics
from ibtrack.information.moments import Moments, moments_of_rows
from tests import truths
from tests.information.samples import repeated_text, sample, side_by_side, streamed


@pytest.mark.parametrize("zipf", [False, True])
@pytest.mark.parametrize("num_labels", [5, 400, 3000])
def test_rows_in_a_design_and_streamed_counts_have_the_same_moments(num_labels: int, zipf: bool) -> None:
    rows, labels, _ = truths.clusters(num_labels, 2000, 16, spread=1, zipf=zipf, seed=0, truth_rows=2)
    labels = torch.unique(labels, return_inverse=True)[1]
    by_design = sample(rows, labels).moments
    by_counts = streamed(rows, labels, int(labels.max()) + 1)
    for field in fields(Moments):
        one, other = (torch.as_tensor(getattr(m, field.name)).double() for m in (by_design, by_counts))
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-7)  # rows are float32


def test_moments_are_the_sums_of_their_definitions() -> None:
    rows, labels, _ = truths.clusters(7, 60, 16, spread=1, zipf=True, seed=0, truth_rows=2)
    moments = sample(rows, labels).moments
    products, conditional, gap = torch.zeros(100).double(), 0.0, 0.0
    for x in labels.unique():
        mine = rows.double()[labels == x]
        conditional += len(mine) * float(entropy(mine.mean(0)))
        if len(mine) > 1:
            halves = mine[::2], mine[1::2]
            products += (len(mine) - 1) * halves[0].mean(0) * halves[1].mean(0)
            gap += len(mine) * float(entropy(mine.mean(0)))
            gap -= sum(len(half) * float(entropy(half.mean(0))) for half in halves)
    torch.testing.assert_close(moments.cross_products, products / 60, rtol=1e-5, atol=1e-9)
    assert float(moments.conditional) == pytest.approx(conditional / 60)
    assert float(moments.halving_gap) == pytest.approx(gap / 60, rel=1e-5)
    assert float(moments.cross_weight) == pytest.approx((60 - len(labels.unique())) / 60)
    assert float(moments.row_shares.sum()) == pytest.approx(1)


def test_a_label_of_many_rows_is_summed_in_segments_of_segments() -> None:
    rows = torch.rand(9000, 8, generator=torch.Generator().manual_seed(0)).softmax(-1)
    labels = (torch.arange(9000) % 100 == 0).long()
    moments = sample(rows, labels).moments  # each row is a document: 4455 segments in a half
    expected = sum(float(entropy(rows.double()[labels == x].mean(0))) * n for x, n in ((0, 8910), (1, 90)))
    assert float(moments.conditional) == pytest.approx(expected / 9000, rel=1e-6)


def test_sites_side_by_side_have_the_moments_of_each() -> None:
    rows, labels, documents = repeated_text()
    together, apart = side_by_side(rows, documents)
    design = LabelDesign.from_labels(labels, together[0].documents)
    one, other = (moments_of_rows(sites, [design], label_statistics(sites, [design])) for sites in (together, apart))
    for field in fields(Moments):
        torch.testing.assert_close(getattr(one, field.name), getattr(other, field.name), rtol=1e-5, atol=1e-7)
