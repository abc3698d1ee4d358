"""The debiased reading against known truths."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from ibtrack.information.debiased import debiased_from_moments
from ibtrack.information.moments import Moments
from ibtrack.information.plugin import ceiling, plugin_from_moments
from tests import truths
from tests.information.samples import random_rows, sample, streamed
from tests.truths import LOG_K

READINGS: dict[str, Callable[[Moments], Tensor]] = {"plugin": plugin_from_moments, "debiased": debiased_from_moments}


def test_one_hot_rows_read_the_entropy_of_the_labels() -> None:
    labels = torch.arange(600) % 6
    assert float(debiased_from_moments(streamed(torch.eye(6)[labels], labels, 6))) == pytest.approx(math.log(6))


@pytest.mark.parametrize("reading", READINGS)
def test_relabelling_changes_nothing(reading: str) -> None:
    rows, labels = random_rows()
    renamed = torch.randperm(40, generator=torch.Generator().manual_seed(1))[labels]
    before, after = (READINGS[reading](streamed(rows, ids, 40)) for ids in (labels, renamed))
    assert float(before) == pytest.approx(float(after), abs=1e-12)


@pytest.mark.parametrize("reading", READINGS)
def test_no_reading_exceeds_the_ceiling_where_labels_are_frequent(reading: str) -> None:
    rows, labels = random_rows(num_rows=4000, num_labels=5)
    moments = streamed(rows, labels, 5)
    assert READINGS[reading](moments) < ceiling(moments)


@pytest.mark.parametrize("zipf", [False, True])
def test_debiased_reads_nothing_from_independent_labels_where_the_plugin_does(zipf: bool) -> None:
    rows, labels, truth = truths.clusters(2000, 8000, 64, spread=0, zipf=zipf, seed=0)
    moments = streamed(rows, labels, 2000)
    assert abs(truth) < 0.003
    assert float(plugin_from_moments(moments)) / LOG_K > 0.15
    assert abs(float(debiased_from_moments(moments))) / LOG_K < 0.005


@pytest.mark.parametrize("zipf", [False, True])
@pytest.mark.parametrize("spread", [0.3, 1.0, 2.0])
def test_debiased_is_near_the_truth_where_the_plugin_is_not(spread: float, zipf: bool) -> None:
    rows, labels, truth = truths.clusters(2000, 8000, 64, spread=spread, zipf=zipf, seed=0)
    plugin, debiased = (float(read(streamed(rows, labels, 2000))) / LOG_K for read in READINGS.values())
    assert abs(debiased - truth) < 0.01 + 0.003  # wanted of the estimator, and known of the truth
    assert abs(debiased - truth) < 0.3 * abs(plugin - truth)


def test_debiased_becomes_the_plugin_with_many_rows() -> None:
    rows, labels = random_rows(num_rows=50_000, num_labels=4)
    rows = (rows + 0.2 * torch.eye(10)[labels]) / 1.2
    plugin, debiased = (float(read(streamed(rows, labels, 4))) for read in READINGS.values())
    assert debiased == pytest.approx(plugin, abs=2e-3)


def test_debiased_of_distinct_labels_and_of_one_label_is_nan() -> None:
    rows, _ = random_rows(num_rows=40)
    assert debiased_from_moments(streamed(rows, torch.arange(40), 40)).isnan()
    assert debiased_from_moments(streamed(rows, torch.zeros(40).long(), 1)).isnan()


def test_collapsed_cloud_reads_nothing() -> None:
    rows = random_rows(num_rows=1)[0].expand(100, -1)
    moments = streamed(rows, torch.arange(100) % 10, 10)
    assert float(debiased_from_moments(moments)) == pytest.approx(0, abs=1e-9)


def test_a_nan_row_makes_no_number_that_looks_right() -> None:
    rows, labels, _ = truths.clusters(20, 500, 16, spread=1, zipf=True, seed=1, truth_rows=2)
    rows[7] = math.nan
    moments = sample(rows, labels).moments
    assert debiased_from_moments(moments).isnan()
    assert plugin_from_moments(moments).isnan()
