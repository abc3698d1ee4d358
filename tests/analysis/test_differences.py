"""Differences of two points: their errors, their words, and what is refused."""

import math
from dataclasses import replace

import numpy as np
import pytest

from ibtrack.analysis.differences import difference
from ibtrack.record.influences import Influences
from ibtrack.record.trajectory import Point, Trajectory
from tests import trajectories

KEY = "ib/mean/token/complexity"


def point(step: int, value: float, by_document: list[float], *, draws: list[float] | None = None) -> Point:
    rows = np.array([[by_document]])
    of_draws = np.array([[draws or []]])
    influences = Influences.pack(["mean"], ["token/complexity"], rows, np.full((1, 1), 0.0), of_draws)
    return Point(step, {KEY: value, f"{KEY}_se": 0.05}, influences=influences)


def run(*points: Point, name: str = "a", **protocol: object) -> Trajectory:
    return Trajectory(protocol, {"name": name}, points)


def test_the_error_is_that_of_what_does_not_cancel() -> None:
    first, second = [0.02, -0.02, 0.0], [0.02, -0.01, -0.01]
    a = run(point(8, 0.3, first), point(64, 0.25, first), point(65, 0.2, second))
    same = difference(a.at(8), a.at(64), KEY)
    assert same.value == pytest.approx(-0.05)
    assert same.se == pytest.approx(0.0, abs=2e-6)
    moved = difference(a.at(8), a.at(65), KEY)
    assert moved.sampling == pytest.approx(math.sqrt(3 / 2 * 2 * 0.01**2), rel=1e-2)
    assert moved.se == pytest.approx(moved.sampling)
    assert moved.paired
    assert moved.num_se == pytest.approx(0.1 / moved.se)
    assert moved.interval == pytest.approx((-0.1 - 1.96 * moved.se, -0.1 + 1.96 * moved.se))
    assert math.isnan(moved.anchors)


def test_the_other_way_round_has_the_other_sign() -> None:
    a = run(point(8, 0.3, [0.02, -0.02]), point(64, 0.25, [0.01, -0.01]))
    there, back = difference(a.at(8), a.at(64), KEY), difference(a.at(64), a.at(8), KEY)
    assert (there.value, there.se) == pytest.approx((-back.value, back.se))


def test_draws_of_the_anchors_are_paired_too() -> None:
    a = run(
        point(8, 0.3, [0.0, 0.0], draws=[0.28, 0.30, 0.32]),
        point(64, 0.2, [0.0, 0.0], draws=[0.18, 0.20, 0.22]),
        point(65, 0.2, [0.0, 0.0], draws=[0.22, 0.20, 0.18]),
    )
    assert difference(a.at(8), a.at(64), KEY).anchors == pytest.approx(0.0, abs=1e-6)
    opposite = difference(a.at(8), a.at(65), KEY)
    assert opposite.anchors == pytest.approx(0.04 / math.sqrt(3), rel=1e-5)
    assert opposite.se == pytest.approx(opposite.anchors)


def test_two_runs_on_one_probe_are_paired_and_named() -> None:
    a, b = (run(point(8, value, [0.02, -0.02]), name=name) for name, value in (("a", 0.3), ("b", 0.2)))
    found = difference(a.at(8), b.at(8), KEY)
    assert (found.paired, round(found.value, 6)) == (True, -0.1)
    assert found.sentence().startswith(f"{KEY}: -0.1000 from a at step 8 to b at step 8, 95 % interval -0.1000 to ")


def test_points_of_old_files_are_taken_as_independent_and_it_is_said() -> None:
    a = run(replace(point(8, 0.3, [0.0, 0.0]), influences=None), point(64, 0.25, [0.0, 0.0]))
    found = difference(a.at(8), a.at(64), KEY)
    assert found.se == pytest.approx(0.05 * 2**0.5)
    assert not found.paired
    assert math.isnan(found.sampling)
    assert found.sentence().endswith("Both are taken as independent, as not both say what each document adds.")


def test_ratios_are_paired_by_the_delta_method() -> None:
    made = trajectories.make(num_points=5)
    first, *_, last = made.steps
    for quantity in ("kept", "told", "optimality", "regularity", "variation"):
        found = difference(made.at(first), made.at(last), f"ib/mean/token/{quantity}")
        assert found.paired
        assert 0 < found.se < 0.1


def test_another_probe_is_refused() -> None:
    a, b = (run(point(8, 0.3, [0.0, 0.0]), name=name, probe={"hash": name * 8}) for name in "ab")
    with pytest.raises(ValueError, match=r"probe\.hash: aaaaaaaa in 'a', bbbbbbbb in 'b'.*measure both under one"):
        difference(a.at(8), b.at(8), KEY)
    twin = run(point(8, 0.3, [0.0, 0.0]), name="a", seed=1)
    with pytest.raises(ValueError, match=r"seed: — in 'a \(a\)', 1 in 'a \(b\)'"):
        difference(run(point(8, 0.3, [0.0, 0.0]), name="a"), twin, KEY)


def test_what_is_not_one_point_each_is_refused() -> None:
    made = trajectories.make(num_points=5)
    with pytest.raises(ValueError, match=r"a and b must be of one point each, as trajectory.at\(step\) is"):
        difference(made, made, KEY)


def test_a_step_that_was_not_measured_is_refused() -> None:
    with pytest.raises(ValueError, match="run was not measured at step 3; near are 0, "):
        trajectories.make().at(3)
    with pytest.raises(ValueError, match="it has no points"):
        Trajectory({}, {}, []).at(3)


def test_a_point_that_failed_or_has_no_error_is_refused_with_its_reason() -> None:
    made = run(
        point(8, 0.3, [0.0, 0.0]), Point(9, failure="out of memory"), Point(10, {KEY: 0.3}, notes={f"{KEY}_se": "one"})
    )
    with pytest.raises(ValueError, match=f"a at step 9 has no value of {KEY}: out of memory"):
        difference(made.at(8), made.at(9), KEY)
    with pytest.raises(ValueError, match=f"a at step 10 has no standard error of {KEY}: one"):
        difference(made.at(8), made.at(10), KEY)


def test_a_key_that_no_point_has_is_refused_with_the_nearest() -> None:
    a = run(point(8, 0.3, [0.0, 0.0]), point(64, 0.25, [0.0, 0.0]))
    with pytest.raises(KeyError, match="no point has the key 'ib/mean/token/complexitty'; near are"):
        difference(a.at(8), a.at(64), "ib/mean/token/complexitty")


def test_influences_that_are_no_numbers_are_not_taken_for_none() -> None:
    a = run(point(8, 0.3, [math.nan, 0.0]), point(64, 0.25, [0.0, 0.0]))
    found = difference(a.at(8), a.at(64), KEY)
    assert not found.paired
    assert found.se == pytest.approx(0.05 * 2**0.5)


def test_errors_of_zero_make_no_difference_certain() -> None:
    bare = Point(8, {KEY: 0.3, f"{KEY}_se": 0.0})
    a = run(bare, replace(bare, step=64))
    assert difference(a.at(8), a.at(64), KEY).num_se == 0.0
