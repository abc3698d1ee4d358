"""Pre-train a small language model and measure it as it trains; the configuration is conf/config.yaml.

python experiments/train.py experiment=demo
python experiments/train.py -m experiment=tiny_sweep
python experiments/train.py model=llama_60M trainer=ddp --dry-run    # what it would do, without doing it
"""

# ruff: noqa: E402 (the packages of this checkout are put on the path first)
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
import torch
import wandb
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from hydra.utils import instantiate
from lightning.pytorch import LightningModule, Trainer, seed_everything
from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only
from omegaconf import DictConfig, OmegaConf

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # the configuration names modules such as experiments.data

from experiments.budget import check_processes, count_processes, settled
from experiments.data import BlockData
from experiments.dry_run import FLAG, dry_run
from experiments.finished import once
from experiments.identity import beginning, identity
from experiments.isolation import isolated
from experiments.last_state import LastState
from experiments.launch import check_folder, with_own_folder
from experiments.model import LanguageModel
from experiments.suggestions import suggesting
from experiments.summary import places, table
from experiments.sweep import as_job, print_of_job
from ibtrack import InformationPlaneMonitor, Probe, Trajectory
from ibtrack.report import charts
from ibtrack.report.html import write_report

CONTAINED = ("warn", "leave_out", "refuse")  # what can be done about documents that stand in the training text


def main() -> float | None:
    """Run what the command line says, or say what it would do, and return the objective of a single run."""
    value: float | None = None
    sys.argv, given = [sys.argv[0], *with_own_folder(sys.argv[1:])], sys.argv
    try:
        with suggesting():
            if FLAG in given:
                dry_run(given[1:], ROOT / "conf")
            else:
                value = run()
    finally:
        sys.argv = given
    return value


@hydra.main(version_base="1.3", config_path=str(ROOT / "conf"), config_name="config")
def run(cfg: DictConfig) -> float:
    """Train once; a job of a sweep that has finished before is not trained again.

    Args:
        cfg: Configuration of the run.

    Returns:
        The objective of the run.
    """
    if HydraConfig.get().mode != RunMode.MULTIRUN:
        return train(cfg)
    with as_job(cfg):
        return once(cfg, train)


def train(cfg: DictConfig) -> float:
    """Train and measure one model, write its files to ``cfg.run_dir``, and print a summary.

    Afterwards environment, random states and wandb are as they were before, even if the run has failed.

    Args:
        cfg: Configuration of the run.

    Returns:
        The value of ``cfg.objective`` at the end of the run.

    Raises:
        ValueError: There is no such objective.
    """
    with isolated():
        # blocks are read from memory or a file in microseconds: by default there are no worker processes
        warnings.filterwarnings("ignore", message=".*does not have many workers")
        warnings.filterwarnings("ignore", message=".*LeafSpec", category=FutureWarning)  # Lightning 2.6 on torch 2.13
        check_folder(cfg)
        trainer, monitor = _fit(cfg)
        trajectory = recorded(monitor, Path(cfg.run_dir))
        if trainer.is_global_zero:
            _show(trajectory, Path(cfg.run_dir))
        return objective(trajectory, trainer.callback_metrics, cfg.objective)


def objective(trajectory: Trajectory, metrics: Mapping[str, Any], key: str) -> float:
    """Find a number at the end of a run: a value of the last point, or a metric that was logged.

    Args:
        trajectory: What the monitor has recorded.
        metrics: The logged metrics at the end of the run.
        key: Key of the value or name of the metric.

    Returns:
        The number.

    Raises:
        ValueError: There is no such number, or it is not finite, as after a failed measurement.

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


def recorded(monitor: InformationPlaneMonitor, run_dir: Path) -> Trajectory:
    """Return the trajectory of a run, also of one that was at its end before and so was not gone on with.

    Args:
        monitor: The monitor of the run.
        run_dir: Folder of the run.
    """
    if monitor.trajectory.points:
        return monitor.trajectory
    rank_zero_only(print)(f"the run in {run_dir} has come to its end before; resume=false begins it anew")
    return Trajectory.load(run_dir)


def choices() -> dict[str, str]:
    """List which option of each group Hydra took, such as cosine of recipe; without Hydra there are none.

    The configuration has what the options set, and not their names, by which runs are compared.

    Returns:
        Group to option; Hydra's own groups, such as the launcher, are left out.
    """
    if not HydraConfig.initialized():
        return {}
    chosen = HydraConfig.get().runtime.choices
    return {group: option for group, option in chosen.items() if option and not group.startswith("hydra/")}


def searched(probe: Probe, data: BlockData, contained: str) -> Probe:
    """Look for the documents of a probe in the training text, and say in one line what was found.

    Args:
        probe: The probe.
        data: The data, which `setup` has made. Its blocks are searched as the one stream that they are cut from.
        contained: What to do about documents that stand in the training text: ``warn`` and measure them, ``leave_out``
            and measure the others, or ``refuse`` to train.

    Returns:
        The probe to measure on. Its ``overlap`` is what was found, and gets into the header of the run.

    Raises:
        ValueError: There is such a document and it is to be refused, or ``contained`` is none of these.
    """
    if contained not in CONTAINED:
        raise ValueError(f"contained must be one of {', '.join(CONTAINED)}, got {contained!r}")
    overlap = data.overlap(probe)
    if overlap is None:
        return probe
    sentence = overlap.sentence()
    if not overlap.documents:
        rank_zero_only(print)(sentence)
    elif contained == "warn":
        rank_zero_only(warnings.warn)(f"{sentence}: measured all the same; contained=leave_out leaves them out")
    elif contained == "leave_out":
        rank_zero_only(warnings.warn)(f"{sentence}: not measured")
        return probe.without(overlap.documents)
    else:
        raise ValueError(f"{sentence}; contained=leave_out trains and does not measure them")
    return probe


def compiled(model: LightningModule, backend: bool | str) -> LightningModule:
    """Have torch compile the network of a model when it first runs. It keeps its names, and is measured uncompiled.

    Args:
        model: The model, whose ``network`` is compiled in place.
        backend: False compiles nothing, true takes PyTorch's own backend, and a text is the name of another one.

    Returns:
        The model.

    Raises:
        ValueError: There is no such backend, or the model is no `LanguageModel`.
    """
    if not backend:
        return model
    name = "inductor" if backend is True else backend
    backends = torch.compiler.list_backends(exclude_tags=())
    if name not in backends:
        raise ValueError(f"compile must be true, false or one of {', '.join(backends)}, got {backend!r}")
    if not isinstance(model, LanguageModel):
        raise ValueError(f"compile must be false for {type(model).__name__}, which is no LanguageModel, got {backend}")
    network = model.network.base_model if model.head == "chunked" else model.network  # what its loss calls
    network.compile(backend=name)
    return model


def keep(probe: Probe, run_dir: Path) -> None:
    """Write the probe beside the other files of a run, for replays of its checkpoints and for runs to compare it with.

    Args:
        probe: The probe that the run is measured on.
        run_dir: Folder of the run, which is made if need be.
    """
    run_dir.mkdir(parents=True, exist_ok=True)
    probe.save(run_dir / "probe.pt")


def _fit(cfg: DictConfig) -> tuple[Trainer, InformationPlaneMonitor]:
    cfg = settled(cfg, count_processes(cfg.trainer))
    config: dict[str, Any] = OmegaConf.to_container(cfg, resolve=True)  # type: ignore[assignment]
    if chosen := choices():
        config = {"choices": chosen} | config  # first, as the first of several equal settings names a group of runs
    seed_everything(cfg.seed)
    data = instantiate(cfg.data)
    data.num_workers = cfg.workers
    data.setup()
    if hasattr(data, "truth"):  # exact numbers of a made-up source, to compare the run with
        config["truth"] = data.truth
    model = compiled(instantiate(cfg.model, **data.model_settings), cfg.compile)
    probe = _partial(cfg.probe)(*data.probe_source)
    if probe.is_text:
        probe = searched(probe, data, cfg.contained)
    monitor = _partial(cfg.monitor)(probe, name=cfg.name, config=config, say=print_of_job)
    loggers = _loggers(cfg.logger)
    callbacks = [instantiate(callback) for callback in cfg.callbacks.values() if callback]
    callbacks.sort(key=lambda callback: isinstance(callback, LastState))  # last, as it saves the state of the others
    trainer = _partial(cfg.trainer)(logger=loggers, callbacks=[monitor, *callbacks])
    check_processes(cfg, trainer.world_size)
    begun = beginning(Path(cfg.run_dir), identity(config, data, trainer), config, resume=cfg.resume)
    monitor.config = begun.config
    rank_zero_only(keep)(probe, Path(cfg.run_dir))
    for logger in loggers:
        logger.log_hyperparams(config)
    trainer.fit(model, datamodule=data, ckpt_path=begun.state)
    return trainer, monitor


def _loggers(config: DictConfig) -> list[Logger]:
    if "wandb" in config:
        wandb.setup()  # it reads WANDB_SILENT, which has to hold before the first message
    return [instantiate(logger) for logger in config.values()]


def _show(trajectory: Trajectory, run_dir: Path) -> None:
    charts.save_png(charts.plane([trajectory], order=trajectory.protocol["orders"][0]), run_dir / "plane.png")
    write_report([trajectory], run_dir / "report.html")
    if truth := trajectory.run["config"].get("truth"):
        print(f"\nexact numbers of the source, nats\n{json.dumps(truth, indent=1)}")
    units = "mean over layers ± standard error: H of log K, kept and told of the ceiling"
    print(f"\n{table(trajectory)}\n\n{units}\n\n{places(run_dir)}")


def _partial(config: DictConfig) -> Any:
    """Return a constructor with its settings filled in, which can then take objects that no configuration can hold."""
    return instantiate(config, _partial_=True, _convert_="all")


if __name__ == "__main__":
    # the workers of a launcher inherit this variable, and have to find the packages of this checkout as well
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    main()
