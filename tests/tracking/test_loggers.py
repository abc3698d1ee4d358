"""How points reach loggers."""

import pytest

from ibtrack import InformationPlaneTracker, schedules
from ibtrack.analysis.phase_words import Phases
from ibtrack.record.logged import logged_metrics
from ibtrack.tracking.loggers import MetricsLog, point_log
from tests.models import Model, probe


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
