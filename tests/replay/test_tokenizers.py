"""The hashes of the tokenizers of checkpoints, each loaded once."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, models

from ibtrack.probe.tokenizer import tokenizer_hash
from ibtrack.replay.checkpoint import LIGHTNING, Checkpoint, File
from ibtrack.replay.tokenizers import TokenizerHashes, named_tokenizer, tokenizer_of, why_another
from tests import saved_models


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


def test_a_tokenizer_is_fetched_without_the_weights(tmp_path: Path) -> None:
    saved = save(tmp_path / "saved", ["[unk]", "x"])
    files = tuple(File(name, 1) for name in ("tokenizer.json", "model.safetensors", "pytorch_model.bin", "config.json"))
    asked: list[Checkpoint] = []

    def fetch(checkpoint: Checkpoint, folder: Path) -> Path:
        asked.append(checkpoint)
        return Path(shutil.copytree(saved, folder / "in"))

    loaded = tokenizer_of(
        fetch,
        Checkpoint("step1", "owner/name", 1, files=files, commit="0" * 40),
        lambda path: Tokenizer.from_file(str(path / "tokenizer.json")),
    )
    assert loaded.get_vocab_size() == 2
    assert [file.path for file in asked[0].files] == ["tokenizer.json", "config.json"]


def test_a_checkpoint_of_lightning_has_none() -> None:
    with pytest.raises(ValueError, match=r"tokenizer must be named, as last.ckpt is not in Hugging Face format"):
        tokenizer_of(lambda *_: Path(), Checkpoint("last.ckpt", "runs", 1, layout=LIGHTNING), str)


def test_a_tokenizer_is_loaded_by_the_name_of_a_file_or_a_folder(tmp_path: Path) -> None:
    saved = save(tmp_path / "saved", ["[unk]", "x"])
    assert named_tokenizer(str(saved / "tokenizer.json")).get_vocab_size() == 2
    saved_models.tokenizer().save_pretrained(tmp_path / "whole")
    assert tokenizer_hash(named_tokenizer(str(tmp_path / "whole"))) == tokenizer_hash(saved_models.tokenizer())
    (tmp_path / "other.json").write_text("[]")
    with pytest.raises(
        ValueError, match=r"tokenizer must be a tokenizer.json, a folder with one or a repository of the hub"
    ):
        named_tokenizer(str(tmp_path / "other.json"))
