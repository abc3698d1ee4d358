"""The debiased reading against a slow reference, and against known truths."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from ibtrack.information import label_design
from ibtrack.information.debiased import debiased_from_moments, debiased_with_gradient
from ibtrack.information.functional import debiased_information, plugin_information
from ibtrack.information.gap_curves import gap_curves
from ibtrack.information.moments import moments_of_rows
from ibtrack.information.plugin import ceiling, plugin_from_moments
from ibtrack.information.standard_errors import Estimate
from tests import references, truths
from tests.information.samples import random_rows, repeated_text, sample
from tests.truths import LOG_K

TEXT = repeated_text()
DOCUMENTS = {"documents": TEXT[2], "one": torch.zeros(1200).long(), "rows": torch.arange(1200)}


def _reference(documents: Tensor) -> references.Debiased:
    rows, labels, _ = TEXT
    order = sample(rows, labels, documents).site.sample[:, 0]
    return references.Debiased(rows.double().numpy(), labels.numpy(), documents.numpy(), order.double().numpy())


@pytest.mark.parametrize("which", DOCUMENTS)
def test_it_is_the_slow_reference(which: str) -> None:
    rows, labels, _ = TEXT
    read = float(debiased_information(rows, labels, DOCUMENTS[which]).value)
    assert read == pytest.approx(_reference(DOCUMENTS[which]).reading(), abs=1e-6)  # rows are float32


@pytest.mark.parametrize("which", ["documents", "rows"])
def test_influences_are_what_a_little_more_of_a_document_does(monkeypatch: pytest.MonkeyPatch, which: str) -> None:
    monkeypatch.setattr(label_design, "HALVES_OF_TWO", 1.0)
    documents, reference = DOCUMENTS[which], _reference(DOCUMENTS[which])
    influence = debiased_information(*TEXT[:2], documents).influence[0]
    step = 1e-5
    for d in (0, 11, 25, 39):
        more = step * (documents == d).double().numpy()
        slope = (reference.reading(1 + more) - reference.reading(1 - more)) / (2 * step)
        assert float(influence[d]) == pytest.approx(slope, rel=1e-3, abs=1e-7)  # sums by document are float32
    assert abs(float(influence.sum())) < 1e-6 * float(influence.abs().sum())


def test_influences_have_the_spread_of_leaving_documents_out() -> None:
    """Every label is met in every document, and neighbours are left out together: no other document changes its half.

    The observed part of the null curve is held fixed, as the standard error holds it.
    """
    generator = torch.Generator().manual_seed(0)
    labels, documents = torch.arange(2400) % 8, torch.arange(2400) // 40
    shared = torch.randn(60, 8, 8, generator=generator)[documents, labels]
    own = torch.randn(8, 8, generator=generator)[labels]
    rows = (own + 0.7 * shared + torch.randn(2400, 8, generator=generator)).softmax(-1)
    site, design, statistics, whole, influences = sample(rows, labels, documents)

    def values(keep: Tensor) -> Tensor:
        part = sample(rows[keep], labels[keep], documents[keep]).moments
        part = replace(part, null_excess=whole.null_excess[: len(part.beta)])
        return torch.stack([debiased_from_moments(part), ceiling(part), part.marginal_entropy])

    left_out = torch.stack([values(documents // 2 != pair) for pair in range(30)], 1)  # (3, pairs)
    changes = left_out.mean(1, keepdim=True) - left_out
    _, gradient = debiased_with_gradient(moments_of_rows([site], [design], [statistics], gap_curves([site]))[0])
    entropy, row_entropy = (influences.site[name] for name in ("marginal_entropy", "row_entropy"))
    first_order = torch.cat([influences.of(gradient)[0], entropy - row_entropy, entropy])
    for one, other in zip(first_order.view(3, 30, 2).sum(2), changes, strict=True):
        assert float(torch.corrcoef(torch.stack([one, other]))[0, 1]) > 0.9
        assert float(one.norm() / other.norm()) == pytest.approx(1, abs=0.15)


@pytest.mark.parametrize("times", [1, 10])  # γ in its range, and held at 3
def test_the_correction_moves_in_proportion_to_the_gap_of_halves(times: float) -> None:
    rows, labels, documents = TEXT
    site, design, statistics, _, _ = sample(rows, labels, documents)
    moments = moments_of_rows([site], [design], [statistics], gap_curves([site]))[0]
    moments = replace(moments, halving_gap=times * moments.halving_gap)
    correction = plugin_from_moments(moments) + moments.marginal_bias - debiased_from_moments(moments)
    slope = debiased_with_gradient(moments)[1]["halving_gap"]
    torch.testing.assert_close(slope, -correction / moments.halving_gap)


@pytest.mark.parametrize("gap", [0.0, -1.0])
def test_a_gap_of_halves_that_is_not_there_has_no_derivative(gap: float) -> None:
    site, design, statistics, _, _ = sample(*TEXT)
    moments = moments_of_rows([site], [design], [statistics], gap_curves([site]))[0]
    _, gradient = debiased_with_gradient(replace(moments, halving_gap=torch.full_like(moments.halving_gap, gap)))
    assert gradient["halving_gap"].eq(0).all()
    assert all(slope.isfinite().all() for slope in gradient.values())


def test_one_hot_rows_read_the_entropy_of_the_labels() -> None:
    """And what the entropy of 600 labels of 6 kinds lacks on average, by Miller's formula."""
    labels = torch.arange(600) % 6
    read = float(debiased_from_moments(sample(torch.eye(6)[labels], labels).moments))
    assert read == pytest.approx(math.log(6) + 5 / 1200, abs=2e-4)  # r is held at .98, so a little is still corrected


def test_relabelling_changes_nothing() -> None:
    rows, labels, documents = TEXT
    names = torch.randperm(len(labels.unique()), generator=torch.Generator().manual_seed(1))
    before, after = (debiased_information(rows, ids, documents) for ids in (labels, 7 * names[labels] - 1000))
    assert float(before.value) == pytest.approx(float(after.value), abs=1e-7)  # other sums of float32
    torch.testing.assert_close(before.influence, after.influence, rtol=1e-5, atol=1e-8)


def test_the_order_of_rows_changes_nothing_but_which_are_averaged_for_the_null_curve() -> None:
    rows, labels, documents = TEXT
    order = torch.randperm(1200, generator=torch.Generator().manual_seed(1))
    before = sample(rows, labels, documents).moments
    after = sample(rows[order], labels[order], documents[order]).moments
    same_curve = replace(after, null_excess=before.null_excess)
    assert float(debiased_from_moments(same_curve)) == pytest.approx(float(debiased_from_moments(before)), abs=1e-7)
    # of 1200 rows there are few groups of each size, and the noise of their means shows
    assert float(debiased_from_moments(after)) == pytest.approx(float(debiased_from_moments(before)), abs=0.01)


def test_merging_labels_that_tell_apart_lowers_the_reading() -> None:
    rows, labels, documents = TEXT
    fine, coarse = (debiased_information(rows, ids, documents) for ids in (labels, labels // 2))
    assert float(fine.value - coarse.value) > 3 * float(fine.minus(coarse).standard_error)


def _independent(seed: int, document: float = 0.0) -> Estimate:
    """Labels that tell nothing of 1000 rows in documents of 20, which may have something in common."""
    generator = torch.Generator().manual_seed(seed)
    documents = torch.arange(1000) // 20
    rows = torch.randn(1000, 12, generator=generator) + document * torch.randn(50, 12, generator=generator)[documents]
    return debiased_information(rows.softmax(-1), torch.randint(60, (1000,), generator=generator), documents)


@pytest.mark.parametrize("document", [0.0, 1.0])
def test_labels_that_tell_nothing_read_noise_around_nothing(document: float) -> None:
    """Neither clipped nor tested away: half of the readings are below 0, and none is 0."""
    estimates = [_independent(seed, document) for seed in range(20)]
    values, errors = (torch.cat([getattr(e, name) for e in estimates]) for name in ("value", "standard_error"))
    assert (values.abs() < 3 * errors).all()
    assert 4 <= int((values < 0).sum()) <= 16
    assert (values != 0).all()
    assert float(values.mean().abs()) < 3 * float(values.std()) / math.sqrt(20)
    assert float(values.mean().abs()) < 0.002 * math.log(12)


@pytest.mark.parametrize("num_labels", [10, 60, 250])
def test_few_rows_read_nothing_from_labels_that_tell_nothing(num_labels: int) -> None:
    """Of 1000 rows p itself is uncertain by as much as .004 of log K, which enters H(p) and the null curve alike."""
    values = []
    for seed in range(20):
        rows, _, _ = truths.clusters(2, 1000, 64, spread=0, zipf=False, seed=seed, truth_rows=1)
        labels = torch.randint(num_labels, (1000,), generator=torch.Generator().manual_seed(seed))
        values.append(float(debiased_information(rows, labels).value) / LOG_K)
    noise = float(torch.tensor(values).std()) / math.sqrt(20)
    assert abs(sum(values) / 20) < min(3 * noise, 0.003)


@pytest.mark.parametrize("document", [0.0, 1.5])
def test_what_a_document_does_to_all_of_its_rows_is_not_taken_from_the_label(document: float) -> None:
    """Faint labels beside a document that varies twice as much as a row: the truth is that of many fresh rows."""
    generator = torch.Generator().manual_seed(0)
    means = 0.5 * torch.randn(30, 12, generator=generator)

    def draw(labels: Tensor, documents: Tensor) -> Tensor:
        effects = document * torch.randn(int(documents.max()) + 1, 12, generator=generator)[documents]
        return (means[labels] + effects + torch.randn(len(labels), 12, generator=generator)).softmax(-1)

    fresh = draw(torch.arange(30).repeat_interleave(10_000), torch.arange(300_000)).double().view(30, 10_000, 12)
    label_means = fresh.mean(1)
    truth = float(torch.special.entr(label_means.mean(0)).sum() - torch.special.entr(label_means).sum(1).mean())
    labels, documents = torch.randint(30, (6000,), generator=generator), torch.arange(6000) // 20
    estimate = debiased_information(draw(labels, documents), labels, documents)
    assert abs(float(estimate.value) - truth) < 2.5 * float(estimate.standard_error)
    assert float(estimate.standard_error) < 0.3 * truth


@pytest.mark.parametrize("zipf", [False, True])
def test_it_reads_nothing_from_independent_labels_where_the_plugin_does(zipf: bool) -> None:
    rows, labels, truth = truths.clusters(2000, 8000, 64, spread=0, zipf=zipf, seed=0)
    assert abs(truth) < 0.003
    assert float(plugin_information(rows, labels)) / LOG_K > 0.15
    assert abs(float(debiased_information(rows, labels).value)) / LOG_K < 0.01  # two of its standard deviations


@pytest.mark.parametrize("zipf", [False, True])
@pytest.mark.parametrize("spread", [0.3, 1.0, 2.0])
def test_it_is_near_the_truth_where_the_plugin_is_not(spread: float, zipf: bool) -> None:
    rows, labels, truth = truths.clusters(2000, 8000, 64, spread=spread, zipf=zipf, seed=0)
    plugin = float(plugin_information(rows, labels)) / LOG_K
    estimate = debiased_information(rows, labels)
    off = abs(float(estimate.value) / LOG_K - truth)
    assert off < 0.015
    assert off < 3 * float(estimate.standard_error) / LOG_K + 0.003  # what it says of itself, and is known of the truth
    assert off < 0.3 * abs(plugin - truth)


def test_it_becomes_the_plugin_with_many_rows() -> None:
    rows, labels = random_rows(num_rows=50_000, num_labels=4)
    rows = (rows + 0.2 * torch.eye(10)[labels]) / 1.2
    assert float(debiased_information(rows, labels).value) == pytest.approx(
        float(plugin_information(rows, labels)), abs=2e-3
    )


def test_labels_in_one_document_each_and_a_single_label_are_nan() -> None:
    rows, _ = random_rows(num_rows=40)
    assert debiased_information(rows, torch.arange(40)).value.isnan()
    assert debiased_information(rows, torch.zeros(40).long()).value.isnan()
    assert debiased_information(rows, torch.arange(40) // 4, torch.arange(40) // 8).value.isnan()
    assert debiased_information(rows[:1], torch.zeros(1).long()).value.isnan()


@pytest.mark.parametrize("row", [[0.25] * 4, [0.1, 0.2, 0.3, 0.4], [1.0, 0.0, 0.0, 0.0]], ids=["even", "any", "sure"])
@pytest.mark.parametrize("rows_each", [1, 20])
def test_a_collapsed_cloud_reads_nothing(row: list[float], rows_each: int) -> None:
    rows = torch.tensor(row).expand(100, -1)
    estimate = debiased_information(rows, torch.arange(100) % 10, torch.arange(100) // rows_each)
    assert float(estimate.value) == pytest.approx(0, abs=1e-6)
    assert float(estimate.standard_error) == pytest.approx(0, abs=1e-6)


def test_an_anchor_that_is_never_chosen_changes_nothing() -> None:
    rows, labels, documents = TEXT
    one = debiased_information(rows, labels, documents)
    other = debiased_information(torch.cat([rows, torch.zeros(1200, 1)], 1), labels, documents)
    assert float(other.value) == pytest.approx(float(one.value), abs=1e-6)
    assert float((other.influence - one.influence).abs().max()) < 1e-6


def test_a_nan_row_makes_no_number_that_looks_right() -> None:
    rows, labels, _ = truths.clusters(20, 500, 16, spread=1, zipf=True, seed=1, truth_rows=2)
    rows[7] = math.nan
    assert debiased_from_moments(sample(rows, labels).moments).isnan()


def test_a_gradient_has_the_shape_of_its_moment() -> None:
    site, design, statistics, _, _ = sample(*TEXT)
    moments, _ = moments_of_rows([site], [design, design], [statistics, statistics], gap_curves([site]))
    _, gradient = debiased_with_gradient(moments)
    assert gradient["conditional"].tolist() == [[-1], [-1]]
    assert gradient["beta"].shape == moments.beta.shape
    assert gradient["row_shares"].shape == (2, 1, moments.row_shares.shape[-1])
    assert all(part.isfinite().all() for part in gradient.values())
