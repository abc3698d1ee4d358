"""Paired permutation of a binary label."""

import pytest
import torch

from ibtrack.information.permutation import DRAWS, permuted_information
from tests import references


def test_permutations_are_the_slow_loop() -> None:
    generator = torch.Generator().manual_seed(0)
    assignments = torch.softmax(torch.randn(60, 5, generator=generator), 1)
    documents, labels = torch.arange(60) // 10, torch.randint(2, (60,), generator=generator)
    coins = torch.randint(2, (DRAWS, 6), generator=torch.Generator().manual_seed(3))
    values = permuted_information(assignments, labels, documents, num_documents=6, seed=3)
    for coin, value in zip(coins[:10], values[:10], strict=True):
        exchanged = torch.where(coin[documents] == 1, 1 - labels, labels)
        expected = references.plugin_information(assignments.double().numpy(), exchanged.numpy())
        assert float(value) == pytest.approx(expected, abs=1e-7)


def test_a_document_with_one_label_alone_counts_as_nothing_on_the_other_side() -> None:
    assignments = torch.softmax(torch.randn(8, 5, generator=torch.Generator().manual_seed(0)), 1)
    values = permuted_information(assignments, torch.zeros(8).long(), torch.zeros(8).long(), num_documents=1)
    assert values.abs().max() < 1e-9  # one label is empty, whatever the coin
