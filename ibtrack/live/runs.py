"""The runs below a folder as their files grow: which there are, whether they go on, and what a page holds of each.

Files are looked at by their size and the time of their last change, which takes a moment for hundreds of them. Only
those that have changed are read again, the newest first, and not longer at a time than a page may wait for.
"""

from __future__ import annotations

import time
import warnings
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import NamedTuple

from ibtrack.record.files import trajectory_files, why_not_read
from ibtrack.record.lock import LockState, lock_state
from ibtrack.record.trajectory import CUT_OFF, Trajectory
from ibtrack.report.html import loaded
from ibtrack.report.sheet import Sheet, sheet

FEWEST_PLACES = 4  # runs that the first page has room for; a page of four large runs holds them whole


class RunState(Enum):
    """Whether a run goes on.

    Attributes:
        RUNNING: A process has its file open to write it.
        FINISHED: The run came to its end and closed its file.
        DEAD: The process that wrote it has ended, and the run did not come to its end.
        UNKNOWN: It cannot be told from this machine; its last news are so and so old.
    """

    RUNNING = "running"
    FINISHED = "finished"
    DEAD = "dead"
    UNKNOWN = "unknown"


class Stamp(NamedTuple):
    """By what a file is seen to have changed.

    Attributes:
        changed: Time of the last change, in nanoseconds since 1970.
        size: Its bytes.
        number: Its place on the disk, which another file under the same name does not have.
    """

    changed: int
    size: int
    number: int


@dataclass
class FollowedRun:
    """A run whose file is followed.

    Attributes:
        path: Trajectory file.
        stamp: The file as it was seen last.
        lock: Its lock as it was seen last.
        state: Whether the run goes on.
        sheet: What the page holds of it; None before it was read, and where it cannot be read.
        refusal: Why it cannot be read; None where it can, or was not read so far.
        said: Warnings of its reading.
    """

    path: Path
    stamp: Stamp
    lock: LockState
    state: RunState
    sheet: Sheet | None = None
    refusal: str | None = None
    said: list[str] = field(default_factory=list)
    _read: tuple[Stamp, int] | None = None  # the file and the number of runs of the page, as they were when it was read

    @property
    def is_read(self) -> bool:
        """Whether the file was read at all."""
        return self._read is not None

    def is_behind(self, places: int) -> bool:
        """Whether the file has changed since it was read, or the page has other room for it.

        Args:
            places: Number of runs that the page has room for.
        """
        return self._read != (self.stamp, places)

    def see(self, stamp: Stamp, lock: LockState) -> bool:
        """Take in what is seen of the file from outside; say whether the state has changed.

        Args:
            stamp: The file as it is.
            lock: Its lock, as it was before the file was looked at.
        """
        grew = stamp != self.stamp and LockState.FREE is lock is self.lock
        before = self.state
        self.state = _state(lock, grows_unseen=grew or (before is RunState.UNKNOWN and self.lock is LockState.FREE))
        self.stamp, self.lock = stamp, lock
        return self.state is not before

    def read(self, places: int) -> None:
        """Read the file as a page has room for it, or keep why it cannot be read.

        Args:
            places: Number of runs that the page has room for.
        """
        self._read = (self.stamp, places)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                self.sheet, self.refusal = sheet(loaded(self.path, places, with_layers=False), places), None
            except (OSError, ValueError, KeyError) as error:
                self.sheet, self.refusal = None, why_not_read(error)
        messages = dict.fromkeys(str(warning.message) for warning in caught)
        is_being_written = self.state is RunState.RUNNING  # so that a line may be there in part
        self.said = [each for each in messages if not (is_being_written and each.endswith(CUT_OFF))]


class News(NamedTuple):
    """What has changed between two looks.

    Attributes:
        new: Runs that were not there before.
        gone: Runs that are not there any more.
        read: Runs that were read.
        states: Runs whose state has changed.
    """

    new: list[FollowedRun]
    gone: list[FollowedRun]
    read: list[FollowedRun]
    states: list[FollowedRun]


class FollowedRuns:
    """All runs below a folder.

    Args:
        folder: Folder whose trajectory files are followed, however deep they lie; it need not exist yet.

    Attributes:
        folder: The folder.
        by_path: Trajectory file to its run, in the order of the paths.

    Example:
        >>> import tempfile
        >>> from ibtrack.record.writer import TrajectoryWriter
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     runs = FollowedRuns(Path(folder))
        ...     writer = TrajectoryWriter.create(Path(folder, "a", "trajectory.jsonl"), {})
        ...     print([(runs.name(run), run.state.value) for run in runs.look().new])
        ...     writer.close()
        ...     print([(runs.name(run), run.state.value) for run in runs.look().states])
        [('a', 'running')]
        [('a', 'finished')]
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.by_path: dict[Path, FollowedRun] = {}

    @property
    def shown(self) -> list[FollowedRun]:
        """The runs that the page shows."""
        return [run for run in self.by_path.values() if run.sheet is not None]

    @property
    def refused(self) -> list[FollowedRun]:
        """The runs whose files cannot be read."""
        return [run for run in self.by_path.values() if run.refusal is not None]

    @property
    def num_unread(self) -> int:
        """Number of runs that were not read so far."""
        return sum(not run.is_read for run in self.by_path.values())

    @property
    def is_behind(self) -> bool:
        """Whether there is something to read."""
        return any(run.is_behind(self._places) for run in self.by_path.values())

    def name(self, run: FollowedRun) -> str:
        """Name a run by where it lies below the folder.

        Args:
            run: One of them.
        """
        inside = run.path.relative_to(self.folder)
        is_usual = inside.name == "trajectory.jsonl" and inside.parent.name
        return str(inside.parent if is_usual else inside)

    def look(self, seconds: float = float("inf")) -> News:
        """See what has changed, and read what has, as far as the time allows; at least one file is read.

        Args:
            seconds: Time after which no further file is begun.
        """
        until = time.monotonic() + seconds
        new, gone, states = self._seen()
        places = self._places
        behind = [run for run in self.by_path.values() if run.is_behind(places)]
        behind.sort(key=lambda run: (run.is_read, -run.stamp.changed))
        read: list[FollowedRun] = []
        for run in behind:
            if read and time.monotonic() > until:
                break
            run.read(places)
            read.append(run)
        return News(new, gone, read, states)

    def details(self, number: int) -> Trajectory | None:
        """Read a run as a whole, up to the point that the page knows; None where there is no such run.

        Args:
            number: Place of the run among those that are shown.

        Raises:
            OSError: The file cannot be read any more.
            ValueError: The file is damaged by now.
        """
        shown = self.shown
        if number >= len(shown):
            return None
        known = shown[number].sheet
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the page has said it
            run = Trajectory.load(shown[number].path)
        num_points = len(run.points) if known is None else len(known.run.points)
        return Trajectory(run.protocol, run.run, run.points[:num_points], run.path)

    @property
    def _places(self) -> int:
        """Number of runs that the page has room for; it doubles, so that it seldom changes."""
        places = FEWEST_PLACES
        while places < len(self.by_path):
            places *= 2
        return places

    def _seen(self) -> tuple[list[FollowedRun], list[FollowedRun], list[FollowedRun]]:
        """Look at all files from outside: those that are new, those that are gone, those whose state has changed."""
        found: dict[Path, FollowedRun] = {}
        new, states = [], []
        for path in trajectory_files(self.folder):
            lock = lock_state(path)  # before the file, so that what was written last is not taken for a growth unseen
            try:
                stamp = _stamp(path)
            except OSError:  # it has gone meanwhile
                continue
            known = self.by_path.get(path)
            if known is None:
                known = FollowedRun(path, stamp, lock, _state(lock))
                new.append(known)
            elif known.see(stamp, lock):
                states.append(known)
            found[path] = known
        gone = [run for path, run in self.by_path.items() if path not in found]
        self.by_path = found
        return new, gone, states


def _state(lock: LockState, *, grows_unseen: bool = False) -> RunState:
    """Say whether a run goes on; where its file grows and nobody has its lock, it is written elsewhere and copied."""
    if lock is LockState.FREE:
        return RunState.UNKNOWN if grows_unseen else RunState.FINISHED
    return {LockState.HELD: RunState.RUNNING, LockState.LEFT: RunState.DEAD}.get(lock, RunState.UNKNOWN)


def _stamp(path: Path) -> Stamp:
    found = path.stat()
    return Stamp(found.st_mtime_ns, found.st_size, found.st_ino)
