"""A replay that is killed at random moments and started again: each step once, never more than two in the cache."""

import multiprocessing as mp
import os
import random
import signal
import time
from collections.abc import Iterator
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from ibtrack import Trajectory
from ibtrack.replay.loop import replay
from tests.killed_replay import STEPS, run
from tests.models import probe
from tests.saved_series import SavedSeries, load

ROUNDS = 10


def test_a_killed_replay_goes_on_until_each_step_is_there_once(tmp_path: Path) -> None:
    context = mp.get_context("forkserver")
    context.set_forkserver_preload(["tests.killed_replay"])
    series = SavedSeries(tmp_path / "hub", STEPS)
    generator = random.Random(0)
    for _ in range(ROUNDS):
        process = context.Process(target=run, args=(tmp_path, 0.03))
        process.start()
        held = _until_changed(process, tmp_path / "run", generator.randint(0, 5))
        time.sleep(generator.uniform(0, 0.1))
        assert process.is_alive(), "it is killed before its end"
        assert process.pid is not None
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        assert max([*held, *_in_cache(tmp_path / "run")], default=0) <= 2
    process = context.Process(target=run, args=(tmp_path, 0.0))
    process.start()
    process.join()
    assert process.exitcode == 0
    assert set((tmp_path / "in_cache").read_text().split()) == {"1", "2"}
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["trajectory.jsonl"]
    killed = Trajectory.load(tmp_path / "run")
    assert killed.steps == STEPS
    assert [point.checkpoint for point in killed.points] == [each.label for each in series.checkpoints]
    assert [point.step for point in killed.points if point.failure is not None] == [13, 40]
    wall_times = [point.wall_time for point in killed.points]
    assert wall_times == sorted(wall_times)
    whole = replay(series, probe(8), path=tmp_path / "whole.jsonl", load=load)
    clock = {"ib/overhead_fraction"}
    for one, other in zip(killed.points, whole.points, strict=True):
        if one.failure is None:
            assert {key: one.values[key] for key in one.values.keys() - clock} == {
                key: other.values[key] for key in other.values.keys() - clock
            }


def _until_changed(process: BaseProcess, folder: Path, number: int) -> list[int]:
    """Until a process has changed its file so many times; how many checkpoints its cache has held meanwhile."""
    held: list[int] = []
    size = _size(folder / "trajectory.jsonl")
    while process.is_alive() and number > 0:
        time.sleep(0.002)
        held += _in_cache(folder)
        before, size = size, _size(folder / "trajectory.jsonl")
        number -= size != before
    return held


def _in_cache(folder: Path) -> Iterator[int]:
    """How many checkpoints the cache holds, if there is one."""
    try:
        yield len(list((folder / "checkpoints").iterdir()))
    except FileNotFoundError:
        return


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


@pytest.fixture(autouse=True)
def _one_thread(one_thread: None) -> None:
    """Models this small only wait for further threads."""
