"""Files that have their name only when they are whole, whatever ends the process that writes them."""

from __future__ import annotations

import os
import uuid
from pathlib import Path


def write_whole(path: Path, text: str) -> None:
    """Write a text file beside its place and put it there, in the place of an earlier one.

    Several processes may write it at once: the last one's file stays.

    Args:
        path: The file; its folder is made if need be.
        text: What it is to hold, which is written as UTF-8.

    Raises:
        OSError: There is no room, say; an earlier file is then as it was.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     write_whole(Path(folder, "a", "note.txt"), "whole")
        ...     [path.name for path in Path(folder, "a").iterdir()]
        ['note.txt']
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        draft.write_text(text, encoding="utf-8")
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)
