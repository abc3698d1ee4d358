"""The last state of a run, from which it goes on: on disk as a whole or not at all."""

from __future__ import annotations

import os
import random
import re
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from ibtrack.distributed import of_every_process

STATES = "last"  # folder of the states within that of a run
STATE = "state.ckpt"  # within the folder of a step: a file, or where processes save their shards a folder
_WHOLE = re.compile(r"step-(\d+)")
_ASKED = 10  # steps after which several processes ask the first for the time, as each question is an exchange


class LastState(Callback):
    """Saves the state of a run from time to time, and keeps the last one.

    Weights, optimizer, schedule, place in the data, progress of the other callbacks, random states of every process:
    a run that goes on from there ends as one that was never cut. A state is written beside the one before, gets its
    name when all of it is on the disk, and only then the one before goes, so that a cut at any time leaves a whole one.

    Args:
        folder: Folder of the states, which are called ``step-100`` and so on.
        minutes: Minutes after which a state is saved; None goes by steps alone.
        steps: Number of optimizer steps after which a state is saved; None goes by minutes alone. The last step of a
            run is saved in any case.

    Raises:
        ValueError: ``minutes`` or ``steps`` is not positive.
    """

    def __init__(
        self, folder: str | os.PathLike[str], *, minutes: float | None = None, steps: int | None = None
    ) -> None:
        for name, value in (("minutes", minutes), ("steps", steps)):
            if value is not None and not value > 0:
                raise ValueError(f"{name} must be positive or null, got {value}")
        self.folder, self.minutes, self.steps = Path(folder), minutes, steps
        self._seen = self._saved = 0
        self._since = 0.0
        self._own: dict[str, Any] | None = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """See that all processes begin with the same state, and clear away what a cut has left half written.

        Raises:
            ValueError: A process does not see the state that others go on from.
        """
        found = of_every_process(trainer.ckpt_path and Path(trainer.ckpt_path).parent.name, pl_module.device)
        if len(set(found)) > 1:
            states = ", ".join(f"{name or 'none'} on process {rank}" for rank, name in enumerate(found))
            raise ValueError(f"all processes must see one folder of states at {self.folder}, and they found {states}")
        self.folder = trainer.strategy.broadcast(self.folder)
        if trainer.is_global_zero:
            for begun in self.folder.glob(".step-*"):
                shutil.rmtree(begun)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Add what each process has of its own: its random states, and its place in the data."""
        own = {"random": _random_states(pl_module.device), "loader": _loader_state(trainer)}
        checkpoint["processes"] = of_every_process(own, pl_module.device)

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Take what was this process's own; of another number of processes the place in the data, which they share."""
        processes = checkpoint.get("processes", [])
        if len(processes) == trainer.world_size:
            self._own = processes[trainer.global_rank]
        elif processes:
            self._own = {"random": None, "loader": processes[0]["loader"]}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Go on where this process was in the data, and with its random states: all is set up, and nothing was read.

        Lightning 2.6 puts a loader's state back only where it has not asked for the loader before, such as for its
        length.
        """
        epoch: Any = trainer.fit_loop.epoch_progress.current  # whose type is that of a simpler one
        if trainer.fit_loop.restarted_mid_epoch and epoch.processed == epoch.ready:
            # the state is of the end of an epoch; Lightning 2.6 does not count the next one as begun, and would take
            # a state within that, after a second cut, for one of its end
            trainer.fit_loop.reset_restart_stage()
        self._seen = self._saved = trainer.global_step
        self._since = time.monotonic()
        own, self._own = self._own or {}, None
        if own.get("loader") is not None:
            loader: Any = trainer.train_dataloader
            loader.load_state_dict(own["loader"])
        if own.get("random") is not None:
            _restore(own["random"], pl_module.device)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save the state if it is due and the optimizer has just stepped: between steps there are gradients as well."""
        stepped, self._seen = trainer.global_step > self._seen, trainer.global_step
        if stepped and self._is_due(trainer):
            self._save(trainer)

    def _is_due(self, trainer: Trainer) -> bool:
        step = trainer.global_step
        if step == trainer.max_steps or (self.steps is not None and step % self.steps == 0):
            return True
        if trainer.is_last_batch and trainer.current_epoch + 1 == trainer.max_epochs:
            return True
        if self.minutes is None or (trainer.world_size > 1 and step % _ASKED):
            return False
        late: bool = time.monotonic() - self._since >= 60 * self.minutes
        return trainer.strategy.broadcast(late) if trainer.world_size > 1 else late

    def _save(self, trainer: Trainer) -> None:
        """Write a folder that has its name only when it is whole."""
        step = trainer.global_step
        begun, whole = self.folder / f".step-{step}", self.folder / f"step-{step}"
        if trainer.is_global_zero:
            begun.mkdir(parents=True)
        trainer.strategy.barrier()
        trainer.save_checkpoint(begun / STATE, weights_only=False)
        if trainer.is_global_zero:
            _flush(begun)
            begun.replace(whole)
            _flush(self.folder)
            for other in self.folder.glob("step-*"):
                if other != whole:
                    shutil.rmtree(other)
        trainer.strategy.barrier()
        self._saved, self._since = step, time.monotonic()


def newest_state(folder: str | os.PathLike[str]) -> Path | None:
    """Find the last state that was saved as a whole.

    Args:
        folder: Folder of the states.

    Returns:
        What ``Trainer.fit`` takes as ``ckpt_path``; None where there is none.

    Example:
        >>> newest_state("nowhere") is None
        True
    """
    steps = {int(match[1]): path for path in Path(folder).glob("step-*") if (match := _WHOLE.fullmatch(path.name))}
    return steps[max(steps)] / STATE if steps else None


def _loader_state(trainer: Trainer) -> dict[str, Any] | None:
    loader: Any = trainer.train_dataloader
    state: dict[str, Any] | None = loader.state_dict() if hasattr(loader, "state_dict") else None
    return state


def _random_states(device: torch.device) -> dict[str, Any]:
    """Read the random states of this process, as kinds of values that torch loads without running code."""
    legacy: Any = np.random.get_state()
    name, keys, *rest = legacy
    states = {"torch": torch.get_rng_state(), "numpy": (name, keys.tolist(), *rest), "python": random.getstate()}
    return states | ({"cuda": torch.cuda.get_rng_state(device)} if device.type == "cuda" else {})


def _restore(states: dict[str, Any], device: torch.device) -> None:
    torch.set_rng_state(states["torch"])
    np.random.set_state(states["numpy"])
    random.setstate(states["python"])
    if device.type == "cuda" and "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"], device)


def _flush(folder: Path) -> None:
    """Have the system write a folder and its files to the disk, as a machine may fail too."""
    for path in (folder, *folder.rglob("*")):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
