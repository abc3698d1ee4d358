"""Moments, and what documents do to them."""

from dataclasses import fields

import pytest
import torch
from torch import Tensor

from ibtrack.information import label_design
from ibtrack.information.document_design import DocumentDesign
from ibtrack.information.entropy import entropy
from ibtrack.information.gap_curves import gap_curves
from ibtrack.information.label_design import LabelDesign
from ibtrack.information.label_statistics import label_statistics
from ibtrack.information.moments import CURVES, LABEL_MOMENTS, SITE_MOMENTS, Moments, moments_of_rows
from ibtrack.information.row_statistics import RowStatistics
from tests import references
from tests.information.samples import repeated_text, sample, side_by_side


def test_moments_are_the_sums_of_their_definitions() -> None:
    rows, labels, documents = repeated_text()
    moments = sample(rows, labels, documents).moments
    double = rows.double()
    conditional, gap = 0.0, 0.0
    for x in labels.unique():
        mine = labels == x
        own = float(entropy(double[mine].mean(0)))
        conditional += int(mine.sum()) * own
        distinct = documents[mine].unique()
        if len(distinct) > 1:
            halves = [double[mine & torch.isin(documents, distinct[h::2])] for h in (0, 1)]
            gap += int(mine.sum()) * own - sum(len(half) * float(entropy(half.mean(0))) for half in halves)
    mean = double.mean(0)
    assert float(moments.marginal_entropy) == pytest.approx(float(entropy(mean)), rel=1e-6)
    assert float(moments.row_entropy) == pytest.approx(float(entropy(double).mean()), rel=1e-6)
    assert float(moments.conditional) == pytest.approx(conditional / 1200, rel=1e-6)
    assert float(moments.halving_gap) == pytest.approx(gap / 1200, rel=1e-4)

    products = (double * mean.rsqrt()) @ double.T
    same_label, same_document = labels[:, None] == labels, documents[:, None] == documents
    across, within = same_label & ~same_document, same_label & same_document & ~torch.eye(1200, dtype=torch.bool)
    assert float(moments.squares) == pytest.approx(float(products.diagonal().mean()), rel=1e-6)
    assert float(moments.other_products) == pytest.approx(float(products[~same_document].mean()), rel=1e-6)
    for mask, sizes, moment in (
        (across, same_label.sum(1), moments.cross_products),  # a pair weighs 1 / n_x
        (within, (same_label & same_document).sum(1), moments.same_products),  # or 1 / n_c
    ):
        weights = (mask / sizes.unsqueeze(1)).double()
        assert float(moment) == pytest.approx(float((weights * products).sum() / weights.sum()), rel=1e-6)
    assert float(moments.collision_probability) == pytest.approx(float(across.sum() / (~same_document).sum()))
    assert bool(moments.has_pairs)
    for shares in (moments.row_shares, moments.half_row_shares / moments.halved_row_shares.sum()):
        assert float(shares.sum()) == pytest.approx(1)


def test_the_null_variance_is_that_of_products_times_that_of_the_design() -> None:
    text = sample(*repeated_text())
    expected = text.site.product_variance * torch.tensor(text.design.null_variance_factors).double()
    torch.testing.assert_close(text.moments.null_variance, expected)


def test_a_label_of_many_rows_is_summed_in_segments_of_segments() -> None:
    rows = torch.rand(9000, 8, generator=torch.Generator().manual_seed(0)).softmax(-1)
    labels = (torch.arange(9000) % 100 == 0).long()
    moments = sample(rows, labels).moments  # each row is a document: 4455 cells in a half
    expected = sum(float(entropy(rows.double()[labels == x].mean(0))) * n for x, n in ((0, 8910), (1, 90)))
    assert float(moments.conditional) == pytest.approx(expected / 9000, rel=1e-6)
    products = (rows.double() * rows.double().mean(0).rsqrt()) @ rows.double().T
    weights = ((labels[:, None] == labels) / torch.bincount(labels)[labels].unsqueeze(1)).double().fill_diagonal_(0)
    assert float(moments.cross_products) == pytest.approx(float((products * weights).sum() / weights.sum()), rel=1e-6)


def _three_label_sets(sites: list[RowStatistics], labels: Tensor) -> tuple[list[LabelDesign], Moments]:
    """One of the text, one without cells of several rows, one with many; each has other sample sizes."""
    number = len(labels)
    sets = (labels, torch.arange(number) % 173, torch.arange(number) % 7)
    designs = [LabelDesign.from_labels(ids, sites[0].documents) for ids in sets]
    return designs, moments_of_rows(sites, designs, label_statistics(sites, designs), gap_curves(sites))[0]


def test_sites_side_by_side_have_the_moments_of_each() -> None:
    rows, labels, documents = repeated_text()
    one, other = (_three_label_sets(sites, labels)[1] for sites in side_by_side(rows, documents))
    for field in fields(Moments):
        torch.testing.assert_close(getattr(one, field.name), getattr(other, field.name), rtol=1e-5, atol=1e-7)


def test_label_sets_side_by_side_have_the_moments_of_each() -> None:
    rows, labels, documents = repeated_text()
    sites = [RowStatistics(rows.unsqueeze(1), DocumentDesign.from_index(documents))]
    designs, together = _three_label_sets(sites, labels)
    assert together.has_pairs.flatten().tolist() == [True, False, True]
    for c, design in enumerate(designs):
        alone = moments_of_rows(sites, [design], label_statistics(sites, [design]), gap_curves(sites))[0]
        number = alone.row_shares.shape[-1]
        for field in fields(Moments):
            mine, own = getattr(together, field.name)[c], getattr(alone, field.name)[0]
            if field.name in ("inverse_sizes", "concentrations"):
                assert mine[:, number:].eq(1).all()  # divided by, but of no rows
            if field.name.endswith("shares"):
                assert mine[:, number:].eq(0).all()
            if own.shape[-1:] == (number,):
                mine = mine[:, :number]
            torch.testing.assert_close(mine, own, rtol=1e-12, atol=0)


def test_without_two_rows_of_a_label_in_a_document_nothing_is_divided_by_their_number() -> None:
    rows, _, documents = repeated_text()
    read = sample(rows, torch.arange(1200) % 173, documents)
    assert not read.moments.has_pairs
    assert read.moments.same_products.isfinite()
    assert read.influences.labels["same_products"].isfinite().all()


@pytest.mark.parametrize("name", [*SITE_MOMENTS, *LABEL_MOMENTS, *CURVES])
def test_what_documents_do_to_a_moment_sums_up_to_nothing(name: str) -> None:
    influences = sample(*repeated_text()).influences
    change = {**influences.site, **influences.labels, **influences.curves}[name]
    assert change.shape[-1] == 40
    assert float(change.sum(-1).abs().max()) < 1e-6 * float(change.abs().sum(-1).max())


def _weighted(rows: Tensor, labels: Tensor, documents: Tensor, weights: Tensor) -> dict[str, Tensor]:
    """The moments that are means over rows or labels, where documents have weights."""
    halving = conditional = torch.zeros(()).double()
    mean = weights @ rows / weights.sum()
    for x in labels.unique():
        mine = labels == x
        distinct = documents[mine].unique()

        def lacks(part: Tensor) -> Tensor:
            total = weights[part].sum()
            return total * entropy(weights[part] @ rows[part] / total)

        conditional = conditional + lacks(mine)
        if len(distinct) > 1:
            halving = halving + lacks(mine) - sum(lacks(mine & torch.isin(documents, distinct[h::2])) for h in (0, 1))
    squares = weights @ rows.square() / weights.sum()
    curves = {
        name: torch.tensor(
            [gap(mean.numpy(), ((squares - mean.square()) * 0.5**j).numpy()) * 2**j for j in range(4)],
            dtype=torch.float64,
        )
        for name, gap in (("beta", references.beta_gap), ("lognormal", references.lognormal_gap))
    }
    return {
        "marginal_entropy": entropy(mean),
        "row_entropy": weights @ entropy(rows) / weights.sum(),
        "conditional": conditional / weights.sum(),
        "halving_gap": halving / weights.sum(),
        **curves,
    }


def test_influences_are_what_a_little_more_of_a_document_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """Products, of which n_x and p_k^-½ are held fixed, come with the debiased reading: `test_debiased`."""
    monkeypatch.setattr(label_design, "HALVES_OF_TWO", 1.0)
    rows, labels, documents = repeated_text()
    influences = sample(rows, labels, documents).influences
    changes = {**influences.site, **influences.labels, **influences.curves}
    step, d = 1e-4, 5
    up, down = (_weighted(rows.double(), labels, documents, 1 + s * (documents == d).double()) for s in (step, -step))
    for name, value in up.items():
        slope = (value - down[name]) / (2 * step)
        read = changes[name][..., d].flatten()[: slope.numel()]  # the first nodes of a curve
        torch.testing.assert_close(read, slope.flatten(), rtol=1e-3, atol=1e-7)


def test_the_gap_of_halves_in_two_documents_spreads_as_its_influences_say() -> None:
    """Rows drawn anew for labels that are each met in two of 40 documents, in others each.

    With the derivative alone the error comes out at .71 of the spread.
    """
    generator = torch.Generator().manual_seed(0)
    documents, place = torch.arange(1200) // 30, torch.arange(1200) % 30
    labels = 20 * place + torch.where(documents % 2 == 0, documents, (documents - 1 - 2 * place) % 40) // 2
    gaps, variances = [], []
    for _ in range(150):
        read = sample(torch.randn(1200, 8, generator=generator).softmax(-1), labels, documents)
        gaps.append(read.moments.halving_gap)
        variances.append(read.influences.labels["halving_gap"].square().sum() * 40 / 39)
    assert read.design.num_halved == 600
    spread = torch.stack(gaps).std()  # good to 6 %
    assert float(torch.stack(variances).mean().sqrt() / spread) == pytest.approx(1, abs=0.15)
