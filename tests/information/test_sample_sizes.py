"""Sample sizes of labels, and their concentration on documents."""

import pytest
import torch

from ibtrack.information.document_design import DocumentDesign
from ibtrack.information.label_design import LabelDesign
from ibtrack.information.sample_sizes import SampleSizes, square_sums
from tests import references
from tests.information.samples import repeated_text


def _sizes(labels: torch.Tensor, documents: torch.Tensor) -> SampleSizes:
    return LabelDesign.from_labels(labels, DocumentDesign.from_index(documents)).sizes


def test_labels_of_equal_size_and_concentration_share_a_pair() -> None:
    # label 0: one row in each of two documents; labels 1 and 2: two rows in one; label 3: three rows in two documents
    labels, documents = torch.tensor([0, 0, 1, 1, 2, 2, 3, 3, 3]), torch.tensor([0, 1, 0, 0, 1, 1, 0, 1, 1])
    sizes = _sizes(labels, documents)
    pairs = list(zip(sizes.sizes.tolist(), sizes.concentrations.tolist(), strict=True))
    assert pairs == [(1, 1), (2, 0.5), (2, 1), (3, pytest.approx(5 / 9))]
    assert (9 * sizes.row_shares).tolist() == pytest.approx([0, 2, 4, 3])
    assert (9 * sizes.halved_row_shares).tolist() == pytest.approx([0, 2, 0, 3])
    # halves are one row each for label 0, one and two rows for label 3, each in a single document
    assert (9 * sizes.half_row_shares).tolist() == pytest.approx([3, 0, 2, 0])


def test_sizes_are_those_of_a_loop_over_labels() -> None:
    _, labels, documents = repeated_text()
    sizes = _sizes(labels, documents)
    shares: dict[tuple[int, float], float] = {}
    for x in labels.unique():
        mine = documents[labels == x]
        pair = len(mine), round(references.concentration(mine.numpy()), 9)
        shares[pair] = shares.get(pair, 0.0) + len(mine) / len(labels)
    pairs = zip(
        sizes.sizes.round().int().tolist(), sizes.concentrations.tolist(), sizes.row_shares.tolist(), strict=True
    )
    read = {(n, round(q, 9)): share for n, q, share in pairs if share}
    assert read == pytest.approx(shares)


def test_numbers_of_pairs_are_added_up_over_the_rows_of_each_document() -> None:
    _, labels, documents = repeated_text()
    sizes = _sizes(labels, documents)
    generator = torch.Generator().manual_seed(0)
    rows, halved, half = (torch.rand(2, len(sizes.inverse_sizes), generator=generator) for _ in range(3))
    sums = sizes.sum_by_document(rows, halved, half)
    pairs = torch.stack([sizes.sizes.round(), (sizes.sizes.square() * sizes.concentrations).round()], 1).tolist()
    expected = torch.zeros(2, 40)
    for x in labels.unique():
        mine = (labels == x).nonzero().flatten()
        distinct, counts = documents[mine].unique(return_counts=True)
        pair = pairs.index([len(mine), int(counts.square().sum())])
        for d, count in zip(distinct.tolist(), counts.tolist(), strict=True):
            expected[:, d] += count * rows[:, pair]
            if len(distinct) > 1:
                own = counts[(distinct == d).nonzero().item() % 2 :: 2]  # the half that the document is in
                in_half = pairs.index([int(own.sum()), int(own.square().sum())])
                weight = 2**0.5 if len(distinct) == 2 else 1.0
                expected[:, d] += weight * count * (halved[:, pair] + half[:, in_half])
    torch.testing.assert_close(sums, expected, rtol=1e-5, atol=1e-5)


def test_squares_are_added_up_by_group() -> None:
    squares = square_sums(torch.tensor([0, 1, 1, 1, 2, 2]), torch.tensor([7, 2, 2, 2, 3, 1]), 4)
    assert squares.tolist() == [49, 12, 10, 0]
