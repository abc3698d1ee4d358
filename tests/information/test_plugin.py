"""The plug-in reading, entropy and ceiling."""

import math

import pytest
import torch

from ibtrack.information.plugin import ceiling, marginal_entropy, plugin_from_moments
from tests import references
from tests.information.samples import random_rows, streamed


def test_plugin_is_the_formula() -> None:
    rows, labels = random_rows()
    reading = plugin_from_moments(streamed(rows, labels, 50))  # ten labels do not occur
    expected = references.plugin_information(rows.double().numpy(), labels.numpy())
    assert float(reading) == pytest.approx(expected, abs=1e-10)


def test_merging_labels_never_raises_the_plugin() -> None:
    rows, labels = random_rows()
    fine = plugin_from_moments(streamed(rows, labels, 40))
    coarse = plugin_from_moments(streamed(rows, labels // 2, 20))
    assert coarse < fine


def test_a_collapsed_cloud_has_the_entropy_of_the_kernel_and_no_ceiling() -> None:
    rows = random_rows(num_rows=1)[0].expand(100, -1)
    moments = streamed(rows, torch.arange(100) % 10, 10)
    assert float(ceiling(moments)) == pytest.approx(0, abs=1e-9)
    assert float(marginal_entropy(moments)) > 0.1


def test_one_hot_rows_have_the_entropy_of_their_labels_as_ceiling() -> None:
    labels = torch.arange(600) % 6
    moments = streamed(torch.eye(6)[labels], labels, 6)
    for read in (plugin_from_moments, ceiling, marginal_entropy):
        assert float(read(moments)) == pytest.approx(math.log(6), abs=1e-9)
