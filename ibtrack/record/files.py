"""The trajectory files below a folder, and why one of them cannot be read."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path


def trajectory_files(folder: Path) -> list[Path]:
    """List the trajectory files below a folder.

    Args:
        folder: Folder of a run, or of folders of runs; one that does not exist holds none.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     for name in ("trajectory.jsonl", "trajectory.1.jsonl", "trajectory_code.jsonl", "notes.jsonl"):
        ...         Path(folder, name).touch()
        ...     [path.name for path in trajectory_files(Path(folder))]
        ['trajectory.jsonl', 'trajectory_code.jsonl']
    """
    return named_so(folder.rglob("*.jsonl"))


def named_so(paths: Iterable[Path]) -> list[Path]:
    """Keep the trajectory files, also those of monitors with a prefix; earlier starts, moved aside, are left out.

    Args:
        paths: Files of any name.
    """
    return sorted(
        path for path in paths if re.fullmatch(r"trajectory(_.+)?", path.stem) and not re.search(r"\.\d+$", path.stem)
    )


def why_not_read(error: Exception) -> str:
    """Say why a file cannot be read.

    Args:
        error: What was raised by its reading.

    Example:
        >>> why_not_read(ValueError("line 3 is damaged")), why_not_read(KeyError("probe"))
        ('line 3 is damaged', "the file is damaged: 'probe' is missing")
    """
    if isinstance(error, UnicodeDecodeError):
        return "not a trajectory file: it is not text"
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        return f"{error.filename} cannot be used: {error.strerror}"
    return f"the file is damaged: {error} is missing" if isinstance(error, KeyError) else str(error)
