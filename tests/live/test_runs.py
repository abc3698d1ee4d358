"""What is seen of runs whose files grow, and that only what has changed is read."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ibtrack.live import runs as module
from ibtrack.live.runs import FollowedRuns, RunState
from ibtrack.record.lock import LockState
from ibtrack.record.trajectory import Trajectory
from tests import trajectories
from tests.live.conftest import GrowingRun

WRITER = """
import sys
from ibtrack.record.trajectory import Point
from ibtrack.record.writer import TrajectoryWriter
writer = TrajectoryWriter.create(sys.argv[1], {})
writer.append(Point(0, {"ib/mean/entropy": 0.5}))
print("written", flush=True)
sys.stdin.readline()
writer.append(Point(1, {"ib/mean/entropy": 0.4}))
if sys.argv[2] == "fails":
    raise MemoryError
writer.close()
"""


class Process:
    """A run in a process of its own, which writes a point, waits, writes another one and ends."""

    def __init__(self, path: Path, end: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path), end],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "written\n"

    def end(self) -> None:
        self.process.communicate("go on\n")

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.communicate()


def states(followed: FollowedRuns) -> dict[str, str]:
    return {followed.name(run): run.state.value for run in followed.by_path.values()}


def sizes(followed: FollowedRuns) -> dict[str, int]:
    return {followed.name(run): len(run.sheet.run.points) for run in followed.shown if run.sheet}


def test_running_finished_and_dead_runs_are_told_apart(tmp_path: Path) -> None:
    followed = FollowedRuns(tmp_path)
    processes = {name: Process(tmp_path / name / "trajectory.jsonl", name) for name in ("ends", "fails", "killed")}
    assert [followed.name(run) for run in followed.look().new] == ["ends", "fails", "killed"]
    assert states(followed) == dict.fromkeys(processes, "running")
    assert sizes(followed) == dict.fromkeys(processes, 1)
    processes["ends"].end()
    processes["fails"].end()
    processes["killed"].kill()
    news = followed.look()
    assert states(followed) == {"ends": "finished", "fails": "dead", "killed": "dead"}
    assert sizes(followed) == {"ends": 2, "fails": 2, "killed": 1}
    assert [followed.name(run) for run in news.states] == ["ends", "fails", "killed"]
    assert sorted(followed.name(run) for run in news.read) == ["ends", "fails"], (
        "the one that was killed has not changed"
    )
    assert not any(followed.look())


def test_only_what_has_changed_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    load = Trajectory.load

    def counted(path: Path, **options: object) -> Trajectory:
        read.append(path.parent.name)
        return load(path, **options)  # type: ignore[arg-type]  # as the caller gave them

    monkeypatch.setattr(Trajectory, "load", counted)
    growing = {name: GrowingRun(trajectories.make(name), tmp_path / name, 3) for name in "abc"}
    followed = FollowedRuns(tmp_path)
    followed.look()
    read.clear()
    assert not any(followed.look())
    assert read == []
    growing["b"].grow()
    assert [followed.name(run) for run in followed.look().read] == ["b"]
    assert set(read) == {"b"}
    assert sizes(followed) == {"a": 3, "b": 4, "c": 3}


def test_runs_come_and_go(tmp_path: Path) -> None:
    followed = FollowedRuns(tmp_path / "none")
    assert not any(followed.look())
    followed = FollowedRuns(tmp_path)
    trajectories.write(trajectories.make("a"), tmp_path / "a")
    trajectories.write(trajectories.make("b"), tmp_path / "deep" / "b")
    followed.look()
    assert states(followed) == {"a": "finished", "deep/b": "finished"}
    shutil.rmtree(tmp_path / "a")
    assert [followed.name(run) for run in followed.look().gone] == ["a"]
    assert states(followed) == {"deep/b": "finished"}


def test_a_run_is_named_by_where_it_lies(tmp_path: Path) -> None:
    run = trajectories.make("a")
    for folder, name in ((tmp_path, "trajectory.jsonl"), (tmp_path / "b", "trajectory_code.jsonl")):
        trajectories.write(run, folder)
        (folder / "trajectory.jsonl").rename(folder / name)
    followed = FollowedRuns(tmp_path)
    followed.look()
    assert list(states(followed)) == ["b/trajectory_code.jsonl", "trajectory.jsonl"]


def test_a_file_that_cannot_be_read_has_its_reason_and_stops_no_other(tmp_path: Path) -> None:
    trajectories.write(trajectories.make("a"), tmp_path / "a")
    for name, text in (("old", '{"format": "ibtrack/9"}\n'), ("text", "hello\n"), ("torn", '{"format": "ib')):
        (tmp_path / name).mkdir()
        (tmp_path / name / "trajectory.jsonl").write_text(text)
    followed = FollowedRuns(tmp_path)
    followed.look()
    assert sizes(followed) == {"a": 14}
    assert [followed.name(run) for run in followed.refused] == ["old", "text", "torn"]
    assert all("is not a trajectory file" in str(run.refusal) for run in followed.refused)
    (tmp_path / "text" / "trajectory.jsonl").unlink()
    trajectories.write(trajectories.make("text"), tmp_path / "text")
    followed.look()
    assert sizes(followed) == {"a": 14, "text": 14}
    assert [followed.name(run) for run in followed.refused] == ["old", "torn"]
    with (tmp_path / "a" / "trajectory.jsonl").open("a") as file:
        file.write("damage\n")
    followed.look()
    assert sizes(followed) == {"text": 14}


def test_a_line_that_is_being_written_is_no_error_and_one_that_was_cut_off_is_said(tmp_path: Path) -> None:
    growing = GrowingRun(trajectories.make("a"), tmp_path / "a", 3)
    followed = FollowedRuns(tmp_path)
    followed.look()
    (run,) = followed.shown
    whole = growing.path.read_bytes()
    growing.path.write_bytes(whole + b'{"step": 99, "val')
    followed.look()
    assert (sizes(followed), run.said) == ({"a": 3}, [])
    growing.writer.close()
    growing.path.write_bytes(whole + b'{"step": 99, "values')
    followed.look()
    assert sizes(followed) == {"a": 3}
    assert run.said == [f"{growing.path}: the last line was cut off while it was written; it is left out"]


def test_a_file_that_is_replaced_is_read_anew(tmp_path: Path) -> None:
    trajectories.write(trajectories.make("a", num_points=9), tmp_path / "a")
    followed = FollowedRuns(tmp_path)
    followed.look()
    shutil.rmtree(tmp_path / "a")
    trajectories.write(trajectories.make("a", num_points=5), tmp_path / "a")
    assert len(followed.look().read) == 1
    assert sizes(followed) == {"a": 5}


def test_a_file_that_grows_without_a_lock_is_written_elsewhere(tmp_path: Path) -> None:
    run = trajectories.make("a")
    trajectories.write(run, tmp_path / "a")
    path = tmp_path / "a" / "trajectory.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:5]))
    followed = FollowedRuns(tmp_path)
    followed.look()
    assert states(followed) == {"a": "finished"}
    path.write_bytes(b"".join(lines[:7]))  # as a copy of a run of another machine
    assert [each.state for each in followed.look().states] == [RunState.UNKNOWN]
    followed.look()
    assert states(followed) == {"a": "unknown"}
    (path.parent / ".trajectory.jsonl.lock").write_text("process 7 on elsewhere")
    followed.look()
    assert states(followed) == {"a": "unknown"}


def test_a_run_that_ends_between_two_looks_is_finished(tmp_path: Path) -> None:
    growing = GrowingRun(trajectories.make("a"), tmp_path / "a", 3)
    followed = FollowedRuns(tmp_path)
    followed.look()
    growing.grow(2)
    growing.writer.close()
    followed.look()
    assert (states(followed), sizes(followed)) == ({"a": "finished"}, {"a": 5})


def test_reading_takes_no_longer_than_a_page_may_wait_for_and_the_newest_come_first(tmp_path: Path) -> None:
    for number, name in enumerate("abc"):
        trajectories.write(trajectories.make(name), tmp_path / name)
        os.utime(tmp_path / name / "trajectory.jsonl", (number, number))
    followed = FollowedRuns(tmp_path)
    order = []
    for left in (2, 1, 0):
        news = followed.look(seconds=0.0)
        order += [followed.name(run) for run in news.read]
        assert followed.num_unread == left
        assert followed.is_behind is (left > 0)
    assert order == ["c", "b", "a"]


def test_room_of_a_page_changes_seldom(tmp_path: Path) -> None:
    followed = FollowedRuns(tmp_path)
    for number in range(9):
        trajectories.write(trajectories.make(f"{number}", num_points=2), tmp_path / f"{number}")
        num_read = len(followed.look().read)
        assert num_read == (number + 1 if number in (4, 8) else 1), "more runs than there was room for"


def test_details_are_those_of_the_points_that_the_page_knows(tmp_path: Path) -> None:
    growing = GrowingRun(trajectories.make("a"), tmp_path / "a", 3)
    followed = FollowedRuns(tmp_path)
    followed.look()
    growing.grow()
    run = followed.details(0)
    assert run is not None
    assert len(run.points) == 3
    assert any(key.startswith("ib/L00/") for key in run.points[0].values)
    assert followed.details(1) is None


def test_a_file_that_goes_away_while_it_is_looked_at_is_no_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trajectories.write(trajectories.make("a"), tmp_path / "a")

    def gone(path: Path) -> LockState:
        path.unlink()
        return LockState.FREE

    monkeypatch.setattr(module, "lock_state", gone)
    followed = FollowedRuns(tmp_path)
    assert not any(followed.look())
