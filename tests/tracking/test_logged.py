"""What of a point is logged."""

from typing import Any

import pytest
import torch

from ibtrack import InformationPlaneTracker, Point, schedules
from ibtrack.tracking.logged import MetricsLog, logged_metrics, point_log, summary_line
from tests.models import Model, probe


def test_loggers_get_the_mean_whole_and_of_each_layer_the_debiased() -> None:
    keys = [
        f"{head}/{site}/token/complexity"
        for head in ("ib", "ib_plugin", "ib_null")
        for site in ("mean", "L00", "embed")
    ]
    metrics = logged_metrics(Point(1, dict.fromkeys(keys, 0.5)))
    missing = {key for key in keys if key not in metrics}
    assert missing == {key for key in keys if "_" in key and "mean" not in key}


def test_values_that_do_not_exist_are_not_logged() -> None:
    metrics = logged_metrics(Point(1, {"ib/mean/entropy": float("nan")}, failure="L00: 3 of 8 positions"))
    assert metrics == {"ib/failed": 1.0}


def test_values_are_not_tensors() -> None:
    values: dict[str, Any] = {"ib/mean/entropy": torch.tensor(0.5, dtype=torch.float64)}
    assert type(logged_metrics(Point(1, values))["ib/mean/entropy"]) is float


def test_the_line_of_a_preference_probe_names_its_own_number() -> None:
    point = Point(5, {"ib/mean/preference_information": 0.1})
    assert summary_line(point) == "ibtrack step 5: I(pref;Z) 0.100 (0.00 s)"


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
