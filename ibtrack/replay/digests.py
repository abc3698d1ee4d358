"""Digests of files of weights, by which two checkpoints that hold the same are told before they are loaded.

Reading a series of large checkpoints as a whole takes as long as replaying it, so a large file is read in pieces, and
as a whole only where the pieces of two files agree. A file of ``torch.save`` names the checksum of every tensor in its
table of contents, so nothing else of it is read.
"""

from __future__ import annotations

import hashlib
import zipfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

Key = TypeVar("Key")

SAMPLED, CHECKSUMS = "sampled:", "crc32:"  # in front of a digest that is not the sha256 of the whole file
READ_WHOLE = 1 << 26  # bytes; a file up to 64 MiB is read as a whole, in some 50 ms
PIECES, PIECE = 64, 1 << 16  # 4 MiB of a larger file: its weights all move between two checkpoints of a training run


def digests(paths: Mapping[Key, Path]) -> dict[Key, str]:
    """Work out digests that are equal for equal files among those given.

    Args:
        paths: Name to file; each of them is there.

    Returns:
        Name to digest. Of a file of ``torch.save`` it is ``crc32:`` and a hash of the checksums of all tensors; of any
        other its sha256; of a large one that is equal to none of the others ``sampled:`` and a hash of its pieces.
    """
    found = {name: _digest(path) for name, path in paths.items()}
    times = Counter(found.values())
    again = [name for name, digest in found.items() if digest.startswith(SAMPLED) and times[digest] > 1]
    return {**found, **{name: _whole(paths[name]) for name in again}}


def _digest(path: Path) -> str:
    checksums = _checksums(path) if zipfile.is_zipfile(path) else None
    if checksums is not None:
        return CHECKSUMS + hashlib.sha256(repr(checksums).encode()).hexdigest()
    return _whole(path) if path.stat().st_size <= READ_WHOLE else SAMPLED + _pieces(path)


def _checksums(path: Path) -> list[tuple[int, int]] | None:
    """List checksum and size of every tensor in a file of ``torch.save``; None if it was told to work out none."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = [entry for entry in archive.infolist() if entry.filename.split("/")[1:2] == ["data"]]
    except (zipfile.BadZipFile, OSError, ValueError):  # damaged; loading it will say so
        return None
    return [(entry.CRC, entry.file_size) for entry in entries] if any(entry.CRC for entry in entries) else None


def _whole(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def _pieces(path: Path) -> str:
    """Hash the size of a file and pieces at even distances, the first and the last of which are its ends."""
    size = path.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    with path.open("rb") as file:
        for number in range(PIECES):
            file.seek((size - PIECE) * number // (PIECES - 1))
            digest.update(file.read(PIECE))
    return digest.hexdigest()
