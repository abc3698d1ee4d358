"""The writer of a trajectory file: a line is on the disk before any logger hears of its point."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import uuid
import warnings
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from io import FileIO
from pathlib import Path
from typing import Any, NamedTuple, cast

from ibtrack.record.lines import header_line, lines_of, point_line, read_header, read_line
from ibtrack.record.lock import FileLock
from ibtrack.record.plain import plain
from ibtrack.record.protocol import as_text, differing_keys, flat, protocol_differences
from ibtrack.record.trajectory import Point, read_file
from ibtrack.record.values import Columns

# errors that say that a path is wrong; after all others the disk may have room or be there again later
_WRONG_PATH = (FileExistsError, FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError)
_WRONG_PATH_NUMBERS = (errno.EROFS, errno.ENAMETOOLONG, errno.ELOOP, errno.EINVAL)
_MOST_KEYS = 5  # of a configuration that are named


class TrajectoryWriter:
    """Keeps a trajectory file: each point is on the disk before `append` returns.

    What the disk does not take stays in memory, and is written with the next point, in order and once. While a writer
    is open, no other process can open its file; within a process the last writer of a path has it. `create` and
    `resume` make one.

    Attributes:
        path: The trajectory file.
        header: First line of the file, as a mapping.
        points: Points of the run, on the disk or waiting for it.
        fault: Why the disk does not hold all of them; None where it does.
    """

    def __init__(
        self, path: Path, header: Mapping[str, Any], points: Sequence[Point], make_room: Callable[[], None]
    ) -> None:
        self.path, self.header, self.points = path, dict(header), list(points)
        self.fault: OSError | None = None
        self._make_room = make_room  # called when the new file is ready to take its place
        self._file: tuple[int, int] | None = None  # which file it is; None before it is there
        self._size = 0  # bytes of the lines that it holds
        self._num_written = 0  # points that it holds
        self._named: Columns | None = None  # columns that it has named last
        self._torn = False  # whether a line may have been cut off behind them
        self._lock = FileLock(path)
        weakref.finalize(self, self._lock.release, is_over=False)  # where nobody has closed it

    @classmethod
    def create(
        cls, path: str | os.PathLike[str], protocol: Mapping[str, Any], run: Mapping[str, Any] | None = None
    ) -> TrajectoryWriter:
        """Start a new file.

        What an earlier start of the same run has left, one that was killed before its first checkpoint, say, is moved
        to ``<name>.1.jsonl``, with a warning. Where the disk is full nothing is left on it, `fault` says so, and the
        file is made as soon as there is room.

        Args:
            path: File to write; its folder is made.
            protocol: Protocol of the measurement, for the header.
            run: Name and config of the run, for the header, which holds them as plain values, see
                `ibtrack.record.plain.plain`.

        Raises:
            FileExistsError: The path holds the trajectory of another run, which is never overwritten, or another
                process is writing it; the message names that process.
            OSError: No file can be made at the path.
            ValueError: An entry of protocol or run is of a kind that no file has.
        """
        path = Path(path)
        header = _as_read(protocol, run, run_id=uuid.uuid4().hex)

        def plan() -> TrajectoryWriter:
            seen = _seen(path)
            if seen is None:
                return cls(path, header, [], partial(_see_no_change, path, seen))
            held = _earlier_start(path, header)
            why = f"an earlier start of this run, with {held}; as this one does not resume from a checkpoint, it"
            return cls(path, header, [], partial(_move_aside, path, seen, why))

        return cls._begin(path, plan)

    @classmethod
    def resume(
        cls,
        path: str | os.PathLike[str],
        protocol: Mapping[str, Any],
        *,
        last_step: int,
        run: Mapping[str, Any] | None = None,
        run_id: str | None = None,
        held: Sequence[Point] = (),
        check_config: bool = True,
    ) -> TrajectoryWriter:
        """Go on with a file after a restart from a checkpoint.

        Points after the checkpoint are moved to ``<name>.1.jsonl``, with a warning. If the file is another run's, or
        has another config, all of it is moved there, and a new file is begun. On a full disk the file stays as it is,
        `fault` says so, and both are done as soon as there is room.

        Args:
            path: Trajectory file of the run.
            protocol: Protocol of the measurement as it is now.
            last_step: Step of the checkpoint.
            run: Name and config of the run as they are now; None takes any.
            run_id: `run_id` of the run that the checkpoint is of; None where that is not known.
            held: Points of the run in memory, of which the file may lack some.
            check_config: Whether the file of a run with another config is another run's; a later stage of training has
                a config of its own.

        Raises:
            FileExistsError: Another process is writing the file; the message names that process.
            OSError: The file cannot be read or replaced.
            ValueError: The file was measured under another protocol; the message shows the differing entries. Or an
                entry of protocol or run is of a kind that no file has.
        """
        path = Path(path)

        def plan() -> TrajectoryWriter:
            seen = _seen(path)
            old, points = read_file(path)
            if differences := protocol_differences({"the file": old["protocol"], "this run": protocol}):
                raise ValueError(
                    f"{path} was measured under another protocol ({'; '.join(differences)}); its points are not "
                    "comparable: resume with the same options, or give another path"
                )
            if other := _other_run(old, run if check_config else None, run_id):
                header = _as_read(protocol, run, run_id=uuid.uuid4().hex)
                why = f"{_amount_and_last(points)} of {other}; it"
                return cls(path, header, [], partial(_move_aside, path, seen, why))
            # the file learns what it has not known of its measurement, such as from how many rows the geometry is
            added = {entry: value for entry, value in protocol.items() if entry not in old["protocol"]}
            kept_id = old.get("run_id") or uuid.uuid4().hex
            header = _as_read(**{**old, "run_id": kept_id, "protocol": {**old["protocol"], **added}})
            on_disk = {point.step for point in points}
            missing = [point for point in held if point.step not in on_disk and _can_be_read_back(point)]
            known = {point.step: point for point in (*missing, *points) if point.step <= last_step}
            later = [point for point in points if point.step > last_step]
            return cls(
                path,
                header,
                [known[step] for step in sorted(known)],
                partial(_set_aside, path, seen, old, later, last_step),
            )

        return cls._begin(path, plan)

    @property
    def run_id(self) -> str:
        """Name of the run that no other has; a checkpoint that keeps it is known to be of this run."""
        return str(self.header["run_id"])

    def append(self, point: Point) -> None:
        """Write one point, after those that the disk has not taken so far.

        Args:
            point: Point of a later step than the last one.

        Raises:
            ValueError: The point's step is not after the last one, or no file can hold the point, as a number of it
                lies outside of the range that files have.
            FileExistsError: The file is another one by now, or another process is writing it.
            OSError: The disk did not take the line. The file is as it was, and the point waits for the next call.
        """
        if self.points and point.step <= self.points[-1].step:
            raise ValueError(f"step must be after {self.points[-1].step}, the last point, got {point.step}")
        read_line(point_line(point).encode())  # what could not be read back would spoil the whole file
        self.points.append(point)
        try:
            self.flush()
        except Exception as error:
            if not isinstance(error, OSError):
                self.points.pop()  # it has no line, and later points must not wait for it
            raise

    def flush(self) -> None:
        """Write what the disk does not hold so far.

        Raises:
            FileExistsError: The file is another one by now, or another process is writing it.
            OSError: The disk did not take it. The file is as it was.
        """
        try:
            self._lock.acquire()
            if self._file is None:
                self._make_file()
            elif self._num_written < len(self.points):
                self._add_lines()
        except OSError as error:
            self.fault = error
            raise
        self.fault = None

    def close(self) -> None:
        """Write what the disk does not hold so far, and let other processes open the file.

        A point that is appended later opens it again.

        Raises:
            OSError: The disk did not take it.
        """
        try:
            if self.fault is not None:
                self.flush()
        finally:
            self._lock.release()

    @classmethod
    def _begin(cls, path: Path, plan: Callable[[], TrajectoryWriter]) -> TrajectoryWriter:
        """Decide under the lock what is to be done with a path, and do it, as far as the disk allows."""
        lock = FileLock(path)
        try:
            with _faults_of_the_disk_pass():
                path.parent.mkdir(parents=True, exist_ok=True)
                lock.acquire()
            writer = plan()
            with _faults_of_the_disk_pass():
                writer.flush()
        except BaseException:
            lock.release(is_over=True)  # nothing was written
            raise
        return writer

    def _make_file(self) -> None:
        """Put the file in its place with all lines so far, whole or not at all."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        text, named = _lines(self.header, self.points)
        self._file = _put(self.path, text, self._make_room)
        self._size, self._num_written, self._named = len(text), len(self.points), named

    def _add_lines(self) -> None:
        """Add the lines of the points that wait, or, where the disk does not take all of them, nothing.

        Raises:
            FileExistsError: The file is not as this process has left it.
            OSError: The disk did not take them.
        """
        num_lines = len(self.points) - self._num_written
        text, named = _lines(None, self.points[self._num_written :], self._named)
        with self.path.open("r+b", buffering=0) as file:
            found = os.fstat(file.fileno())
            if _identity(found) != self._file:
                raise FileExistsError(f"{self.path} has been replaced, by another start of this run perhaps")
            if found.st_size != self._size and not self._torn:
                raise FileExistsError(f"{self.path} has been changed, by another start of this run perhaps")
            self._torn = True
            file.truncate(self._size)
            file.seek(self._size)
            try:
                _write_all(file, text)
            except OSError:
                with contextlib.suppress(OSError):  # of a disk that is gone; the next call does it
                    file.truncate(self._size)
                raise
        self._size += len(text)
        self._num_written += num_lines
        self._named = named
        self._torn = False


class _Seen(NamedTuple):
    """By what a file is known to have been left alone."""

    device: int
    number: int
    size: int


def _seen(path: Path) -> _Seen | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return _Seen(found.st_dev, found.st_ino, found.st_size)


def _identity(file: os.stat_result) -> tuple[int, int]:
    """Tell a file from another one that was put in its place under the same name."""
    return file.st_dev, file.st_ino


@contextlib.contextmanager
def _faults_of_the_disk_pass() -> Iterator[None]:
    """Let pass what may be over later.

    Yields:
        Nothing.

    Raises:
        OSError: The path is wrong, or the file is another's.
    """
    try:
        yield
    except OSError as error:
        if isinstance(error, _WRONG_PATH) or error.errno in _WRONG_PATH_NUMBERS:
            raise


def _lines(
    header: Mapping[str, Any] | None, points: Sequence[Point], named: Columns | None = None
) -> tuple[bytes, Columns | None]:
    """Write lines of a file, and say which columns it has named last; ``named`` are those that it had before."""
    lines, named = lines_of(points, named)
    first = [] if header is None else [header_line(header)]
    return "".join(f"{line}\n" for line in (*first, *lines)).encode(), named


def _put(path: Path, text: bytes, make_room: Callable[[], None]) -> tuple[int, int]:
    """Put a file in its place as a whole: a process that is killed, or a full disk, leaves what was there.

    Args:
        path: File to write.
        text: All of it.
        make_room: Called when the new file is on the disk, but not yet in its place.

    Returns:
        The identity of the new file.
    """
    draft = path.with_name(f".{path.name}.tmp")
    try:
        with draft.open("wb", buffering=0) as file:
            _write_all(file, text)
            identity = _identity(os.fstat(file.fileno()))
        make_room()
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    return identity


def _write_all(file: FileIO, text: bytes) -> None:
    rest = memoryview(text)
    while rest:
        rest = rest[file.write(rest) :]  # a disk that is nearly full takes a part
    os.fsync(file.fileno())


def _as_read(protocol: Mapping[str, Any], run: Mapping[str, Any] | None, **rest: Any) -> dict[str, Any]:
    """Make a header as it is read back from a file, so that a run is known again by it.

    Raises:
        ValueError: An entry is of a kind that no file has.
    """
    header = {**rest, "protocol": dict(protocol), "run": plain(run or {})}
    return cast(dict[str, Any], read_header(header_line(header).encode()))  # it is one, as it has both parts


def _can_be_read_back(point: Point) -> bool:
    """Whether a file can hold a point; one that it cannot was complained of when it was measured."""
    try:
        read_line(point_line(point).encode())
    except ValueError:
        return False
    return True


def _amount(points: Sequence[Point]) -> str:
    return "no point" if not points else "1 point" if len(points) == 1 else f"{len(points)} points"


def _amount_and_last(points: Sequence[Point]) -> str:
    return _amount(points) + (f" up to step {points[-1].step}" if points else "")


def _earlier_start(path: Path, header: Mapping[str, Any]) -> str:
    """Say how many points the earlier start of a run has left.

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
    return _amount_and_last(points)


def _never_begun(path: Path) -> bool:
    """Whether a process was killed while it wrote the header."""
    text = path.read_bytes()
    return b"\n" not in text and text[:10] == b'{"format":'[: len(text)]


def _other_run(old: Mapping[str, Any], run: Mapping[str, Any] | None, run_id: str | None) -> str:
    """Say what run a file is of, if it is not the one that goes on; empty if it is, or if nothing tells."""
    if run_id and old.get("run_id") not in (None, run_id):
        return "another run than the checkpoint's"
    if run is None:
        return ""
    configs = [flat({"": each.get("config") or {}}) for each in (old["run"], _as_read({}, run)["run"])]
    if not (keys := [key.removeprefix(".") for key in differing_keys(configs)]):
        return ""
    more = f" and {len(keys) - _MOST_KEYS} more" if len(keys) > _MOST_KEYS else ""
    return f"a run with another config (it differs in {', '.join(keys[:_MOST_KEYS])}{more})"


def _aside(path: Path) -> Path:
    """Name a file beside another one that does not exist yet."""
    return next(p for n in itertools.count(1) if not (p := path.with_suffix(f".{n}{path.suffix}")).exists())


def _see_no_change(path: Path, seen: _Seen | None) -> None:
    """Look whether a file has changed since a run was begun; without a lock another process can have done so.

    Raises:
        FileExistsError: It has.
    """
    if _seen(path) != seen:
        raise FileExistsError(f"{path} was made or changed by another process in the meantime; choose another path")


def _move_aside(path: Path, seen: _Seen | None, why: str) -> None:
    """Move a file out of the way, with a warning."""
    _see_no_change(path, seen)
    aside = _aside(path)
    path.rename(aside)
    warnings.warn(f"{path} held {why} is moved to {aside.name}", stacklevel=2)


def _set_aside(path: Path, seen: _Seen | None, header: Mapping[str, Any], later: Sequence[Point], step: int) -> None:
    """Write the points after a checkpoint, which the file is about to lose, to one of their own, with a warning."""
    _see_no_change(path, seen)
    if not later:
        return
    aside = _aside(path)
    _put(aside, _lines(header, later)[0], lambda: None)
    warnings.warn(
        f"{path} held {_amount(later)} after step {step}, from which training goes on; they are kept in {aside.name}",
        stacklevel=2,
    )
