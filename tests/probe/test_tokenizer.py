"""Tokenizers of every kind: what they encode to, what they are called, and the hash of their definition."""

from __future__ import annotations

import copy
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import AutoTokenizer, ByT5Tokenizer, GPT2Tokenizer, PreTrainedTokenizerFast

from ibtrack.probe.tokenizer import encoder, is_of_tokenizer, tokenizer_hash, tokenizer_name

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


def test_one_tokenizer_in_several_classes_has_one_hash(tmp_path: Path) -> None:
    """As saved by transformers and loaded by the class that its configuration names, or by that of a known model."""
    plain = byte_pairs(["the cat sat on the mat"] * 3)
    make: Any = PreTrainedTokenizerFast
    wrapped = make(tokenizer_object=plain, eos_token="<end>", pad_token="<pad>", additional_special_tokens=["<a>"])
    wrapped.save_pretrained(tmp_path)
    again: list[Any] = [AutoTokenizer.from_pretrained(tmp_path), GPT2Tokenizer.from_pretrained(tmp_path)]
    settings = json.loads((tmp_path / "tokenizer_config.json").read_text())
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings | {"tokenizer_class": "GPT2Tokenizer"}))
    again.append(AutoTokenizer.from_pretrained(tmp_path))
    assert type(again[-1]) is GPT2Tokenizer
    definitions = {each.backend_tokenizer.to_str() for each in (wrapped, *again)}
    assert len(definitions | {plain.to_str()}) == 3, "as classes write the same rules in other words"
    assert {tokenizer_hash(each) for each in (plain, wrapped, *again)} == {tokenizer_hash(plain)}
    text = "the dog sat on the cat"
    assert [encoder(each)(text) for each in again] == [encoder(plain)(text)] * len(again)


def test_added_tokens_that_occur_in_text_are_part_of_the_hash() -> None:
    spaces, marked = word_level(), word_level()
    spaces.add_tokens(["    "])
    marked.add_special_tokens(["<end>"])
    assert tokenizer_hash(spaces) != tokenizer_hash(word_level()) == tokenizer_hash(marked)


def test_a_sequence_of_one_rule_is_that_rule() -> None:
    one, other, both = (word_level() for _ in range(3))
    one.normalizer = normalizers.Lowercase()
    other.normalizer = normalizers.Sequence([normalizers.Lowercase()])
    both.normalizer = normalizers.Sequence([normalizers.Lowercase(), normalizers.NFC()])
    assert tokenizer_hash(one) == tokenizer_hash(other) != tokenizer_hash(both)


def test_a_hash_of_the_version_before_is_still_known() -> None:
    """The hash of the whole definition, as files have it that were written before."""
    definition = {
        key: value for key, value in json.loads(word_level().to_str()).items() if key not in ("truncation", "padding")
    }
    old = hashlib.sha256(json.dumps(definition, sort_keys=True, default=str).encode()).hexdigest()
    assert is_of_tokenizer(old, word_level())
    assert not is_of_tokenizer(old, word_level({**VOCABULARY, "w17": 18}))
    assert is_of_tokenizer(tokenizer_hash(word_level()), fast())
    assert not is_of_tokenizer(tokenizer_hash(word_level()), word_level({**VOCABULARY, "w17": 18}))
    assert is_of_tokenizer(old, len)


def test_a_plain_callable_has_no_hash() -> None:
    assert tokenizer_hash(lambda text: [len(text)]) == ""
