"""Sources of documents: the standard library, local files and the hub, each as an iterable of whole texts.

The arguments of a source all come from its configuration (``_partial_: true`` in ``conf/data``), so that it is called
without any and returns an iterable of documents. A document is the unit that is held out, so it must be whole: an
article or a file, never a line of one. A new corpus is one function here and one file there.
"""

from __future__ import annotations

import glob
import hashlib
import os
import re
import sysconfig
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any

from datasets import load_dataset

SKIPPED_FOLDERS = frozenset({"site-packages", "dist-packages", "test", "tests", "idle_test", "idlelib", "__pycache__"})
FORMATS = {".txt": "text", ".json": "json", ".jsonl": "json", ".parquet": "parquet"}
COMPRESSIONS = frozenset({".gz", ".bz2", ".xz", ".zst"})
_ARTICLE_TITLE = re.compile(r"^ = [^=].* = \n?$")  # a section is " = = Title = = "


def stdlib(folder: str | None = None) -> Iterator[str]:
    """Yield the Python sources of a standard library, each file as one document: about 11 MB of code and English prose.

    Args:
        folder: Folder of the library; None means that of the running interpreter.

    Yields:
        The text of each source file, in the order of their paths.

    Raises:
        FileNotFoundError: The folder has no sources, as with a Python that ships compiled files only.
    """
    root = Path(folder or sysconfig.get_path("stdlib"))
    paths: list[Path] = []
    for parent, folders, names in os.walk(root):
        folders[:] = [name for name in folders if name not in SKIPPED_FOLDERS]  # os.walk does not enter the others
        paths += [Path(parent, name) for name in names if name.endswith(".py")]
    if not paths:
        raise FileNotFoundError(
            f"{root} must hold the sources of Python's standard library, found no .py file; try data=local"
        )
    for path in sorted(paths):
        yield path.read_text(encoding="utf-8", errors="replace")


def local(files: str | Sequence[str], *, column: str = "text", format: str | None = None) -> Iterator[str]:
    """Yield documents from files on this machine.

    A text file is one document; a row of a JSON, JSON lines or Parquet file is one document.

    Args:
        files: One glob or several; ``**`` reaches into sub-folders.
        column: Name of the column that holds the text. Text files have the one column ``text``.
        format: Format of all files: ``text``, ``json`` or ``parquet``; None goes by each file's ending.

    Yields:
        The documents, file by file, the files of one format after those of another.

    Raises:
        FileNotFoundError: A glob matches no file.
        ValueError: A file has another ending and no ``format`` is given, or there is no such column.
    """
    paths_by_format: dict[str, list[str]] = {}
    for path in _matches([files] if isinstance(files, str) else files):
        paths_by_format.setdefault(format or _format(path), []).append(path)
    for builder, paths in paths_by_format.items():
        settings = {"sample_by": "document"} if builder == "text" else {}
        yield from hub(builder, data_files=paths, column=column, **settings)


def hub(
    path: str, name: str | None = None, *, split: str = "train", column: str = "text", **settings: Any
) -> Iterator[str]:
    """Yield one column of a dataset, row by row as it streams in; nothing is stored.

    Args:
        path: Name of a dataset on the Hugging Face hub, or of a format, ``json``, ``parquet`` or ``text``, as
            `datasets.load_dataset` takes it.
        name: Name of the dataset's configuration.
        split: Name of the split.
        column: Name of the column that holds the text.
        **settings: Further arguments of `datasets.load_dataset`.

    Yields:
        The text of each row.

    Raises:
        ConnectionError: The hub cannot be reached.
        ValueError: There is no such column; the message names the columns that there are.
        TypeError: The column does not hold text.
    """
    try:
        rows = load_dataset(path, name, split=split, streaming=True, **settings)
    except ConnectionError as error:
        raise ConnectionError(
            f"dataset {path!r} must be reachable on the hub, got: {error}; data=stdlib and data=local need no network"
        ) from error
    for row in rows:
        yield _text(row, column)


def wikitext(path: str, name: str | None = None, **settings: Any) -> Iterator[str]:
    """Yield the articles of a wikitext dataset, whose rows are lines.

    Args:
        path: Name of the dataset, as `hub` takes it.
        name: Name of the dataset's configuration.
        **settings: Further arguments of `hub`.

    Yields:
        Whole articles.
    """
    yield from articles(hub(path, name, **settings))


def articles(lines: Iterable[str]) -> Iterator[str]:
    r"""Join lines to articles, each starting at a line `` = Title = `` that follows an empty one.

    Args:
        lines: Lines with their line breaks, as a wikitext dataset has them.

    Yields:
        Whole articles.

    Example:
        >>> list(articles([" = Cat = \n", "", " It purrs . \n", "", " = Dog = \n", "", " It barks . \n"]))
        [' = Cat = \n It purrs . \n', ' = Dog = \n It barks . \n']
    """
    article: list[str] = [""]
    for line in lines:
        if _ARTICLE_TITLE.match(line) and not article[-1].strip():
            yield from _whole(article)
            article = []
        article.append(line)
    yield from _whole(article)


def bounded(
    documents: Iterable[str], *, max_documents: int | None = None, max_bytes: int | None = None
) -> Iterator[str]:
    """Yield documents until either bound is reached.

    Args:
        documents: Whole texts.
        max_documents: Greatest number of documents; None sets no bound.
        max_bytes: Number of bytes of text; the document that reaches it is the last. None sets no bound.

    Yields:
        The first documents, in their order.

    Example:
        >>> list(bounded(["one", "two", "three"], max_bytes=4))
        ['one', 'two']
    """
    num_bytes = 0
    for document in islice(documents, max_documents):
        yield document
        num_bytes += len(document.encode())
        if max_bytes is not None and num_bytes >= max_bytes:
            return


def split(documents: Iterable[str], *, held_out: float) -> tuple[list[str], list[str]]:
    """Split documents into those to train on and those held out, by the hash of their text.

    A text is on the same side in every run, whatever other texts there are. A text that occurs twice counts once, and
    blank texts are left out. Both lists are in the order of the hashes, which is a fixed shuffle.

    Args:
        documents: Whole texts.
        held_out: Share of the documents to hold out, above 0 and below 1; it is met in expectation.

    Returns:
        The documents to train on, and those held out.

    Raises:
        ValueError: ``held_out`` is out of range, or one side is left without a document.

    Example:
        >>> train, test = split((f"document {i}" for i in range(1000)), held_out=0.1)
        >>> len(train) + len(test), 70 < len(test) < 130
        (1000, True)
    """
    if not 0 < held_out < 1:
        raise ValueError(f"held_out must be above 0 and below 1, got {held_out}")
    text_by_digest = {hashlib.sha256(text.encode()).digest(): text for text in documents if text.strip()}
    digests = sorted(text_by_digest)
    boundary = round(held_out * 256**8).to_bytes(8, "big")
    train = [text_by_digest[digest] for digest in digests if digest[:8] >= boundary]
    test = [text_by_digest[digest] for digest in digests if digest[:8] < boundary]
    if not (train and test):
        raise ValueError(
            f"documents must leave some to train on and some to hold out, got {len(train)} and {len(test)}; "
            "a document is the unit: give more of them (split a large file) or another held_out"
        )
    return train, test


def _whole(lines: Sequence[str]) -> Iterator[str]:
    text = "".join(lines)
    if text.strip():
        yield text


def _matches(patterns: Iterable[str]) -> list[str]:
    def matches(pattern: str) -> list[str]:
        paths = [
            path for path in sorted(glob.glob(str(Path(pattern).expanduser()), recursive=True)) if Path(path).is_file()
        ]
        if not paths:
            raise FileNotFoundError(f"files must match at least one file, got {pattern!r} in {Path.cwd()}")
        return paths

    return list(dict.fromkeys(chain.from_iterable(matches(pattern) for pattern in patterns)))


def _format(path: str) -> str:
    endings = [ending for ending in Path(path).suffixes if ending not in COMPRESSIONS]
    ending = endings[-1].lower() if endings else ""
    if ending not in FORMATS:
        raise ValueError(f"files must end in {', '.join(FORMATS)}, or format must say what they are, got {path!r}")
    return FORMATS[ending]


def _text(row: dict[str, Any], column: str) -> str:
    if column not in row:
        raise ValueError(f"column must be one of {', '.join(map(repr, sorted(row)))}, got {column!r}")
    text = row[column]
    if not isinstance(text, str):
        raise TypeError(f"column {column!r} must hold text, got {type(text).__name__}")
    return text
