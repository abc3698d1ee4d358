"""Tokenizers: trained once, cached, and read from files."""

from __future__ import annotations

from pathlib import Path

import pytest

from experiments import tokenizer
from tests.experiments.stories import STORIES


def test_a_tokenizer_is_trained_once_for_the_same_texts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    first = tokenizer.tokenizer_for(STORIES, 300)
    assert first.to_str() == tokenizer.train_tokenizer(STORIES, 300).to_str()
    monkeypatch.setattr(tokenizer, "train_tokenizer", None)  # would be called in vain
    assert tokenizer.tokenizer_for(STORIES, 300).to_str() == first.to_str()
    monkeypatch.undo()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert tokenizer.tokenizer_for(STORIES, 280).get_vocab_size() == 280
    tokenizer.tokenizer_for(STORIES[1:], 300)
    assert len(list((tmp_path / "ibtrack").iterdir())) == 3, "one file each, and no draft is left"


@pytest.mark.usefixtures("own_cache")
def test_the_cache_is_at_home_where_nothing_else_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert tokenizer.cache_folder() == Path.home() / ".cache" / "ibtrack"


def test_a_vocabulary_without_room_for_the_bytes_is_refused() -> None:
    with pytest.raises(ValueError, match="vocab_size must be at least 257"):
        tokenizer.train_tokenizer(STORIES, 256)


def test_a_file_that_is_no_tokenizer_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(ValueError, match=r"tokenizer.json must be a tokenizer.json of the tokenizers library"):
        tokenizer.load_tokenizer(tmp_path / "tokenizer.json")


def test_a_tokenizer_without_an_end_of_document_is_refused(tmp_path: Path) -> None:
    text = tokenizer.train_tokenizer(STORIES, 300).to_str().replace(tokenizer.END, "<end>")
    (tmp_path / "tokenizer.json").write_text(text)
    with pytest.raises(
        ValueError, match=r"a token that ends a document, and it has no '<\|endoftext\|>'; data.end_token="
    ):
        tokenizer.load_tokenizer(tmp_path / "tokenizer.json")
