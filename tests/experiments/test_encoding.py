"""Documents to ids: the same as one by one, in order, with few in memory, whatever their lengths."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from experiments import encoding
from experiments.encoding import encoded, packed
from experiments.tokenizer import EndingTokenizer, trained_tokenizer
from tests.experiments.stories import STORIES

pytestmark = pytest.mark.usefixtures("own_cache")
TEXTS = [f"{story}{number}" for number in range(30) for story in STORIES]


def one_by_one(texts: list[str], ending: EndingTokenizer) -> list[int]:
    tokenizer, end = ending
    return [token for text in texts for token in [*tokenizer.encode(text, add_special_tokens=False).ids, end]]


@pytest.mark.parametrize(("letters", "texts"), [(1 << 20, 4096), (3000, 4096), (1 << 20, 7)])
def test_in_chunks_equals_one_by_one(letters: int, texts: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoding, "CHUNK_LETTERS", letters)
    monkeypatch.setattr(encoding, "CHUNK_TEXTS", texts)
    ending = trained_tokenizer(STORIES, 300)
    assert np.concatenate(list(encoded(TEXTS, *ending))).tolist() == one_by_one(TEXTS, ending)


def test_no_more_texts_are_taken_than_are_worked_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoding, "CHUNK_TEXTS", 10)
    taken: list[str] = []

    def texts() -> Iterator[str]:
        for text in TEXTS:
            taken.append(text)
            yield text

    next(iter(encoded(texts(), *trained_tokenizer(STORIES, 300))))
    assert len(taken) == 30 < len(TEXTS)


def test_a_long_document_is_encoded_in_pieces_and_ends_once(monkeypatch: pytest.MonkeyPatch) -> None:
    ending = trained_tokenizer(STORIES, 300)
    lines = "\n".join(STORIES)
    whole = one_by_one([lines, "short"], ending)
    monkeypatch.setattr(encoding, "LONGEST", 1000)
    monkeypatch.setattr(encoding, "CHUNK_LETTERS", 900)
    ids = np.concatenate(list(encoded([lines, "short"], *ending)))
    assert ending.tokenizer.decode(ids.tolist(), skip_special_tokens=False) == f"{lines}<|endoftext|>short<|endoftext|>"
    assert ids.tolist() == whole, "this tokenizer never joins a line break with what follows it"
    monkeypatch.setattr(encoding, "LONGEST", 11)  # shorter than a line
    pieces = encoding._pieces("a line without a break in it\nand one")
    assert pieces == ["a line with", "out a break", " in it\n", "and one"]


def test_an_error_while_documents_are_read_comes_through() -> None:
    def texts() -> Iterator[str]:
        yield from TEXTS
        raise OSError("the hub is gone")

    with pytest.raises(OSError, match="the hub is gone"):
        list(encoded(texts(), *trained_tokenizer(STORIES, 300)))


def test_packed_blocks_are_the_row_without_its_rest() -> None:
    ending = trained_tokenizer(STORIES, 300)
    blocks = packed(TEXTS, *ending, 16)
    ids = one_by_one(TEXTS, ending)
    assert blocks.flatten().tolist() == ids[: len(ids) // 16 * 16]
    assert blocks.dtype == torch.int64
