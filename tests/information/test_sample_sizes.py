"""Sample sizes in bins."""

import pytest
import torch

from ibtrack.information.sample_sizes import concentration, size_bins
from tests.information.samples import sample


def test_bins_keep_the_rows_and_the_mean_inverse() -> None:
    occurrences = [1, 1, 2, 5, *range(100, 140)]
    labels = torch.repeat_interleave(torch.arange(len(occurrences)), torch.tensor(occurrences))
    moments = sample(torch.rand(len(labels), 4).softmax(-1), labels).moments
    assert len(moments.inverse_sizes) < 40  # of 64 sizes that there are, with the halves
    inverse = float((moments.row_shares * moments.inverse_sizes).sum())
    assert inverse == pytest.approx(len(occurrences) / len(labels), rel=1e-9)  # Σ_x n_x (1 / n_x) / N


def test_sizes_within_a_bin_are_within_its_ratio() -> None:
    sizes = torch.arange(1, 2000)
    inverse, bins = size_bins(sizes, sizes[:0])
    for index in range(len(inverse)):
        members = sizes[bins[1:2000] == index]
        assert float(members.max() / members.min()) < 1.06 or len(members) == 1
    assert bins[1:5].unique().tolist() == bins[1:5].tolist()  # up to 4 each has its own


def test_concentration_is_one_in_a_single_document_and_one_over_their_number_if_even() -> None:
    cells = concentration(torch.tensor([0, 1, 1, 1, 1, 2, 2]), torch.tensor([7, 2, 2, 2, 2, 3, 1]), 4)
    assert cells.tolist() == pytest.approx([1, 0.25, 10 / 16, 0])
