"""Runs of the training script in tests: its configuration, its launch, and the files that wandb has written."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from lightning.pytorch import Callback, Trainer
from omegaconf import DictConfig
from wandb.util import get_core_path

from experiments import train
from ibtrack import Trajectory

ROOT = Path(__file__).resolve().parents[1]
CONF = ROOT / "conf"
SCRIPT = ROOT / "experiments" / "train.py"

# marks of a module whose tests train
TRAINING = [
    pytest.mark.usefixtures("one_thread", "own_cache"),
    pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning"),  # Lightning 2.6 on torch 2.13
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),  # the data lies in memory
]

# overrides that make an experiment small enough for a test
SMALL = ["data.max_documents=60", "data.held_out=0.5", "data.vocab_size=300", "data.block_size=32"]
SMALL += ["data.batch_size=4", "probe.num_blocks=8", "trainer.max_steps=1", "model.warmup_steps=0"]


def config(*overrides: str) -> DictConfig:
    GlobalHydra.instance().clear()
    with initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
        return compose("config", overrides=["run_dir=.", *overrides])


def options(group: str) -> list[str]:
    return sorted(path.stem if path.suffix == ".yaml" else path.name for path in (CONF / group).glob("*.yaml"))


def launch(*arguments: str) -> object:
    """Call the script in this process with the arguments of a command line."""
    GlobalHydra.instance().clear()
    sys.argv, argv = [str(SCRIPT), *arguments], sys.argv
    try:
        return train.main()
    finally:
        sys.argv = argv
        HydraConfig.instance().cfg = None


def process_state() -> tuple[object, ...]:
    environment = {name: value for name, value in os.environ.items() if name != "WANDB_SERVICE"}  # that one has ended
    numpy_state: tuple[Any, ...] = np.random.get_state()  # type: ignore[assignment]  # a tuple unless legacy=False
    return environment, random.getstate(), torch.get_rng_state().tolist(), numpy_state[1].tolist()


def measured(folder: Path) -> list[tuple[Any, ...]]:
    """Return the steps, losses and values of a run, without those that depend on the clock."""
    points = Trajectory.load(folder).points
    clock = {"ib/overhead_fraction"}
    return [(p.step, p.loss, {key: p.values[key] for key in p.values.keys() - clock}) for p in points]


def inspect(run_dir: Path, *arguments: str) -> str:
    """Return what wandb itself reads in the folder of its run, by the program that `wandb leet` starts."""
    (file,) = run_dir.glob("wandb/offline-run-*/run-*.wandb")
    command = [get_core_path(), "leet", "inspect", "--no-observability", *arguments]
    command += ["--run-file", str(file), str(run_dir / "wandb")]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def wandb_records(run_dir: Path, kind: str) -> list[dict[str, Any]]:
    """Return the records of one kind, such as ``run`` or ``history``, in the file that wandb has written."""
    lines = [json.loads(line) for line in inspect(run_dir, "--json").splitlines()]
    return [line[kind] for line in lines if line["type"] == kind]


class Bomb(Callback):
    """Raises an error after the fourth step, as long as a file, its fuse, exists."""

    def __init__(self, fuse: str) -> None:
        self.fuse = Path(fuse)

    def on_train_batch_end(self, trainer: Trainer, *rest: object) -> None:
        if trainer.global_step == 4 and self.fuse.exists():
            raise RuntimeError("the bomb went off")
