"""What ``transformers.Trainer`` reports to gets the points, once each and on the trainer's axis."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import wandb
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn
from transformers import Trainer, TrainerCallback, TrainingArguments
from transformers.integrations.integration_utils import (
    CometCallback,
    MLflowCallback,
    TensorBoardCallback,
    TrackioCallback,
)

from ibtrack import MeasurementWarning, Trajectory
from ibtrack.integrations.huggingface import InformationPlaneTrainerCallback
from ibtrack.integrations.reporters import (
    MOST_PER_CALL,
    MLflowReporter,
    Reporter,
    TensorBoardReporter,
    TrainerReporters,
    TrainerRun,
)
from ibtrack.record.logged import logged_metrics
from tests.integrations.test_loops import SCHEDULE, _rows, _seeded, _WithLoss
from tests.integrations.test_wandb import clean_wandb, read_back
from tests.models import probe
from tests.processes import leave, spawn_bounded

__all__ = ["clean_wandb"]

pytestmark = pytest.mark.filterwarnings("ignore:.*")  # of transformers and accelerate

KEY = "ib/mean/token/kept"


def _watch(folder: Path, **options: Any) -> InformationPlaneTrainerCallback:
    given = {"path": folder / "trajectory.jsonl", "schedule": SCHEDULE, "verbose": False, **options}
    return InformationPlaneTrainerCallback(probe(), **given)


def _trainer(folder: Path, callbacks: list[TrainerCallback], **options: Any) -> Trainer:
    given = {"report_to": [], "max_steps": 5, "logging_steps": 2, "use_cpu": True, "disable_tqdm": True, **options}
    arguments = TrainingArguments(str(folder / "hf"), seed=3, **given)
    return Trainer(_WithLoss(_seeded()), arguments, train_dataset=_rows(), callbacks=callbacks)


def _scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """All scalars below a folder, by tag, of all files."""
    found: dict[str, list[tuple[int, float]]] = {}
    for file in sorted(folder.rglob("events*")):
        events = EventAccumulator(str(file), size_guidance={"scalars": 0})
        events.Reload()
        for tag in events.Tags()["scalars"]:
            found.setdefault(tag, []).extend((event.step, event.value) for event in events.Scalars(tag))
    return found


def _same(first: nn.Module, second: nn.Module) -> bool:
    pairs = zip(first.state_dict().items(), second.state_dict().items(), strict=True)
    return all(name == other and torch.equal(one, two) for (name, one), (other, two) in pairs)


def test_wandb_and_tensorboard_of_the_trainer_get_every_point_once_beside_its_own_rows(
    tmp_path: Path, clean_wandb: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    wandb.teardown()  # what it has read of the environment before
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))  # where the trainer's run goes
    watch = _watch(tmp_path)
    watched = _trainer(tmp_path, [watch], report_to=["wandb", "tensorboard"])
    watched.train()
    wandb.finish()
    alone = _trainer(tmp_path / "alone", [])
    alone.train()
    assert _same(watched.model, alone.model)  # type: ignore[arg-type]
    assert [entry.keys() for entry in watched.state.log_history] == [entry.keys() for entry in alone.state.log_history]
    points = watch.trajectory.points
    assert watch.trajectory.steps == [0, 2, 4, 5]

    records = read_back(tmp_path / "wandb")
    rows = [record["history"]["item"] for record in records if record["type"] == "history"]
    ours = [row for row in rows if KEY in row]
    for axis in ("train/global_step", "trainer/global_step"):
        assert [row[axis] for row in ours] == [0, 2, 4, 5]
    assert [row[KEY] for row in ours] == pytest.approx([point.values[KEY] for point in points])
    theirs = [row for row in rows if "train/loss" in row]
    assert [row["train/global_step"] for row in theirs] == [2, 4]
    defined = {r["metric"]["name"]: r["metric"].get("step_metric") for r in records if "name" in r.get("metric", {})}
    assert defined[KEY] == "train/global_step"

    scalars = _scalars(tmp_path / "hf")
    for key, value in logged_metrics(points[-1]).items():
        assert scalars[key][-1] == pytest.approx((5, value))
    assert [step for step, _ in scalars[KEY]] == [0, 2, 4, 5]
    assert [step for step, _ in scalars["train/loss"]] == [2, 4]
    assert not [key for key in scalars if key.startswith("train/ib")]


def test_a_resumed_run_is_reported_on_from_its_checkpoint(tmp_path: Path) -> None:
    for max_steps, resume in ((4, False), (8, True)):
        watch = _watch(tmp_path)
        trainer = _trainer(tmp_path, [watch], report_to=["tensorboard"], max_steps=max_steps, save_steps=4)
        trainer.train(resume_from_checkpoint=resume)
    assert watch.trajectory.steps == [0, 2, 4, 6, 8]
    assert [step for step, _ in _scalars(tmp_path / "hf")[KEY]] == [0, 2, 4, 6, 8]


def test_a_reporter_that_begins_after_the_first_point_gets_that_as_well(tmp_path: Path) -> None:
    lines: list[str] = []
    watch = _watch(tmp_path, verbose=True, say=lines.append)
    _trainer(tmp_path, [watch, TensorBoardCallback()]).train()  # type: ignore[no-untyped-call]
    assert [step for step, _ in _scalars(tmp_path / "hf")[KEY]] == watch.trajectory.steps == [0, 2, 4, 5]
    told = [line for line in lines if "as well" in line]
    assert told == ["ibtrack: points go to TensorBoard as well; loggers=() keeps them from there"]


@pytest.mark.parametrize("given", [(), ("own",)])
def test_loggers_that_are_given_are_all_there_are(tmp_path: Path, given: tuple[str, ...]) -> None:
    rows: list[int] = []

    class Own:
        def log_metrics(self, metrics: dict[str, float], step: int) -> None:
            rows.append(step)

    watch = _watch(tmp_path, loggers=[Own() for _ in given])
    _trainer(tmp_path, [watch], report_to=["tensorboard"]).train()
    assert KEY not in _scalars(tmp_path / "hf")
    assert rows == ([0, 2, 4, 5] if given else [])


class _Client:
    """What stands behind a reporter: keeps what it is called with."""

    def __init__(self, error: Exception | None = None) -> None:
        self.calls: list[tuple[dict[str, Any], int | None]] = []
        self.error = error

    def log_metrics(self, metrics: dict[str, Any], step: int, **rest: Any) -> None:
        if self.error is not None and KEY in metrics:
            raise self.error
        self.calls.append((dict(metrics), step))

    __internal_api__log_metrics__ = log_metrics  # as comet has it

    def log(self, row: dict[str, Any]) -> None:
        self.calls.append((dict(row), None))


def _reporter(kind: type[TrainerCallback], client: _Client) -> Any:
    """A reporter of the trainer whose package is not installed: all but how it begins and ends is its own."""

    def begin(self: Any, *args: Any, **rest: Any) -> None:
        self._initialized, self._async_log, self._log_assets = True, False, False
        self._ml_flow = self._trackio = self._experiment = client

    def nothing(self: Any, *args: Any, **rest: Any) -> None:
        return None

    names = {"__init__": nothing, "_initialized": False, "on_train_begin": begin, "on_train_end": nothing}
    return type(kind.__name__, (kind,), {**names, "on_save": nothing, "__del__": nothing})()


@pytest.mark.parametrize(
    ("kind", "key", "step"),
    [
        (MLflowCallback, KEY, lambda row, step: step),
        (TrackioCallback, KEY, lambda row, step: row["train/global_step"]),
        (CometCallback, f"train/{KEY}", lambda row, step: step),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else "",
)
def test_other_reporters_get_every_point_once_beside_the_losses(
    tmp_path: Path, kind: type[TrainerCallback], key: str, step: Callable[[dict[str, Any], int], int]
) -> None:
    client = _Client()
    watch = _watch(tmp_path)
    trainer = _trainer(tmp_path, [watch, _reporter(kind, client)])
    trainer.train()
    ours = [(step(row, at), row[key]) for row, at in client.calls if key in row]  # type: ignore[arg-type]
    assert ours == [(point.step, point.values[KEY]) for point in watch.trajectory.points]
    loss = "loss" if kind is MLflowCallback else "train/loss"
    assert [step(row, at) for row, at in client.calls if loss in row] == [2, 4]  # type: ignore[arg-type]
    assert not any(KEY in entry for entry in trainer.state.log_history)


def test_a_reporter_that_fails_does_not_end_training(tmp_path: Path) -> None:
    client = _Client(ConnectionError("no server"))
    watch = _watch(tmp_path)
    with pytest.warns(MeasurementWarning, match="MLflow did not take the point of step 4: ConnectionError: no server"):
        _trainer(tmp_path, [watch, _reporter(MLflowCallback, client)], logging_steps=100).train()
    assert Trajectory.load(tmp_path).steps == [0, 2, 4, 5]


def test_a_writer_that_the_trainer_has_closed_is_said_to_be(tmp_path: Path) -> None:
    callback = TensorBoardCallback()  # type: ignore[no-untyped-call]
    assert not TensorBoardReporter.is_open(callback)
    reporter: Any = TensorBoardReporter(callback, lambda: 0, *[None] * 4)  # type: ignore[arg-type]
    with pytest.raises(RuntimeError, match="the trainer has closed its writer"):
        reporter.log_metrics({KEY: 0.5}, 3)


def test_more_metrics_than_mlflow_takes_at_once_go_in_several_calls() -> None:
    client = _Client()
    callback = _reporter(MLflowCallback, client)
    callback.on_train_begin()
    many = {f"ib/L{number:04}/kept": 0.5 for number in range(MOST_PER_CALL + 1)}
    MLflowReporter(callback, lambda: 6, *[None] * 4).log_metrics(many, 8)  # type: ignore[arg-type]
    assert [(len(metrics), step) for metrics, step in client.calls] == [(MOST_PER_CALL, 2), (1, 2)]
    assert {**client.calls[0][0], **client.calls[1][0]} == many


def test_rows_of_a_later_stage_have_the_count_of_their_trainer_beside_that_of_all_stages() -> None:
    rows: list[tuple[dict[str, Any], bool]] = []
    axes: dict[str, str | None] = {}

    class Run:
        name = "quiet-sun-1"

        def log(self, row: dict[str, Any], commit: bool = True) -> None:
            rows.append((row, commit))

        def define_metric(self, name: str, step_metric: str | None = None) -> None:
            axes[name] = step_metric

    run = TrainerRun(Run(), lambda: 6)
    run.log({KEY: 0.5, "trainer/global_step": 8})
    run.log({"ib_more/points": []}, commit=False)
    run.define_metric(KEY, step_metric="trainer/global_step")
    run.define_metric("other", step_metric="epoch")
    assert rows[0] == ({KEY: 0.5, "trainer/global_step": 8, "train/global_step": 2}, True)
    assert rows[1] == ({"ib_more/points": []}, False)
    assert axes == {KEY: "train/global_step", "other": "epoch"}
    assert run.name == "quiet-sun-1"


def test_in_a_loop_that_is_no_trainers_an_open_run_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    reporters = TrainerReporters(lambda: 0)
    reporters.begin(*[None] * 4)  # type: ignore[arg-type]
    run = object()
    monkeypatch.setattr(wandb, "run", run)
    assert reporters() == [run]
    monkeypatch.setattr(wandb, "run", None)
    assert reporters() == []


def test_what_shows_no_numbers_is_no_reporter() -> None:
    from ibtrack.integrations import reporters

    names = {kind.__name__: reporter for kind, reporter in reporters._REPORTERS.items()}
    assert names["MLflowCallback"] is names["DagsHubCallback"] is MLflowReporter
    assert names["ClearMLCallback"] is names["SwanLabCallback"] is Reporter
    assert not {"KubeflowCallback", "CodeCarbonCallback", "FlyteCallback", "WandbCallback"} & names.keys()


def _train_in_two(rank: int, world: int, port: int, folder: Path) -> None:
    torch.set_num_threads(1)
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(world)}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    lines: list[str] = []
    watch = _watch(folder, verbose=True, say=lines.append)
    client = _Client()  # which is open on both, as MLflow's is
    callbacks = [watch, _reporter(MLflowCallback, client)]
    _trainer(folder, callbacks, report_to=["tensorboard"], ddp_backend="gloo", per_device_train_batch_size=4).train()
    assert torch.distributed.get_world_size() == world
    (folder / f"lines{rank}").write_text("\n".join(lines))
    (folder / f"steps{rank}").write_text(str([step for row, step in client.calls if KEY in row]))
    leave()


def test_of_two_processes_the_first_alone_reports(tmp_path: Path) -> None:
    spawn_bounded(_train_in_two, 2, tmp_path)
    assert [step for step, _ in _scalars(tmp_path / "hf")[KEY]] == Trajectory.load(tmp_path).steps == [0, 2, 4, 5]
    assert (tmp_path / "lines0").read_text().count("ibtrack step ") == 4
    assert (tmp_path / "lines1").read_text() == ""
    assert [(tmp_path / f"steps{rank}").read_text() for rank in range(2)] == ["[0, 2, 4, 5]", "[]"]
