"""SIGKILL at any moment of the writer: what was said to be written is there, once, and the run can go on."""

import contextlib
import multiprocessing as mp
import random
import signal
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ibtrack import Point, Trajectory
from ibtrack.record.writer import TrajectoryWriter
from tests import killed_writer
from tests.killed_writer import MARK, PROTOCOL

pytestmark = pytest.mark.filterwarnings("ignore:.*the last line was cut off while it was written")

PATIENCE = 300  # seconds that a process is waited for
# moments up to which a round may live: what the kind of round is about lies within them
LATEST = {"append": 120, "create": 200, "resume": 320, "catch_up": 200}
ROUNDS = [4, pytest.param(50, marks=pytest.mark.slow)]


def killed(work: Callable[..., None], *arguments: Any) -> list[int]:
    """Run a process until it is killed, and return the steps that it said it had written."""
    line, there = mp.Pipe(duplex=False)
    process = mp.get_context("forkserver").Process(target=work, args=(*arguments, there))
    process.start()
    there.close()
    written = []
    with contextlib.suppress(EOFError):  # the process is gone
        while line.poll(PATIENCE):
            written.append(line.recv())
    process.join(PATIENCE)
    assert process.exitcode == -signal.SIGKILL
    return written


def marks(path: Path) -> dict[int, float]:
    """Step of each point of a file to the round that made it; a step that stands twice fails."""
    if not path.exists():
        return {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a line that was cut off
        points = Trajectory.load(path).points
    found = {point.step: point.values[MARK] for point in points}
    assert len(found) == len(points)
    assert list(found) == sorted(found)
    return found


def every_mark(folder: Path) -> set[tuple[int, float]]:
    return {pair for path in folder.glob("*.jsonl") for pair in marks(path).items()}


def begun(path: Path) -> None:
    """A file with eight points."""
    _add(TrajectoryWriter.create(path, PROTOCOL), 0, mark=-1.0)


def lengthened(path: Path, mark: float) -> None:
    """The same file with eight points more."""
    steps = marks(path)
    _add(TrajectoryWriter.resume(path, PROTOCOL, last_step=max(steps)), max(steps) + 1, mark=mark)


def _add(writer: TrajectoryWriter, first: int, *, mark: float) -> None:
    for step in range(first, first + 8):
        writer.append(Point(step, {MARK: mark}))
    writer.close()


@pytest.mark.parametrize("rounds", ROUNDS)
@pytest.mark.parametrize("kind", ["append", "resume", "catch_up"])
def test_a_run_that_is_killed_and_goes_on_has_every_step_once(tmp_path: Path, kind: str, rounds: int) -> None:
    """Points after a checkpoint may be made again; those before it never change, and none is gone."""
    path, generator = tmp_path / "t.jsonl", random.Random(kind)
    begun(path)
    told: set[tuple[int, float]] = set()
    for mark in range(rounds):
        if len(marks(path)) < 8:  # rounds that are killed early only shorten a file
            lengthened(path, -2.0 - mark)
        before = marks(path)
        told |= set(before.items())
        checkpoint = max(before) - (generator.randrange(1, 6) if kind == "resume" else 0)
        number = generator.randrange(LATEST[kind])
        written = killed(getattr(killed_writer, kind), path, number, mark, checkpoint)
        after = marks(path)
        told |= {(step, float(mark)) for step in written}
        assert sorted(after) == list(range(len(after)))
        assert {step: after[step] for step in range(checkpoint + 1)} == {s: before[s] for s in range(checkpoint + 1)}
        assert set(written) <= set(after)
        assert told <= every_mark(tmp_path)
    end = TrajectoryWriter.resume(path, PROTOCOL, last_step=max(marks(path)))
    end.append(Point(len(end.points), {MARK: -1.0}))
    assert Trajectory.load(path).steps == list(range(len(end.points)))


@pytest.mark.parametrize("rounds", ROUNDS)
def test_a_run_that_is_killed_and_begins_anew_keeps_every_start(tmp_path: Path, rounds: int) -> None:
    path, generator = tmp_path / "t.jsonl", random.Random("create")
    begun(path)
    told = every_mark(tmp_path)
    for mark in range(rounds):
        written = killed(killed_writer.create, path, generator.randrange(LATEST["create"]), mark, 0)
        told |= {(step, float(mark)) for step in written}
        files = [marks(file) for file in tmp_path.glob("*.jsonl")]
        assert told <= {pair for found in files for pair in found.items()}
        assert sum(map(len, files)) == len({pair for found in files for pair in found.items()})  # each in one file
