import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from ibtrack.information import debiased
from ibtrack.information.counts import count
from ibtrack.information.document_design import DocumentDesign
from ibtrack.information.label_design import LabelDesign
from ibtrack.information.moments import moments_of_counts
from ibtrack.information.readings import site_readings
from ibtrack.information.row_statistics import RowStatistics
from tests import references, truths
from tests.truths import LOG_K


def _random(num_rows=300, num_labels=40, num_anchors=10, seed=0):
    generator = torch.Generator().manual_seed(seed)
    rows = (4 * torch.randn(num_rows, num_anchors, generator=generator)).softmax(-1)
    return rows, torch.randint(0, num_labels, (num_rows,), generator=generator)


def _moments(rows, labels, num_labels):
    return moments_of_counts(count(rows, labels, num_labels))


READINGS = {"plugin": debiased.plugin_information, "debiased": debiased.debiased_information}


def test_plugin_is_the_formula():
    rows, labels = _random()
    reading = debiased.plugin_information(_moments(rows, labels, 50))  # ten labels do not occur
    assert float(reading) == pytest.approx(
        references.plugin_information(rows.double().numpy(), labels.numpy()), abs=1e-10
    )


def test_one_hot_rows_read_the_entropy_of_the_labels():
    labels = torch.arange(600) % 6
    moments = _moments(torch.eye(6)[labels], labels, 6)
    for read in (*READINGS.values(), debiased.ceiling):
        assert float(read(moments)) == pytest.approx(math.log(6), abs=1e-9)


def test_merging_labels_never_raises_the_plugin():
    rows, labels = _random()
    fine = debiased.plugin_information(_moments(rows, labels, 40))
    coarse = debiased.plugin_information(_moments(rows, labels // 2, 20))
    assert coarse < fine


@pytest.mark.parametrize("reading", READINGS)
def test_relabelling_changes_nothing(reading):
    rows, labels = _random()
    renamed = torch.randperm(40, generator=torch.Generator().manual_seed(1))[labels]
    before, after = (READINGS[reading](_moments(rows, ids, 40)) for ids in (labels, renamed))
    assert float(before) == pytest.approx(float(after), abs=1e-12)


@pytest.mark.parametrize("reading", READINGS)
def test_no_reading_exceeds_the_ceiling_where_labels_are_frequent(reading):
    rows, labels = _random(num_rows=4000, num_labels=5)
    moments = _moments(rows, labels, 5)
    assert READINGS[reading](moments) < debiased.ceiling(moments)


@pytest.mark.parametrize("num_labels", [3, 60, 1000])
def test_null_is_the_plugin_after_permuting_the_labels(num_labels):
    rows, labels = _random(num_rows=2000, num_labels=num_labels)
    curve = debiased.null_curve(
        [RowStatistics(rows.unsqueeze(1), DocumentDesign.of_rows(torch.zeros(len(rows)).long()))]
    )
    moments = _moments(rows, labels, num_labels)
    null = debiased.marginal_entropy(moments) - moments.shares @ curve(1 / moments.inverse)[0]
    permuted = references.permuted_information(rows.double().numpy(), labels.numpy(), repeats=5, seed=0)
    assert float(null) == pytest.approx(permuted, abs=0.004 * math.log(10))  # noise of 5 permutations and of the curve


def test_informations_of_means_of_any_number_of_rows_follow_from_those_of_powers_of_two():
    rows, _ = _random(num_rows=2000, num_labels=3)
    site = RowStatistics(rows.unsqueeze(1), DocumentDesign.of_rows(torch.zeros(len(rows)).long()))
    curve = debiased.null_curve([site])
    sizes = torch.tensor([1.0, 1.5, 3, 5, 6, 11, 100, 1999], dtype=torch.float64)
    alone = torch.cat([replace(curve, num_rows=8)(sizes[:5])[0], curve(sizes)[0, 5:]])
    torch.testing.assert_close(curve(sizes)[0], alone, rtol=0, atol=1e-12)  # further powers change nothing
    beta = debiased.entropy(curve.mean) - debiased._beta(curve.mean, curve.variance / sizes.unsqueeze(1))
    direct = beta + debiased._interpolate(sizes, curve.sizes, curve.excess)[0]
    torch.testing.assert_close(curve(sizes)[0], direct, rtol=0, atol=3e-4 * math.log(10))


@pytest.mark.parametrize("zipf", [False, True])
def test_debiased_reads_nothing_from_independent_labels_where_the_plugin_does(zipf):
    rows, labels, truth = truths.clusters(2000, 8000, 64, spread=0, zipf=zipf, seed=0)
    moments = _moments(rows, labels, 2000)
    assert abs(truth) < 0.003
    assert float(debiased.plugin_information(moments)) / LOG_K > 0.15
    assert abs(float(debiased.debiased_information(moments))) / LOG_K < 0.005


@pytest.mark.parametrize("zipf", [False, True])
@pytest.mark.parametrize("spread", [0.3, 1.0, 2.0])
def test_debiased_is_near_the_truth_where_the_plugin_is_not(spread, zipf):
    rows, labels, truth = truths.clusters(2000, 8000, 64, spread=spread, zipf=zipf, seed=0)
    plugin, debiased = (
        float(read(_moments(rows, labels, 2000))) / LOG_K for read in (READINGS["plugin"], READINGS["debiased"])
    )
    assert abs(debiased - truth) < 0.01 + 0.003  # wanted of the estimator, and known of the truth
    assert abs(debiased - truth) < 0.3 * abs(plugin - truth)


def test_debiased_becomes_the_plugin_with_many_rows():
    rows, labels = _random(num_rows=50_000, num_labels=4)
    rows = (rows + 0.2 * torch.eye(10)[labels]) / 1.2
    plugin, debiased = (float(read(_moments(rows, labels, 4))) for read in READINGS.values())
    assert debiased == pytest.approx(plugin, abs=2e-3)


def test_debiased_of_distinct_labels_and_of_one_label_is_nan():
    rows, _ = _random(num_rows=40)
    assert debiased.debiased_information(_moments(rows, torch.arange(40), 40)).isnan()
    assert debiased.debiased_information(_moments(rows, torch.zeros(40).long(), 1)).isnan()


def test_collapsed_cloud_reads_nothing_under_a_ceiling_of_nothing():
    rows = _random(num_rows=1)[0].expand(100, -1)
    moments = _moments(rows, torch.arange(100) % 10, 10)
    assert float(debiased.debiased_information(moments)) == pytest.approx(0, abs=1e-9)
    assert float(debiased.ceiling(moments)) == pytest.approx(0, abs=1e-9)
    assert float(debiased.marginal_entropy(moments)) > 0.1  # the kernel's own


def test_beta_information_is_that_of_a_dirichlet():
    mean, concentration = torch.tensor([0.5, 0.3, 0.2]).double(), 7.0
    variance = mean * (1 - mean) / (concentration + 1)
    drawn = np.random.default_rng(0).dirichlet((mean * concentration).numpy(), 20_000)
    expected = references.entropy(mean.numpy()) - np.mean([references.entropy(p) for p in drawn])
    assert float(debiased._beta(mean, variance)) == pytest.approx(expected, abs=0.005)  # noise of the draws


def test_an_anchor_that_is_never_chosen_does_no_harm_to_the_error():
    rows, labels = _random()
    rows = torch.cat([rows, torch.zeros(300, 1)], 1)
    documents = DocumentDesign.of_rows(torch.arange(300) // 10)
    read = site_readings([rows], {"x": LabelDesign.of(labels, documents)}, documents)
    assert read.information["x"].standard_error.isfinite() and read.entropy.standard_error.isfinite()
