"""Texts to blocks: windows of one document each, in an order that the seed decides."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from torch import Tensor

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
