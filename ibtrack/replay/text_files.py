"""Documents and rows for a probe, read from files on this machine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import msgspec

from ibtrack._checks import needs

ROW_SUFFIXES = (".jsonl", ".json", ".parquet")
TEXT_SUFFIXES = (".txt", ".md")


def read_texts(paths: Sequence[Path], column: str = "text") -> list[str]:
    r"""Read documents, in the order of the paths.

    Args:
        paths: Files, or folders whose files of these kinds are read in the order of their names: ``.txt`` and ``.md``,
            each of which is one document, or ``.jsonl``, ``.json`` (a list of objects) and ``.parquet``, of which each
            row is one.
        column: Column of rows that holds the text.

    Raises:
        FileNotFoundError: There is no such file or folder.
        ValueError: A file is of another kind or damaged, or a row has no text in the column.
        ModuleNotFoundError: pyarrow is not installed and a file is Parquet.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     path = Path(folder) / "rows.jsonl"
        ...     _ = path.write_text('{"text": "a first one"}\n{"text": "a second one"}\n')
        ...     read_texts([path])
        ['a first one', 'a second one']
    """
    texts = []
    for file in _files(paths, (*TEXT_SUFFIXES, *ROW_SUFFIXES)):
        if file.suffix.lower() in TEXT_SUFFIXES:
            texts.append(_text(file))
            continue
        for number, row in enumerate(_rows(file), start=1):
            text = row.get(column)
            if not isinstance(text, str):
                there = get_close_matches(column, row, n=3) or list(row)[:5]
                raise ValueError(
                    f"{file}, row {number} must have a text in the column {column!r}; it has "
                    f"{', '.join(map(repr, there)) or 'none'}"
                )
            texts.append(text)
    return texts


def read_rows(paths: Sequence[Path]) -> list[Mapping[str, Any]]:
    """Read rows, such as pairs of preferences, in the order of the paths.

    Args:
        paths: Files ``.jsonl``, ``.json`` (a list of objects) or ``.parquet``, or folders with such.

    Raises:
        FileNotFoundError: There is no such file or folder.
        ValueError: A file is of another kind or damaged.
        ModuleNotFoundError: pyarrow is not installed and a file is Parquet.
    """
    return [row for file in _files(paths, ROW_SUFFIXES) for row in _rows(file)]


def _files(paths: Sequence[Path], suffixes: Sequence[str]) -> Iterator[Path]:
    for path in paths:
        if not path.exists():
            raise FileNotFoundError(f"there is no file or folder {path}")
        inside = (
            sorted(file for file in path.rglob("*") if file.suffix.lower() in suffixes) if path.is_dir() else [path]
        )
        if not inside or inside[0].suffix.lower() not in suffixes:
            holds = "holds none" if path.is_dir() else f"ends in {path.suffix!r}"
            raise ValueError(f"files of a probe must end in {', '.join(suffixes)}; {path} {holds}")
        yield from inside


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is no text in UTF-8: {error}") from error


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    if path.suffix.lower() == ".parquet":
        with needs("a Parquet file", extra="parquet"):
            import pyarrow
            import pyarrow.parquet
        try:
            yield from pyarrow.parquet.read_table(path).to_pylist()
        except pyarrow.ArrowException as error:
            raise ValueError(f"{path} is not a Parquet file: {error}") from error
        return
    try:
        if path.suffix.lower() == ".json":
            yield from msgspec.json.decode(path.read_bytes(), type=list[dict[str, Any]])
            return
        yield from msgspec.json.Decoder(dict[str, Any]).decode_lines(path.read_bytes())
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not JSON with an object in each row: {error}") from error
