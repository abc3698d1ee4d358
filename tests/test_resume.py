"""Killed at random moments and resumed from the last checkpoint: no point is lost, none is repeated."""

import multiprocessing as mp
import os
import random
import signal

import pytest

from ibtrack import Trajectory
from tests.killed_run import STEPS, run


@pytest.mark.parametrize("rounds", [3, pytest.param(20, marks=pytest.mark.slow)])
def test_killed_and_resumed_runs_have_every_due_step_once(tmp_path, rounds):
    context = mp.get_context("forkserver")
    context.set_forkserver_preload(["tests.killed_run"])
    generator, killed = random.Random(rounds), 0
    while True:
        process = context.Process(target=run, args=(tmp_path,))
        process.start()
        process.join(generator.uniform(0.5, 6.0) if killed < rounds else None)
        if not process.is_alive():
            break
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        killed += 1
    assert killed > 0 and process.exitcode == 0
    trajectory = Trajectory.load(tmp_path)
    assert trajectory.steps == list(range(0, STEPS + 1, 3))
    assert [point.tokens_seen for point in trajectory.points] == [128 * step for step in trajectory.steps]
    assert [point.wall_time for point in trajectory.points] == sorted(point.wall_time for point in trajectory.points)
