"""The plug-in reading and the ceiling."""

import math

import pytest
import torch

from ibtrack.information.plugin import ceiling, plugin_from_moments
from tests import references
from tests.information.samples import random_rows, sample


def test_plugin_is_the_formula() -> None:
    rows, labels = random_rows()
    reading = plugin_from_moments(sample(rows, labels).moments)
    expected = references.plugin_information(rows.double().numpy(), labels.numpy())
    assert float(reading) == pytest.approx(expected, abs=1e-6)  # rows are float32


def test_merging_labels_never_raises_the_plugin() -> None:
    rows, labels = random_rows()
    fine, coarse = (plugin_from_moments(sample(rows, ids).moments) for ids in (labels, labels // 2))
    assert coarse < fine


def test_a_collapsed_cloud_has_the_entropy_of_the_kernel_and_no_ceiling() -> None:
    rows = random_rows(num_rows=1)[0].expand(100, -1)
    moments = sample(rows, torch.arange(100) % 10).moments
    assert float(ceiling(moments)) == pytest.approx(0, abs=1e-6)
    assert float(moments.marginal_entropy) > 0.1


def test_one_hot_rows_have_the_entropy_of_their_labels_as_ceiling() -> None:
    labels = torch.arange(600) % 6
    moments = sample(torch.eye(6)[labels], labels).moments
    for reading in (plugin_from_moments(moments), ceiling(moments), moments.marginal_entropy):
        assert float(reading) == pytest.approx(math.log(6), abs=1e-7)


def test_labels_of_one_row_each_reach_the_ceiling() -> None:
    moments = sample(random_rows()[0], torch.arange(300)).moments
    assert float(plugin_from_moments(moments)) == pytest.approx(float(ceiling(moments)), abs=1e-6)
