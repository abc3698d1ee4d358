"""Texts to blocks: windows of one document each, in an order that the seed decides."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from torch import Tensor

from ibtrack.probe.copies import REPLACED, Copies
from ibtrack.probe.texts import text_blocks

TEXTS = [" ".join(f"w{(j * j * (i + 3) // 5 + i * j) % 17}" for j in range(40 + i)) for i in range(30)]


def words(text: str) -> list[int]:
    return [int(word[1:]) for word in text.split()]


def blocks(texts: Iterable[str] = TEXTS, num_blocks: int = 8, block_size: int = 20, seed: int = 0) -> Tensor:
    return text_blocks(texts, words, num_blocks=num_blocks, block_size=block_size, seed=seed).tokens


def test_windows_come_from_one_document_each() -> None:
    documents = [tuple(words(text)) for text in TEXTS]
    for block in blocks().tolist():
        assert [d for d, ids in enumerate(documents) for i in range(len(ids) - 19) if list(ids[i : i + 20]) == block]
    assert blocks().shape == (8, 20)


def test_same_seed_same_blocks_other_seed_others() -> None:
    assert blocks().equal(blocks())
    assert not blocks().equal(blocks(seed=1))


def test_a_stream_is_taken_in_its_own_order() -> None:
    assert blocks(iter(TEXTS), num_blocks=1, block_size=40)[0].tolist() == words(TEXTS[0])


def test_short_texts_are_skipped() -> None:
    assert blocks(iter([*TEXTS[:3], "w1 " * 90]), num_blocks=1, block_size=80).eq(1).all()


def test_documents_of_any_length_give_their_beginnings() -> None:
    result = text_blocks(
        iter(["w1 w2", "w3 w4 w5 w6", "w7", "w8 w9 w10"]), words, num_blocks=3, block_size=3, min_length=2
    )
    assert result.tokens.tolist() == [[1, 2, 0], [3, 4, 5], [8, 9, 10]]
    assert result.lengths.tolist() == [2, 3, 3]


def test_documents_that_are_long_enough_fill_their_blocks() -> None:
    assert text_blocks(TEXTS, words, num_blocks=8, block_size=20).lengths.tolist() == [20] * 8
    beginnings = text_blocks(TEXTS, words, num_blocks=8, block_size=20, min_length=20).tokens.tolist()
    assert all(block in [words(text)[:20] for text in TEXTS] for block in beginnings)


def test_beginnings_that_are_copies_are_replaced_and_what_follows_them_is_not_compared() -> None:
    own = [" ".join(f"w{1000 * i + j}" for j in range(60)) for i in range(4)]
    texts = [own[0], own[0][: len(own[0]) // 2], f"{own[1]} {own[0]}", own[2], own[3]]
    options: dict[str, Any] = {"num_blocks": 4, "block_size": 40}
    result = text_blocks(iter(texts), words, min_length=8, **options)
    assert result.tokens[:, 0].tolist() == [0, 1000, 2000, 3000]
    assert result.copies == Copies(1, 5, REPLACED)
    kept = text_blocks(iter(texts), words, min_length=8, keep_copies=True, **options)
    assert kept.tokens[:, 0].tolist() == [0, 0, 1000, 2000]


def test_a_stream_is_read_no_further_than_it_is_needed() -> None:
    texts = iter(TEXTS)
    text_blocks(texts, words, num_blocks=5, block_size=20, min_length=8, keep_copies=True)
    assert len(list(texts)) == len(TEXTS) - 5


@pytest.mark.parametrize(
    ("num_blocks", "min_length", "sentence"),
    [
        (31, 8, "needs 31 documents of at least 8 tokens, got 30 among 30; use fewer blocks, or more text$"),
        (8, 0, "min_length must be an integer of at least 1, got 0"),
        (8, 21, "min_length must be at most block_size, 20, got 21"),
    ],
)
def test_lengths_that_cannot_be_had_are_refused(num_blocks: int, min_length: int, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        text_blocks(TEXTS, words, num_blocks=num_blocks, block_size=20, min_length=min_length)


@pytest.mark.parametrize(
    ("texts", "num_blocks", "block_size", "sentence"),
    [
        (TEXTS, 31, 16, "needs 31 documents of at least 16 tokens, got 30 among 30; use fewer or shorter blocks"),
        ([], 64, 128, "needs 64 documents of at least 128 tokens, got 0 among 0"),
        (TEXTS, 0, 16, "num_blocks must be an integer of at least 1, got 0"),
        (TEXTS, 4, 1, "block_size must be an integer of at least 2, got 1"),
    ],
)
def test_bad_input(texts: list[str], num_blocks: int, block_size: int, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        blocks(texts, num_blocks, block_size)
