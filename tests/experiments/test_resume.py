"""Runs that are cut and gone on with end as the run that was not: weights bit for bit, and the same points."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from experiments.last_state import newest_state
from tests.experiments import resumed
from tests.experiments.resumed import CUT, STEPS, TINY, assert_equal, cut_and_gone_on, fit
from tests.processes import spawn_bounded
from tests.runs import SCRIPT, TRAINING

pytestmark = TRAINING

EPOCH = resumed.BLOCKS // resumed.BATCH
ENDS = (EPOCH - 1, EPOCH, EPOCH + 3)  # around the end of an epoch
EVERY = "callbacks.last.steps=1"


def cuts(seed: int) -> list[int]:
    """Draw five batches to cut at."""
    return sorted(random.Random(seed).sample(range(1, STEPS), 5))


@pytest.fixture(scope="module")
def uncut(tmp_path_factory: pytest.TempPathFactory, one_thread: None) -> Path:
    folder = tmp_path_factory.mktemp("resume")
    fit(folder / "uncut")
    return folder


def test_a_run_that_is_cut_ends_as_one_that_is_not(uncut: Path) -> None:
    cut_and_gone_on(uncut, "cut", [5, 14])
    assert_equal(uncut, "cut")


def test_workers_do_not_run_ahead_of_the_state(uncut: Path) -> None:
    cut_and_gone_on(uncut, "workers", [*ENDS], EVERY, "workers=2")
    assert_equal(uncut, "workers")


def test_a_run_of_epochs_goes_on_within_and_at_the_end_of_one(tmp_path: Path) -> None:
    epochs = [EVERY, "trainer.max_steps=-1", "trainer.max_epochs=3"]
    fit(tmp_path / "uncut", *epochs)
    cut_and_gone_on(tmp_path, "cut", [*ENDS], *epochs)
    assert_equal(tmp_path, "cut", steps=3 * EPOCH)


def test_accumulated_gradients_are_not_cut_through(tmp_path: Path) -> None:
    accumulate = ["callbacks.last.minutes=1e-9", "+trainer.accumulate_grad_batches=3", "trainer.max_steps=8"]
    fit(tmp_path / "uncut", *accumulate)
    cut_and_gone_on(tmp_path, "cut", [4, 10], *accumulate)
    assert_equal(tmp_path, "cut", steps=8)


def test_two_processes_go_on_each_with_its_own(tmp_path: Path) -> None:
    spawn_bounded(resumed.several, 2, tmp_path, "ddp", "0", "11")
    assert_equal(tmp_path, "cut")


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["0", "2"])
@pytest.mark.parametrize("world", [1, 2])
def test_five_random_cuts(world: int, workers: str, tmp_path: Path) -> None:
    spawn_bounded(resumed.several, world, tmp_path, "ddp", workers, " ".join(map(str, cuts(world + 10 * int(workers)))))
    assert_equal(tmp_path, "cut")


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["fsdp", "nodes", "slurm"])
def test_shards_nodes_and_slurm(engine: str, tmp_path: Path) -> None:
    spawn_bounded(resumed.several, 2, tmp_path, engine, "0", " ".join(map(str, cuts(3))))
    assert_equal(tmp_path, "cut")
    state = newest_state(tmp_path / "cut" / "last")
    assert state is not None
    assert state.is_dir() == (engine == "fsdp"), "shards are saved by the processes that hold them"
