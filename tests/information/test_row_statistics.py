"""Statistics of rows that need no labels."""

import torch

from ibtrack.information.document_design import DocumentDesign
from ibtrack.information.row_statistics import SAMPLE_ROWS, RowStatistics, product_variance
from tests.information.samples import random_rows


def test_means_and_sums_are_those_of_the_rows() -> None:
    rows, _ = random_rows()
    site = RowStatistics(rows.unsqueeze(1), DocumentDesign.from_index(torch.arange(300) // 10))
    double = rows.double()
    torch.testing.assert_close(site.mean[0], double.mean(0), rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(site.squares[0], double.square().mean(0), rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(site.document_sums[0, 3], double[30:40].sum(0), rtol=1e-6, atol=1e-9)
    weighted = (double.square() * site.mean[0].rsqrt()).sum(1)
    torch.testing.assert_close(site.weighted_squares[:, 0].double(), weighted, rtol=1e-5, atol=1e-7)


def test_the_variance_of_products_is_that_of_many_pairs() -> None:
    rows, _ = random_rows(num_rows=2000)
    double = rows.double()
    mean = double.mean(0)
    centred = (double - mean) * mean.pow(-0.25)
    products = centred @ centred.T
    expected = products[~torch.eye(2000, dtype=torch.bool)].square().mean()
    variance = product_variance(double.T @ double / 2000, mean)
    torch.testing.assert_close(variance, expected, rtol=0.05, atol=0)


def test_the_sample_is_bounded_and_the_same_for_every_site() -> None:
    rows = torch.rand(SAMPLE_ROWS + 100, 2, 4)
    site = RowStatistics(rows, DocumentDesign.from_index(torch.zeros(len(rows)).long()))
    assert site.sample.shape == (SAMPLE_ROWS, 2, 4)
    other = RowStatistics(rows.flip(1), site.documents)
    torch.testing.assert_close(other.sample.flip(1), site.sample)
