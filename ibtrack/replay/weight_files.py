"""The files of weights of a folder in Hugging Face format, and what is amiss with them as far as a look shows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ibtrack.record.texts import printable

SAFE, PICKLED = "model.safetensors", "pytorch_model.bin"
ORDER = (SAFE, f"{SAFE}.index.json", PICKLED, f"{PICKLED}.index.json")  # in which transformers looks for them
LONGEST_HEADER = 100_000_000  # bytes, the limit of the format


def weight_files(folder: Path) -> tuple[list[str], list[str]]:
    """List the files of weights, as transformers would load them, and why they cannot be loaded.

    Args:
        folder: A folder in Hugging Face format.

    Returns:
        Names of files that are there, an index first; and one sentence for each fault.
    """
    name = next((name for name in ORDER if (folder / name).is_file()), None)
    if name is None:
        return [], [f"it holds no weights: none of {', '.join(ORDER)}"]
    if not name.endswith(".index.json"):
        return [name], _damage(folder / name)
    shards, faults = _shards(folder / name)
    there = [shard for shard in shards if (folder / shard).is_file()]
    missing = [shard for shard in shards if shard not in there]
    if missing:
        faults.append(
            f"{name} names {len(shards)} files, of which {', '.join(map(printable, missing[:3]))}"
            f"{f' and {len(missing) - 3} others' if len(missing) > 3 else ''} "
            f"{'is' if len(missing) == 1 else 'are'} missing; was saving it interrupted?"
        )
    return [name, *there], faults + [fault for shard in there for fault in _damage(folder / shard)]


def _shards(index: Path) -> tuple[list[str], list[str]]:
    """List the files that an index names."""
    content = json_object(index)
    names = None if content is None else content.get("weight_map")
    if not isinstance(names, dict) or not names or not all(map(_is_plain_name, names.values())):
        return [], [f"{index.name} is damaged: it does not say which file each weight is in"]
    return sorted(set(names.values())), []


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
        return [f"{path.name} is damaged: its header cannot be read"]
    whole = 8 + length + max(ends)
    return [] if size == whole else [f"{path.name} is damaged: it has {size:,} bytes, and {whole:,} by its header"]


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
