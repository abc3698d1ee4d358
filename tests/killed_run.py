"""A training run that is killed and started again, as a process of its own for `test_resume`."""

from __future__ import annotations

import warnings
from pathlib import Path

import torch
from lightning.pytorch.callbacks import ModelCheckpoint

from ibtrack import InformationPlaneMonitor, schedules
from tests.models import Module, loader, probe, trainer


def run(folder: Path, steps: int) -> None:
    """Train to the end, from the last checkpoint if there is one."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    last = folder / "last.ckpt"
    watch = InformationPlaneMonitor(
        probe(8), path=folder / "trajectory.jsonl", schedule=schedules.every(3), verbose=False
    )
    save = ModelCheckpoint(folder, every_n_train_steps=7, save_last=True, save_top_k=0)
    fit = trainer(folder, callbacks=[watch, save], enable_checkpointing=True, max_steps=steps, limit_val_batches=0)
    fit.fit(Module(), loader(), ckpt_path=last if last.exists() else None)
