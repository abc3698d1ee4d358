"""The null reading."""

import math
from dataclasses import replace

import pytest
import torch

from ibtrack.information import null
from ibtrack.information.document_design import DocumentDesign
from ibtrack.information.entropy import entropy
from ibtrack.information.jensen_gap import beta_gap
from ibtrack.information.label_design import LabelDesign
from ibtrack.information.row_statistics import RowStatistics
from tests import references
from tests.information.samples import random_rows


def _site(rows: torch.Tensor) -> RowStatistics:
    return RowStatistics(rows.unsqueeze(1), DocumentDesign.from_index(torch.arange(len(rows))))


@pytest.mark.parametrize("num_labels", [3, 60, 1000])
def test_null_is_the_plugin_after_permuting_the_labels(num_labels: int) -> None:
    rows, labels = random_rows(num_rows=2000, num_labels=num_labels)
    site, dense = _site(rows), torch.unique(labels, return_inverse=True)[1]
    design = LabelDesign.from_labels(dense, site.documents)
    reading = null.null_information([site], {"labels": design.bins})["labels"]
    permuted = references.permuted_information(rows.double().numpy(), labels.numpy(), repeats=5, seed=0)
    assert float(reading) == pytest.approx(permuted, abs=0.004 * math.log(10))  # noise of permutations and curve


def test_entropies_of_means_of_any_number_of_rows_follow_from_those_of_powers_of_two() -> None:
    rows, _ = random_rows(num_rows=2000, num_labels=3)
    curve = null.null_curve([_site(rows)])
    sizes = torch.tensor([1.0, 1.5, 3, 5, 6, 11, 100, 1999], dtype=torch.float64)
    fewer = torch.cat([replace(curve, num_rows=8)(sizes[:5])[0], curve(sizes)[0, 5:]])
    torch.testing.assert_close(curve(sizes)[0], fewer, rtol=0, atol=1e-12)  # further powers change nothing
    beta = entropy(curve.mean) - beta_gap(curve.mean, curve.variance / sizes.unsqueeze(1))
    direct = beta + null._interpolate(sizes, curve.sizes, curve.excess)[0]
    torch.testing.assert_close(curve(sizes)[0], direct, rtol=0, atol=3e-4 * math.log(10))


def test_the_entropy_of_one_row_is_that_of_the_rows() -> None:
    rows, _ = random_rows(num_rows=500)
    curve = null.null_curve([_site(rows)])
    assert float(curve(torch.ones(1).double())) == pytest.approx(float(entropy(rows.double()).mean()), abs=1e-6)
