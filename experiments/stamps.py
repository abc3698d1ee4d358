"""Stamps: what says which documents a source has, before they are read, so that a prepared corpus is found again.

A stamp of files is their paths, sizes and times. One of a dataset of the hub is what was asked for, so a corpus that
was prepared from it is used, without a network too, until another revision is named. Any other source is read through.
"""

from __future__ import annotations

import hashlib
import inspect
import platform
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from experiments.documents import hub, local, matching_files, stdlib, stdlib_files, wikitext
from experiments.hash_order import Document

_FORMATS = {"text", "json", "parquet", "csv", "arrow"}  # of `datasets`, which are no datasets


def stamp(
    documents: Callable[[], Iterable[str]],
    keep: Callable[[str], str] | None = None,
    read: Callable[[], Iterable[str]] | None = None,
) -> dict[str, Any]:
    """Return what says which text is trained on and held out.

    Args:
        documents: Function without arguments that returns the documents.
        keep: Function from a document to the part of it to train on.
        read: Function that returns those of the documents that are taken; None takes all.

    Returns:
        Names to values that JSON can hold, equal wherever the text is.

    Example:
        >>> stamp(lambda: ["a", "b"]) == stamp(lambda: ["b", "a"]) != stamp(lambda: ["b"])
        True
    """
    source, part = _known(documents), {} if keep is None else _known_part(keep)
    if source is None or part is None:
        return {"read": _digest_of_all(read or documents, keep)}
    return source | part


def source_files(documents: Callable[[], Iterable[str]]) -> list[Path] | None:
    """Return the files on this machine that documents are read from; None where that is not known.

    Args:
        documents: Function without arguments that returns the documents.
    """
    function, args, settings = _call(documents)
    bound: dict[str, Any] = inspect.signature(function).bind(*args, **settings).arguments if args else dict(settings)
    if function is stdlib:
        return stdlib_files(bound.get("folder"))
    if function is local:
        return [Path(path) for path in matching_files(bound["files"])]
    return None


def source_name(documents: Callable[[], Iterable[str]]) -> str:
    """Return words for a source: its function and what it is asked for.

    Args:
        documents: Function without arguments that returns the documents.

    Example:
        >>> source_name(partial(hub, path="allenai/c4", name="en"))
        "hub(path='allenai/c4', name='en')"
    """
    function, args, settings = _call(documents)
    given = [*map(repr, args), *(f"{name}={value!r}" for name, value in settings.items())]
    return f"{getattr(function, '__name__', type(function).__name__)}({', '.join(given)})"


def _known(documents: Callable[[], Iterable[str]]) -> dict[str, Any] | None:
    """Return the stamp of a source that need not be read."""
    function, _, settings = _call(documents)
    if (files := source_files(documents)) is not None:
        return {"source": source_name(partial(function, **_without_paths(settings))), "files": _digest_of_files(files)}
    path = settings.get("path")
    if function not in (hub, wikitext) or path is None or path in _FORMATS or Path(path).exists():
        return None
    asked = {name: value for name, value in sorted(settings.items()) if name != "streaming"}
    return {"source": source_name(partial(function, **asked))}


def _known_part(keep: Callable[[str], str]) -> dict[str, Any] | None:
    """Return the stamp of a function to a part; None for one that is made at run time, which may hold anything."""
    function, args, settings = _call(keep)
    if getattr(inspect.getmodule(function), getattr(function, "__qualname__", ""), None) is not function:
        return None
    code = hashlib.sha256(inspect.getsource(inspect.getmodule(function)).encode()).hexdigest()  # type: ignore[arg-type]
    return {
        "keep": source_name(partial(function, *args, **settings)),
        "code": code,
        "python": platform.python_version(),
    }


def _call(function: Callable[..., Any]) -> tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]:
    return (function.func, function.args, function.keywords) if isinstance(function, partial) else (function, (), {})


def _without_paths(settings: dict[str, Any]) -> dict[str, Any]:
    """Return settings without those that say where files are, since the files themselves are known."""
    return {name: value for name, value in sorted(settings.items()) if name not in ("files", "folder")}


def _digest_of_files(paths: Sequence[Path]) -> str:
    digest = hashlib.sha256()
    for path in paths:
        status = path.stat()
        digest.update(f"{path.absolute()}\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def _digest_of_all(documents: Callable[[], Iterable[str]], keep: Callable[[str], str] | None) -> str:
    """Read all documents and return a hash of them that does not depend on their order."""
    total = 0
    for text in documents():
        digest = Document.of(text).digest
        if keep is not None:
            digest = hashlib.sha256(digest + keep(text).encode()).digest()
        total = (total + int.from_bytes(digest, "big")) % (1 << 256)
    return f"{total:064x}"
