"""The hashes of the tokenizers of checkpoints, each loaded once."""

import json
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, models

from ibtrack.probe.tokenizer import tokenizer_hash
from ibtrack.replay.tokenizers import TokenizerHashes, why_another


def save(folder: Path, words: list[str]) -> Path:
    folder.mkdir()
    Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token=words[0])).save(
        str(folder / "tokenizer.json")
    )
    return folder


def test_equal_files_are_loaded_once(tmp_path: Path) -> None:
    loaded: list[str] = []

    def load(path: Path) -> Any:
        loaded.append(path.name)
        return Tokenizer.from_file(str(path / "tokenizer.json"))

    hashes = TokenizerHashes(load)
    folders = [save(tmp_path / name, ["[unk]", *words]) for name, words in (("a", "xy"), ("b", "xy"), ("c", "yx"))]
    found = [hashes.hash_of(folder) for folder in folders]
    assert loaded == ["a", "c"]
    assert found[0] == found[1] != found[2]
    assert found[0] == tokenizer_hash(Tokenizer.from_file(str(folders[0] / "tokenizer.json")))
    (folders[1] / "tokenizer_config.json").write_text(json.dumps({"model_max_length": 8}))
    hashes.hash_of(folders[1])
    assert loaded == ["a", "c", "b"], "what is beside the definition may change it"


def test_a_checkpoint_without_a_tokenizer_has_no_hash(tmp_path: Path) -> None:
    hashes = TokenizerHashes(lambda path: 1 / 0)
    (tmp_path / "tokenizer_config.json").write_text("{}")
    assert hashes.hash_of(tmp_path) == ""
    assert hashes.hash_of(tmp_path / "last.ckpt") == ""


def test_another_tokenizer_is_told_by_its_hash() -> None:
    assert why_another("ab" * 32, "ab" * 32) is None
    assert why_another("", "ab" * 32) is None
    assert why_another("ab" * 32, "") is None
    told = why_another("cd" * 32, "ab" * 32) or ""
    assert told.startswith("its tokenizer (hash cdcdcdcd) is another one than that of the probe")
