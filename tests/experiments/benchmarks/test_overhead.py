"""The share of wall time that the monitor takes."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer

from experiments.benchmarks import overhead
from ibtrack import schedules
from tests.experiments.benchmarks.written import written


def test_overhead_runs_with_the_monitor_and_without(tmp_path: Path) -> None:
    tiny = ["experiment=tiny", "logger=none"]
    overhead.main(runs=["demo"], overrides=tiny, repetitions=1, steps=5, file=tmp_path / "o.json")
    rows, reached = written(tmp_path / "o.json")
    assert (rows[0]["points"], rows[0]["own_steps"], rows[0]["own_points"]) == (5, 8, 5)  # 0 1 2 4 5; 0 1 2 4 8
    assert all(len(seconds) == 1 and seconds[0] > 0 for seconds in rows[0]["parts"].values())
    assert len(rows[0]["seconds"]["with"]) == len(rows[0]["seconds"]["without"]) == len(rows[0]["shares"]) == 1
    assert 0 < reached["share of wall time, demo run, as the trajectory records it"] < 100
    assert 0 < reached["share of wall time, demo run, in a run of 8 steps"] < 100


def test_overhead_refuses_an_unknown_run() -> None:
    with pytest.raises(typer.BadParameter, match="--run must be one of demo, 15M, got 'all'"):
        overhead.main(runs=["all"])


def test_points_of_a_run_are_those_of_its_trajectory() -> None:
    schedule = schedules.powers(2) | schedules.every(500)
    assert [overhead.points(schedule, steps) for steps in (1, 4, 5, 500, 501)] == [2, 4, 5, 11, 12]
