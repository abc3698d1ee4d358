"""Tokenizers of every kind: what they encode to, what they are called, and the hash of their definition."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import ByT5Tokenizer, PreTrainedTokenizerFast

from ibtrack.probe.tokenizer import encoder, tokenizer_hash, tokenizer_name

VOCABULARY = {f"w{i}": i for i in range(17)} | {"?": 17}


def word_level(vocabulary: dict[str, int] | None = None) -> Tokenizer:
    tokenizer = Tokenizer(models.WordLevel(vocabulary or VOCABULARY, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return tokenizer


def fast(**options: Any) -> Any:
    """The same as a tokenizer of transformers, whose classes are not annotated."""
    make: Any = PreTrainedTokenizerFast
    return make(tokenizer_object=word_level(), pad_token="?", name_or_path="words", **options)


def byte_pairs(texts: list[str]) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator(
        texts, trainers.BpeTrainer(vocab_size=262, initial_alphabet=alphabet, show_progress=False)
    )
    return tokenizer


@pytest.mark.parametrize("tokenizer", [word_level(), fast(), lambda text: [int(word[1:]) for word in text.split()]])
def test_every_kind_encodes_without_special_tokens(tokenizer: Any) -> None:
    assert encoder(tokenizer)("w3 w1 w3") == [3, 1, 3]


def test_what_is_no_tokenizer_is_refused() -> None:
    with pytest.raises(ValueError, match=r"tokenizer must be a tokenizer or a callable .* got NoneType"):
        encoder(None)


def test_names() -> None:
    assert [tokenizer_name(each) for each in (fast(), word_level(), len)] == [
        "words",
        "Tokenizer",
        "builtin_function_or_method",
    ]


def test_a_tokenizer_and_the_one_that_is_built_on_it_have_one_hash() -> None:
    assert tokenizer_hash(fast()) == tokenizer_hash(fast().backend_tokenizer) != ""


@pytest.mark.parametrize("make", [word_level, lambda: byte_pairs(["the cat sat on the mat"] * 3)])
def test_the_hash_survives_a_file(tmp_path: Path, make: Any) -> None:
    tokenizer = make()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    again = [Tokenizer.from_file(str(tmp_path / "tokenizer.json")) for _ in range(2)]
    assert {tokenizer_hash(each) for each in (tokenizer, *again)} == {tokenizer_hash(make())}


def test_the_hash_of_a_hugging_face_tokenizer_survives_its_folder(tmp_path: Path) -> None:
    tokenizer = fast()
    tokenizer.save_pretrained(tmp_path)
    assert tokenizer_hash(PreTrainedTokenizerFast.from_pretrained(tmp_path)) == tokenizer_hash(tokenizer)


def test_the_hash_sees_vocabulary_merges_and_normalizer() -> None:
    swapped = dict(VOCABULARY, w0=1, w1=0)
    merged = json.loads(byte_pairs(["the cat sat on the mat"] * 3).to_str())
    reordered = copy.deepcopy(merged)
    reordered["model"]["merges"].reverse()
    assert len(merged["model"]["merges"]) > 1
    lowered = word_level()
    lowered.normalizer = normalizers.Lowercase()
    tokenizers = [
        word_level(),
        word_level(swapped),
        word_level({**VOCABULARY, "w17": 18}),
        Tokenizer.from_str(json.dumps(merged)),
        Tokenizer.from_str(json.dumps(reordered)),
        lowered,
    ]
    assert len({tokenizer_hash(each) for each in tokenizers}) == len(tokenizers)


def test_the_hash_is_of_the_tokenizer_and_not_of_its_last_call() -> None:
    """A call with padding and truncation leaves them in the definition that the library writes."""
    used, unused = fast(), fast()
    used(["w1 w2 w3", "w1"], padding=True, truncation=True, max_length=2)
    assert used.backend_tokenizer.to_str() != unused.backend_tokenizer.to_str()
    assert tokenizer_hash(used) == tokenizer_hash(unused)


def test_a_tokenizer_written_in_python_has_the_hash_of_its_vocabulary(tmp_path: Path) -> None:
    tokenizer = ByT5Tokenizer(extra_ids=3)
    assert not hasattr(tokenizer, "backend_tokenizer")
    tokenizer.save_pretrained(tmp_path)
    assert tokenizer_hash(ByT5Tokenizer.from_pretrained(tmp_path)) == tokenizer_hash(tokenizer)
    others = [ByT5Tokenizer(extra_ids=4), ByT5Tokenizer(extra_ids=3, eos_token="<end>")]
    assert len({tokenizer_hash(each) for each in (tokenizer, *others)}) == 3


def test_a_plain_callable_has_no_hash() -> None:
    assert tokenizer_hash(lambda text: [len(text)]) == ""
