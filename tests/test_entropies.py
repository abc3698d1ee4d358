import math

import numpy as np
import pytest
import torch

from ibtrack import entropies
from ibtrack.counts import count
from tests import references, truths
from tests.truths import LOG_K


def _random(num_rows=300, num_labels=40, num_anchors=10, seed=0):
    generator = torch.Generator().manual_seed(seed)
    rows = (4 * torch.randn(num_rows, num_anchors, generator=generator)).softmax(-1)
    return rows, torch.randint(0, num_labels, (num_rows,), generator=generator)


def test_plugin_is_the_formula():
    rows, labels = _random()
    reading = entropies.information(count(rows, labels, 50), "plugin")  # ten labels do not occur
    assert float(reading) == pytest.approx(
        references.plugin_information(rows.double().numpy(), labels.numpy()), abs=1e-10
    )


def test_one_hot_rows_read_the_entropy_of_the_labels():
    labels = torch.arange(60) % 6
    rows = torch.eye(6)[labels]
    counts = count(rows, labels, 6)
    for reading in ("plugin", "debiased"):
        assert float(entropies.information(counts, reading)) == pytest.approx(math.log(6), abs=1e-12)
    assert float(entropies.ceiling(counts)) == pytest.approx(math.log(6), abs=1e-12)


def test_merging_labels_never_raises_the_plugin():
    rows, labels = _random()
    fine = entropies.information(count(rows, labels, 40), "plugin")
    coarse = entropies.information(count(rows, labels // 2, 20), "plugin")
    assert coarse < fine


@pytest.mark.parametrize("reading", ["plugin", "debiased"])
def test_relabelling_changes_nothing(reading):
    rows, labels = _random()
    renamed = torch.randperm(40, generator=torch.Generator().manual_seed(1))[labels]
    before, after = (entropies.information(count(rows, ids, 40), reading) for ids in (labels, renamed))
    assert float(before) == pytest.approx(float(after), abs=1e-12)


def test_no_reading_exceeds_the_ceiling_where_labels_are_frequent():
    rows, labels = _random(num_rows=4000, num_labels=5)
    counts = count(rows, labels, 5)
    assert entropies.information(counts, "plugin") < entropies.ceiling(counts)


@pytest.mark.parametrize("num_labels", [3, 60, 1000])
def test_null_is_the_plugin_after_permuting_the_labels(num_labels):
    rows, labels = _random(num_rows=2000, num_labels=num_labels)
    occurrences = torch.bincount(labels, minlength=num_labels).double()
    null = entropies.null_information(entropies.null_curve(rows), occurrences)
    permuted = references.permuted_information(rows.double().numpy(), labels.numpy(), repeats=5, seed=0)
    assert float(null) == pytest.approx(permuted, abs=0.004 * math.log(10))  # noise of 5 permutations and of the curve


def test_debiased_reads_nothing_from_independent_labels_where_the_plugin_does():
    rows, labels, truth = truths.clusters(2000, 8000, 64, spread=0, zipf=False, seed=0)
    counts = count(rows, labels, 2000)
    assert abs(truth) < 0.003
    assert float(entropies.information(counts, "plugin")) / LOG_K > 0.2
    assert abs(float(entropies.information(counts, "debiased"))) / LOG_K < 0.012


@pytest.mark.parametrize(("spread", "tolerance"), [(0.3, 0.02), (1.0, 0.04)])
def test_debiased_is_near_the_truth_where_the_plugin_is_not(spread, tolerance):
    rows, labels, truth = truths.clusters(2000, 16000, 64, spread=spread, zipf=True, seed=0)
    counts = count(rows, labels, 2000)
    plugin, debiased = (float(entropies.information(counts, r)) / LOG_K for r in ("plugin", "debiased"))
    assert abs(debiased - truth) < tolerance
    assert abs(debiased - truth) < 0.5 * abs(plugin - truth)


def test_debiased_becomes_the_plugin_with_many_rows():
    rows, labels = _random(num_rows=50_000, num_labels=4)
    rows = (rows + 0.2 * torch.eye(10)[labels]) / 1.2
    counts = count(rows, labels, 4)
    plugin, debiased = (float(entropies.information(counts, r)) for r in ("plugin", "debiased"))
    assert debiased == pytest.approx(plugin, abs=2e-3)


def test_debiased_of_distinct_labels_is_nan():
    rows, _ = _random(num_rows=40)
    assert entropies.information(count(rows, torch.arange(40), 40), "debiased").isnan()


def test_collapsed_cloud_reads_nothing_under_a_ceiling_of_nothing():
    rows = _random(num_rows=1)[0].expand(100, -1)
    counts = count(rows, torch.arange(100) % 10, 10)
    assert float(entropies.information(counts, "debiased")) == pytest.approx(0, abs=1e-9)
    assert float(entropies.ceiling(counts)) == pytest.approx(0, abs=1e-9)
    assert float(entropies.marginal_entropy(counts)) > 0.1  # the kernel's own


def test_shrunken_means_are_distributions():
    rows, labels = _random()
    means = entropies.shrunken_means(count(rows, labels, 40))
    torch.testing.assert_close(means.sum(1), torch.ones(40, dtype=torch.float64))
    assert (means >= 0).all()


def test_expected_entropy_is_that_of_a_dirichlet():
    mean, concentration = torch.tensor([0.5, 0.3, 0.2]).double(), 7.0
    variance = mean * (1 - mean) / (concentration + 1)
    drawn = np.random.default_rng(0).dirichlet((mean * concentration).numpy(), 20_000)
    expected = np.mean([references.entropy(p) for p in drawn])
    assert float(entropies.expected_entropy(mean, variance)) == pytest.approx(expected, abs=0.005)  # noise of the draws


def test_unknown_reading():
    rows, labels = _random()
    with pytest.raises(ValueError, match="reading must be one of 'debiased', 'plugin', got 'jackknife'"):
        entropies.information(count(rows, labels, 40), "jackknife")
