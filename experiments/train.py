"""Pre-train a small language model and measure it as it goes; the configuration is conf/config.yaml.

python experiments/train.py experiment=demo
python experiments/train.py -m experiment=tiny_sweep
"""

# ruff: noqa: E402 (the folder above has to be found first)
from __future__ import annotations

import json
import math
import os
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import hydra
import wandb
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from hydra.utils import instantiate
from lightning.pytorch import Trainer, seed_everything
from lightning.pytorch.loggers import Logger
from omegaconf import DictConfig, OmegaConf

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # the configuration names experiments.data and so on

from experiments.finished import once
from experiments.isolation import isolated
from experiments.suggestions import suggesting
from experiments.summary import places, table
from experiments.sweep import as_job
from ibtrack import InformationPlaneMonitor, Trajectory
from ibtrack.report import charts
from ibtrack.report.html import write_report


def main() -> float | None:
    """Run what the command line says."""
    with suggesting():
        return run()


@hydra.main(version_base="1.3", config_path=str(ROOT / "conf"), config_name="config")
def run(cfg: DictConfig) -> float:
    """Train once, or, as a job of a sweep, unless this job has finished before."""
    if HydraConfig.get().mode != RunMode.MULTIRUN:
        return train(cfg)
    with as_job(cfg):
        return once(cfg, train)


def train(cfg: DictConfig) -> float:
    """Train and measure one model, write its files to ``cfg.run_dir``, and print what it has shown.

    Whatever happens, environment, random states and wandb are then as they were before.

    Returns:
        the objective: ``cfg.objective`` at the end of the run.

    Raises:
        ValueError: there is no such objective.
    """
    with isolated():
        # blocks lie in memory, ready to be used: worker processes would only slow their loader down
        warnings.filterwarnings("ignore", message=".*does not have many workers")
        warnings.filterwarnings("ignore", message=".*LeafSpec", category=FutureWarning)  # Lightning 2.6 on torch 2.13
        trainer, monitor = _fit(cfg)
        if trainer.is_global_zero:
            _show(monitor.trajectory, Path(cfg.run_dir))
        return objective(monitor.trajectory, trainer.callback_metrics, cfg.objective)


def objective(trajectory: Trajectory, metrics: Mapping[str, Any], key: str) -> float:
    """Find a number of the end of a run: a reading of the last point, or a metric that was logged.

    Raises:
        ValueError: there is no such number, or it is not finite, as after a failed measurement.

    Example:
        >>> objective(Trajectory({}, {}, []), {"val/loss": 2.5}, "val/loss")
        2.5
    """
    last = dict(trajectory.points[-1].values) if trajectory.points else {}
    values = {**metrics, **last}
    if key not in values:
        shown = [name for name in values if "/L" not in name and "embed" not in name]
        raise ValueError(f"objective must be one of {', '.join(sorted(shown))}, got {key!r}")
    value = float(values[key])
    if not math.isfinite(value):
        raise ValueError(f"objective {key} must be finite at the end of the run, got {value}")
    return value


def _fit(cfg: DictConfig) -> tuple[Trainer, InformationPlaneMonitor]:
    config: dict[str, Any] = OmegaConf.to_container(cfg, resolve=True)  # type: ignore[assignment]
    seed_everything(cfg.seed)
    data = instantiate(cfg.data)
    data.setup()
    if hasattr(data, "known"):  # of a source that can say so: the numbers that the run is compared with
        config["known"] = data.known
    model = instantiate(cfg.model, **data.model_settings)
    probe = _partial(cfg.probe)(*data.probe_source)
    monitor = _partial(cfg.monitor)(probe, name=cfg.name, config=config)
    loggers = _loggers(cfg.logger)
    callbacks = [monitor, *(instantiate(callback) for callback in cfg.callbacks.values())]
    trainer = _partial(cfg.trainer)(logger=loggers, callbacks=callbacks)
    for logger in loggers:
        logger.log_hyperparams(config)
    trainer.fit(model, datamodule=data)
    return trainer, monitor


def _loggers(config: DictConfig) -> list[Logger]:
    if "wandb" in config:
        wandb.setup()  # reads WANDB_SILENT before the first word is said
    return [instantiate(logger) for logger in config.values()]


def _show(trajectory: Trajectory, run_dir: Path) -> None:
    charts.save_png(charts.plane([trajectory], order=trajectory.protocol["orders"][0]), run_dir / "plane.png")
    write_report([trajectory], run_dir / "report.html")
    if known := trajectory.run["config"].get("known"):
        print(f"\nknown of the source, nats\n{json.dumps(known, indent=1)}")
    print(f"\n{table(trajectory)}\n\nmean over layers, fractions of log K, ± standard error\n\n{places(run_dir)}")


def _partial(config: DictConfig) -> Any:
    """A constructor with its settings filled in; objects cannot pass through a configuration."""
    return instantiate(config, _partial_=True, _convert_="all")


if __name__ == "__main__":
    # what the workers of a launcher begin with, who have to find the folder above as well
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    main()
