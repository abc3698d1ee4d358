"""Which loggers get the points in which training loops, each seen in a real run whose record is read back.

    python experiments/benchmarks/loops.py tests/integrations/loops.csv

A small model is trained for some steps in each loop with each logger. What the logger has kept on the disk is read by
its own reader, and compared with the trajectory file: every point once, with its step and its numbers. The weights at
the end are compared with those of the same loop without ibtrack. The file has a row for each pair. A logger whose
package is not installed has a row that says so; a pair in which anything differs ends the program.
"""

from __future__ import annotations

import csv
import json
import math
import multiprocessing
import os
import sqlite3
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ibtrack import InformationPlaneTracker, Trajectory, schedules
from ibtrack.record.logged import logged_metrics
from tests.models import Model, Module, loader, probe

STEPS = 6
SCHEDULE = schedules.every(2)
Rows = dict[str, list[tuple[int, float]]]  # of a logger: steps and numbers by key


@dataclass(frozen=True)
class Seen:
    """What was seen of a loop and a logger.

    Attributes:
        loop: Name of the loop.
        logger: Name of the logger.
        how: What a user writes so that it gets the points.
        points: Number of points, each of which it has once.
        packages: Packages that were used, with their versions.
        remark: Why it was not tried, if it was not.
    """

    loop: str
    logger: str
    how: str
    points: int = 0
    packages: str = ""
    remark: str = ""


def main(out: Path) -> None:
    """Run all pairs, each in a process of its own, and write the file.

    Args:
        out: File to write.
    """
    rows = []
    for loop, logger in PAIRS:
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            rows.append(pool.apply(see, (loop, logger)))
        print(rows[-1], flush=True)
    with out.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Seen)], lineterminator="\n")
        writer.writeheader()
        writer.writerows(map(asdict, rows))


def see(loop: str, logger: str) -> Seen:
    """Train in a loop with a logger, and look at what it has kept.

    Args:
        loop: One of `LOOPS`.
        logger: One of `READERS`.

    Raises:
        RuntimeError: The logger does not have every point once, or the weights differ from those without ibtrack.
    """
    how, package = HOW[PAIRS[loop, logger]], {"CSV": "lightning", "MLflow": "mlflow"}.get(logger, logger.lower())
    if find_spec(package) is None:
        return Seen(loop, logger, how, remark=f"not tried: {package} is not installed")
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        _keep_in(folder)
        watched = LOOPS[loop](folder / "watched", logger)
        bare = LOOPS[loop](folder / "bare", None)
        if any(not torch.equal(bare[name], weight) for name, weight in watched.items()) or len(bare) != len(watched):
            raise RuntimeError(f"{loop} with {logger}: the weights are not those of a run without ibtrack")
        trajectory = Trajectory.load(folder / "watched")
        kept = READERS[logger](folder)
    _compare(trajectory, kept, f"{loop} with {logger}")
    names = dict.fromkeys(name for name in (*_PACKAGES[loop], _DISTRIBUTIONS.get(package, package)))
    packages = ", ".join(f"{name} {version(name)}" for name in names)
    return Seen(loop, logger, how, len(trajectory.points), packages)


def _compare(trajectory: Trajectory, kept: Rows, what: str) -> None:
    """Refuse a record that is not that of the trajectory.

    Raises:
        RuntimeError: A point is missing or doubled, or one of its numbers differs.
    """
    for key in logged_metrics(trajectory.points[-1]):
        expected = [(p.step, metrics[key]) for p in trajectory.points if key in (metrics := logged_metrics(p))]
        found = kept.get(key, [])
        same = [step for step, _ in found] == [step for step, _ in expected] and all(
            math.isclose(one, other, rel_tol=1e-5, abs_tol=1e-6)  # TensorBoard keeps single precision
            for (_, one), (_, other) in zip(found, expected, strict=True)
        )
        if not same:
            raise RuntimeError(f"{what}: {key} is {found} there, and {expected} in the trajectory")


def _keep_in(folder: Path) -> None:
    """Let every logger keep its record below a folder, and reach no server."""
    os.chdir(folder)
    os.environ |= {"WANDB_MODE": "offline", "WANDB_SILENT": "true", "WANDB_DIR": str(folder)}
    os.environ |= {"MLFLOW_TRACKING_URI": f"file://{folder}/mlruns", "MLFLOW_ALLOW_FILE_STORE": "true"}
    os.environ |= {"TRACKIO_DIR": str(folder / "trackio"), "HF_HUB_OFFLINE": "1"}


# loops: each trains a model in a folder with one logger, or without ibtrack, and returns its weights at the end


def _seeded() -> Model:
    torch.manual_seed(3)
    return Model()


def _weights(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def _loss(model: nn.Module, ids: Tensor) -> Tensor:
    return nn.functional.cross_entropy(model(ids)[:, :-1].flatten(0, 1), ids[:, 1:].flatten())


def _tracker(folder: Path, logger: str | None) -> InformationPlaneTracker | None:
    """A tracker of a loop of one's own; an open wandb run it finds by itself."""
    if logger is None:
        return None
    options: dict[str, Any] = {} if logger == "wandb" else {"loggers": [_own_logger(folder, logger)]}
    if logger == "wandb":
        import_module("wandb").init(project="loops")
    return InformationPlaneTracker(
        probe(), path=folder / "trajectory.jsonl", schedule=SCHEDULE, strict=True, verbose=False, **options
    )


def _own_logger(folder: Path, logger: str) -> Any:
    if logger == "MLflow":
        return import_module("mlflow")  # whose log_metrics writes to the run that is active
    from lightning.fabric.loggers.csv_logs import CSVLogger
    from lightning.fabric.loggers.tensorboard import TensorBoardLogger

    return TensorBoardLogger(str(folder)) if logger == "TensorBoard" else CSVLogger(str(folder))


def _plain(folder: Path, logger: str | None) -> dict[str, Tensor]:
    model, tracker = _seeded(), _tracker(folder, logger)
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2)

    def step(ids: Tensor) -> None:
        optimizer.zero_grad()
        _loss(model, ids).backward()
        optimizer.step()

    _go(model, tracker, loader(), step)
    return _weights(model)


def _fabric(folder: Path, logger: str | None) -> dict[str, Tensor]:
    from lightning.fabric import Fabric

    fabric, bare, tracker = Fabric(accelerator="cpu", devices=1), _seeded(), _tracker(folder, logger)
    model, optimizer = fabric.setup(bare, torch.optim.AdamW(bare.parameters(), 1e-2))

    def step(ids: Tensor) -> None:
        optimizer.zero_grad()
        fabric.backward(_loss(model, ids))
        optimizer.step()

    _go(model, tracker, fabric.setup_dataloaders(loader()), step)
    return _weights(bare)


def _go(model: nn.Module, tracker: Any, batches: Any, step_on: Callable[[Tensor], None]) -> None:
    """Train for some steps, and end the runs of loggers as a user does."""
    if tracker is not None:
        tracker.step(model, 0)
    for step, (ids,) in zip(range(1, STEPS), batches, strict=False):
        step_on(ids)
        if tracker is not None:
            tracker.step(model, step)
    if tracker is not None:
        tracker.finish(model, STEPS - 1)
        for logger in tracker.loggers or ():
            getattr(logger, "finalize", lambda status: None)("success")
    _end_wandb()


def _lightning(folder: Path, logger: str | None) -> dict[str, Tensor]:
    import lightning
    from lightning.pytorch import loggers

    from ibtrack import InformationPlaneMonitor

    kinds: dict[str, Callable[[], Any]] = {
        "wandb": lambda: loggers.WandbLogger(project="loops", offline=True, save_dir=folder),
        "TensorBoard": lambda: loggers.TensorBoardLogger(folder),
        "CSV": lambda: loggers.CSVLogger(folder),
        "MLflow": lambda: loggers.MLFlowLogger(tracking_uri=os.environ["MLFLOW_TRACKING_URI"]),
    }
    path = folder / "trajectory.jsonl"
    watch = InformationPlaneMonitor(probe(), path=path, schedule=SCHEDULE, strict=True, verbose=False)
    module = Module(_seeded())
    lightning.Trainer(
        max_steps=STEPS - 1,
        accelerator="cpu",
        devices=1,
        callbacks=[] if logger is None else [watch],
        logger=False if logger is None else kinds[logger](),
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
        limit_val_batches=0,
    ).fit(module, loader())
    _end_wandb()
    return _weights(module)


def _arguments(folder: Path, logger: str | None) -> dict[str, Any]:
    return {
        "output_dir": str(folder / "out"),
        "report_to": [] if logger is None else [logger.lower()],
        "max_steps": STEPS - 1,
        "logging_steps": 2,
        "use_cpu": True,
        "disable_tqdm": True,
        "save_strategy": "no",
    }


def _watch(folder: Path, of: Any) -> list[Any]:
    from ibtrack.integrations import InformationPlaneTrainerCallback

    path = folder / "trajectory.jsonl"
    return [InformationPlaneTrainerCallback(of, path=path, schedule=SCHEDULE, strict=True, verbose=False)]


def _transformers(folder: Path, logger: str | None) -> dict[str, Tensor]:
    from transformers import Trainer, TrainingArguments

    from tests.integrations.test_loops import _rows, _WithLoss

    model = _WithLoss(_seeded())
    callbacks = [] if logger is None else _watch(folder, probe())
    arguments = TrainingArguments(**_arguments(folder, logger))
    Trainer(model, arguments, train_dataset=_rows(), callbacks=callbacks).train()
    _end_wandb()
    return _weights(model)


def _trl(folder: Path, logger: str | None) -> dict[str, Tensor]:
    from tests import post_training

    callbacks = [] if logger is None else _watch(folder, post_training.text_probe())
    options = {name: value for name, value in _arguments(folder, logger).items() if name != "output_dir"}
    trainer = post_training.sft(folder / "out", callbacks, **options)
    trainer.train()
    _end_wandb()
    return _weights(trainer.model)


def _end_wandb() -> None:
    if "wandb" in sys.modules:
        sys.modules["wandb"].finish()


# readers: each returns all that a logger has kept below a folder


def _from_wandb(folder: Path) -> Rows:
    (file,) = folder.rglob("*.wandb")
    command = [str(Path(sys.executable).parent / "wandb"), "leet", "inspect", "--json", str(file)]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    records = map(json.loads, lines)
    return _by_key(
        (record["history"]["item"] for record in records if record["type"] == "history"), "trainer/global_step"
    )


def _from_tensorboard(folder: Path) -> Rows:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found: Rows = {}
    for file in folder.rglob("events*"):
        events = EventAccumulator(str(file), size_guidance={"scalars": 0})
        events.Reload()
        for tag in events.Tags()["scalars"]:
            found.setdefault(tag, []).extend((event.step, event.value) for event in events.Scalars(tag))
    return found


def _from_csv(folder: Path) -> Rows:
    (path,) = folder.rglob("metrics.csv")
    with path.open(encoding="utf-8", newline="") as file:
        rows = [{key: float(cell) for key, cell in row.items() if cell} for row in csv.DictReader(file)]
    return _by_key(rows, "step")


def _from_mlflow(folder: Path) -> Rows:
    client = import_module("mlflow").MlflowClient(f"file://{folder}/mlruns")
    found: Rows = {}
    for experiment in client.search_experiments():
        for run in client.search_runs([experiment.experiment_id]):
            for key in run.data.metrics:
                history = client.get_metric_history(run.info.run_id, key)
                found.setdefault(key, []).extend((metric.step, metric.value) for metric in history)
    return found


def _from_trackio(folder: Path) -> Rows:
    (file,) = (folder / "trackio").rglob("*.db")
    with sqlite3.connect(file) as database:
        rows = [json.loads(row) for (row,) in database.execute("select metrics from metrics order by id")]
    return _by_key(rows, "train/global_step")


def _by_key(rows: Any, axis: str) -> Rows:
    """Sort rows that have their step under a name by their keys."""
    found: Rows = {}
    for row in rows:
        for key, value in row.items():
            if isinstance(value, int | float) and axis in row:
                found.setdefault(key, []).append((int(row[axis]), float(value)))
    return found


LOOPS: Mapping[str, Callable[[Path, str | None], dict[str, Tensor]]] = {
    "plain loop": _plain,
    "Fabric": _fabric,
    "Lightning": _lightning,
    "transformers.Trainer": _transformers,
    "SFTTrainer of TRL": _trl,
}
READERS: Mapping[str, Callable[[Path], Rows]] = {
    "wandb": _from_wandb,
    "TensorBoard": _from_tensorboard,
    "CSV": _from_csv,
    "MLflow": _from_mlflow,
    "trackio": _from_trackio,
}
HOW = {
    "found": "nothing: the run that `wandb.init` has opened is found",
    "given": "`loggers=[logger]`, a logger of Fabric",
    "module": "`loggers=[mlflow]`",
    "trainer": "nothing: the trainer's `logger=`",
    "report_to": "nothing: the trainer's `report_to=`",
}
PAIRS: Mapping[tuple[str, str], str] = {
    **{(loop, "wandb"): "found" for loop in ("plain loop", "Fabric")},
    **{(loop, logger): "given" for loop in ("plain loop", "Fabric") for logger in ("TensorBoard", "CSV")},
    ("plain loop", "MLflow"): "module",
    **{("Lightning", logger): "trainer" for logger in ("wandb", "TensorBoard", "CSV", "MLflow")},
    **{
        (loop, logger): "report_to"
        for loop in ("transformers.Trainer", "SFTTrainer of TRL")
        for logger in ("wandb", "TensorBoard", "MLflow", "trackio")
    },
}
_PACKAGES = {
    "plain loop": ("torch",),
    "Fabric": ("lightning",),
    "Lightning": ("lightning",),
    "transformers.Trainer": ("transformers",),
    "SFTTrainer of TRL": ("transformers", "trl"),
}
_DISTRIBUTIONS = {"mlflow": "mlflow-skinny"}

if __name__ == "__main__":
    main(Path(sys.argv[1]))
