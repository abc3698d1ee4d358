"""The record of a run while it goes on: its points in memory, in its file, at loggers, on its page and on the terminal.

What cannot be written or shown is a warning, and the run goes on, unless it is strict.
"""

from __future__ import annotations

import contextlib
import shlex
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ibtrack.distributed import MeasurementError, rank
from ibtrack.record.keys import parse_key
from ibtrack.record.logged import summary_line
from ibtrack.record.plain import plain
from ibtrack.record.texts import printable, reason
from ibtrack.record.trajectory import Point, Trajectory, read_file
from ibtrack.record.writer import TrajectoryWriter
from ibtrack.schedules import Progress
from ibtrack.tracking.live_page import LivePage
from ibtrack.tracking.loggers import PointLog, logger_name, point_log
from ibtrack.tracking.phase_watch import PhaseWatch
from ibtrack.tracking.stage import last_before

_OWN_MODULES = ("ibtrack", "contextlib")


class MeasurementWarning(UserWarning):
    """A measurement, or its record, did not succeed; training goes on."""


class Recorder:
    """Keeps the points of a run from one start to the next. Only the first process writes and shows anything.

    Args:
        protocol: Protocol of the measurement.
        path: Trajectory file to write; None keeps the points in memory only.
        name: Name of the run.
        config: Configuration of the run.
        loggers: Loggers that are given each point, see `ibtrack.tracking.loggers.point_log`.
        find_loggers: Called at each point for further ones, which may have been opened since the last; they are given
            the earlier points of this start as well. None looks for none.
        say: Called with each line of text that is shown; None shows nothing.
        page: HTML page that is kept up to date, made from the file; None writes none.
        alert: Whether wandb runs among the loggers raise an alert when a phase begins.
        strict: Whether to raise where something cannot be written or shown.
        log: What loggers get of a point, ``few`` or ``all`` of its numbers.
        prefix: Prefix of the logged keys.
        origin: Where the models of a replay come from, for the header; None for a run that trains.
        stage: Stage of training that is recorded; None where there is but one.

    Attributes:
        points: Points that have been recorded so far.
        before: Last point of the stage before this one; None where there is none.
        writer: What writes the file; None without one.
        logs: What gives points to the loggers.
        page: What writes the page; None without one.
    """

    def __init__(
        self,
        *,
        protocol: Mapping[str, Any],
        path: Path | None,
        name: str | None,
        config: Mapping[str, Any],
        loggers: Sequence[Any],
        find_loggers: Callable[[], Sequence[Any]] | None,
        say: Callable[[str], None] | None,
        page: Path | None,
        alert: bool,
        strict: bool,
        log: str,
        prefix: str,
        stage: str | None = None,
        origin: Mapping[str, Any] | None = None,
    ) -> None:
        self.protocol, self.path, self.log, self.prefix, self.stage = protocol, path, log, prefix, stage
        self.run = run_header(name, config, origin)
        self._goes_on = what_goes_on(origin)
        self._loggers, self._find_loggers, self._say = loggers, find_loggers, say
        self._page_path, self._alerts, self._strict = page, alert, strict
        self.points: list[Point] = []
        self.before: Point | None = None
        self.writer: TrajectoryWriter | None = None
        self.logs: list[PointLog] = []
        self.page: LivePage | None = None
        self._found: list[Any] = []  # loggers that were not given
        self._num_held = 0  # points that were there at the start
        self._num_said = -1  # points when it was last said where they are
        self._watch = PhaseWatch()

    @property
    def trajectory(self) -> Trajectory:
        """The points that have been recorded so far, with protocol and run."""
        return Trajectory(self.protocol, self.run, list(self.points), self.path)

    def begin(self, resume_from: Progress | None, run_id: str | None, before: Recorder | None) -> None:
        """Open the trajectory file, and take the points that it holds.

        Args:
            resume_from: Progress at the checkpoint that training goes on from; None for a new run.
            run_id: Id of the run as its checkpoint has it.
            before: What recorded the run until now in this process; None at its beginning.

        Raises:
            ValueError: ``path`` or the page is a folder, a logger takes no points, or the file has another protocol.
            OSError: No file can be made at ``path``, or it is another run's.
        """
        if before is not None and resume_from is not None:
            self.points = [point for point in before.points if point.step <= resume_from.step]
        if self.path is not None and rank() == 0:
            self._open_file(self.path, resume_from, run_id, None if before is None else before.writer)
        if rank() == 0:
            self.logs = [self._log_of(logger) for logger in self._loggers]
            self._begin_page()
        self._num_held = len(self.points)
        self._watch.look(self.trajectory, is_last=True)  # what has begun before a restart is no news

    def _open_file(
        self, path: Path, resume_from: Progress | None, run_id: str | None, before: TrajectoryWriter | None
    ) -> None:
        """Open the file on the first process, which alone writes.

        Raises:
            ValueError: The path is a folder.
        """
        if path.is_dir():
            raise ValueError(
                f"path must name a trajectory file, got the folder {path}; take {path / 'trajectory.jsonl'}"
            )
        earlier = last_before(self.stage, _points_in(path)) if self.stage is not None else None
        if (resume_from is not None or earlier is not None) and path.exists():
            goes_on = before is not None and before.path == path
            self.writer = TrajectoryWriter.resume(
                path,
                self.protocol,
                last_step=(0 if earlier is None else earlier.step) + (0 if resume_from is None else resume_from.step),
                run=self.run,
                run_id=run_id or (before.run_id if before is not None and goes_on else None),
                held=self.points if goes_on else (),
                check_config=earlier is None,
            )
        else:
            self.writer = TrajectoryWriter.create(path, self.protocol, self.run)
        self.points = list(self.writer.points)
        self.before = last_before(self.stage, self.points)
        if self.writer.fault is not None:
            self._complain_of_disk("file", self.writer.fault)
        if resume_from is not None and not self.points and resume_from.step > 0:
            warn(
                f"{path} holds no trajectory to go on with: its points begin at step {resume_from.step}, that of "
                "the checkpoint, and earlier ones stay where they are"
            )

    def take(self, point: Point) -> None:
        """Write a point to the file, then tell the loggers; a fault of theirs does not end the run."""
        self.points.append(point)
        if point.failure is not None:
            in_part = any(parse_key(key).site is not None for key in point.values)
            self._complain(f"step {point.step} could not be measured{' in full' if in_part else ''}: {point.failure}")
        if point.doubts:
            key, first = next(iter(point.doubts.items()))
            warn(f"step {point.step}: {len(point.doubts)} of the values are in doubt, the first is {key}: {first}")
        with self._tolerated(f"{self.path} did not take the point of step {point.step}"):
            self._write(point)
        self._look_for_loggers()
        for log in self.logs:
            self._log_point(log, point, self.trajectory)
        self.say(summary_line(point, prefix=self.prefix))
        self._watch_phases()
        if self.page is not None:
            with self._tolerated(f"{self.page.path} was not written"):
                self.page.refresh(len(self.points), point.wall_time)

    def close(self) -> None:
        """Tell the loggers that the run is over, close the file, and write the page as it stays."""
        self._watch_phases(is_last=True)
        for log in self.logs:
            with self._tolerated(f"{logger_name(log.logger)} did not take the end of the run"):
                log.finish(self.trajectory)
        self._close_file()
        if self.page is not None:
            with self._tolerated(f"{self.page.path} was not written"):
                self.page.finish(len(self.points))

    def _log_of(self, logger: Any, *, is_shared: bool = False) -> PointLog:
        return point_log(logger, prefix=self.prefix, log=self.log, is_shared=is_shared)

    def _log_point(self, log: PointLog, point: Point, trajectory: Trajectory) -> None:
        with self._tolerated(f"{logger_name(log.logger)} did not take the point of step {point.step}"):
            log.log(point, trajectory)

    def _look_for_loggers(self) -> None:
        """Give the points of this start but the newest to loggers that have been opened since the last one."""
        if self._find_loggers is None or rank() != 0:
            return
        with self._tolerated("loggers could not be looked for"):
            loggers = [logger for logger in self._find_loggers() if not any(logger is known for known in self._found)]
            if not loggers:
                return
            self._found += loggers
            new = [self._log_of(logger, is_shared=True) for logger in loggers]
            self.logs += new
            names = ", ".join(logger_name(log.logger) for log in new)
            self.say(f"{self._head}: points go to {names} as well; loggers=() keeps them from there")
            for number in range(self._num_held, len(self.points) - 1):
                until = replace(self.trajectory, points=self.points[: number + 1])
                for log in new:
                    self._log_point(log, self.points[number], until)

    def _begin_page(self) -> None:
        """Make ready for the page; where the extra that draws is missing, there will be none."""
        if self._page_path is None or self.path is None:
            return
        try:
            self.page = LivePage(self._page_path, self.path)
        except ModuleNotFoundError as error:
            self._complain(str(error))

    @property
    def _head(self) -> str:
        return "ibtrack" if self.prefix == "ib" else f"ibtrack {self.prefix}"

    def say_where_points_go(self) -> None:
        """Say where the points will be, and the page."""
        if self.path is None:
            self.say(f"{self._head}: points stay in memory; path= names a file for them")
        else:
            self.say(
                f"{self._head}: points go to {self.path}" + (f", their page to {self.page.path}" if self.page else "")
            )

    def say_where_points_are(self, took: str) -> None:
        """Say once for a number of points what they took, where they are, and how to look at them.

        Args:
            took: What following the run took.
        """
        if len(self.points) == self._num_said:
            return
        self._num_said = len(self.points)
        self.say(f"{self._head}: following the run took {took}")
        number = f"{len(self.points)} point{'' if len(self.points) == 1 else 's'}"
        if self.path is None:
            self.say(f"{self._head}: {number}, in memory only")
        else:
            page = f", their page is {self.page.path}" if self.page is not None and self.page.path.exists() else ""
            show = shlex.join(["ibtrack", "show", str(self.path)])
            self.say(f"{self._head}: {number} in {self.path}{page}; to see them: {show}")

    def _watch_phases(self, *, is_last: bool = False) -> None:
        """Find the phases so far, show them, and say which have begun; only the first process does."""
        if rank() != 0:
            return
        with self._tolerated("phases could not be found"):
            phases, news = self._watch.look(self.trajectory, is_last=is_last)
            for sentence in news:
                self.say(f"{self._head}: {sentence}")
            if phases is not None:
                for log in self.logs:
                    with self._tolerated(f"{logger_name(log.logger)} did not take the phases"):
                        log.tell(phases)
            for sentence in news if self._alerts else ():
                title = f"{self.run['name'] or 'A run'}: {sentence.partition(',')[0]}"
                if not any([self._alert(log, title, sentence) for log in self.logs]):
                    warn(f"{title}; none of the loggers can raise an alert, as they are no wandb runs")

    def _alert(self, log: PointLog, title: str, sentence: str) -> bool:
        """Raise an alert; say whether the logger can, though it may have failed to."""
        with self._tolerated(f"{logger_name(log.logger)} did not raise an alert"):
            return log.alert(title, sentence)
        return True

    def say(self, line: str) -> None:
        """Show a line of text, on the first process alone; one that cannot be shown does not end the run."""
        if self._say is None or rank() != 0:
            return
        with self._tolerated("a line could not be shown"):
            try:
                self._say(line)
            except UnicodeEncodeError:  # of a terminal that has fewer letters than the line
                self._say(line.encode("ascii", "backslashreplace").decode("ascii"))

    @contextlib.contextmanager
    def _tolerated(self, what: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            if self._strict:
                raise
            self._complain(f"{what}: {reason(error)}")

    def _complain(self, sentence: str) -> None:
        if self._strict:
            raise MeasurementError(sentence)
        warn(f"{sentence}; {self._goes_on}")

    def _write(self, point: Point) -> None:
        """Give a point to the file, and say so when one that waited for the disk has been written."""
        if self.writer is None:
            return
        waited = self.writer.fault is not None
        try:
            self.writer.append(point)
        except OSError as error:
            self._complain_of_disk(f"point of step {point.step}", error)
        else:
            if waited:
                self.say(f"{self._head}: {self.path} holds all points again")

    def _close_file(self) -> None:
        """Let other processes have the file, after a last try to write what waits for the disk."""
        if self.writer is None:
            return
        try:
            self.writer.close()
        except OSError as error:
            self._complain_of_disk("last points", error)

    def _complain_of_disk(self, what: str, error: OSError) -> None:
        """Warn that points wait in memory.

        Raises:
            OSError: The tracker is strict.
        """
        if self._strict:
            raise error
        then = (
            "the points stay in memory only"  # the file is another start's by now
            if isinstance(error, FileExistsError)
            else "points wait in memory and are written as soon as that succeeds"
        )
        warn(f"{self.path} did not take the {what}: {reason(error)}; {then}; {self._goes_on}")


def _points_in(path: Path) -> Sequence[Point]:
    """Look at the points of a file that is there already; what is wrong with it is said by who opens it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return read_file(path, sites=("mean",))[1]
        except (FileNotFoundError, ValueError):
            return ()


def what_goes_on(origin: Mapping[str, Any] | None) -> str:
    """Name what a warning does not end, as the end of its sentence.

    Args:
        origin: Where the models of a replay come from; None for a run that trains.
    """
    return "training goes on" if origin is None else "the replay goes on"


def run_header(name: str | None, config: Mapping[str, Any], origin: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return name and configuration of a run as the header of its file has them, in plain values.

    Args:
        name: Name of the run.
        config: Its configuration; runs that differ in it are different runs.
        origin: Where the models of a replay come from; runs that differ in it alone are the same run.
    """
    header = {"name": None if name is None else printable(str(name)), "config": config}
    return plain(header if origin is None else {**header, "replay": origin})


def warn(sentence: str) -> None:
    """Warn at the line from which the package was called, which is a training loop or a framework's.

    Raises:
        MeasurementWarning: The user has made warnings errors.
    """
    level, frame = 2, sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] in _OWN_MODULES:
        level, frame = level + 1, frame.f_back
    try:
        warnings.warn(f"ibtrack: {sentence}", MeasurementWarning, stacklevel=level)
    except MeasurementWarning:
        raise
    except Exception:  # stderr has been closed, say, and with it the last place where anything could be said
        return
