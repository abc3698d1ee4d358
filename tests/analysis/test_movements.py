"""Movements of curves whose rises and falls are known."""

import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ibtrack.analysis.movements import CurvePoint, Movement, find_movements, movement_between, noise_threshold

CURVES = st.lists(st.floats(-1, 1), min_size=1, max_size=12)


def curve(values: list[float], se: float = 0.01) -> list[CurvePoint]:
    return [CurvePoint(step=step, value=value, se=se) for step, value in enumerate(values)]


def test_the_threshold_is_that_of_one_comparison_for_two_points_and_grows_with_their_number() -> None:
    assert noise_threshold(2) == pytest.approx(1.96, abs=0.001)
    assert noise_threshold(10) < noise_threshold(40) < 4.1


def test_the_error_of_a_change_is_that_of_two_independent_points() -> None:
    movement = movement_between(CurvePoint(step=1, value=0.5, se=0.03), CurvePoint(step=4, value=0.2, se=0.04))
    assert (movement.start, movement.end) == (1, 4)
    assert (movement.change, movement.se) == pytest.approx((-0.3, 0.05))
    assert movement.num_se == pytest.approx(6)


@given(CURVES)
def test_movements_alternate_and_join_and_each_is_larger_than_the_threshold(values: list[float]) -> None:
    movements = find_movements(curve(values), 3.0)
    assert all(movement.num_se > 3 for movement in movements)
    for one, other in pairwise(movements):
        assert one.end == other.start
        assert one.change * other.change < 0


@given(CURVES)
def test_the_largest_change_of_a_curve_is_seen(values: list[float]) -> None:
    """If any pair of points differs by more than the threshold, there is a movement."""
    points = curve(values)
    largest = max((movement_between(a, b).num_se for a in points for b in points), default=0.0)
    assert bool(find_movements(points, 3.0)) == (largest > 3.0)


def test_a_curve_that_stands_still_seldom_moves() -> None:
    """At 5 % for a whole curve, 400 curves give at most 20 on average; twice that has a chance below 1e-4."""
    draw = random.Random(1)
    threshold = noise_threshold(25)
    moved = sum(bool(find_movements(curve([draw.gauss(0, 0.01) for _ in range(25)]), threshold)) for _ in range(400))
    assert moved < 40


def test_a_movement_is_built_by_keyword() -> None:
    with pytest.raises(TypeError, match="positional"):
        Movement(0, 1, 0.1, 0.01)  # type: ignore[call-arg]  # what the test is about
