"""The record of a run; what reaches it from a tracker is tested with the tracker."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from ibtrack import MeasurementWarning, Point, Trajectory
from ibtrack.schedules import Progress
from ibtrack.tracking.recorder import Recorder

PROTOCOL = {"orders": ("token",), "seed": 0}


def _recorder(path: Path | None = None, **options: Any) -> Recorder:
    given: dict[str, Any] = {"name": "a", "config": {}, "loggers": (), "find_loggers": None, "say": None, "page": None}
    given["alert"] = False
    return Recorder(protocol=PROTOCOL, path=path, **{**given, "strict": False, "log": "few", "prefix": "ib", **options})


def test_a_point_is_in_the_file_before_a_logger_hears_of_it(tmp_path: Path) -> None:
    file, seen = tmp_path / "t.jsonl", []
    logger = Mock(spec=["log_metrics"])
    logger.log_metrics.side_effect = lambda metrics, step: seen.append((step, Trajectory.load(file).steps))
    recorder = _recorder(file, loggers=[logger])
    recorder.begin(None, None, None)
    for step in range(3):
        recorder.take(Point(step, {"ib/mean/entropy": 0.5}))
    recorder.close()
    assert seen == [(0, [0]), (1, [0, 1]), (2, [0, 1, 2])]
    assert recorder.trajectory.steps == [0, 1, 2]


def test_a_run_goes_on_with_what_was_recorded_before() -> None:
    first, second = _recorder(), _recorder()
    first.begin(None, None, None)
    for step in range(5):
        first.take(Point(step))
    second.begin(Progress(2), None, first)
    second.take(Point(3))
    assert second.trajectory.steps == [0, 1, 2, 3]
    anew = _recorder()
    anew.begin(None, None, second)
    assert anew.trajectory.steps == []


def test_no_logger_that_raises_keeps_a_point_from_the_next_one() -> None:
    broken, sound = (Mock(spec=["log_metrics"]) for _ in range(2))
    broken.log_metrics.side_effect = OSError("no network")
    recorder = _recorder(loggers=[broken, sound])
    recorder.begin(None, None, None)
    with pytest.warns(MeasurementWarning, match="Mock did not take the point of step 4: OSError: no network"):
        recorder.take(Point(4))
    assert sound.log_metrics.call_count == 1


def test_what_is_no_logger_is_refused_at_the_start() -> None:
    with pytest.raises(ValueError, match="loggers must be wandb runs or have a method log_metrics"):
        _recorder(loggers=[object()]).begin(None, None, None)


def test_of_a_file_that_is_another_ones_by_now_no_point_is_said_to_wait(tmp_path: Path) -> None:
    file = tmp_path / "t.jsonl"
    recorder = _recorder(file)
    recorder.begin(None, None, None)
    recorder.take(Point(0))
    (tmp_path / "other").write_text("{}")
    (tmp_path / "other").replace(file)
    with pytest.warns(MeasurementWarning, match="point of step 1: .* replaced.*; the points stay in memory only"):
        recorder.take(Point(1))
    assert file.read_text() == "{}"
    assert recorder.trajectory.steps == [0, 1]
