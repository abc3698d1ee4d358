"""Tokenizers: trained once, cached, and read from files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import transformers
from tokenizers import pre_tokenizers
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from experiments import tokenizer
from ibtrack.probe.tokenizer import tokenizer_hash
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


CLASSES: Any = transformers  # whose stubs know a part of its classes
BYTES = {letter: number for number, letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()), start=1)}
MERGES = [("Ġ", "c"), ("Ġc", "a"), ("Ġca", "t")]
VOCABULARY = {tokenizer.END: 0, **BYTES, **{"".join(pair): 257 + number for number, pair in enumerate(MERGES)}}


def of_gpt2(**settings: Any) -> PreTrainedTokenizerBase:
    return CLASSES.GPT2TokenizerFast(vocab=VOCABULARY, merges=MERGES, **settings)


def of_gpt_neox(**settings: Any) -> PreTrainedTokenizerBase:
    return CLASSES.GPTNeoXTokenizerFast(vocab=VOCABULARY, merges=MERGES, **settings)


def of_olmo2(**settings: Any) -> PreTrainedTokenizerBase:
    """Return one of the class that OLMo 2 has: a tokenizers.Tokenizer whose ids have gaps for tokens added later."""
    backend = tokenizer.train_tokenizer(STORIES, 300)
    backend.add_special_tokens(["<|pad|>", "<|extra|>"])
    named: dict[str, Any] = {"eos_token": tokenizer.END, "pad_token": "<|pad|>", **settings}
    return CLASSES.PreTrainedTokenizerFast(tokenizer_object=backend, **named)


TEXT = "the cat sat; <|endoftext|> is a text,\n\n  and é ☂ too"


@pytest.mark.parametrize("make", [of_gpt2, of_gpt_neox, of_olmo2])
def test_tokenizers_of_transformers_are_read_from_a_folder(
    make: Callable[..., PreTrainedTokenizerBase], tmp_path: Path
) -> None:
    own = make(model_max_length=4, truncation_side="left")
    own("a text", truncation=True, padding="max_length" if own.pad_token else False, max_length=4)
    own.save_pretrained(tmp_path)
    read, end_id = tokenizer.load_tokenizer(tmp_path)
    assert end_id == own.eos_token_id
    ids = read.encode(TEXT, add_special_tokens=False).ids
    assert ids == own(TEXT, add_special_tokens=False, split_special_tokens=True, verbose=False)["input_ids"]
    assert len(ids) > 4, "what an earlier call has cut off is not cut off here"
    assert end_id not in ids
    assert read.decode(ids) == TEXT
    assert tokenizer.vocabulary_size(read) == max(own.get_vocab().values()) + 1
    assert tokenizer_hash(read) == tokenizer_hash(own)


def test_the_end_of_a_document_can_be_named(tmp_path: Path) -> None:
    of_olmo2().save_pretrained(tmp_path)
    read, end_id = tokenizer.load_tokenizer(tmp_path, "<|extra|>")
    assert end_id == read.token_to_id("<|extra|>")
    assert tokenizer.load_tokenizer(tmp_path / "tokenizer.json", "<|extra|>").end_id == end_id
    with pytest.raises(ValueError, match="must have a token that ends a document, and it has no '<none>'"):
        tokenizer.load_tokenizer(tmp_path, "<none>")


def test_a_tokenizer_of_transformers_that_names_no_end_is_refused(tmp_path: Path) -> None:
    of_olmo2(eos_token=None).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="must have a token that ends a document, and it names none;"):
        tokenizer.load_tokenizer(tmp_path)
    assert tokenizer.load_tokenizer(tmp_path, tokenizer.END).end_id == 0


def test_a_tokenizer_that_is_nowhere_is_said_in_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ValueError, match=r"tokenizer must be a tokenizer.json, a folder .* got 'nobody/nothing': .*\w"):
        tokenizer.load_tokenizer("nobody/nothing")
    with pytest.raises(ValueError, match=r"a folder with a tokenizer, or a name that the hub knows, got '.*/empty': "):
        tokenizer.load_tokenizer(tmp_path / "empty")


def test_a_tokenizer_on_this_machine_asks_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    of_gpt2().save_pretrained(tmp_path)
    asked: list[bool] = []
    load = AutoTokenizer.from_pretrained

    def from_pretrained(source: Any, local_files_only: bool = False) -> Any:
        asked.append(local_files_only)
        return load(source, local_files_only=local_files_only)

    monkeypatch.setattr(AutoTokenizer, "from_pretrained", from_pretrained)
    tokenizer.load_tokenizer(tmp_path)
    assert asked == [True]


def test_a_tokenizer_that_is_written_in_python_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    slow = SimpleNamespace(is_fast=False)
    monkeypatch.setattr(AutoTokenizer, "from_pretrained", lambda source, local_files_only: slow)
    with pytest.raises(ValueError, match="'slow' must be one of the tokenizers library, got SimpleNamespace, which is"):
        tokenizer.load_tokenizer("slow")


def test_an_own_folder_for_the_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("IBTRACK_CACHE", str(tmp_path / "own"))
    assert tokenizer.cache_folder() == tmp_path / "own"
