"""The benchmark that tries loops with loggers."""

from __future__ import annotations

import csv
import multiprocessing
from dataclasses import fields
from pathlib import Path

import pytest

from experiments.benchmarks.loops import HOW, LOOPS, PAIRS, READERS, Seen, _compare, see
from ibtrack import Point, Trajectory

FILE = Path(__file__).parents[2] / "integrations" / "loops.csv"


def test_a_pair_is_run_and_its_record_read_back() -> None:
    with multiprocessing.get_context("spawn").Pool(1) as pool:  # it changes the folder and the environment
        seen = pool.apply(see, ("plain loop", "CSV"))
    assert (seen.loop, seen.logger, seen.how, seen.points) == ("plain loop", "CSV", HOW["given"], 4)
    assert seen.remark == ""
    assert "torch 2" in seen.packages


@pytest.mark.parametrize(
    "found", [[(0, 0.5)], [(0, 0.5), (2, 0.25), (2, 0.25)], [(0, 0.5), (1, 0.25)], [(0, 0.5), (2, 0.26)]]
)
def test_a_record_that_is_not_the_trajectory_is_refused(found: list[tuple[int, float]]) -> None:
    key = "ib/mean/token/kept"
    trajectory = Trajectory({}, {}, [Point(0, {key: 0.5}), Point(2, {key: 0.25})])
    failed = [(0, 0.0), (2, 0.0)]
    _compare(trajectory, {key: [(0, 0.5), (2, 0.25)], "ib_run/failed": failed}, "a loop")
    with pytest.raises(RuntimeError, match=f"a loop: {key} is .* there, and .* in the trajectory"):
        _compare(trajectory, {key: found, "ib_run/failed": failed}, "a loop")


def test_the_file_has_all_pairs_and_each_has_its_points() -> None:
    with FILE.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [*rows[0]] == [field.name for field in fields(Seen)]
    assert [(row["loop"], row["logger"]) for row in rows] == [*PAIRS]
    assert [row["how"] for row in rows] == [HOW[how] for how in PAIRS.values()]
    assert all(row["remark"] or row["points"] == "4" for row in rows)
    assert {loop for loop, _ in PAIRS} == LOOPS.keys()
    assert {logger for _, logger in PAIRS} == READERS.keys()
