"""Movements of curves whose rises and falls are known."""

import random
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ibtrack.analysis.bands import critical_value
from ibtrack.analysis.curves import Curve
from ibtrack.analysis.movements import Movement, find_movements, movement_between

CURVES = st.lists(st.floats(-1, 1), min_size=1, max_size=12)


def curve(values: list[float], se: float = 0.01) -> Curve:
    """A curve whose points err on their own."""
    return Curve(tuple(range(len(values))), np.array(values), se * np.eye(len(values)), 0)


def paired(values: list[float], shared: float, own: float) -> Curve:
    """A curve whose points all err by the same, and by a little of their own."""
    deviations = np.concatenate([np.full((len(values), 1), shared), own * np.eye(len(values))], 1)
    return Curve(tuple(range(len(values))), np.array(values), deviations, 64)


def test_the_error_of_a_change_is_that_of_what_the_points_do_not_share() -> None:
    own = movement_between(Curve((1, 4), np.array([0.5, 0.2]), np.diag([0.03, 0.04]), 0), 0, 1)
    assert (own.start, own.end, own.deviations) == (1, 4, None)
    assert (own.change, own.se) == pytest.approx((-0.3, 0.05))
    assert own.num_se == pytest.approx(6)
    same = movement_between(paired([0.5, 0.2], 0.1, 0.001), 0, 1)
    assert same.se == pytest.approx(0.001 * 2**0.5)
    assert same.deviations == pytest.approx(np.array([0.0, -0.001, 0.001]))


@given(CURVES)
def test_movements_alternate_and_do_not_overlap_and_each_is_larger_than_the_threshold(values: list[float]) -> None:
    movements = find_movements(curve(values), 3.0)
    assert all(movement.num_se > 3 for movement in movements)
    assert all(movement.start < movement.end for movement in movements)
    for one, other in pairwise(movements):
        assert one.end <= other.start
        assert one.change * other.change < 0


@given(CURVES)
def test_the_largest_change_of_a_curve_is_seen(values: list[float]) -> None:
    """If any pair of points differs by more than the threshold, there is a movement."""
    points = curve(values)
    largest = np.abs(points.changes / points.errors).max()
    assert bool(find_movements(points, 3.0)) == (largest > 3.0)


@given(CURVES)
def test_a_movement_begins_within_its_interval(values: list[float]) -> None:
    for movement in find_movements(curve(values), 3.0):
        assert movement.begins is not None
        before, after = movement.begins
        assert before <= movement.start < after


def test_a_curve_that_stands_still_seldom_moves() -> None:
    """At 5 % for a whole curve, 400 curves give at most 20 on average; twice that has a chance below 1e-4."""
    draw = random.Random(1)
    threshold = critical_value([curve([0.0] * 25)])
    moved = sum(bool(find_movements(curve([draw.gauss(0, 0.01) for _ in range(25)]), threshold)) for _ in range(400))
    assert 2 < moved < 40


def test_a_small_fall_is_seen_from_a_point_that_errs_alike_though_a_higher_one_does_not() -> None:
    """The first point is the highest, but nothing is sure about its distance to the others."""
    deviations = np.array([[0.05, 0.0], [0.0, 0.001], [0.0, 0.0]])
    (fall,) = find_movements(Curve((0, 1, 2), np.array([0.41, 0.4, 0.39]), deviations, 64), 3.0)
    assert (fall.start, fall.end) == (1, 2)
    assert fall.begins == (0, 2)  # the true peak may be the first point


def test_the_interval_of_the_start_is_narrow_where_the_peak_is_sharp_and_wide_where_it_is_flat() -> None:
    sharp = find_movements(curve([0.0, 0.5, 1.0, 0.5, 0.0]), 3.0)[1]
    flat = find_movements(curve([0.0, 0.99, 1.0, 0.99, 0.0]), 3.0)[1]
    assert (sharp.start, sharp.begins) == (2, (1, 3))
    assert (flat.start, flat.begins) == (2, (0, 4))


def test_the_interval_of_the_start_holds_the_peak() -> None:
    """A parabola with its top at point 6 of 13, and noise that moves the highest point about."""
    draw = random.Random(2)
    truth = [-0.002 * (i - 6) ** 2 for i in range(13)]
    threshold = critical_value([curve(truth)])
    held, found = 0, 0
    for _ in range(200):
        falls = [m for m in find_movements(curve([v + draw.gauss(0, 0.01) for v in truth]), threshold) if m.change < 0]
        found += bool(falls)
        held += any(fall.begins is not None and fall.begins[0] < 6 < fall.begins[1] for fall in falls)
    assert found > 190
    assert held > 0.95 * found - 9  # three standard deviations of a share of 5 %


def test_a_movement_is_built_by_keyword() -> None:
    with pytest.raises(TypeError, match="positional"):
        Movement(0, 1, 0.1, 0.01)  # type: ignore[call-arg]  # what the test is about
