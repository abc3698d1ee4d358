"""Sources of documents: the standard library, local files and the hub, each as an iterable of whole texts.

The arguments of a source all come from its configuration (``_partial_: true`` in ``conf/data``), so that it is called
without any and returns an iterable of documents. A document is the unit that is held out, so it must be whole: an
article or a file, never a line of one. A new corpus is one function here and one file there.
"""

from __future__ import annotations

import glob
import os
import re
import sysconfig
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any

from datasets import Dataset, IterableDataset, load_dataset

from experiments.hub_rows import BATCH, HubRows

SKIPPED_FOLDERS = frozenset({"site-packages", "dist-packages", "test", "tests", "idle_test", "idlelib", "__pycache__"})
FORMATS = {".txt": "text", ".json": "json", ".jsonl": "json", ".parquet": "parquet"}
SAMPLES = ("document", "paragraph", "line")
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
    for path in stdlib_files(folder):
        yield path.read_text(encoding="utf-8", errors="replace")


def stdlib_files(folder: str | None = None) -> list[Path]:
    """Return the paths of the sources of a standard library, in their order.

    Args:
        folder: Folder of the library; None means that of the running interpreter.

    Raises:
        FileNotFoundError: The folder has no sources.
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
    return sorted(paths)


def local(
    files: str | Sequence[str], *, column: str = "text", format: str | None = None, sample_by: str = "document"
) -> Iterator[str]:
    """Yield documents from files on this machine.

    A text file is one document; a row of a JSON, JSON lines or Parquet file is one document, unless its text is null.

    Args:
        files: One glob or several; ``**`` reaches into sub-folders.
        column: Name of the column that holds the text. Text files have the one column ``text``.
        format: Format of all files: ``text``, ``json`` or ``parquet``; None goes by each file's ending.
        sample_by: What a document of a text file is: all of it, ``document``, or each ``paragraph`` or ``line``. A
            whole document is read into memory, so a file of gigabytes needs one of the others.

    Yields:
        The documents, file by file, the files of one format after those of another.

    Raises:
        FileNotFoundError: A glob matches no file.
        ValueError: A file has another ending and no ``format`` is given, there is no such column, or ``sample_by`` is
            none of these.
    """
    if sample_by not in SAMPLES:
        raise ValueError(f"sample_by must be one of {', '.join(SAMPLES)}, got {sample_by!r}")
    paths_by_format: dict[str, list[str]] = {}
    for path in matching_files(files):
        paths_by_format.setdefault(format or _format(path), []).append(path)
    own_settings: dict[str, dict[str, Any]] = {"text": {"sample_by": sample_by}, "parquet": {"batch_size": BATCH}}
    for builder, paths in paths_by_format.items():
        yield from hub(builder, data_files=paths, column=column, **own_settings.get(builder, {}))


def hub(
    path: str,
    name: str | None = None,
    *,
    split: str = "train",
    column: str = "text",
    streaming: bool = True,
    **settings: Any,
) -> HubRows:
    """Return one column of a dataset; each row is a document.

    Args:
        path: Name of a dataset on the Hugging Face hub, or of a format, ``json``, ``parquet`` or ``text``, as
            `datasets.load_dataset` takes it.
        name: Name of the dataset's configuration.
        split: Name of the split.
        column: Name of the column that holds the text.
        streaming: Whether rows stream in and are not stored. If not, the dataset is downloaded first and stays in the
            cache of `datasets`, from where the next preparation reads it.
        **settings: Further arguments of `datasets.load_dataset`, such as ``revision``.

    Returns:
        The texts of the rows. Iterating raises `ConnectionError` where the hub cannot be reached, `ValueError` with
        the names of the columns where there is no such column, and `TypeError` where it does not hold text.
    """

    def load() -> Dataset | IterableDataset:
        try:
            return load_dataset(path, name, split=split, streaming=streaming, **settings)
        except ConnectionError as error:
            raise ConnectionError(
                f"dataset {path!r} must be reachable on the hub, got: {error}; "
                "data=stdlib and data=local need no network"
            ) from error

    return HubRows(load, column)


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
        if max_bytes is not None:
            num_bytes += len(document.encode())
            if num_bytes >= max_bytes:
                return


def matching_files(patterns: str | Sequence[str]) -> list[str]:
    """Return the paths of the files that globs match, those of one glob in their order, and each once.

    Args:
        patterns: One glob or several; ``**`` reaches into sub-folders and ``~`` is the home folder.

    Raises:
        FileNotFoundError: A glob matches no file.
    """

    def matches(pattern: str) -> list[str]:
        found = sorted(glob.glob(str(Path(pattern).expanduser()), recursive=True))
        paths = [path for path in found if Path(path).is_file()]
        if not paths:
            raise FileNotFoundError(f"files must match at least one file, got {pattern!r} in {Path.cwd()}")
        return paths

    each = [patterns] if isinstance(patterns, str) else patterns
    return list(dict.fromkeys(chain.from_iterable(map(matches, each))))


def _whole(lines: Sequence[str]) -> Iterator[str]:
    text = "".join(lines)
    if text.strip():
        yield text


def _format(path: str) -> str:
    endings = [ending for ending in Path(path).suffixes if ending not in COMPRESSIONS]
    ending = endings[-1].lower() if endings else ""
    if ending not in FORMATS:
        raise ValueError(f"files must end in {', '.join(FORMATS)}, or format must say what they are, got {path!r}")
    return FORMATS[ending]
