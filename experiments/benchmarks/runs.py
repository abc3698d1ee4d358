"""Training runs by their configuration, watched or not."""

from __future__ import annotations

import os
import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import wandb
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.utils import instantiate
from lightning.pytorch import LightningModule, seed_everything
from omegaconf import DictConfig, OmegaConf

from experiments.data import TextData
from experiments.isolation import isolated
from ibtrack import InformationPlaneMonitor, Trajectory

CONF = Path(__file__).resolve().parents[2] / "conf"


@dataclass(frozen=True)
class Run:
    """A run that is over.

    Attributes:
        seconds: of wall time that ``trainer.fit`` took.
        data: what it was trained on.
        model: as it is at the end.
        trajectory: what the monitor recorded, or None if there was none.
    """

    seconds: float
    data: TextData
    model: LightningModule
    trajectory: Trajectory | None


def configuration(run_dir: Path, *overrides: str) -> DictConfig:
    """What ``experiments/train.py`` would run with these overrides, with its files in ``run_dir``."""
    GlobalHydra.instance().clear()
    with initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
        config = compose("config", overrides=["run_dir=.", *overrides])
    config.run_dir = str(run_dir)
    return config


def fit(config: DictConfig, *, watched: bool) -> Run:
    """Train as ``experiments/train.py`` does, with the monitor or without, and time it."""
    with isolated():
        warnings.filterwarnings("ignore", message=".*does not have many workers")
        warnings.filterwarnings("ignore", message=".*LeafSpec", category=FutureWarning)
        os.environ["WANDB_SILENT"] = "true"
        wandb.setup()  # reads it before the first word is said
        seed_everything(config.seed, verbose=False)
        data, model = prepare(config)
        monitors = [_monitor(config, data)] if watched else []
        loggers = [instantiate(logger) for logger in config.logger.values()]
        trainer = _with_settings(config.trainer)(logger=loggers, callbacks=[*monitors], enable_progress_bar=False)
        began = time.perf_counter()
        trainer.fit(model, datamodule=data)
        seconds = time.perf_counter() - began
    return Run(seconds, data, model, monitors[0].trajectory if monitors else None)


def prepare(config: DictConfig) -> tuple[TextData, LightningModule]:
    """The data, read, and the model, not trained."""
    data = instantiate(config.data)
    data.setup()
    return data, instantiate(config.model, vocab_size=data.tokenizer.get_vocab_size(), block_size=data.block_size)


def plain(config: DictConfig) -> dict[str, Any]:
    """The configuration as dictionaries and lists, without what only a running Hydra knows."""
    return OmegaConf.to_container(
        OmegaConf.masked_copy(config, [key for key in config if key != "hydra"]), resolve=True
    )  # type: ignore[return-value]


def _monitor(config: DictConfig, data: TextData) -> InformationPlaneMonitor:
    probe = _with_settings(config.probe)(data.probe_texts, data.tokenizer)
    return _with_settings(config.monitor)(probe, name=config.name)


def _with_settings(config: DictConfig) -> Any:
    return instantiate(config, _partial_=True, _convert_="all")
