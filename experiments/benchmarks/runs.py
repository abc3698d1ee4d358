"""Training runs by their configuration, with the monitor or without, as the benchmarks need them."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import wandb
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.utils import instantiate
from lightning.pytorch import Callback, LightningModule, seed_everything
from omegaconf import DictConfig, OmegaConf

from experiments.budget import count_processes, settled
from experiments.data import TextData
from experiments.isolation import isolated
from ibtrack import InformationPlaneMonitor, Trajectory

CONF = Path(__file__).resolve().parents[2] / "conf"


@dataclass(frozen=True)
class Run:
    """A finished run.

    Attributes:
        seconds: Wall time in seconds of ``trainer.fit``, and with a monitor of making its probe.
        data: The data.
        model: The trained model.
        trajectory: What the monitor has recorded, or None without a monitor.
        costs: Part of what following the run cost to its seconds, see `ibtrack.tracking.costs`; empty without one.
    """

    seconds: float
    data: TextData
    model: LightningModule
    trajectory: Trajectory | None
    costs: dict[str, float]


def configuration(run_dir: Path, *overrides: str) -> DictConfig:
    """Compose the configuration that ``experiments/train.py`` has with these overrides.

    Args:
        run_dir: Folder of the run's files.
        *overrides: Overrides of the command line.
    """
    GlobalHydra.instance().clear()
    with initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
        config = compose("config", overrides=["run_dir=.", *overrides])
    config.run_dir = str(run_dir)
    return config


def fit(config: DictConfig, *, watched: bool, callbacks: Sequence[Callback] = ()) -> Run:
    """Train as ``experiments/train.py`` does, and time it.

    Args:
        config: Configuration of the run.
        watched: Whether the monitor takes part.
        callbacks: Callbacks that take part besides.
    """
    config = settled(config, count_processes(config.trainer))
    with isolated():
        warnings.filterwarnings("ignore", message=".*does not have many workers")
        warnings.filterwarnings("ignore", message=".*LeafSpec", category=FutureWarning)
        os.environ["WANDB_SILENT"] = "true"
        wandb.setup()  # it reads WANDB_SILENT, which has to hold before the first message
        seed_everything(config.seed, verbose=False)
        data, model = prepare(config)
        began = time.perf_counter()
        monitors = [_monitor(config, data)] if watched else []
        loggers = [instantiate(logger) for logger in config.logger.values()]
        trainer = _with_settings(config.trainer)(
            logger=loggers, callbacks=[*monitors, *callbacks], enable_progress_bar=False
        )
        trainer.fit(model, datamodule=data)
        seconds = time.perf_counter() - began
    if not monitors:
        return Run(seconds, data, model, None, {})
    return Run(seconds, data, model, monitors[0].trajectory, dict(monitors[0].costs.seconds))


def prepare(config: DictConfig) -> tuple[TextData, LightningModule]:
    """Return the data, ready to train on, and the model before training."""
    data = instantiate(config.data)
    data.setup()
    return data, instantiate(config.model, **data.model_settings)


def plain(config: DictConfig) -> dict[str, Any]:
    """Return the configuration as dictionaries and lists, without Hydra's own part, which only Hydra can resolve."""
    own = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
    return cast("dict[str, Any]", OmegaConf.to_container(own, resolve=True))


def _monitor(config: DictConfig, data: TextData) -> InformationPlaneMonitor:
    probe = _with_settings(config.probe)(data.probe_texts, data.tokenizer)
    monitor: InformationPlaneMonitor = _with_settings(config.monitor)(probe, name=config.name)
    return monitor


def _with_settings(config: DictConfig) -> Any:
    """Return a constructor with its settings filled in, which can then take objects that no configuration can hold."""
    return instantiate(config, _partial_=True, _convert_="all")
