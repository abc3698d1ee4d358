"""What following a run costs, part by part."""

import time
from pathlib import Path

import pytest

from ibtrack import InformationPlaneTracker
from ibtrack.tracking.costs import PARTS, Costs
from tests import models


def test_a_part_that_fails_is_counted() -> None:
    costs = Costs()

    @costs.spend("records")
    def fails() -> None:
        time.sleep(0.01)
        raise KeyError

    with pytest.raises(KeyError):
        fails()
    assert costs.seconds["records"] >= 0.01
    assert costs.total == costs.seconds["records"]


def test_every_part_of_a_run_is_counted_and_said_at_its_end(tmp_path: Path) -> None:
    """The clock of the run begins with its start, so that a share of it is one."""
    said: list[str] = []
    model = models.Model()
    tracker = InformationPlaneTracker(models.probe(), path=tmp_path / "trajectory.jsonl", say=said.append)
    began = time.monotonic()
    tracker.step(model, 0)
    before_end = tracker.measure_seconds
    tracker.finish(model, 1)
    passed = time.monotonic() - began
    assert all(tracker.costs.seconds[part] > 0 for part in PARTS)
    assert before_end < tracker.measure_seconds <= passed
    first, last = tracker.trajectory.points
    assert all(0 < point.values["ib/overhead_fraction"] <= 1 for point in (first, last))
    start_and_first = tracker.costs.seconds["start"] + first.measure_time
    assert first.values["ib/overhead_fraction"] * first.wall_time == pytest.approx(start_and_first, rel=0.05)
    assert said[-2].startswith("ibtrack: following the run took ")
    assert all(f"{part} " in said[-2] for part in PARTS)


def test_what_was_spent_before_a_restart_is_kept() -> None:
    tracker = InformationPlaneTracker(models.probe())
    tracker.measure_seconds = 40.0
    assert tracker.costs.earlier == tracker.measure_seconds == 40
    assert "before a restart 40.0 s" in tracker.costs.sentence(400)
    assert tracker.costs.sentence(400).startswith("10.00 % of 400 s")
