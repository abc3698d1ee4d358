"""Runs that are cut and gone on with end as the run that was not: weights bit for bit, and the same points."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from experiments.last_state import newest_state
from tests.experiments import resumed
from tests.experiments.resumed import BATCH, STEPS, TINY, assert_equal, cut_and_gone_on, fit
from tests.models import free_port
from tests.processes import spawn_bounded
from tests.runs import ROOT, SCRIPT, TRAINING

pytestmark = TRAINING

EPOCH = resumed.BLOCKS // resumed.BATCH
ENDS = (EPOCH - 1, EPOCH, EPOCH + 3)  # around the end of an epoch
EVERY = "callbacks.last.steps=1"


def cuts(seed: int) -> list[int]:
    """Draw five batches to cut at."""
    return sorted(random.Random(seed).sample(range(1, STEPS), 5))


def in_processes(world: int, folder: Path, engine: str, workers: str, ends: list[int]) -> None:
    """Make a run that is not cut, and one that is cut at some batches, in several processes."""
    ports: set[int] = set()
    while len(ports) < len(ends) + 2:
        ports.add(free_port())
    batches, own = (" ".join(map(str, each)) for each in (ends, sorted(ports)))
    spawn_bounded(resumed.several, world, folder, engine, workers, batches, own)


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
    """The last step of an epoch has fewer batches than the others, so its end has to be known."""
    epochs = [EVERY, "trainer.max_steps=-1", "trainer.max_epochs=3", "+trainer.accumulate_grad_batches=3"]
    fit(tmp_path / "uncut", *epochs)
    cut_and_gone_on(tmp_path, "cut", [EPOCH - 1, EPOCH, EPOCH + 4], *epochs)
    assert_equal(tmp_path, "cut", steps=3 * 3)


def test_accumulated_gradients_are_not_cut_through(tmp_path: Path) -> None:
    accumulate = ["callbacks.last.minutes=1e-9", "+trainer.accumulate_grad_batches=3", "trainer.max_steps=8"]
    fit(tmp_path / "uncut", *accumulate)
    cut_and_gone_on(tmp_path, "cut", [4, 10], *accumulate)
    assert_equal(tmp_path, "cut", steps=8)


def test_two_processes_go_on_each_with_its_own(tmp_path: Path) -> None:
    in_processes(2, tmp_path, "ddp", "0", [11])
    assert_equal(tmp_path, "cut")


def started(*command: str, folder: Path, **variables: str) -> int:
    """Run a program to its end and return how it ended."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **variables}
    done = subprocess.run([sys.executable, *command], cwd=folder, env=environment, capture_output=True, text=True)
    print(done.stdout, done.stderr)
    return done.returncode


def test_a_killed_run_goes_on_from_the_last_whole_state(uncut: Path) -> None:
    kill = ["+callbacks.kill._target_=tests.experiments.resumed.Kill", "+callbacks.kill.name=SIGKILL"]
    kill += ["+callbacks.kill.batch=11", "+callbacks.kill.writing=true"]
    program = ["-m", "tests.experiments.resumed", str(uncut / "killed")]
    assert started(*program, *kill, folder=uncut) == -signal.SIGKILL
    assert sorted(path.name for path in (uncut / "killed" / "last").iterdir()) == [".step-12", "run.json", "step-9"]
    fit(uncut / "killed")
    assert_equal(uncut, "killed")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGKILL"])
def test_a_run_that_a_signal_ends_goes_on(name: str, uncut: Path) -> None:
    kill = ["+callbacks.kill._target_=tests.experiments.resumed.Kill", f"+callbacks.kill.name={name}"]
    kill += ["+callbacks.kill.batch=11", "+callbacks.kill.writing=false"]
    run = str(uncut / name)
    assert started("-m", "tests.experiments.resumed", run, *kill, folder=uncut) != 0
    assert started("-m", "tests.experiments.resumed", run, folder=uncut) == 0
    assert_equal(uncut, name)


@pytest.mark.slow
def test_every_way_to_start_two_processes_makes_one_folder(tmp_path: Path) -> None:
    """By Lightning, which starts the script again, and by torchrun as one node and as two."""
    two = [*TINY, "trainer=ddp", "trainer.accelerator=cpu", f"data.batch_size={BATCH // 2}", "trainer.max_steps=2"]
    torchrun = ["-m", "torch.distributed.run", "--nproc-per-node"]
    assert started(str(SCRIPT), *two, "trainer.devices=2", folder=tmp_path) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["outputs"]
    assert len(list((tmp_path / "outputs").iterdir())) == 1
    given = ["trainer.devices=2", "run_dir=one_node"]
    assert started(*torchrun, "2", "--standalone", str(SCRIPT), *two, "trainer.devices=2", folder=tmp_path) != 0
    assert started(*torchrun, "2", "--standalone", str(SCRIPT), *two, *given, folder=tmp_path) == 0
    nodes = ["--nnodes=2", "--master-addr=127.0.0.1", f"--master-port={free_port()}"]
    command = [
        *torchrun,
        "1",
        *nodes,
        str(SCRIPT),
        *two,
        "trainer.devices=1",
        "trainer.num_nodes=2",
        "run_dir=two_nodes",
    ]
    with ThreadPoolExecutor() as both:
        starts = [
            both.submit(started, *command[:4], f"--node-rank={rank}", *command[4:], folder=tmp_path) for rank in (0, 1)
        ]
    assert [start.result() for start in starts] == [0, 0]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one_node", "outputs", "two_nodes"]
    for name in ("one_node", "two_nodes"):
        assert (tmp_path / name / "last" / "step-2").is_dir()
        assert (tmp_path / name / ".hydra" / "config.yaml").exists()


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["0", "2"])
@pytest.mark.parametrize("world", [1, 2])
def test_five_random_cuts(world: int, workers: str, tmp_path: Path) -> None:
    in_processes(world, tmp_path, "ddp", workers, cuts(world + 10 * int(workers)))
    assert_equal(tmp_path, "cut")


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["fsdp", "nodes", "slurm"])
def test_shards_nodes_and_slurm(engine: str, tmp_path: Path) -> None:
    in_processes(2, tmp_path, engine, "0", cuts(3))
    assert_equal(tmp_path, "cut")
    state = newest_state(tmp_path / "cut" / "last")
    assert state is not None
    assert state.is_dir() == (engine == "fsdp"), "shards are saved by the processes that hold them"
