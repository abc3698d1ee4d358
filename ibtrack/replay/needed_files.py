"""Which files of a folder in Hugging Face format a model is loaded from, and what is wrong with them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import NamedTuple

from ibtrack.replay.checkpoint import File

SAFETENSORS, PICKLES = "model", "pytorch_model"
CONFIG = "config.json"
SETTINGS = (CONFIG, "generation_config.json")
VOCABULARY = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "merges.txt", "spiece.model")
TOKENIZER = (
    *VOCABULARY,
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
)
_SHARD = re.compile(r"(?P<stem>model|pytorch_model)(-(?P<number>\d+)-of-(?P<total>\d+))?\.(?P<kind>safetensors|bin)")


class Needed(NamedTuple):
    """The files that a model is loaded from.

    Attributes:
        files: Configuration, tokenizer, index and shards.
        problems: Why the model cannot be loaded, one sentence each; empty where it can.
    """

    files: tuple[File, ...]
    problems: tuple[str, ...]


def is_weights(path: str) -> bool:
    """Tell whether a file holds weights of a model in Hugging Face format.

    Args:
        path: Path of the file, with slashes.

    Example:
        >>> is_weights("model-00001-of-00002.safetensors"), is_weights("optimizer.bin")
        (True, False)
    """
    return _SHARD.fullmatch(PurePosixPath(path).name) is not None


def weights(files: Iterable[File]) -> tuple[File, ...]:
    """Choose the files that hold weights, in the order of their names.

    Args:
        files: Files of one checkpoint.
    """
    return tuple(sorted(file for file in files if is_weights(file.path)))


def index_of(files: Iterable[File]) -> File | None:
    """Find the index that tells which shard holds which tensor; None where there is none.

    Args:
        files: Files of one checkpoint.
    """
    return next((file for file in files if file.path.endswith((".safetensors.index.json", ".bin.index.json"))), None)


def choose_files(files: Sequence[File], *, remote_code: bool = False) -> Needed:
    """Choose what a model is loaded from: one safetensors file, or shards of it with their index, or else pickles.

    Args:
        files: All files at the top of a checkpoint, by their names.
        remote_code: Whether Python files are needed too.

    Example:
        >>> found = choose_files([File("config.json", 2), File("model.safetensors", 8), File("optimizer.pt", 16)])
        >>> [file.path for file in found.files], found.problems
        (['config.json', 'model.safetensors'], ())
    """
    by_name = {file.path: file for file in files if "/" not in file.path}
    beside = [file for name, file in by_name.items() if name in (*SETTINGS, *TOKENIZER)]
    beside += [file for name, file in by_name.items() if remote_code and name.endswith(".py")]
    problems = [] if CONFIG in by_name else [f"it has no {CONFIG}"]
    shards, lacking = _of_kind(by_name, SAFETENSORS, "safetensors")
    if not shards:
        shards, lacking = _of_kind(by_name, PICKLES, "bin")
    if not shards:
        lacking = [
            "it has no weights that transformers would load (model.safetensors, its shards, or pytorch_model.bin)"
        ]
    problems += [f"its {shard.path} is empty" for shard in shards if not shard.size]
    chosen = tuple(sorted(beside + shards))
    return Needed(chosen, (*problems, *lacking))


def missing_shards(named: Iterable[str], files: Iterable[File]) -> list[str]:
    """List the shards that an index names and that are not there.

    Args:
        named: Names of the shards in the index.
        files: Files of the checkpoint.
    """
    return sorted({*named} - {file.path for file in files})


def _of_kind(by_name: Mapping[str, File], stem: str, kind: str) -> tuple[list[File], list[str]]:
    """Find the weights of one kind, with their index, and say what lacks."""
    whole = by_name.get(f"{stem}.{kind}")
    if whole is not None:
        return [whole], []
    found = {name: shape for name in by_name if (shape := _SHARD.fullmatch(name)) and shape["stem"] == stem}
    shards = {name: shape for name, shape in found.items() if shape["kind"] == kind and shape["total"]}
    if not shards:
        return [], []
    index = by_name.get(f"{stem}.{kind}.index.json")
    total = max(int(shape["total"]) for shape in shards.values())
    numbers = {int(shape["number"]) for shape in shards.values()}
    lacking = [str(number) for number in range(1, total + 1) if number not in numbers]
    problems = [f"of its {total} shards number {', '.join(lacking)} {'is' if len(lacking) == 1 else 'are'} not there"]
    without = [f"it has shards but no {stem}.{kind}.index.json, which tells what is in them"]
    files = [by_name[name] for name in shards] + ([] if index is None else [index])
    return files, (problems if lacking else []) + (without if index is None else [])
