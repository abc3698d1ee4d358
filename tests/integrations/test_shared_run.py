"""A wandb run that the loop logs to as well: all rows of both are there, whatever the loop does about ``step=``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import wandb

from ibtrack import InformationPlaneTracker, schedules
from ibtrack.integrations.shared_run import MOST_WAITING, SharedRun
from tests.integrations.test_wandb import clean_wandb, read_back
from tests.models import Model, probe

__all__ = ["clean_wandb"]

KEY = "ib/mean/token/kept"
LAST = 12


def _by_epoch(step: int) -> None:
    if step and step % 4 == 0:
        wandb.log({"loss": float(step)}, step=step // 4 - 1)


HABITS: dict[str, tuple[Callable[[int], None], list[int]]] = {  # what a loop logs after a step, and of which steps
    "no step": (lambda step: wandb.log({"loss": float(step)}), [*range(1, LAST + 1)]),
    "from 0": (lambda step: wandb.log({"loss": float(step)}, step=step - 1), [*range(1, LAST + 1)]),
    "from 1": (lambda step: wandb.log({"loss": float(step)}, step=step), [*range(1, LAST + 1)]),
    "epochs": (_by_epoch, [4, 8, 12]),
    "nothing": (lambda step: None, []),
}


@pytest.mark.parametrize(
    ("habit", "is_last"),
    [("no step", True), ("nothing", True), ("from 0", True), ("from 1", True), ("from 1", False), ("epochs", False)],
)
def test_no_row_of_either_is_lost(tmp_path: Path, clean_wandb: None, habit: str, is_last: bool) -> None:
    log, logged = HABITS[habit]
    wandb.init(project="ib", dir=tmp_path)
    tracker, model = InformationPlaneTracker(probe(), schedule=schedules.every(1), verbose=False), Model()
    tracker.step(model, 0)
    for step in range(1, LAST + 1):
        if not is_last:
            log(step)
        tracker.step(model, step)
        if is_last:
            log(step)
    tracker.finish(model, LAST)
    if habit not in ("no step", "nothing"):
        wandb.log({"evaluated": 1.0}, step=LAST + 5)
    wandb.finish()
    rows = [record["history"]["item"] for record in read_back(tmp_path) if record["type"] == "history"]
    assert [row["loss"] for row in rows if "loss" in row] == logged
    ours = [row for row in rows if KEY in row]
    assert [row["trainer/global_step"] for row in ours] == tracker.trajectory.steps == [*range(LAST + 1)]
    assert [row[KEY] for row in ours] == pytest.approx(tracker.trajectory.values(KEY))
    assert any("ib_more/points._type" in row for row in rows)
    assert habit in ("no step", "nothing") or rows[-1]["evaluated"] == 1.0
    own_count = {"from 0": range(LAST), "from 1": range(1, LAST + 1), "epochs": range(3)}.get(habit)
    assert own_count is None or [row["_step"] for row in rows if "loss" in row] == [*own_count]


class _Run:
    """A run that the loop has not logged to."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []

    @property
    def step(self) -> int:
        return len(self.rows)

    def log(self, row: dict[str, Any], commit: bool | None = None) -> None:
        self.rows.append(row)


def test_some_rows_wait_for_the_first_of_the_loop_and_no_more_than_some() -> None:
    run = _Run()
    shared = SharedRun(run)
    for step in range(MOST_WAITING):
        shared.log({"step": step})
    assert run.rows == []
    shared.log({"step": MOST_WAITING})
    shared.log({"step": MOST_WAITING + 1})  # the loop does not log, so nothing waits any more
    assert [row["step"] for row in run.rows] == [*range(MOST_WAITING + 2)]


def test_rows_follow_at_once_where_the_loop_has_logged() -> None:
    run = _Run()
    shared = SharedRun(run)
    shared.log({"step": 0})
    run.log({"loss": 1.0})
    shared.log({"step": 1})
    assert run.rows == [{"loss": 1.0}, {"step": 0}, {"step": 1}]
