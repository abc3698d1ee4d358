"""Documents by hash: each text once, in one order, whatever fits into memory and whatever order they come in."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments.hash_order import Document, in_hash_order

TEXTS = [f"document {number} {'é' * (number % 40)}" for number in range(700)]


def ordered(texts: list[str], folder: Path, sorted_bytes: int) -> list[bytes]:
    documents = in_hash_order(map(Document.of, texts), folder, sorted_bytes=sorted_bytes)
    return [document.text for document in documents]


def expected(texts: list[str]) -> list[bytes]:
    return sorted({text.encode() for text in texts}, key=lambda text: hashlib.sha256(text).digest())


@pytest.mark.parametrize("sorted_bytes", [1 << 20, 20_000, 1000])  # all in memory, one level of files, two or more
def test_the_order_does_not_depend_on_memory_nor_on_the_order_of_reading(tmp_path: Path, sorted_bytes: int) -> None:
    texts = [*TEXTS, *TEXTS[:300]]
    random.Random(0).shuffle(texts)
    assert ordered(texts, tmp_path / "sorting", sorted_bytes) == expected(TEXTS)
    assert not list(tmp_path.iterdir()), "nothing of it is left"


def test_one_text_over_and_over_needs_no_files(tmp_path: Path) -> None:
    assert ordered(["again"] * 5000, tmp_path / "sorting", 1000) == [b"again"]


@settings(max_examples=20, deadline=None)
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), max_size=30))
def test_any_text_comes_back(tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> None:
    assert ordered(texts, tmp_path_factory.mktemp("any") / "sorting", 600) == expected(texts)


def test_what_is_held_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While documents are read, no more of them are alive than the bound and what the files wait for."""
    monkeypatch.setattr("experiments.hash_order._WRITTEN_BYTES", 1000)
    alive: set[int] = set()
    most = 0

    class Counted(bytes):
        def __del__(self) -> None:
            alive.discard(id(self))

    def documents() -> Iterator[Document]:
        nonlocal most
        for number in range(3000):
            text = Counted(f"{number} ".encode() * 100)
            alive.add(id(text))
            most = max(most, len(alive))
            yield Document(hashlib.sha256(text).digest(), text)

    assert sum(1 for _ in in_hash_order(documents(), tmp_path / "sorting", sorted_bytes=100_000)) == 3000
    assert most < 1500, "256 files hold two or three each"


def test_half_a_surrogate_pair_is_refused() -> None:
    with pytest.raises(ValueError, match="documents must be text that UTF-8 can write, got 'a"):
        Document.of("a\ud800")
