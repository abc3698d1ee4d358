"""Outlines of runs with their phases, kept on disk: a list of many runs reads again only the files that have changed.

A file of 200 points and 24 layers has 29 MB, and its phases take as long as its reading. What a list shows of it has a
hundredth of that, and is kept in ``$XDG_CACHE_HOME/ibtrack/outlines``, or ``~/.cache/ibtrack/outlines``. It counts as
long as the file has the size, the time of its last change and the place on the disk that it had, and the code that
reads files and finds phases is the same. The folder may be removed at any time.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import replace
from functools import cache
from importlib.resources import files
from multiprocessing import get_context
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any, NamedTuple

import msgspec
import numpy as np

from ibtrack.analysis.outline import outline
from ibtrack.analysis.phase_words import Phases
from ibtrack.analysis.phases import find_phases
from ibtrack.record.trajectory import Point, Trajectory

LARGEST_CACHE = 500_000_000  # bytes of all outlines together: those of some hundred to some thousand large runs
LEAST_PREPARED = 500_000_000  # bytes of files; of less it costs more to start processes than it saves
_PACKAGES = ("ibtrack.record", "ibtrack.analysis")  # whose code makes what is kept


class Outlined(NamedTuple):
    """What a list shows of a run.

    Attributes:
        run: Outline of the run, see `ibtrack.analysis.outline`.
        phases: Its phases.
    """

    run: Trajectory
    phases: Phases


class _Stamped(msgspec.Struct):
    """What tells whether a file of the folder still counts; the rest of it is passed over.

    Attributes:
        stamp: The trajectory file as it was read.
        code: Digest of the code that read it.
    """

    stamp: tuple[int, int, int]
    code: str


class _Kept(msgspec.Struct):
    """A file of the folder.

    Attributes:
        stamp: The trajectory file as it was read.
        code: Digest of the code that read it.
        said: Warnings of the reading.
        header: Protocol and run as JSON.
        points: Points of the outline.
        phases: Phases of the run.
    """

    stamp: tuple[int, int, int]
    code: str
    said: list[str]
    header: str
    points: list[Point]
    phases: Phases


def outlined(path: str | os.PathLike[str], order: str = "token", *, unit: str | None = None) -> Outlined:
    """Read the outline of a run and find its phases, or take both from an earlier call of any process.

    Args:
        path: Trajectory file, or folder of a run.
        order: Label set, such as ``token``.
        unit: Unit of the phases, as in `ibtrack.analysis.phases.find_phases`.

    Returns:
        The outline and the phases, the same to the last digit whether they were kept or not; so are warnings.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is not a trajectory or is damaged, or there is no such unit.
    """
    path = Path(path)
    path = path / "trajectory.jsonl" if path.is_dir() else path
    stamp, place = _stamp(path), _folder() / _name(path, order, unit)
    kept = _read(place)
    if kept is None or (kept.stamp, kept.code) != (stamp, _code()):
        kept = _made(path, stamp, order, unit)
        if _stamp(path) == stamp:  # else a point came in while it was read
            _write(place, kept)
    for message in kept.said:
        warnings.warn(message, stacklevel=2)
    protocol, header = json.loads(kept.header)
    return Outlined(Trajectory(protocol, header, kept.points, path), kept.phases)


def prepare(paths: Sequence[Path], order: str = "token", *, unit: str | None = None) -> Iterator[int]:
    """Make the outlines of files that have changed, in as many processes as there are processors.

    What is kept is what `outlined` would keep, so this only saves time. Nothing is done where there is little to read,
    or a single processor. A file that cannot be read is left to `outlined`, which says why.

    Args:
        paths: Trajectory files.
        order: Label set, such as ``token``.
        unit: Unit of the phases.

    Yields:
        Number of files that are still to be read.
    """
    changed = [path for path in paths if path.is_file() and not _is_kept(path, order, unit)]
    number = min(_num_processors(), len(changed))
    if number < 2 or sum(path.stat().st_size for path in changed) < LEAST_PREPARED:
        return
    pool = ProcessPoolExecutor(number, mp_context=get_context("spawn"), initializer=_leave_the_key_to_who_started)
    try:
        waiting = [pool.submit(_keep, path, order, unit) for path in changed]
        for left, each in zip(range(len(waiting) - 1, -1, -1), as_completed(waiting), strict=True):
            each.result()
            yield left
    except BrokenExecutor:  # a process was ended, for want of memory perhaps; what it has not kept is read one by one
        return
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _keep(path: Path, order: str, unit: str | None) -> None:
    """Make an outline for who asks for it later."""
    with warnings.catch_warnings(), suppress(OSError, ValueError, KeyError):
        warnings.simplefilter("ignore")
        outlined(path, order, unit=unit)


def _leave_the_key_to_who_started() -> None:
    """Let Ctrl-C end the process that reads, which ends the others."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _num_processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _made(path: Path, stamp: tuple[int, int, int], order: str, unit: str | None) -> _Kept:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run = Trajectory.load(path, sites=("mean",))
    points = [replace(point, values=dict(point.values)) for point in outline(run, [order]).points]
    return _Kept(
        stamp=stamp,
        code=_code(),
        said=list(dict.fromkeys(str(each.message) for each in caught)),
        header=json.dumps([run.protocol, run.run]),
        points=points,
        phases=find_phases(run, order, unit=unit),
    )


def _stamp(path: Path) -> tuple[int, int, int]:
    """Tell a file from another one, and from itself after a change."""
    found = path.stat()
    return found.st_size, found.st_mtime_ns, found.st_ino


@cache
def _code() -> str:
    """Digest the code that what is kept depends on, so that no other version of it is taken for this one."""
    digest = hashlib.sha256()
    for package in _PACKAGES:
        for file in sorted(files(package).iterdir(), key=lambda each: each.name):
            if file.name.endswith(".py"):
                digest.update(file.read_bytes())
    return digest.hexdigest()


def _folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ibtrack" / "outlines"


def _name(path: Path, order: str, unit: str | None) -> str:
    asked = json.dumps([str(path.resolve()), order, unit])
    return f"{hashlib.sha256(asked.encode()).hexdigest()}.msgpack"


def _is_kept(path: Path, order: str, unit: str | None) -> bool:
    try:
        kept = msgspec.msgpack.decode((_folder() / _name(path, order, unit)).read_bytes(), type=_Stamped)
    except (OSError, ValueError):
        return False
    return (kept.stamp, kept.code) == (_stamp(path), _code())


def _read(place: Path) -> _Kept | None:
    """Read what was kept; None where there is nothing, or what is there is damaged, and so is made again."""
    try:
        return msgspec.msgpack.decode(place.read_bytes(), type=_Kept, dec_hook=_from_plain)
    except (OSError, ValueError, TypeError):
        return None


def _write(place: Path, kept: _Kept) -> None:
    """Keep an outline, in one piece, and make room for it; where that cannot be it is made again the next time."""
    with suppress(OSError):
        place.parent.mkdir(parents=True, exist_ok=True)
        with NamedTemporaryFile(dir=place.parent, suffix=".part", delete=False) as file:
            file.write(msgspec.msgpack.encode(kept, enc_hook=_plain))
        Path(file.name).replace(place)
        _make_room(place.parent)


def _make_room(folder: Path) -> None:
    """Remove the outlines that were made longest ago, until the others have `LARGEST_CACHE` bytes."""
    found = sorted(((each.stat(), each) for each in folder.iterdir()), key=lambda each: -each[0].st_mtime_ns)
    room = LARGEST_CACHE
    for each, file in found:
        room -= each.st_size
        if room < 0:
            file.unlink(missing_ok=True)


def _plain(value: Any) -> Any:
    """Write what msgspec does not know: an array of `ibtrack.analysis.movements.Movement`.

    Raises:
        NotImplementedError: It is something else.
    """
    if isinstance(value, np.ndarray):
        return value.astype(np.float64).tobytes()
    raise NotImplementedError(f"{type(value).__name__} cannot be kept")


def _from_plain(kind: Any, value: Any) -> Any:
    """Read back an array."""
    return np.frombuffer(value, np.float64)
