"""Shares of points that were written without them."""

import json
import math
from pathlib import Path

import pytest

from ibtrack.record.notes import NO_CEILING
from ibtrack.record.shares import with_shares
from ibtrack.record.trajectory import Point, Trajectory
from tests import trajectories


def older(run: Trajectory, folder: Path) -> Path:
    """Write a run as a version without shares did."""
    path = trajectories.write_older(run, folder) / "trajectory.jsonl"
    header, *lines = path.read_text().splitlines()
    points = [json.loads(line) for line in lines]
    for point in points:
        shares = [key for key in point["values"] if key.split("/")[-1].split("_")[0] in ("kept", "told")]
        for key in shares:
            del point["values"][key]
    path.write_text("\n".join([header, *map(json.dumps, points)]) + "\n")
    return path


def test_an_older_file_is_read_with_the_shares_that_were_never_written(tmp_path: Path) -> None:
    run = trajectories.make(num_points=5)
    read = Trajectory.load(older(run, tmp_path))
    for key in ("ib/mean/token/kept", "ib/L01/bigram/told", "ib_plugin/mean/token/kept", "ib_null/embed/quadgram/told"):
        assert read.values(key) == pytest.approx(run.values(key))
    assert "ib/mean/token/kept_se" not in read.points[0].values


def test_what_was_written_is_left_as_it_is() -> None:
    point = trajectories.make(num_points=1).points[0]
    assert with_shares(point) is point
    without_ceiling = Point(0, {"ib/mean/token/complexity": 0.3, "ib/mean/preference_information": 0.1})
    assert with_shares(without_ceiling) is without_ceiling


def test_a_value_that_was_missing_passes_its_reason_on() -> None:
    values = {"ib/mean/quadgram/complexity": math.nan, "ib/L00/token/expressivity": 0.1, "ib/mean/ceiling": 0.5}
    values |= {"ib/L00/ceiling": 1e-8}
    point = with_shares(Point(0, values, notes={"quadgram/complexity": "all labels are distinct"}))
    assert math.isnan(point.values["ib/mean/quadgram/kept"])
    assert point.why_missing("ib/mean/quadgram/kept") == "all labels are distinct"
    assert math.isnan(point.values["ib/L00/token/told"])
    assert point.why_missing("ib/L00/token/told") == NO_CEILING
