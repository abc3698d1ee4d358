"""Processes that write a trajectory file: at once with others, or killed at a chosen moment.

The moment is counted in lines of the writer and the lock that are run and in parts of lines that are written, so that
every state that a kill can leave is met, however short it lasts.
"""

from __future__ import annotations

import os
import signal
import sys
import warnings
from io import FileIO
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Barrier
from pathlib import Path
from types import FrameType
from typing import Any

from ibtrack.record import lock, writer
from ibtrack.record.trajectory import Point
from ibtrack.record.writer import TrajectoryWriter

PROTOCOL = {"probe": {"hash": "abc"}, "sites": {"L00": "h.0"}}
PART = 100  # bytes that are written between two moments
MARK = "ib/mean/entropy"  # key of the number that tells the round in which a point was made


class Death:
    """Ends this process by SIGKILL at the moment of a number, counted from `arm`."""

    def __init__(self, number: int) -> None:
        self.number, self.full = number, False
        death = self

        class Parts(FileIO):
            def write(self, text: Any) -> int:
                if death.full:
                    raise OSError("No space left on device")
                written = super().write(bytes(text)[:PART])
                death.count()
                return written

        whole = Path.open

        def opened(path: Path, mode: str = "r", buffering: int = -1, **options: Any) -> Any:
            return Parts(path, mode) if buffering == 0 else whole(path, mode, buffering, **options)

        Path.open = opened  # type: ignore[method-assign, assignment]  # of this process alone

    def count(self) -> None:
        """One moment more, if they are counted."""
        if sys.gettrace() is not None:
            self.number -= 1
            if self.number < 0:
                os.kill(os.getpid(), signal.SIGKILL)

    def arm(self) -> None:
        """Count from here."""
        files = (writer.__file__, lock.__file__)

        def trace(frame: FrameType, event: str, argument: Any) -> Any:
            if frame.f_code.co_filename not in files:
                return None
            if event == "line":
                self.count()
            return trace

        sys.settrace(trace)


def append(path: Path, number: int, mark: int, step: int, told: Connection) -> None:
    """Go on behind a step; killed while points are appended."""
    death = _prepare(number)
    held = TrajectoryWriter.resume(path, PROTOCOL, last_step=step)
    death.arm()
    _go_on(held, step + 1, mark, told)


def create(path: Path, number: int, mark: int, step: int, told: Connection) -> None:
    """Begin anew; killed while the file is made and an earlier start is moved aside, or soon after."""
    death = _prepare(number)
    death.arm()
    _go_on(TrajectoryWriter.create(path, PROTOCOL), 0, mark, told)


def resume(path: Path, number: int, mark: int, step: int, told: Connection) -> None:
    """Go on from a step that lies before the last one; killed while later points are set aside, or soon after."""
    death = _prepare(number)
    death.arm()
    _go_on(TrajectoryWriter.resume(path, PROTOCOL, last_step=step), step + 1, mark, told)


def catch_up(path: Path, number: int, mark: int, step: int, told: Connection) -> None:
    """Go on from a step on a full disk; killed when there is room again and points that waited are written."""
    death = _prepare(number)
    death.full = mark % 2 == 0  # already at the start, or after it
    held = TrajectoryWriter.resume(path, PROTOCOL, last_step=step)
    death.full = True
    for waiting in range(step + 1, step + 5):
        try:
            held.append(_point(waiting, mark))
        except OSError:
            continue
        os._exit(1)  # the disk was full
    death.full = False
    death.arm()
    _go_on(held, step + 5, mark, told)


def create_at_once(path: Path, barrier: Barrier, step: int) -> None:
    """Begin together with others and write one point; ends with 0 if it is written, with 1 if the file was taken."""
    warnings.simplefilter("ignore")
    barrier.wait()
    for _ in range(20):
        try:
            held = TrajectoryWriter.create(path, PROTOCOL)
        except FileExistsError as error:
            if "is being written by " not in str(error):
                raise
            continue
        held.append(_point(step, step))
        held.close()
        os._exit(0)
    os._exit(1)


def _prepare(number: int) -> Death:
    warnings.simplefilter("ignore")
    return Death(number)


def _go_on(held: TrajectoryWriter, step: int, mark: int, told: Connection) -> None:
    """Append points, and say of each that it was written, until the end."""
    while True:
        held.append(_point(step, mark))
        told.send(step)
        step += 1


def _point(step: int, mark: int) -> Point:
    return Point(step, {MARK: float(mark)}, notes={"text": "of some length " * 10})
