"""The tokenizers of checkpoints: whether one is another than that of the probe, whose tokens then mean other texts."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ibtrack.probe.tokenizer import tokenizer_hash

# files of which transformers makes a tokenizer; a folder without one of the first has none
_DEFINITIONS = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model")
_FILES = (*_DEFINITIONS, "merges.txt", "added_tokens.json", "special_tokens_map.json", "tokenizer_config.json")


class TokenizerHashes:
    """Works out the hashes of the tokenizers of checkpoints, which mostly are one tokenizer that is loaded once.

    Args:
        load: Loads the tokenizer in a folder.
    """

    def __init__(self, load: Callable[[Path], Any]) -> None:
        self._load = load
        self._known: dict[str, str] = {}  # digest of the files to hash of the tokenizer

    def hash_of(self, path: Path) -> str:
        """Return the hash of a checkpoint's tokenizer, see `ibtrack.probe.tokenizer.tokenizer_hash`.

        Args:
            path: Folder or file of the checkpoint.

        Returns:
            The hash; empty where the checkpoint has no tokenizer.
        """
        if not any((path / name).is_file() for name in _DEFINITIONS):
            return ""
        content = hashlib.sha256()
        for name in _FILES:
            if (path / name).is_file():
                content.update(f"{name} ".encode() + hashlib.sha256((path / name).read_bytes()).digest())
        digest = content.hexdigest()
        if digest not in self._known:
            self._known[digest] = tokenizer_hash(self._load(path))
        return self._known[digest]


def why_another(found: str, wanted: str) -> str | None:
    """Say that a checkpoint's tokenizer is another one than that of the probe, if it is.

    Args:
        found: Hash of the checkpoint's tokenizer; empty where it is not known.
        wanted: Hash of the tokenizer that made the probe, or of the first checkpoint's; empty where it is not known.

    Example:
        >>> why_another("ab", "ab"), why_another("", "ab")
        (None, None)
    """
    if not found or not wanted or found == wanted:
        return None
    return (
        f"its tokenizer (hash {found[:8]}) is another one than that of the probe or of the checkpoints before "
        f"({wanted[:8]}), so the probe's tokens would stand for other texts"
    )
