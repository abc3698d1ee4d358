"""A folder that is made once: whole or not there at all, by one process while others wait for it."""

from __future__ import annotations

import errno
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock, Timeout


def made_folder(folder: Path, make: Callable[[Path], None], fault: Callable[[Path], str | None]) -> Path:
    """Return a folder, which is made where it is not there, or has a fault.

    It is made under another name in the same place and gets its own when it is whole. What a process that was killed
    has left is removed by the next one. The system frees the lock of a process that has ended, however it ended.

    Args:
        folder: The folder.
        make: Function that fills an empty folder.
        fault: Function that says what a folder lacks, or None where it is whole.

    Returns:
        The folder.

    Raises:
        OSError: The disk is full; nothing is left of what was begun.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as root:
        ...     made = made_folder(Path(root, "a"), lambda folder: (folder / "b").touch(), lambda folder: None)
        ...     [path.name for path in made.iterdir()]
        ['b']
    """
    if folder.is_dir() and fault(folder) is None:
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder.with_name(f"{folder.name}.lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        print(f"waits for another process, which is preparing {folder}", file=sys.stderr, flush=True)
        lock.acquire()
    try:
        if not folder.is_dir():
            _make(folder, make)
        elif (lack := fault(folder)) is not None:
            print(f"{folder} is prepared anew: {lack}", file=sys.stderr, flush=True)
            _make(folder, make)
    finally:
        lock.release()
    return folder


def _make(folder: Path, make: Callable[[Path], None]) -> None:
    draft = folder.with_name(f"{folder.name}.draft")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir()
    try:
        make(draft)
        shutil.rmtree(folder, ignore_errors=True)
        draft.rename(folder)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        free = shutil.disk_usage(folder.parent).free
        raise OSError(
            errno.ENOSPC,
            f"the disk of {folder.parent} must have room for the prepared data, and was full with {free / 1e6:.0f} MB "
            "left; nothing of it was kept. IBTRACK_CACHE names a folder on another disk",
        ) from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
