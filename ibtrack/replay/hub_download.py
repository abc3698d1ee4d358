"""Downloads of files from the hub, without bars, and compared with what the hub lists."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from pathlib import Path

from ibtrack.replay.checkpoint import File

BLOB = "git:"  # before the id of a file that lies in git itself
_CHUNK = 1 << 22  # bytes that are hashed at once


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep ``huggingface_hub`` from drawing a bar for each file, as a replay has one of its own.

    Yields:
        Nothing; what is downloaded inside the ``with`` block draws none.
    """
    from huggingface_hub import constants
    from huggingface_hub.utils import (  # type: ignore[attr-defined]  # it has no __all__
        are_progress_bars_disabled,
        disable_progress_bars,
        enable_progress_bars,
    )

    if are_progress_bars_disabled() or constants.HF_HUB_DISABLE_PROGRESS_BARS is not None:
        yield  # as the user has set it
        return
    disable_progress_bars()
    try:
        yield
    finally:
        enable_progress_bars()


def what_differs(path: Path, file: File) -> str | None:
    """Say how a file differs from what the hub lists; None where it does not.

    Args:
        path: The file on this machine.
        file: Size and digest that the hub lists: a sha256, or ``git:`` and the id of its blob.
    """
    size = path.stat().st_size
    if size != file.size:
        return f"has {size:,} bytes, and the hub lists {file.size:,}"
    if file.digest is None or _digest(path, git=file.digest.startswith(BLOB)) == file.digest:
        return None
    return "is not the file that the hub lists, by its hash"


def _digest(path: Path, *, git: bool) -> str:
    """Hash a file as the hub does: by sha256, or as git names its blobs."""
    made = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False) if git else hashlib.sha256()
    with path.open("rb") as content:
        while chunk := content.read(_CHUNK):
            made.update(chunk)
    return f"{BLOB}{made.hexdigest()}" if git else made.hexdigest()
