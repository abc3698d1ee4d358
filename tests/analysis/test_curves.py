"""Curves of a run, with and without what moves their points."""

import math
from dataclasses import replace

import numpy as np
import pytest

from ibtrack.analysis.curves import ROUNDING, Curve, curve, curves, is_usable
from ibtrack.record.trajectory import Point, Trajectory
from tests import trajectories

KEY = "ib/mean/token/kept"


def test_a_curve_holds_the_points_with_a_value_and_an_error() -> None:
    run = trajectories.mean_curves([0.1, math.nan, 0.4, 0.3], se=[0.002, 0.002, math.nan, 0.004])
    found = curve(run, KEY)
    assert found.steps == (0, 4 * 2)
    assert found.values == pytest.approx([0.1, 0.3])
    assert found.se == pytest.approx([0.002, 0.004])
    assert [is_usable(point, KEY) for point in run.points] == [True, False, False, True]


def test_several_curves_are_of_the_same_points() -> None:
    run = trajectories.mean_curves([0.1, 0.2, 0.3], [0.0, math.nan, 0.1])
    kept, told = curves(run, [KEY, "ib/mean/token/told"])
    assert kept.steps == told.steps == (0, 4)


def test_errors_of_changes_are_those_of_the_deviations() -> None:
    deviations = np.random.default_rng(0).standard_normal((4, 7))
    found = Curve((0, 1, 2, 3), np.array([0.0, 1.0, 3.0, 2.0]), deviations, 7)
    assert found.changes[1, 2] == 2.0
    assert found.changes[2, 1] == -2.0
    assert found.errors[1, 3] == pytest.approx(np.linalg.norm(deviations[3] - deviations[1]))
    assert found.errors[2, 2] == ROUNDING
    assert found.only([0, 2]).changes[0, 1] == 3.0


def test_points_are_paired_only_if_all_of_them_say_what_moves_them() -> None:
    run = trajectories.mean_curves([0.1, 0.2, 0.3])
    assert (curve(run, KEY).paired, curve(run, KEY).num_documents) == (True, 64)
    mixed = replace(run, points=[*run.points[:2], replace(run.points[2], influences=None)])
    alone = curve(mixed, KEY)
    assert (alone.paired, alone.num_documents) == (False, 0)
    assert alone.errors[0, 1] == pytest.approx(0.002 * 2**0.5)


def test_a_number_without_influences_is_compared_as_independent() -> None:
    values = {"ib/mean/rankme": 10.0, "ib/mean/rankme_se": 0.5}
    points = [Point(i, values, influences=trajectories.make().points[0].influences) for i in range(2)]
    assert not curve(Trajectory({}, {}, points), "ib/mean/rankme").paired


def test_a_run_without_points_has_an_empty_curve() -> None:
    found = curve(Trajectory({}, {}, []), KEY)
    assert (found.steps, found.paired, found.changes.shape) == ((), False, (0, 0))
