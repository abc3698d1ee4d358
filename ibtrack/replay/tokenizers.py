"""The tokenizers of checkpoints: whether one is another than that of the probe, whose tokens then mean other texts."""

from __future__ import annotations

import hashlib
import tempfile
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from ibtrack._checks import needs
from ibtrack.probe.tokenizer import tokenizer_hash
from ibtrack.record.texts import reason
from ibtrack.replay.checkpoint import HUGGING_FACE, Checkpoint
from ibtrack.replay.fetching import RETRIES, Fetch, fetch_again
from ibtrack.replay.needed_files import is_weights

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


def tokenizer_of(
    fetch: Fetch, checkpoint: Checkpoint, load: Callable[[Path], Any], *, say: Callable[[str], object] = print
) -> Any:
    """Load the tokenizer of a checkpoint, without bringing its weights to this machine.

    Args:
        fetch: Brings its files to this machine, as ``plan.fetch``.
        checkpoint: The checkpoint.
        load: Loads the tokenizer in a folder.
        say: Shows a line for each try that failed.

    Returns:
        The tokenizer.

    Raises:
        FetchError: Its files do not come.
        ValueError: It has none.
    """
    if checkpoint.layout != HUGGING_FACE:
        raise ValueError(f"tokenizer must be named, as {checkpoint.label} is not in Hugging Face format and has none")
    files = tuple(file for file in checkpoint.files if not is_weights(file.path))
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        path = fetch_again(
            fetch, replace(checkpoint, files=files), Path(folder), retries=RETRIES, stop=threading.Event(), say=say
        )
        return load(path)


def named_tokenizer(name: str, *, trust_remote_code: bool = False) -> Any:
    """Load a tokenizer by its name.

    Args:
        name: A ``tokenizer.json``, a folder with one, or a repository of the hub.
        trust_remote_code: Whether Python code that comes with it may be run.

    Raises:
        ValueError: There is none, or it cannot be loaded.
        ModuleNotFoundError: transformers, from the extra ``hub``, is not installed.
    """
    with needs("a tokenizer", extra="hub"):
        from tokenizers import Tokenizer
        from transformers import AutoTokenizer
    try:
        if Path(name).is_file():
            return Tokenizer.from_file(name)
        return AutoTokenizer.from_pretrained(name, trust_remote_code=trust_remote_code)
    except Exception as error:  # of tokenizers, transformers and the hub
        rule = "tokenizer must be a tokenizer.json, a folder with one or a repository of the hub"
        raise ValueError(f"{rule}, got {name!r} ({reason(error)})") from error
