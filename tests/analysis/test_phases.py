"""Phases on made-up trajectories whose movements are known."""

import math
import random

import pytest

from ibtrack.analysis.movements import Movement
from ibtrack.analysis.phases import find_phases
from ibtrack.record.trajectory import Point, Trajectory
from tests import trajectories

NAN = math.nan


def sure(movement: Movement | None) -> Movement:
    """A movement that the test expects to be there."""
    assert movement is not None
    return movement


def parts(movement: Movement | None) -> tuple[int, int, float, float]:
    """The fields of a movement, to be compared up to rounding."""
    there = sure(movement)
    return there.start, there.end, there.change, there.se


def test_a_monotone_rise_is_fitting_without_compression() -> None:
    phases = find_phases(trajectories.mean_curves([0.1, 0.2, 0.3, 0.4]))
    assert (sure(phases.fitting).start, sure(phases.fitting).end, phases.compression, phases.collapse) == (
        0,
        8,
        None,
        None,
    )
    assert phases.sentence() == (
        "Fitting still going on at step 8: I(Y;Z) +0.150 from step 0 (53.0 se). "
        "No compression phase can be told from noise."
    )
    assert phases.short() == "fitting until 8 (53.0 se), no compression"


def test_rise_then_fall_is_compression_since_the_peak() -> None:
    phases = find_phases(trajectories.mean_curves([0.1, 0.4, 0.35, 0.3], [0.0, 0.1, 0.15, 0.15], se=0.002))
    assert parts(phases.fitting) == pytest.approx((0, 4, 0.15, 0.002 * 2**0.5))
    assert parts(phases.compression) == pytest.approx((2, 8, -0.1, 0.002 * 2**0.5))
    assert sure(phases.compression).num_se == pytest.approx(0.1 / (0.002 * 2**0.5))
    assert "Compression since step 2: I(X;Z) -0.100 by step 8 (35.4 se)." in phases.sentence()
    assert phases.short() == "compression since 2 (35.4 se)"


def test_the_collapse_of_a_fresh_model_is_not_its_compression() -> None:
    complexity = [0.45, 0.2, 0.08, 0.2, 0.41, 0.39, 0.36]
    phases = find_phases(trajectories.mean_curves(complexity, [0.0, 0.01, 0.02, 0.1, 0.12, 0.15, 0.2]))
    assert (sure(phases.collapse).start, sure(phases.collapse).end) == (0, 4)
    assert (sure(phases.compression).start, sure(phases.compression).end) == (16, 64)
    assert sure(phases.compression).change == pytest.approx(-0.05)
    assert phases.sentence().startswith("First a collapse until step 4: I(X;Z) -0.370 from step 0")


def test_a_run_that_only_falls_has_collapsed() -> None:
    phases = find_phases(trajectories.mean_curves([0.27, 0.2, 0.08], [0.02, 0.02, 0.02]))
    assert (sure(phases.collapse).end, phases.fitting, phases.compression) == (4, None, None)


def test_a_fall_after_a_plateau_on_which_expressivity_rose_is_compression() -> None:
    phases = find_phases(trajectories.mean_curves([0.4, 0.399, 0.4, 0.2], [0.0, 0.1, 0.1, 0.1]))
    assert (sure(phases.compression).start, sure(phases.compression).end, phases.collapse) == (4, 8, None)


def test_a_fall_on_which_expressivity_rises_from_the_start_is_a_collapse() -> None:
    phases = find_phases(trajectories.mean_curves([0.4, 0.3, 0.2, 0.1], [0.0, 0.05, 0.1, 0.15]))
    assert phases.compression is None
    assert sure(phases.collapse).end == 8
    assert phases.sentence().startswith(
        "I(X;Z) falls along with the fitting, -0.300 from step 0 (106.1 se) to 8; with neither"
    )


def test_a_compression_that_is_over_says_so() -> None:
    phases = find_phases(trajectories.mean_curves([0.1, 0.4, 0.3, 0.35]))
    assert sure(phases.compression).end == 4
    assert sure(phases.rebound).change == pytest.approx(0.05)
    assert "Compression from step 2 to 4: I(X;Z) -0.100 (35.4 se); since then it has risen again, +0.050 by step 8" in (
        phases.sentence()
    )
    assert phases.short() == "compression from 2 to 4 (35.4 se)"


def test_of_two_falls_the_larger_counts() -> None:
    phases = find_phases(trajectories.mean_curves([0.1, 0.4, 0.38, 0.45, 0.3]))
    assert (sure(phases.compression).start, sure(phases.compression).end) == (8, 16)


def test_noise_is_not_a_phase() -> None:
    """At 5 % per run, 400 runs that stand still give at most 20 on average; twice that has a chance below 1e-4."""
    draw = random.Random(0)
    moved = 0
    for _ in range(400):
        values = [[0.3 + draw.gauss(0, 0.004) for _ in range(25)] for _ in range(2)]
        phases = find_phases(trajectories.mean_curves(*values, se=0.004))
        moved += phases.compression is not None or phases.collapse is not None
    assert moved < 40


def test_a_fall_that_noise_could_make_is_left_unsaid() -> None:
    phases = find_phases(trajectories.mean_curves([0.1, 0.4, 0.39], se=0.004))
    assert phases.compression is None
    assert phases.sentence().endswith("No compression phase can be told from noise.")
    assert find_phases(trajectories.mean_curves([0.1, 0.4, 0.37], se=0.004)).compression is not None


def test_fitting_ends_where_the_plateau_begins_not_where_noise_has_its_highest_point() -> None:
    expressivity = [0.0, 0.1, 0.2, 0.199, 0.201, 0.2]
    assert sure(find_phases(trajectories.mean_curves([0.1] * 6, expressivity)).fitting).end == 4


def test_points_without_a_value_or_an_error_are_left_out_and_counted() -> None:
    phases = find_phases(trajectories.mean_curves([0.1, NAN, 0.4, 0.35, 0.3], se=[0.002, 0.002, 0.002, NAN, 0.002]))
    assert (sure(phases.compression).start, sure(phases.compression).end, phases.num_left_out) == (4, 16, 2)
    assert phases.sentence().endswith("(2 points without a value or a standard error left out.)")


def test_a_standard_error_of_zero_is_not_evidence() -> None:
    assert "without standard errors" in find_phases(trajectories.mean_curves([0.1, 0.4, 0.3], se=0.0)).sentence()


@pytest.mark.parametrize(
    ("trajectory", "sentence"),
    [
        (trajectories.mean_curves([]), "No points yet."),
        (trajectories.mean_curves([0.3]), "One point: no change to speak of."),
        (trajectories.mean_curves([NAN, NAN]), "No point has a value for token labels."),
        (Trajectory({}, {}, [Point(0, failure="out of memory")]), "No point has a value for token labels."),
        (
            trajectories.mean_curves([0.1, 0.4, 0.35], se=None),
            "I(X;Z) -0.050 from step 2, its highest, to 4; without standard errors no phase can be told from noise.",
        ),
    ],
    ids=["no points", "one point", "all nan", "failed", "no errors"],
)
def test_what_cannot_be_said_is_said_to_be_so(trajectory: Trajectory, sentence: str) -> None:
    phases = find_phases(trajectory)
    assert phases.sentence() == phases.short() == sentence
    assert phases.compression is phases.fitting is None


def test_each_order_has_its_own_phases() -> None:
    trajectory = trajectories.mean_curves([0.1, 0.4, 0.3], order="bigram")
    assert find_phases(trajectory, "bigram").compression is not None
    assert find_phases(trajectory, "token").why_not == "No point has a value for token labels."


def test_the_demo_shows_its_three_movements() -> None:
    phases = find_phases(trajectories.make())
    assert sure(phases.collapse).end <= 35
    assert sure(phases.compression).start == 278
    assert sure(phases.fitting).end > 1000
