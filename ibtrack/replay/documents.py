"""What a probe is cut from, texts or pairs of responses, from where a command names it: files, or a data set."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ibtrack._checks import needs
from ibtrack.probe.sources import column_texts
from ibtrack.record.texts import reason
from ibtrack.replay.text_files import ROW_SUFFIXES, TEXT_SUFFIXES, read_rows, read_texts


def documents(
    source: str | os.PathLike[str],
    *,
    column: str = "text",
    subset: str | None = None,
    split: str = "validation",
    seed: int = 0,
) -> Iterable[str]:
    r"""Read documents, one text each.

    Args:
        source: A file or folder on this machine, see `ibtrack.replay.text_files.read_texts`; in a single ``.txt`` file
            blank lines part the documents. Otherwise the name of a data set of the hub, which is streamed.
        column: Column of rows that holds the text.
        subset: Configuration of the data set, such as ``en``.
        split: Split of the data set.
        seed: Seed of the order in which a stream is shuffled.

    Raises:
        FileNotFoundError: The name is that of a file, which is not there.
        ValueError: A file is of another kind or damaged, or there is neither a file nor such a data set.
        ModuleNotFoundError: ``datasets``, from the extra ``hub``, is not installed.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     path = Path(folder) / "texts.txt"
        ...     _ = path.write_text("first line\nsecond line\n\n\nanother text\n")
        ...     documents(path)
        ['first line\nsecond line', 'another text']
    """
    path = Path(source)
    if path.exists():
        texts = read_texts([path], column)
        if path.is_dir() or path.suffix.lower() != ".txt":
            return texts
        return [part.strip() for part in re.split(r"\n\s*\n", texts[0]) if part.strip()]
    return column_texts(_data_set(source, subset, split), column, seed)


def preference_rows(source: str | os.PathLike[str], *, subset: str | None = None, split: str = "train") -> Any:
    """Read pairs of responses, one row each, as `ibtrack.Probe.from_preferences` takes them.

    Args:
        source: A file or folder on this machine, see `ibtrack.replay.text_files.read_rows`, or the name of a data set
            of the hub, which is streamed.
        subset: Configuration of the data set.
        split: Split of the data set.

    Raises:
        ValueError: A file is of another kind or damaged, or there is neither a file nor such a data set.
        ModuleNotFoundError: ``datasets``, from the extra ``hub``, is not installed.
    """
    return read_rows([Path(source)]) if Path(source).exists() else _data_set(source, subset, split)


def _data_set(source: str | os.PathLike[str], subset: str | None, split: str) -> Any:
    """Begin a stream of the rows of a data set.

    Raises:
        ValueError: The hub does not give it.
    """
    check_there(source)
    with needs(f"the data set {source}", extra="hub"):
        import datasets
    try:
        return datasets.load_dataset(str(source), subset, split=split, streaming=True)
    except Exception as error:  # of datasets and of what it builds on
        raise ValueError(
            f"a probe is cut from a file or folder on this machine, or a data set of the hub; there is no {source} "
            f"here, and the hub does not give it ({reason(error)})"
        ) from error


def check_there(source: str | os.PathLike[str]) -> None:
    """Refuse the name of a file of texts that is not there, for which a hub would be asked in vain.

    Args:
        source: A file, a folder or the name of a data set, as `documents` takes them.

    Raises:
        FileNotFoundError: It ends as files of texts do, and is not there.
    """
    path = Path(source)
    if path.suffix.lower() in (*TEXT_SUFFIXES, *ROW_SUFFIXES) and not path.exists():
        raise FileNotFoundError(f"there is no file {source} to cut a probe from")
