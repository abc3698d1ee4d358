"""What is said of a corpus before it is prepared: nothing is read or written for it."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest

from experiments import documents
from experiments.corpus import Recipe, prepared
from experiments.outlook import outlook
from experiments.tokenizer import EndingTokenizer, train_tokenizer
from tests.experiments.stories import STORIES


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("IBTRACK_CACHE", str(tmp_path / "deep" / "cache"))
    return tmp_path / "deep"


@pytest.fixture
def stories(tmp_path: Path) -> Recipe:
    for number, story in enumerate(STORIES):
        (tmp_path / f"{number}.txt").write_text(story)
    return Recipe(partial(documents.local, files=f"{tmp_path}/*.txt"), vocab_size=300, held_out=0.25)


def test_files_are_measured_and_not_read(stories: Recipe, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents, "load_dataset", None)  # reading would call it
    seen = outlook(stories)
    size = sum(map(len, STORIES))
    assert (seen.text_bytes, seen.tokens, seen.disk) == (size, size // 4 * 3 // 4, size // 4 * 2)
    assert seen.folder is None
    assert seen.free > 0
    assert not cache.exists()
    assert "preparing leaves 0 MB on disk" in seen.sentence()


def test_a_prepared_corpus_is_found_with_its_tokens(stories: Recipe) -> None:
    made = prepared(stories)
    seen = outlook(stories)
    assert (seen.folder, seen.facts, seen.tokens, seen.disk) == (made.folder, made.facts, made.facts.train_tokens, 0)
    assert seen.sentence().endswith(f"prepared, {made.facts.train_tokens:,} tokens to train on, in {made.folder}")


@pytest.mark.parametrize(
    ("settings", "size"),
    [({}, None), ({"max_bytes": 8_000_000_000}, 8e9), ({"expected_bytes": 2_000_000}, 2e6)],
)
def test_of_the_hub_is_known_what_was_said(settings: dict[str, Any], size: float | None) -> None:
    seen = outlook(Recipe(partial(documents.hub, path="allenai/c4", name="en"), held_out=0.5, **settings))
    assert seen.text_bytes == size
    if size is None:
        assert seen.sentence().endswith("how much text it has is not known (expected_bytes says it)")
    else:
        assert seen.tokens == size / 8
        assert f"about {'8.0 GB' if size > 1e9 else '2 MB'} of text" in seen.sentence()


def test_a_stream_takes_no_disk(stories: Recipe) -> None:
    seen = outlook(stories, streaming=True)
    assert seen.disk == seen.sorting == 0
    assert seen.sentence().endswith("it streams and takes no disk")


def test_a_large_vocabulary_takes_twice_the_disk_and_compressed_files_hold_more(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(b"0" * 4000)
    tokenizer = train_tokenizer(STORIES, 300)
    source = partial(documents.local, files=f"{tmp_path}/a.parquet")
    small = outlook(Recipe(source, tokenizer=EndingTokenizer(tokenizer, 0)))
    assert small.text_bytes == 12_000
    tokenizer.add_tokens([f"never {number} seen" for number in range(1 << 16)])
    assert outlook(Recipe(source, tokenizer=EndingTokenizer(tokenizer, 0))).disk == 2 * (small.disk or 0)
