"""The files of weights of a folder in Hugging Face format, and what is amiss with them as far as a look shows."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ibtrack.record.texts import printable
from ibtrack.replay.checkpoint import File
from ibtrack.replay.needed_files import Needed, choose_files, index_of, missing_shards, weights

LONGEST_HEADER = 100_000_000  # bytes, the limit of the format


def files_of_model(folder: Path) -> Needed:
    """Choose the files that a model is loaded from, and look for what is wrong with them.

    Args:
        folder: A folder in Hugging Face format.

    Returns:
        The files that are there, without digests, and why the model cannot be loaded: one sentence for each fault.
    """
    files = [File(path.name, path.stat().st_size) for path in sorted(folder.iterdir()) if path.is_file()]
    needed = choose_files(files)
    index = index_of(needed.files)
    problems = [*needed.problems, *([] if index is None else _lacking(folder, index.path, files))]
    problems += [fault for shard in weights(needed.files) for fault in _damage(folder / shard.path)]
    return Needed(needed.files, tuple(problems))


def _lacking(folder: Path, index: str, files: Sequence[File]) -> list[str]:
    """Say which files that an index names are not there."""
    content = json_object(folder / index)
    names = None if content is None else content.get("weight_map")
    if not isinstance(names, dict) or not names or not all(map(_is_plain_name, names.values())):
        return [f"its {index} is damaged: it does not say which file each weight is in"]
    missing = missing_shards(names.values(), files)
    shown = ", ".join(map(printable, missing[:3])) + (f" and {len(missing) - 3} others" if len(missing) > 3 else "")
    return [f"of the {len(set(names.values()))} files that its {index} names it lacks {shown}"] if missing else []


def _is_plain_name(name: Any) -> bool:
    """Whether a name stays in the folder of its index."""
    return isinstance(name, str) and Path(name).name == name and name not in ("", ".", "..")


def _damage(path: Path) -> list[str]:
    """Say whether a file of safetensors is as long as its header says; a pickle does not tell."""
    if path.suffix != ".safetensors":
        return []
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = _parsed(file.read(length)) if length <= min(size, LONGEST_HEADER) else None
    try:
        tensors = {} if header is None else {key: value for key, value in header.items() if key != "__metadata__"}
        ends = [int(tensor["data_offsets"][1]) for tensor in tensors.values()]
    except (TypeError, KeyError, IndexError, ValueError):
        ends = []
    if not ends:
        return [f"its {path.name} is damaged: the header cannot be read"]
    whole = 8 + length + max(ends)
    return [] if size == whole else [f"its {path.name} is damaged: it has {size:,} bytes, and {whole:,} by its header"]


def json_object(path: Path) -> dict[str, Any] | None:
    """Read a JSON object from a file; None if there is something else in it, or no file.

    Args:
        path: The file.
    """
    try:
        return _parsed(path.read_bytes())
    except OSError:
        return None


def _parsed(text: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
