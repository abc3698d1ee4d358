"""What a page of many runs holds of each: its share of the points, and what is said of all of them."""

from __future__ import annotations

import gc
import json
import weakref
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ibtrack.analysis.phases import find_phases
from ibtrack.record.trajectory import Point, Trajectory
from ibtrack.report import html
from ibtrack.report import sheet as module
from ibtrack.report.sheet import FEWEST_POINTS, LEFT_OUT, MOST_BANDED, packed, sheet, size_sentence, spread
from tests import trajectories


def test_no_numbers_pack_to_nothing() -> None:
    assert packed([]) == packed([[]]) == ""


def test_a_page_of_few_runs_holds_every_point_and_every_layer() -> None:
    run = trajectories.make(num_points=14)
    found = sheet(run, 4)
    assert found.data["steps"] == run.steps
    assert found.has_layers
    assert set(found.keys) == {key for key in run.points[0].values if not key.endswith(LEFT_OUT)}
    assert size_sentence([found] * 4) == ""


def test_numbers_of_a_page_are_bounded_however_many_runs_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_NUMBERS", 500_000)
    run = trajectories.make(num_points=100)
    for num_runs in (1, 5, 10, 50, 500):
        found = sheet(run, num_runs)
        assert len(found.keys) * len(found.data["steps"]) * num_runs <= 500_000
        assert len(found.data["values"]) == 4 * len(found.keys) * len(found.data["steps"])
        assert len(found.data["steps"]) * num_runs <= module.MOST_DRAWN


def test_points_are_left_out_first_and_then_the_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    run = trajectories.make(num_points=100)
    keys = sheet(run).keys
    num_keys, num_of_mean = len(keys), sum(key.count("/") == 1 or "/mean/" in key for key in keys)
    least = FEWEST_POINTS * num_of_mean * 6  # five sites are taken to have as many numbers as the mean
    for per_run, drawn, has_layers in (
        (num_keys * 100, 100, True),
        (num_keys * 60, 60, True),
        (least, FEWEST_POINTS, True),
        (least - 1, 100, False),
        (num_of_mean * 30, 30, False),
    ):
        monkeypatch.setattr(module, "MOST_NUMBERS", per_run)
        found = sheet(run)
        assert found.has_layers == has_layers
        assert len(found.keys) == (num_keys if has_layers else num_of_mean)
        assert 0.85 * drawn <= len(found.data["steps"]) <= drawn  # two wanted places may have one nearest point
        assert (found.data["points"], found.data["steps"][0], found.data["steps"][-1]) == (100, 0, 4000)
        assert bool(found.data["sites"]) == has_layers
        assert found.phases["token"] == find_phases(run)
        assert found.run.steps == run.steps


def test_a_page_says_what_it_leaves_out(monkeypatch: pytest.MonkeyPatch) -> None:
    run = trajectories.make(num_points=60)
    monkeypatch.setattr(module, "MOST_DRAWN", 300)
    thinned = size_sentence([sheet(run, 2)])
    drawn = len(sheet(run, 2).data["steps"])
    assert 40 < drawn <= 300 / 6  # cells of a heatmap of five layers and the mean
    assert thinned.startswith(f"So that it opens, this page draws at most {drawn} of up to 60 points of each run. ")
    monkeypatch.setattr(module, "MOST_NUMBERS", 1000)
    assert " and holds the mean over the layers without the layers themselves. " in size_sentence([sheet(run, 2)])


def test_notes_on_layers_go_with_the_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    run = trajectories.doubted()
    notes = {"ib/L01/token/kept": "of a layer", "ib/mean/token/kept": "of the mean", "quadgram": "of an order"}
    run = replace(run, points=[replace(point, notes=notes) for point in run.points])
    assert sheet(run).notes[0] == notes
    monkeypatch.setattr(module, "MOST_NUMBERS", 1000)
    assert {*sheet(run).notes[0]} == {"ib/mean/token/kept", "quadgram"}


def test_failures_are_counted_over_all_points(monkeypatch: pytest.MonkeyPatch) -> None:
    run = trajectories.make(num_points=90)
    broken = [replace(point, failure="out of memory") if i % 2 else point for i, point in enumerate(run.points)]
    monkeypatch.setattr(module, "MOST_DRAWN", 300)
    found = sheet(replace(run, points=broken), 10)
    assert found.data["failed"] == {"count": 45, "step": run.steps[1], "why": "out of memory"}
    assert len(found.failures) < 45
    assert sheet(run).data["failed"] is None


def test_of_more_runs_than_look_different_no_band_is_worked_out() -> None:
    run = trajectories.make(num_points=4)
    assert sheet(run, MOST_BANDED).band_names
    many = sheet(run, MOST_BANDED + 1)
    assert (many.band_names, many.data["bands"]) == ((), "")
    assert many.data["careful"] == sheet(run).data["careful"]


@pytest.mark.parametrize("number", [2, 5, 17, 199])
@pytest.mark.parametrize("last", [200, 10**6])
def test_chosen_points_reach_from_end_to_end_without_a_hole(number: int, last: int) -> None:
    for steps in (list(range(0, last, last // 200)), [0, *np.unique(np.geomspace(1, last, 300).astype(int)).tolist()]):
        chosen = spread(steps, number)
        assert chosen == sorted({*chosen})
        assert (chosen[0], chosen[-1]) == (0, len(steps) - 1)
        assert len(chosen) <= number
        assert all(b - a <= 2 * len(steps) / (number - 1) + 1 for a, b in pairwise(chosen))


def test_few_points_are_all_kept() -> None:
    assert spread([], 2) == []
    assert spread([0], 2) == [0]
    assert spread([3, 9, 27], 3) == [0, 1, 2]


def test_a_report_holds_one_run_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folders = [trajectories.write(trajectories.make(f"r{i}", num_points=3), tmp_path / f"r{i}") for i in range(5)]
    alive: list[weakref.ref[Trajectory]] = []
    most = 0
    load = Trajectory.load

    def counted(path: Path, **options: Any) -> Trajectory:
        nonlocal most
        gc.collect()
        run = load(path, **options)
        alive.append(weakref.ref(run))
        most = max(most, sum(ref() is not None for ref in alive))
        return run

    monkeypatch.setattr(Trajectory, "load", counted)
    monkeypatch.setattr(
        module, "MOST_CLAIMED", 5 * 3 * 5 * 4 - 1
    )  # one point less than these runs, layers and orders have
    html.write_report(folders, tmp_path / "report.html")
    assert len(alive) >= 5
    assert most <= 2  # with and without its layers


def test_runs_are_held_whole_where_their_layers_have_claims_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    run = trajectories.make(num_points=3)
    monkeypatch.setattr(module, "MOST_CLAIMED", 5 * 3 * 5 * 4)
    assert sheet(run, 5).whole is run
    assert sheet(run, 6).whole is None


def test_what_a_sheet_keeps_does_not_grow_with_the_layers() -> None:
    sizes = []
    for layers in (2, 24):
        run = sheet(trajectories.make("a", num_points=4, num_layers=layers)).run
        sizes.append([len(point.to_json()) for point in run.points])
    assert sizes[0] == pytest.approx(sizes[1], rel=0.05)


def test_a_run_without_points_has_a_sheet() -> None:
    found = sheet(Trajectory({}, {"name": "a"}, []), 200)
    assert (found.keys, found.data["steps"], found.data["values"], found.data["points"]) == ((), [], "", 0)
    assert found.phases["token"].why_not == "No points yet."
    json.dumps(found.data, allow_nan=False)
    assert sheet(Trajectory({}, {}, [Point(0, failure="no hook fired")])).failures == {0: "no hook fired"}
