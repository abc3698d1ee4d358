"""Statistics of rows that need no labels."""

import pytest
import torch
from torch import Tensor

from ibtrack.information.document_design import DocumentDesign
from ibtrack.information.entropy import entropy
from ibtrack.information.row_statistics import SAMPLE_ROWS, RowStatistics, product_variance
from tests.information.samples import random_rows, repeated_text


def _site(rows: Tensor, documents: Tensor) -> RowStatistics:
    return RowStatistics(rows.unsqueeze(1), DocumentDesign.from_index(documents))


def test_means_and_sums_are_those_of_the_rows() -> None:
    rows, _ = random_rows()
    site = _site(rows, torch.arange(300) // 10)
    double = rows.double()
    mean, mine = double.mean(0), double[30:40]
    torch.testing.assert_close(site.mean[0], mean, rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(site.squares[0], double.square().mean(0), rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(site.document_sums[0, 3], mine.sum(0), rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(site.document_squares[0, 3], mine.square().sum(0), rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(
        site.weighted_squares[:, 0].double(), double.square() @ mean.rsqrt(), rtol=1e-5, atol=1e-7
    )
    torch.testing.assert_close(site.entropy[:, 0].double(), entropy(double), rtol=1e-5, atol=1e-6)
    assert float(site.row_entropy) == pytest.approx(float(entropy(double).mean()), rel=1e-6)
    assert float(site.document_entropy[0, 3]) == pytest.approx(float(entropy(mine).sum()), rel=1e-6)
    assert float(site.document_surprise[0, 3]) == pytest.approx(-float((mine @ mean.log()).sum()), rel=1e-6)
    assert float(site.document_surprise.sum()) / 300 == pytest.approx(float(entropy(mean)), rel=1e-6)


def _products(rows: Tensor, weights: Tensor, documents: Tensor) -> Tensor:
    """Mean product of two rows of two documents, which have weights."""
    weighted = rows * weights.unsqueeze(1)
    apart = documents[:, None] != documents
    products = (weighted * rows.mean(0).rsqrt()) @ weighted.T
    return products[apart].sum() / torch.outer(weights, weights)[apart].sum()


def test_products_of_two_documents_are_those_of_all_pairs() -> None:
    rows, _, documents = repeated_text()
    mean, influence = _site(rows, documents).other_products
    ones = torch.ones(len(rows)).double()
    assert float(mean) == pytest.approx(float(_products(rows.double(), ones, documents)), rel=1e-6)
    step = 1e-5
    for d in (0, 7, 39):
        up, down = (_products(rows.double(), 1 + s * (documents == d).double(), documents) for s in (step, -step))
        assert float(influence[0, d]) == pytest.approx(float(up - down) / (2 * step), abs=1e-8)
    assert abs(float(influence.sum())) < 1e-12


def test_one_row_has_no_two_documents() -> None:
    assert _site(random_rows(num_rows=1)[0], torch.zeros(1).long()).other_products[0].isnan()


@pytest.mark.parametrize("shared", [0.0, 1.0])
def test_the_entropy_of_a_mean_lacks_its_marginal_bias(shared: float) -> None:
    """Over 300 draws of 25 documents with 4 rows each, side by side as sites, whose truth is that of all together."""
    generator = torch.Generator().manual_seed(0)
    effects = shared * torch.randn(25, 1, 300, 8, generator=generator)
    rows = (effects + torch.randn(25, 4, 300, 8, generator=generator)).flatten(0, 1).softmax(-1)
    site = RowStatistics(rows, DocumentDesign.from_index(torch.arange(100) // 4))
    lacks = entropy(rows.double().mean((0, 1))) - entropy(site.mean).mean()
    assert float(site.marginal_bias.mean()) == pytest.approx(float(lacks), rel=0.1)  # noise of 300 draws


def test_the_marginal_bias_of_a_multinomial_is_that_of_miller() -> None:
    labels = torch.arange(600) % 6
    bias = float(_site(torch.eye(6)[labels], torch.arange(600)).marginal_bias)
    assert bias == pytest.approx((6 - 1) / (2 * 599), rel=1e-6)  # Miller's (K - 1) / (2 N), with one row less


def test_the_variance_of_products_is_that_of_many_pairs() -> None:
    rows, _ = random_rows(num_rows=2000)
    double = rows.double()
    mean = double.mean(0)
    centred = (double - mean) * mean.pow(-0.25)
    products = centred @ centred.T
    expected = products[~torch.eye(2000, dtype=torch.bool)].square().mean()
    variance = product_variance(double.T @ double / 2000, mean)
    torch.testing.assert_close(variance, expected, rtol=0.05, atol=0)
    torch.testing.assert_close(_site(rows, torch.arange(2000)).product_variance[0], variance, rtol=1e-4, atol=0)


def test_the_sample_is_bounded_and_the_same_for_every_site() -> None:
    rows = torch.rand(SAMPLE_ROWS + 100, 2, 4)
    site = RowStatistics(rows, DocumentDesign.from_index(torch.zeros(len(rows)).long()))
    assert site.sample.shape == (SAMPLE_ROWS, 2, 4)
    assert len(site.sample[:, 0].unique(dim=0)) == len(rows[:, 0].unique(dim=0)) - 100  # no row is drawn twice
    other = RowStatistics(rows.flip(1), site.documents)
    torch.testing.assert_close(other.sample.flip(1), site.sample)
