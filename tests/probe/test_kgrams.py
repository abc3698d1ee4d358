"""Labels of k-grams: equal exactly where the k-grams are, whatever the vocabulary."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ibtrack.probe.kgrams import kept_positions, kgram_labels, label_entropy
from tests import references

Blocks = tuple[list[list[int]], list[list[int]]]  # token ids, and the document of each


@st.composite
def packed_blocks(draw: st.DrawFn) -> Blocks:
    blocks, length = draw(st.integers(1, 4)), draw(st.integers(6, 20))
    tokens = draw(
        st.lists(st.lists(st.integers(0, 3), min_size=length, max_size=length), min_size=blocks, max_size=blocks)
    )
    cuts = draw(st.lists(st.sets(st.integers(1, length - 1), max_size=3), min_size=blocks, max_size=blocks))
    documents = [[10 * b + sum(i >= cut for cut in cut_at) for i in range(length)] for b, cut_at in enumerate(cuts)]
    if draw(st.booleans()):
        documents[0][-2:] = [-1, -1]
    return tokens, documents


@settings(max_examples=60, deadline=None)
@given(packed_blocks(), st.sampled_from([(1,), (1, 2), (2, 3), (1, 2, 3)]))
def test_ids_are_equal_exactly_where_the_kgrams_are(blocks: Blocks, orders: tuple[int, ...]) -> None:
    tokens, documents = blocks
    expected = references.kgrams(tokens, documents, orders)
    mask = kept_positions(torch.tensor(documents), max(orders))
    labels = kgram_labels(torch.tensor(tokens), mask, orders) if mask.any() else {}

    assert int(mask.sum()) == len(next(iter(expected.values()), []))
    for key, ids in labels.items():
        assert (
            len(set(zip(ids.tolist(), expected[key], strict=True))) == len(set(ids.tolist())) == len(set(expected[key]))
        )
        assert set(ids.tolist()) == set(range(int(ids.max()) + 1))  # dense


def test_ids_do_not_overflow_for_large_vocabularies() -> None:
    tokens = torch.from_numpy(np.random.default_rng(0).integers(0, 2**31 - 1, (8, 64)))  # V ** 4 would need 124 bits
    mask = kept_positions(torch.zeros_like(tokens), 4)
    labels = kgram_labels(tokens, mask, (1, 4))
    assert int(labels["input", 4].max()) + 1 == int(mask.sum())  # random quadgrams are all distinct


def test_finer_labels_refine_coarser_ones() -> None:
    tokens = torch.randint(0, 5, (8, 64), generator=torch.Generator().manual_seed(0))
    labels = kgram_labels(tokens, kept_positions(torch.zeros_like(tokens), 4), (1, 2, 3, 4))
    for side in ("input", "output"):
        for k in (1, 2, 3):
            pairs = set(zip(labels[side, k].tolist(), labels[side, k + 1].tolist(), strict=True))
            assert len(pairs) == int(labels[side, k + 1].max()) + 1


def test_block_too_short_keeps_nothing() -> None:
    assert not kept_positions(torch.zeros(2, 7, dtype=torch.long), 4).any()


def test_tokens_must_be_integers() -> None:
    with pytest.raises(ValueError, match=r"tokens must be a tensor of integers, got torch\.float32"):
        kgram_labels(torch.zeros(1, 4), torch.ones(1, 4, dtype=torch.bool), (1,))


def test_entropy_of_a_label_set_is_that_of_its_shares() -> None:
    assert label_entropy(torch.tensor([0, 1, 1, 2, 2, 2, 2, 2])) == pytest.approx(
        references.entropy(np.array([1, 2, 5]) / 8), abs=1e-12
    )
    assert label_entropy(torch.tensor([1, 1])) == 0.0
    assert label_entropy(torch.arange(7)) == pytest.approx(math.log(7))
