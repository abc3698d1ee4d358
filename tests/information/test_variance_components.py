"""Variance components, intraclass correlation and design effect."""

import pytest
import torch

from ibtrack.information.variance_components import (
    intraclass_correlation,
    inverse_effective_sizes,
    variance_components,
    variance_ratio,
)
from tests.information.samples import random_rows, repeated_text, sample


def _nested(num_labels: int = 400, num_documents: int = 6, num_rows: int = 4) -> tuple[torch.Tensor, ...]:
    """Gaussian rows around 10 with known components: between labels 1, between documents .5, within .25."""
    generator = torch.Generator().manual_seed(0)
    label = torch.randn(num_labels, 1, 1, 3, generator=generator)
    document = 0.5**0.5 * torch.randn(num_labels, num_documents, 1, 3, generator=generator)
    row = 0.5 * torch.randn(num_labels, num_documents, num_rows, 3, generator=generator)
    rows = (10 + label + document + row).flatten(0, 2)
    labels = torch.arange(num_labels).repeat_interleave(num_documents * num_rows)
    documents = torch.arange(num_labels * num_documents).repeat_interleave(num_rows)
    return rows, labels, documents


def test_known_components_are_estimated() -> None:
    within, between = variance_components(sample(*_nested()).moments)
    torch.testing.assert_close(within, torch.full_like(within, 0.75), rtol=0.1, atol=0)
    torch.testing.assert_close(between, torch.full_like(between, 1.0), rtol=0.2, atol=0)


def test_known_intraclass_correlation_is_estimated() -> None:
    assert float(intraclass_correlation(sample(*_nested()).moments)) == pytest.approx(0.5 / 0.75, abs=0.05)


def test_intraclass_correlation_of_a_repeated_text_and_of_independent_rows() -> None:
    rows, labels, documents = repeated_text()
    repeated = sample(rows, labels, documents).moments
    assert float(intraclass_correlation(repeated)) == pytest.approx(0.5, abs=0.1)  # .7² of .7² + .7²
    shuffled = documents[torch.randperm(len(documents), generator=torch.Generator().manual_seed(0))]
    assert float(intraclass_correlation(sample(rows, labels, shuffled).moments)) < 0.3


def test_without_two_rows_of_a_label_in_a_document_there_is_no_correlation() -> None:
    assert float(intraclass_correlation(sample(*random_rows()).moments)) == 0


def test_the_ratio_of_labels_that_tell_nothing_is_within_its_noise() -> None:
    ratios = []
    for seed in range(40):
        moments = sample(*random_rows(num_rows=1000, num_labels=200, seed=seed)).moments
        ratio, noise = variance_ratio(moments, *variance_components(moments))
        ratios.append(float(ratio / noise))
    assert 0.6 < torch.tensor(ratios).std() < 1.5  # 1 if the noise is right; 40 samples know it to about .11
    assert abs(torch.tensor(ratios).mean()) < 0.6


def test_means_of_clustered_labels_vary_as_their_effective_size_says() -> None:
    """Each of 4000 labels has 3, 2 and 1 rows in three documents: n = 6, n_eff = 3.2, and σ² = .5 + .25."""
    generator = torch.Generator().manual_seed(0)
    document = torch.arange(12_000).view(4000, 3)[:, [0, 0, 0, 1, 1, 2]]
    shared = 0.5**0.5 * torch.randn(12_000, 6, generator=generator)
    rows = 5 + shared[document] + 0.5 * torch.randn(4000, 6, 6, generator=generator)
    labels = torch.arange(4000).repeat_interleave(6)
    moments = sample(rows.flatten(0, 1), labels, document.flatten()).moments
    inverse_effective_size = float(inverse_effective_sizes(moments) @ moments.row_shares)  # one bin has all rows
    observed = float(rows.mean(1).var(0).mean())
    # two deviations of either side: ρ is estimated to .014, a variance of 24 000 means to 1 %
    assert 0.75 * inverse_effective_size == pytest.approx(observed, rel=0.03)


def test_no_label_has_a_larger_effective_size_than_rows() -> None:
    rows, labels, documents = repeated_text()
    moments = sample(rows, labels, documents).moments
    assert (1 / inverse_effective_sizes(moments) <= 1 / moments.inverse_sizes + 1e-9).all()
