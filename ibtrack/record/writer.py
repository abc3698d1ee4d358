"""The writer of a trajectory file: a line is on the disk before any logger hears of its point."""

from __future__ import annotations

import itertools
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ibtrack.record.lines import header_line, lines_of, point_lines
from ibtrack.record.plain import plain
from ibtrack.record.protocol import as_text, protocol_differences
from ibtrack.record.trajectory import Point, read_file
from ibtrack.record.values import Columns


class TrajectoryWriter:
    """Appends points to a trajectory file, each on the disk before `append` returns.

    Args:
        path: Trajectory file, which exists already; `create` and `resume` see to that.
        points: Points that it holds.
        named: Columns that it has named last, None where it has none.
    """

    def __init__(self, path: Path, points: list[Point], named: Columns | None = None) -> None:
        self.path = path
        self.points = points
        self._named = named
        self._file = _identity(os.stat(path))

    @classmethod
    def create(
        cls, path: str | os.PathLike[str], protocol: Mapping[str, Any], run: Mapping[str, Any] | None = None
    ) -> TrajectoryWriter:
        """Start a new file.

        What an earlier start of the same run has left, one that was killed before its first checkpoint, say, is moved
        to ``<name>.1.jsonl``, with a warning.

        Args:
            path: File to write; its folder is made.
            protocol: Protocol of the measurement, for the header.
            run: Name and config of the run, for the header, which holds them as plain values, see
                `ibtrack.record.plain.plain`.

        Raises:
            FileExistsError: The path already holds the trajectory of another run, which is never overwritten.
        """
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        header = {"protocol": dict(protocol), "run": plain(run or {})}
        if path.exists():
            _move_aside(path, header)
        try:
            path.touch(exist_ok=False)
        except FileExistsError:
            raise FileExistsError(f"{path} was made by another process at this moment; choose another path") from None
        writer = cls(path, [])
        writer._append_line(header_line(header))
        return writer

    @classmethod
    def resume(cls, path: str | os.PathLike[str], protocol: Mapping[str, Any], *, last_step: int) -> TrajectoryWriter:
        """Go on with a file after a restart from a checkpoint.

        Args:
            path: Trajectory file of the run.
            protocol: Protocol of the measurement as it is now.
            last_step: Step of the checkpoint; later points are dropped.

        Raises:
            ValueError: The file was measured under another protocol; the message shows the differing entries.
        """
        path = Path(path)
        header, points = read_file(path)
        differences = protocol_differences({"the file": header["protocol"], "this run": protocol})
        if differences:
            raise ValueError(
                f"{path} was measured under another protocol ({'; '.join(differences)}); its points are not "
                "comparable: resume with the same options, or give another path"
            )
        earlier = [point for point in points if point.step <= last_step]
        lines, named = lines_of(earlier)
        draft = path.with_suffix(".tmp")
        draft.write_text("\n".join([header_line(header), *lines]) + "\n", encoding="utf-8")
        draft.replace(path)  # atomic: a crash here leaves the old file
        return cls(path, earlier, named)

    def append(self, point: Point) -> None:
        """Write one point.

        Args:
            point: Point of a later step than the last one.

        Raises:
            ValueError: The point's step is not after the last one.
            OSError: The disk did not take the line, and the file is as it was; or it is another file by now.
        """
        if self.points and point.step <= self.points[-1].step:
            raise ValueError(f"step must be after {self.points[-1].step}, the last point, got {point.step}")
        line, named = point_lines(point, self._named)
        self._append_line(line)
        self._named = named
        self.points.append(point)

    def _append_line(self, line: str) -> None:
        """Add a line, or, where the disk does not take all of it, nothing.

        Raises:
            FileExistsError: Another file lies at the path by now.
            OSError: The disk did not take the line.
        """
        with self.path.open("r+b") as file:
            if _identity(os.fstat(file.fileno())) != self._file:
                raise FileExistsError(f"{self.path} has been replaced, by another start of this run perhaps")
            end = file.seek(0, os.SEEK_END)
            try:
                file.write(line.encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())
            except OSError:
                file.truncate(end)
                raise


def _identity(file: os.stat_result) -> tuple[int, int]:
    """Tell a file from another one that was put in its place under the same name."""
    return file.st_dev, file.st_ino


def _move_aside(path: Path, header: Mapping[str, Any]) -> None:
    """Make room for a run that begins again.

    Args:
        path: File that is in the way.
        header: Header of the run that begins.

    Raises:
        FileExistsError: The file is not an earlier start of the run of ``header``.
    """
    try:
        old, points = read_file(path) if not _never_begun(path) else (header, [])
    except ValueError as error:
        raise FileExistsError(f"{error}; choose another path") from None
    differences = protocol_differences({"the file": old["protocol"], "this run": header["protocol"]})
    if as_text(old["run"].get("config")) != as_text(header["run"].get("config")):
        differences.append("the run's config")
    if differences:
        raise FileExistsError(
            f"{path} already holds another run's trajectory ({'; '.join(differences)}); "
            "choose another path, move it away, or resume that run from its checkpoint"
        )
    aside = next(p for n in itertools.count(1) if not (p := path.with_suffix(f".{n}{path.suffix}")).exists())
    path.rename(aside)
    last = f"{len(points)} points up to step {points[-1].step}" if points else "no point"
    warnings.warn(
        f"{path} held an earlier start of this run, with {last}; as this one does not resume from a checkpoint, "
        f"it is moved to {aside.name}",
        stacklevel=2,
    )


def _never_begun(path: Path) -> bool:
    """Whether a process was killed while it wrote the header."""
    text = path.read_bytes()
    return b"\n" not in text and text[:10] == b'{"format":'[: len(text)]
