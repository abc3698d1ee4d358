"""The null reading."""

import math

import pytest
import torch
from torch import Tensor

from ibtrack.information.document_design import DocumentDesign
from ibtrack.information.entropy import entropy
from ibtrack.information.functional import read_rows
from ibtrack.information.gap_curves import gap_curves
from ibtrack.information.label_design import LabelDesign
from ibtrack.information.null import null_information
from ibtrack.information.row_statistics import RowStatistics
from tests import references, truths
from tests.information.samples import random_rows, repeated_text, sample


def _null(rows: Tensor, labels: Tensor) -> float:
    return float(read_rows(rows, labels, torch.arange(len(rows)), "null"))


def _permuted(rows: Tensor, labels: Tensor, repeats: int = 5) -> float:
    return references.permuted_information(rows.double().numpy(), labels.numpy(), repeats=repeats, seed=0)


@pytest.fixture(scope="module")
def cloud() -> Tensor:
    return truths.clusters(500, 4000, 16, spread=1.0, zipf=True, seed=0, truth_rows=2)[0]


@pytest.mark.parametrize("num_labels", [3, 60, 400, 1000, 2500])
def test_null_is_the_plugin_after_permuting_the_labels(num_labels: int, cloud: Tensor) -> None:
    """What is left is noise of the groups that the curve is observed on."""
    labels = torch.randint(num_labels, (4000,), generator=torch.Generator().manual_seed(1))
    assert _null(cloud, labels) == pytest.approx(_permuted(cloud, labels, repeats=2), abs=0.003 * truths.LOG_K)


@pytest.mark.parametrize("num_labels", [3, 60, 1000])
def test_null_of_few_spiky_anchors_is_noisier(num_labels: int) -> None:
    rows, labels = random_rows(num_rows=2000, num_labels=num_labels)
    assert _null(rows, labels) == pytest.approx(_permuted(rows, labels), abs=0.006 * math.log(10))


@pytest.mark.parametrize("num_labels", [2, 4])
def test_null_of_few_rows_is_the_plugin_after_permuting_the_labels(num_labels: int) -> None:
    """M labels have M - 1 means that are free, as all together have the mean of all rows."""
    rows, labels = random_rows(num_rows=100, num_labels=num_labels)
    assert _null(rows, labels) == pytest.approx(_permuted(rows, labels, repeats=200), rel=0.1)


def test_a_single_label_reads_nothing() -> None:
    rows, _ = random_rows()
    assert _null(rows, torch.zeros(300).long()) == pytest.approx(0, abs=1e-9)


def test_null_of_rare_and_frequent_labels_is_the_plugin_after_permuting_them() -> None:
    rows, labels, _ = truths.clusters(500, 2000, 16, spread=1.0, zipf=True, seed=0, truth_rows=2)
    assert _null(rows, labels) == pytest.approx(_permuted(rows, labels, repeats=3), abs=0.003 * truths.LOG_K)


def test_null_is_the_slow_reference() -> None:
    rows, labels, documents = repeated_text()
    site = sample(rows, labels, documents).site
    arrays = (rows.double().numpy(), labels.numpy(), documents.numpy(), site.sample[:, 0].double().numpy())
    assert float(read_rows(rows, labels, documents, "null")) == pytest.approx(
        references.Debiased(*arrays).null(), abs=1e-7
    )


def test_labels_of_one_row_each_read_the_ceiling() -> None:
    rows, _ = random_rows(num_rows=500)
    ceiling = entropy(rows.double().mean(0)) - entropy(rows.double()).mean()
    assert _null(rows, torch.arange(500)) == pytest.approx(float(ceiling), abs=1e-6)  # rows are float32


def test_equal_rows_read_nothing() -> None:
    for rows in (torch.full((60, 4), 0.25), torch.eye(4)[torch.zeros(60).long()]):
        assert _null(rows, torch.arange(60) % 6) == pytest.approx(0, abs=1e-7)


def test_sites_have_a_null_each() -> None:
    rows, labels, _ = repeated_text()
    partition = DocumentDesign.from_index(torch.arange(1200))
    table = torch.stack([rows, rows.square() / rows.square().sum(1, keepdim=True)], 1)
    sizes = LabelDesign.from_labels(labels, partition).sizes
    both = null_information(gap_curves([RowStatistics(table, partition)]), sizes)
    assert both.tolist() == pytest.approx([_null(table[:, site], labels) for site in (0, 1)], abs=1e-7)
