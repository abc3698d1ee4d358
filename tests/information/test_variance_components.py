"""Variance components, intraclass correlation and design effect."""

import pytest
import torch
from torch import Tensor

from ibtrack.information.document_design import DocumentDesign
from ibtrack.information.gap_curves import gap_curves
from ibtrack.information.label_design import LabelDesign
from ibtrack.information.label_statistics import label_statistics
from ibtrack.information.moments import Moments, moments_of_rows
from ibtrack.information.row_statistics import RowStatistics
from ibtrack.information.variance_components import (
    intraclass_correlation,
    inverse_effective_sizes,
    label_share,
    null_deviation,
)
from tests import references
from tests.information.samples import random_rows, repeated_text, sample


def _nested(num_labels: int = 400, num_documents: int = 6, num_rows: int = 4) -> tuple[Tensor, Tensor, Tensor]:
    """Gaussian rows around 10 with known components: between labels 1, between documents .5, within .25."""
    generator = torch.Generator().manual_seed(0)
    label = torch.randn(num_labels, 1, 1, 3, generator=generator)
    document = 0.5**0.5 * torch.randn(num_labels, num_documents, 1, 3, generator=generator)
    row = 0.5 * torch.randn(num_labels, num_documents, num_rows, 3, generator=generator)
    rows = (10 + label + document + row).flatten(0, 2)
    labels = torch.arange(num_labels).repeat_interleave(num_documents * num_rows)
    documents = torch.arange(num_labels * num_documents).repeat_interleave(num_rows)
    return rows, labels, documents


def _crossed(
    num_labels: int, cell: float = 0.0, document: float = 0.0, label: float = 0.0, seed: int = 0, draws: int = 600
) -> Moments:
    """Many draws, as sites, of 30 documents of 20 rows with any labels.

    Rows vary by 1, and besides by the squares of ``cell`` between cells, of ``document`` between documents and of
    ``label`` between labels, on a scale so small that the softmax is linear.
    """
    generator = torch.Generator().manual_seed(seed)
    labels = torch.cat([torch.arange(num_labels), torch.randint(num_labels, (600 - num_labels,), generator=generator)])
    labels = labels[torch.randperm(600, generator=generator)]
    documents = torch.arange(600) // 20
    cells = torch.unique(labels * 30 + documents, return_inverse=True)[1]

    def effects(number: int) -> Tensor:
        return torch.randn(number, draws, 5, generator=generator)

    rows = effects(600) + cell * effects(int(cells.max()) + 1)[cells] + document * effects(30)[documents]
    rows = (0.1 * (rows + label * effects(num_labels)[labels])).softmax(-1)
    partition = DocumentDesign.from_index(documents)
    sites, designs = [RowStatistics(rows, partition)], [LabelDesign.from_labels(labels, partition)]
    return moments_of_rows(sites, designs, label_statistics(sites, designs), gap_curves(sites))[0]


def test_known_components_are_estimated() -> None:
    moments = sample(*_nested()).moments
    # two standard deviations of a variance over 400 labels in three anchors are 8 % of it
    assert float(label_share(moments)) == pytest.approx(1 / 1.75, rel=0.08)
    assert float(intraclass_correlation(moments)) == pytest.approx(0.5 / 0.75, abs=0.05)


def test_components_are_those_of_all_pairs_of_rows() -> None:
    rows, labels, documents = repeated_text()
    site, _, _, moments, _ = sample(rows, labels, documents)
    reference = references.Debiased(rows.double().numpy(), labels.numpy(), documents.numpy(), site.sample[:, 0].numpy())
    expected = reference.share(torch.ones(len(rows)).numpy())
    assert (float(label_share(moments)), float(intraclass_correlation(moments))) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("num_labels", [2, 3, 5, 10, 100])
@pytest.mark.parametrize("cell", [0.0, 0.8])
def test_the_share_of_labels_that_tell_nothing_is_within_its_noise(num_labels: int, cell: float) -> None:
    """Documents are crossed with labels, with and without an intraclass correlation of .4.

    The noise is 1 over 600 draws to 3 %, and for two labels, where it is that of χ² with few degrees, to 8 %.
    """
    moments = _crossed(num_labels, cell=cell)
    share, deviation = label_share(moments)[0], null_deviation(moments)[0]
    assert float((share / deviation).std()) == pytest.approx(1, abs=0.15 if num_labels < 5 else 0.1)
    assert abs(float(share.mean() / deviation.mean())) < 0.15  # 3.5 of its own standard errors
    assert bool((share < 0).any())


def test_what_a_document_does_to_all_of_its_rows_makes_the_noise_no_smaller_than_said() -> None:
    for num_labels in (2, 10, 100):
        moments = _crossed(num_labels, cell=0.8, document=0.8)
        assert float((label_share(moments) / null_deviation(moments)).std()) < 1.1


def test_what_a_document_does_to_all_of_its_rows_does_not_lower_the_share_of_labels() -> None:
    """A faint label beside a strong document: r is .04 of all variance, and that of documents .5."""
    for document in (0.0, 1.1):
        share = label_share(_crossed(20, document=document, label=0.3))[0]
        expected = 0.09 / (1 + 0.09 + document**2)
        assert float(share.mean()) == pytest.approx(expected, rel=0.05)


def test_a_share_is_at_most_the_largest_and_no_document_moves_it_there() -> None:
    labels = torch.arange(600) % 6
    moments = sample(torch.eye(6)[labels], labels).moments
    assert float(label_share(moments)) == 0.98
    leaf = moments.cross_products.clone().requires_grad_()
    vars(moments)["cross_products"] = leaf
    (gradient,) = torch.autograd.grad(label_share(moments), leaf)
    assert float(gradient) == 0


def test_intraclass_correlation_of_a_repeated_text_and_of_independent_rows() -> None:
    rows, labels, documents = repeated_text()
    repeated = sample(rows, labels, documents).moments
    assert float(intraclass_correlation(repeated)) == pytest.approx(0.5, abs=0.1)  # .7² of .7² + .7²
    shuffled = documents[torch.randperm(len(documents), generator=torch.Generator().manual_seed(0))]
    assert float(intraclass_correlation(sample(rows, labels, shuffled).moments)) < 0.3


def test_without_two_rows_of_a_label_in_a_document_there_is_no_correlation() -> None:
    assert float(intraclass_correlation(sample(*random_rows()).moments)) == 0


@pytest.mark.parametrize("row", [[0.25] * 4, [1.0, 0.0, 0.0, 0.0], [0.1, 0.2, 0.3, 0.4]])
def test_equal_rows_have_components_that_are_numbers(row: list[float]) -> None:
    """Of two numbers that are 0 but for rounding nothing else can be said."""
    moments = sample(torch.tensor(row).expand(60, 4), torch.arange(60) % 6, torch.arange(60) // 20).moments
    assert label_share(moments).isfinite()
    assert 0 <= float(intraclass_correlation(moments)) <= 1


def test_means_of_clustered_labels_vary_as_their_effective_size_says() -> None:
    """Each of 4000 labels has 3, 2 and 1 rows in three documents: n = 6, n_eff = 3.2, and σ² = .5 + .25."""
    generator = torch.Generator().manual_seed(0)
    document = torch.arange(12_000).view(4000, 3)[:, [0, 0, 0, 1, 1, 2]]
    shared = 0.5**0.5 * torch.randn(12_000, 6, generator=generator)
    rows = 5 + shared[document] + 0.5 * torch.randn(4000, 6, 6, generator=generator)
    labels = torch.arange(4000).repeat_interleave(6)
    moments = sample(rows.flatten(0, 1), labels, document.flatten()).moments
    inverse_effective_size = float(inverse_effective_sizes(moments) @ moments.row_shares)
    observed = float(rows.mean(1).var(0).mean())
    # two deviations of either side: ρ is estimated to .014, a variance of 24 000 means to 1 %
    assert 0.75 * inverse_effective_size == pytest.approx(observed, rel=0.03)


def test_no_label_has_a_larger_effective_size_than_rows() -> None:
    rows, labels, documents = repeated_text()
    moments = sample(rows, labels, documents).moments
    assert (1 / inverse_effective_sizes(moments) <= 1 / moments.inverse_sizes + 1e-9).all()
