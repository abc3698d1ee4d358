"""How points reach loggers."""

import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import wandb

from ibtrack import InformationPlaneTracker, schedules
from ibtrack.analysis.phase_words import Phases
from ibtrack.record.logged import logged_metrics
from ibtrack.tracking.loggers import MetricsLog, logger_name, open_wandb_runs, point_log
from tests.integrations.test_wandb import clean_wandb, read_back
from tests.models import Model, probe

__all__ = ["clean_wandb"]


class _Rows:
    def __init__(self) -> None:
        self.rows: list[tuple[int, dict[str, float]]] = []

    def log_metrics(self, metrics: dict[str, float], step: int) -> None:
        self.rows.append((step, metrics))


def test_any_object_with_log_metrics_gets_one_call_per_point() -> None:
    rows = _Rows()
    tracker = InformationPlaneTracker(probe(), loggers=[rows], schedule=schedules.every(2))
    model = Model()
    for step in range(3):
        tracker.step(model, step)
    tracker.finish(model, 3)
    assert rows.rows == [(point.step, logged_metrics(point)) for point in tracker.trajectory.points]
    assert isinstance(point_log(rows), MetricsLog)


def test_an_object_that_takes_no_metrics_is_refused_at_the_start() -> None:
    tracker = InformationPlaneTracker(probe(), loggers=[print])
    with pytest.raises(ValueError, match=r"loggers must be wandb runs or have a method log_metrics"):
        tracker.start(Model())


def test_a_logger_of_metrics_raises_no_alerts_and_says_so() -> None:
    log = MetricsLog(_Rows())
    log.tell(Phases())
    assert not log.alert("a: compression has begun", "compression has begun")
    assert log.logger.rows == []


def _follow(folder: Path, *, opened_at: int, **options: object) -> InformationPlaneTracker:
    """A run of five steps in which ``wandb.init`` is called before the one that is named; three are measured."""
    given = {"schedule": schedules.every(2), "verbose": False, **options}
    tracker, model = InformationPlaneTracker(probe(), **given), Model()  # type: ignore[arg-type]
    for step in range(5):
        if step == opened_at:
            wandb.init(project="ib", dir=folder, name="quiet-sun-1")
        tracker.step(model, step)
        if wandb.run is not None:
            wandb.log({"loss": float(step), "trainer/global_step": step})
    tracker.finish(model, 5)
    wandb.finish()
    return tracker


@pytest.mark.parametrize("opened_at", [0, 3])
def test_an_open_wandb_run_gets_every_point_of_a_plain_loop_once(
    tmp_path: Path, clean_wandb: None, opened_at: int
) -> None:
    lines: list[str] = []
    tracker = _follow(tmp_path, opened_at=opened_at, verbose=True, say=lines.append)
    rows = [record["history"]["item"] for record in read_back(tmp_path) if record["type"] == "history"]
    ours = [row for row in rows if "ib/mean/token/kept" in row]
    assert [row["trainer/global_step"] for row in ours] == tracker.trajectory.steps == [0, 2, 4, 5]
    assert [row["ib/mean/token/kept"] for row in ours] == pytest.approx(tracker.trajectory.values("ib/mean/token/kept"))
    assert [row["trainer/global_step"] for row in rows if "loss" in row] == [*range(opened_at, 5)]
    told = [line for line in lines if "as well" in line]
    assert told == ["ibtrack: points go to the wandb run quiet-sun-1 as well; loggers=() keeps them from there"]


def test_no_run_is_taken_that_was_not_meant(tmp_path: Path, clean_wandb: None) -> None:
    _follow(tmp_path, opened_at=0, loggers=())
    assert not any("ib/mean/token/kept" in str(record) for record in read_back(tmp_path))
    assert open_wandb_runs() == []
    wandb.init(project="ib", dir=tmp_path, mode="disabled")
    assert wandb.run is not None
    assert open_wandb_runs() == []


def test_wandb_is_not_imported_to_look_for_a_run() -> None:
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    ran = subprocess.run([sys.executable, "-c", _LOOP], capture_output=True, text=True, check=True, env=env)
    assert ran.stdout == "False\n"


_LOOP = """
import sys
import torch
from torch import nn
from ibtrack import InformationPlaneTracker, Probe
model = nn.Sequential(nn.Embedding(7, 8), nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8)))
tracker = InformationPlaneTracker(Probe(torch.arange(640).view(20, 32) % 7), verbose=False)
tracker.step(model, 0)
tracker.close()
print("wandb" in sys.modules)
"""


def test_a_run_that_is_over_does_not_end_training(tmp_path: Path, clean_wandb: None) -> None:
    tracker, model = InformationPlaneTracker(probe(), schedule=schedules.every(1), verbose=False), Model()
    wandb.init(project="ib", dir=tmp_path, name="quiet-sun-1")
    tracker.step(model, 0)
    wandb.finish()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        tracker.step(model, 1)
    assert caught
    assert all("the wandb run quiet-sun-1 did not take the p" in str(warning.message) for warning in caught)
    assert tracker.trajectory.steps == [0, 1]


def test_loggers_are_called_by_their_names() -> None:
    class Run:
        name, id = None, "1x"

        def define_metric(self) -> None: ...

    assert logger_name(Run()) == "the wandb run 1x"
    assert logger_name(_Rows()) == "_Rows"
