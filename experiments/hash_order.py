"""Documents in the order of their hashes, each text once: a fixed shuffle, whatever order they are read in.

This is an external sort. As long as the documents fit a bound they are sorted in memory. From there on they are written
to 256 files, by the first byte of their hash, and each of the files is sorted by itself, or divided in turn by the next
byte. So memory is bounded whatever there is to sort, and copies meet in one file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from itertools import chain
from pathlib import Path
from typing import BinaryIO, NamedTuple

import pyarrow as pa

SORTED_BYTES = 64 << 20  # what is sorted in memory at once
_OVERHEAD = 250  # bytes that Python takes for a document besides its text
_WRITTEN_BYTES = 1 << 17  # to a file at once: 256 files hold 32 MB at most
_SCHEMA = pa.schema([("digest", pa.binary(32)), ("text", pa.large_binary())])


class Document(NamedTuple):
    """A text with its hash.

    Attributes:
        digest: SHA-256 of the text.
        text: The text in UTF-8.
    """

    digest: bytes
    text: bytes

    @classmethod
    def of(cls, text: str) -> Document:
        """Return the document of a text.

        Raises:
            ValueError: The text has half a surrogate pair, for which there is no UTF-8.
        """
        try:
            encoded = text.encode()
        except UnicodeEncodeError as error:
            raise ValueError(f"documents must be text that UTF-8 can write, got {text[:40]!r}: {error}") from error
        return cls(hashlib.sha256(encoded).digest(), encoded)


def in_hash_order(
    documents: Iterable[Document], folder: Path, *, sorted_bytes: int = SORTED_BYTES, _byte: int = 0
) -> Iterator[Document]:
    """Yield documents by ascending hash, and each text once.

    Args:
        documents: Documents in any order.
        folder: Folder for the files of what does not fit; it is made if need be, and is empty in the end.
        sorted_bytes: Number of bytes of documents that are sorted in memory.

    Yields:
        The documents.

    Example:
        >>> documents = in_hash_order(map(Document.of, ["a", "b", "a", "c"]), Path("unused"))
        >>> [document.text for document in documents]
        [b'c', b'b', b'a']
    """
    held: dict[bytes, Document] = {}
    size = 0
    documents = iter(documents)
    for document in documents:
        if document.digest not in held:
            held[document.digest] = document
            size += len(document.text) + _OVERHEAD
            if size > sorted_bytes:
                break
    else:
        for digest in sorted(held):
            yield held.pop(digest)
        return
    paths = _divided(chain(_emptying(held), documents), folder, _byte)
    for path in paths:
        yield from in_hash_order(_read(path), folder / path.stem, sorted_bytes=sorted_bytes, _byte=_byte + 1)
        path.unlink()
    folder.rmdir()


def _emptying(held: dict[bytes, Document]) -> Iterator[Document]:
    while held:
        yield held.popitem()[1]


def _divided(documents: Iterable[Document], folder: Path, byte: int) -> list[Path]:
    """Write documents to files, one for each value of a byte of their hashes, and return the paths in order."""
    folder.mkdir(parents=True)
    paths = [folder / f"{value:02x}.arrow" for value in range(256)]
    with ExitStack() as files:
        parts = [_Part(files.enter_context(path.open("wb"))) for path in paths]
        for document in documents:
            parts[document.digest[byte]].add(document)
        for part in parts:
            part.finish()
    return paths


class _Part:
    """A file that documents are added to, as an Arrow stream."""

    def __init__(self, file: BinaryIO) -> None:
        self._writer = pa.ipc.new_stream(file, _SCHEMA, options=pa.ipc.IpcWriteOptions(compression="zstd"))
        self._held: list[Document] = []
        self._size = 0

    def add(self, document: Document) -> None:
        self._held.append(document)
        self._size += len(document.text) + _OVERHEAD
        if self._size > _WRITTEN_BYTES:
            self._write()

    def finish(self) -> None:
        self._write()
        self._writer.close()

    def _write(self) -> None:
        if self._held:
            columns = zip(zip(*self._held, strict=True), _SCHEMA.types, strict=True)
            self._writer.write_batch(pa.record_batch([pa.array(*column) for column in columns], schema=_SCHEMA))
        self._held, self._size = [], 0


def _read(path: Path) -> Iterator[Document]:
    with path.open("rb") as file, pa.ipc.open_stream(file) as batches:
        for batch in batches:
            yield from map(Document, batch["digest"].to_pylist(), batch["text"].to_pylist())
