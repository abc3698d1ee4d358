"""Runs that are cut and gone on with, in processes of their own, for `test_resume`."""

from __future__ import annotations

import os
import signal
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from lightning.pytorch import Callback, Trainer
from torch.distributed.checkpoint.format_utils import dcp_to_torch_save

from experiments import last_state, train
from experiments.last_state import newest_state
from tests.runs import config, measured

# 33 blocks: with a batch of 4 of all processes an epoch has 8 batches and leaves one block out
BLOCKS, BATCH, STEPS = 33, 4, 26
TINY = ["logger=none", "~callbacks.progress", "+monitor.verbose=false", "probe.num_blocks=4"]
TINY += [
    "data=hmm",
    f"data.batch_size={BATCH}",
    f"data.num_blocks={BLOCKS}",
    "data.num_held_out=8",
    "data.block_size=16",
    "data.vocab_size=4",
    "data.num_states=2",
]
TINY += ["model=gpt2", "model.warmup_steps=2", "model.settings.resid_pdrop=0.1"]  # dropout reads the random state
TINY += ["model.settings.hidden_size=8", "model.settings.num_hidden_layers=2", "model.settings.num_attention_heads=2"]
TINY += ["callbacks.last.minutes=null", "callbacks.last.steps=3", f"trainer.max_steps={STEPS}"]
TINY += ["+callbacks.cut._target_=tests.experiments.resumed.Cut"]


class Cut(Callback):
    """Ends a run at the beginning of a batch, as an error on all processes does."""

    batch: int | None = None  # no setting, as those of the run that goes on are the same

    def on_train_batch_start(self, trainer: Trainer, *rest: object) -> None:
        if trainer.fit_loop.total_batch_idx == self.batch:
            raise KeyboardInterrupt


def fit(folder: Path, *settings: str, cut: int | None = None) -> None:
    """Train, from the last state if there is one, to the end or until a batch."""
    with warnings.catch_warnings(), as_a_run_that_draws_nothing():
        warnings.simplefilter("ignore")
        Cut.batch = cut
        try:
            train.train(config(*TINY, *settings, f"run_dir={folder}"))
        except (KeyboardInterrupt, SystemExit):  # Lightning exits where it is interrupted
            assert cut, "nothing else interrupts it"
        else:
            assert not cut, "it was to be cut"


@contextmanager
def as_a_run_that_draws_nothing() -> Iterator[None]:
    """Leave out picture and report, which have tests of their own."""
    show, train._show = train._show, lambda *_: None
    try:
        yield
    finally:
        train._show = show


def cut_and_gone_on(folder: Path, name: str, cuts: Sequence[int], *settings: str) -> None:
    """Cut a run at some batches, going on each time, and then to the end."""
    for batch in cuts:
        fit(folder / name, *settings, cut=batch)
    fit(folder / name, *settings)


def weights(folder: Path, steps: int) -> dict[str, torch.Tensor]:
    """Read what the last state of a run has of the model, wherever its shards lie."""
    state = newest_state(folder / "last")
    assert state is not None
    assert state.parent.name == f"step-{steps}"
    if state.is_dir():
        whole = folder / "whole.pt"
        dcp_to_torch_save(state, whole)
        state = whole
    found: dict[str, torch.Tensor] = torch.load(state)["state_dict"]
    return found


def assert_equal(folder: Path, name: str, steps: int = STEPS) -> None:
    """Compare weights bit for bit, and all points but for their times, with those of the run that was not cut."""
    ours, theirs = (weights(folder / run, steps) for run in (name, "uncut"))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)
    points = {step: repr(rest) for step, *rest in measured(folder / name)}
    expected = {step: repr(rest) for step, *rest in measured(folder / "uncut")}
    assert expected.items() <= points.items(), "where it was cut it may have measured once more"
    assert len(points) <= len(expected) + 5


def as_process(rank: int, world: int, engine: str) -> list[str]:
    """Set what torchrun or SLURM tells a process that it starts, and return the settings of the trainer."""
    torch.set_num_threads(1)
    for name in [name for name in os.environ if name.startswith(("SLURM_", "TORCHELASTIC_"))]:
        del os.environ[name]
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "RANK": str(rank), "WORLD_SIZE": str(world)}
    on_nodes = engine in ("nodes", "slurm")
    local, size, nodes = (0, 1, world) if on_nodes else (rank, world, 1)
    os.environ |= {"LOCAL_RANK": str(local), "LOCAL_WORLD_SIZE": str(size), "GROUP_RANK": str(rank if on_nodes else 0)}
    if engine == "slurm":
        for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "GROUP_RANK"):
            del os.environ[name]
        os.environ |= {"SLURM_JOB_ID": "1", "SLURM_JOB_NAME": "run", "SLURM_NTASKS": str(world), "SLURM_LOCALID": "0"}
        os.environ |= {"SLURM_PROCID": str(rank), "SLURM_NODEID": str(rank), "SLURM_NTASKS_PER_NODE": "1"}
        os.environ |= {"SLURM_NNODES": str(world), "SLURM_NODELIST": "127.0.0.1", "SLURM_STEP_NODELIST": "127.0.0.1"}
    else:
        os.environ["TORCHELASTIC_RUN_ID"] = "test"
    trainer = "fsdp" if engine == "fsdp" else "ddp"
    places = [f"trainer.devices={size}", f"trainer.num_nodes={nodes}", f"data.batch_size={BATCH // world}"]
    return [f"trainer={trainer}", "trainer.accelerator=cpu", *places]


def several(rank: int, world: int, port: int, folder: Path, engine: str, workers: str, cuts: str, ports: str) -> None:
    """Make a run that is not cut, and one that is, in processes that something else has started.

    Each start has a port of its own, as the processes of the one before may still be at theirs.
    """
    settings = [*as_process(rank, world, engine), f"workers={workers}"]
    ends = [int(batch) for batch in cuts.split()]
    starts = [("uncut", None), *(("cut", batch) for batch in ends), ("cut", None)]
    for (name, cut), own in zip(starts, ports.split(), strict=True):
        os.environ["MASTER_PORT"] = own
        fit(folder / name, *settings, cut=cut)


class Kill(Callback):
    """Sends a signal to its own process: after a batch, or while a state is written, before it has its name."""

    def __init__(self, name: str, batch: int, *, writing: bool) -> None:
        self.number, self.batch, self.writing = getattr(signal, name), batch, writing

    def on_train_batch_end(self, trainer: Trainer, *rest: object) -> None:
        if trainer.fit_loop.total_batch_idx == self.batch:
            if self.writing:
                last_state._flush = lambda folder: os.kill(os.getpid(), self.number)
            else:
                os.kill(os.getpid(), self.number)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # it may be ignored here, as it is in the background
    fit(Path(sys.argv[1]), *sys.argv[2:])
