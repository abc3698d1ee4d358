"""Checkpoints of a run at the steps that are measured, so that a replay measures the same models."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from transformers import PreTrainedModel
from transformers.utils import logging

from ibtrack import InformationPlaneMonitor, Point

STATE = "trainer_state.json"  # where transformers.Trainer, and so a replay, has the step and the tokens of a checkpoint


class MeasuredCheckpoints(Callback):
    """Saves the model at every measured step, as a folder in Hugging Face format.

    Args:
        folder: Folder of the checkpoints, which are called ``step-0``, ``step-1`` and so on.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        self._saved = -1

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save the model as it is before its first step.

        Raises:
            ValueError: There is no monitor whose steps could be saved, or the module holds no model of transformers.
        """
        self._saved = -1
        self._save_if_measured(trainer, pl_module)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save the model if this step has just been measured."""
        self._save_if_measured(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save the model of the last step, which is measured now unless it was due."""
        self._save_if_measured(trainer, pl_module)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Save the model of the last step where training was interrupted; of several processes, others may be gone."""
        if trainer.world_size == 1 and self._saved >= 0:
            self._save_if_measured(trainer, pl_module)

    def _save_if_measured(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save the model if the last point is of this step; the monitor's hooks run before those of other callbacks."""
        point = trainer.strategy.broadcast(_last_point(trainer))
        if point is None or point.step != trainer.global_step or point.step == self._saved:
            return
        network = _network(pl_module)
        weights = get_model_state_dict(network, options=StateDictOptions(full_state_dict=True, cpu_offload=True))
        if trainer.is_global_zero:
            self._save(network, weights, point)
        trainer.strategy.barrier()
        self._saved = point.step

    def _save(self, network: PreTrainedModel, weights: dict[str, Any], point: Point) -> None:
        """Write a folder that has its name only when it is whole."""
        begun, whole = self.folder / f".step-{point.step}", self.folder / f"step-{point.step}"
        for folder in (begun, whole):
            shutil.rmtree(folder, ignore_errors=True)
        log: Any = logging  # a part of which has no types
        bars = log.is_progress_bar_enabled()
        log.disable_progress_bar()
        network.save_pretrained(begun, state_dict=weights)
        if bars:
            log.enable_progress_bar()
        state = {"global_step": point.step, "num_input_tokens_seen": point.tokens_seen or 0}
        (begun / STATE).write_text(json.dumps(state))
        begun.replace(whole)


def _last_point(trainer: Trainer) -> Point | None:
    """Return the last point of the monitor; None where it has none, and on other processes than the first.

    Raises:
        ValueError: There is no monitor.
    """
    callbacks: Any = trainer
    monitor = next((each for each in callbacks.callbacks if isinstance(each, InformationPlaneMonitor)), None)
    if monitor is None:
        raise ValueError("checkpoints of measured steps need an InformationPlaneMonitor among the trainer's callbacks")
    points = monitor.trajectory.points
    return points[-1] if points else None


def _network(pl_module: LightningModule) -> PreTrainedModel:
    """Return the model of transformers that a module holds.

    Raises:
        ValueError: It holds none.
    """
    found = next((module for module in pl_module.modules() if isinstance(module, PreTrainedModel)), None)
    if found is None:
        raise ValueError(
            f"checkpoints in Hugging Face format need a model of transformers, and {type(pl_module).__name__} holds "
            "none; Lightning's ModelCheckpoint saves any module"
        )
    return found
