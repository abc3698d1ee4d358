"""Killed at random moments and resumed from the last checkpoint: no point is lost, none is repeated."""

import multiprocessing as mp
import os
import random
import signal
import time
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from ibtrack import Trajectory
from tests.killed_run import run

STEPS_PER_ROUND = 60  # twice what a round gets through before it is killed: all of them are


@pytest.mark.parametrize("rounds", [3, pytest.param(20, marks=pytest.mark.slow)])
def test_killed_and_resumed_runs_have_every_due_step_once(tmp_path: Path, rounds: int) -> None:
    context = mp.get_context("forkserver")
    context.set_forkserver_preload(["tests.killed_run"])
    generator, steps = random.Random(rounds), STEPS_PER_ROUND * rounds
    for _ in range(rounds):
        process = context.Process(target=run, args=(tmp_path, steps))
        process.start()
        _wait_for_changes(process, tmp_path / "trajectory.jsonl", generator.randint(0, 7))
        time.sleep(generator.uniform(0, 0.1))
        assert process.is_alive(), "it is killed before its end"
        assert process.pid is not None
        os.kill(process.pid, signal.SIGKILL)
        process.join()
    process = context.Process(target=run, args=(tmp_path, steps))
    process.start()
    process.join()
    assert process.exitcode == 0
    trajectory = Trajectory.load(tmp_path)
    assert trajectory.steps == list(range(0, steps + 1, 3))
    assert [point.tokens_seen for point in trajectory.points] == [128 * step for step in trajectory.steps]
    assert [point.wall_time for point in trajectory.points] == sorted(point.wall_time for point in trajectory.points)


def _wait_for_changes(process: BaseProcess, path: Path, number: int) -> None:
    """Until a process has changed its file so many times; 0 is before anything."""
    size = _size(path)
    while process.is_alive() and number > 0:
        time.sleep(0.005)
        before, size = size, _size(path)
        number -= size != before


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
