"""Phases on made-up trajectories whose movements are known."""

import math
import random
from dataclasses import replace

import numpy as np
import pytest

from ibtrack.analysis.movements import Movement
from ibtrack.analysis.phase_words import INDEPENDENT
from ibtrack.analysis.phases import NO_SHARES, NOT_ALL_SHARES, find_phases, phases_of_runs
from ibtrack.record.influences import Influences
from ibtrack.record.trajectory import Point, Trajectory
from tests import trajectories

NAN = math.nan
NO_DRAWS = np.zeros((1, 4, 0))


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
        "Fitting still going on at step 8: I(Y;Z) +0.150 of the ceiling from step 0 (53.0 se; +0.150 of log K). "
        "No compression phase can be told from noise."
    )
    assert phases.short() == "fitting until 8 (53.0 se), no compression"


def test_rise_then_fall_is_compression_since_the_peak() -> None:
    phases = find_phases(trajectories.mean_curves([0.1, 0.4, 0.35, 0.3], [0.0, 0.1, 0.15, 0.15], se=0.002))
    assert parts(phases.fitting) == pytest.approx((0, 4, 0.15, 0.002 * 2**0.5))
    assert phases.unit == "share"
    assert parts(phases.compression) == pytest.approx((2, 8, -0.1, 0.002 * 2**0.5))
    assert sure(phases.compression).num_se == pytest.approx(0.1 / (0.002 * 2**0.5))
    words = "Compression since step 2 (begun between 0 and 4): I(X;Z) -0.100 of the ceiling by step 8 (35.4 se; "
    assert words in phases.sentence()
    assert phases.short() == "compression since 2 (35.4 se, begun 0–4)"


def test_the_collapse_of_a_fresh_model_is_not_its_compression() -> None:
    complexity = [0.45, 0.2, 0.08, 0.2, 0.41, 0.39, 0.36]
    phases = find_phases(trajectories.mean_curves(complexity, [0.0, 0.01, 0.02, 0.1, 0.12, 0.15, 0.2]))
    assert (sure(phases.collapse).start, sure(phases.collapse).end) == (0, 4)
    assert (sure(phases.compression).start, sure(phases.compression).end) == (16, 64)
    assert sure(phases.compression).change == pytest.approx(-0.05)
    assert phases.sentence().startswith("First a collapse until step 4: I(X;Z) -0.370 of the ceiling from step 0")


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
        "I(X;Z) falls along with the fitting, -0.300 of the ceiling from step 0 (106.1 se; -0.300 of log K) to 8; what"
    )


def test_a_compression_that_is_over_says_so() -> None:
    phases = find_phases(trajectories.mean_curves([0.1, 0.4, 0.3, 0.35]))
    assert sure(phases.compression).end == 4
    assert sure(phases.rebound).change == pytest.approx(0.05)
    assert (
        "Compression from step 2 (begun between 0 and 4) to 4: I(X;Z) -0.100 of the ceiling (35.4 se; -0.100 of "
        "log K); since then it has risen again, +0.050 by step 8" in phases.sentence()
    )
    assert phases.short() == "compression from 2 to 4 (35.4 se, begun 0–4)"


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


def test_points_of_an_old_file_are_compared_as_independent_and_it_is_said() -> None:
    values = [0.1, 0.4, 0.39]
    old = find_phases(trajectories.mean_curves(values, se=0.002, old=True))
    assert (old.num_documents, old.compression is not None) == (0, True)
    assert old.sentence().endswith(INDEPENDENT)
    assert INDEPENDENT not in find_phases(trajectories.mean_curves(values, se=0.002)).sentence()


def test_a_resumed_run_whose_first_points_are_old_is_compared_as_old() -> None:
    run = trajectories.mean_curves([0.1, 0.4, 0.3, 0.2])
    mixed = replace(run, points=[replace(run.points[0], influences=None), *run.points[1:]])
    assert find_phases(mixed).num_documents == 0
    assert sure(find_phases(mixed).compression).num_se == pytest.approx(sure(find_phases(run).compression).num_se)


def test_points_that_err_alike_show_a_fall_that_points_which_err_on_their_own_do_not() -> None:
    """A fall of .008 with errors of .01 each, of which nine tenths of the variance are common to all points."""
    alike = still_or_moving([0.30, 0.32, 0.34, 0.336, 0.332], shared=0.99)
    apart = still_or_moving([0.30, 0.32, 0.34, 0.336, 0.332], shared=0.0)
    assert sure(find_phases(alike, unit="log_k").compression).end == 16
    assert find_phases(apart, unit="log_k").compression is None


def still_or_moving(values: list[float], *, shared: float, se: float = 0.01, documents: int = 64) -> Trajectory:
    """A run whose points share a part of the variance of their errors, without the errors themselves."""
    draw = np.random.default_rng(0)
    names = ["entropy", "ceiling", "token/complexity", "token/expressivity"]
    common = draw.standard_normal(documents)
    points = []
    for point in trajectories.mean_curves(values, se=se).points:
        by_document = np.zeros((1, 4, documents))
        by_document[0, 2] = np.sqrt(shared) * common + np.sqrt(1 - shared) * draw.standard_normal(documents)
        by_document[0, 3] = draw.standard_normal(documents)
        influences = Influences.pack(["mean"], names, by_document * se / documents**0.5, np.zeros((1, 4)), NO_DRAWS)
        points.append(replace(point, influences=influences))
    return Trajectory({}, {"name": "made up"}, points)


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
            "I(X;Z) -0.050 of the ceiling from step 2, its highest, to 4; without standard errors no phase can be told "
            "from noise.",
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


def test_a_layer_has_phases_of_its_own() -> None:
    run = trajectories.make("a")
    found = find_phases(run, "bigram", site="L01")
    assert found == find_phases(replace(run, points=[as_mean(point, "L01") for point in run.points]), "bigram")
    assert found != find_phases(run, "bigram")


def as_mean(point: Point, site: str) -> Point:
    """A point whose numbers at a site are said to be those of the mean."""
    of_site = {key: value for key, value in point.values.items() if "/mean/" not in key}
    values = {key.replace(f"/{site}/", "/mean/"): value for key, value in of_site.items()}
    assert point.influences is not None
    influences = point.influences.at([site])
    return replace(point, values=values, influences=replace(influences, sites=("mean",)))


def test_the_demo_shows_its_three_movements() -> None:
    phases = find_phases(trajectories.make())
    (narrowing,) = phases.narrowing
    assert narrowing.end <= 35
    assert sure(narrowing.beside).change > 0
    assert phases.collapse is None
    assert sure(phases.compression).start == 278


# ---- two units -------------------------------------------------------------------------------------------------------

CONE = [0.55, 0.55, 0.15, 0.37, 0.49, 0.49]  # the ceiling of a cloud that narrows and widens again
IN_LOG_K = [0.275, 0.275, 0.11, 0.30, 0.40, 0.36]  # of which labels explain .50, .50, .73, .81, .82, .73


def test_a_fall_of_the_fraction_alone_is_narrowing_in_either_unit() -> None:
    run = trajectories.mean_curves(IN_LOG_K, ceiling=CONE)
    for unit in ("share", "log_k"):
        phases = find_phases(run, unit=unit)
        (fall,) = phases.narrowing
        assert fall.end == 4
        assert fall.change == pytest.approx(-0.165)
        assert sure(fall.beside).change == pytest.approx(0.11 / 0.15 - 0.5)
        assert phases.collapse is None
        assert (sure(phases.compression).start, sure(phases.compression).end) == (16, 32)
        assert phases.sentence().startswith(
            f"Narrowing until step 4: I(X;Z) -0.165 of log K from step {fall.start} (58.3 se), while its share of the "
            "ceiling does not fall (+0.233). "
        )


def test_a_fall_of_the_share_alone_is_compression() -> None:
    """The cloud widens as much as labels lose: the fraction of log K stands still."""
    run = trajectories.mean_curves([0.1, 0.3, 0.3, 0.3], [0.0, 0.1, 0.1, 0.1], ceiling=[0.5, 0.4, 0.5, 0.6])
    phases = find_phases(run)
    assert (sure(phases.compression).start, sure(phases.compression).end) == (2, 8)
    assert sure(phases.compression).change == pytest.approx(0.3 / 0.6 - 0.3 / 0.4)
    assert sure(sure(phases.compression).beside).change == pytest.approx(0.0)
    assert phases.narrowing == ()
    assert find_phases(run, unit="log_k").compression is None


def test_a_dip_that_is_made_good_is_not_the_compression() -> None:
    """The dip is the larger fall, but what it took has come back by the top."""
    complexity = [0.50, 0.75, 0.65, 0.85, 0.82, 0.79]
    phases = find_phases(trajectories.mean_curves(complexity, [0.0, 0.1, 0.2, 0.3, 0.3, 0.3]))
    assert (sure(phases.compression).start, sure(phases.compression).end) == (8, 32)
    assert (phases.collapse, phases.rebound) == (None, None)


def test_a_run_may_compress_below_where_it_began() -> None:
    phases = find_phases(trajectories.mean_curves([0.50, 0.72, 0.85, 0.40], [0.0, 0.1, 0.2, 0.3]))
    assert (sure(phases.compression).start, sure(phases.compression).end, phases.collapse) == (4, 8, None)


def test_compression_goes_on_to_the_lowest_point_though_it_rises_in_between() -> None:
    phases = find_phases(trajectories.mean_curves([0.1, 0.85, 0.75, 0.78, 0.70, 0.73]))
    assert (sure(phases.compression).start, sure(phases.compression).end) == (2, 16)
    assert (sure(phases.rebound).start, sure(phases.rebound).end) == (16, 32)


def test_the_collapse_after_a_small_rise_is_not_the_compression() -> None:
    """A fresh model may gain a little before it collapses; what it gains later is what it can compress."""
    complexity = [0.50, 0.52, 0.20, 0.45, 0.60, 0.55]
    phases = find_phases(trajectories.mean_curves(complexity, [0.0, 0.0, 0.0, 0.1, 0.2, 0.2]))
    assert (sure(phases.collapse).start, sure(phases.collapse).end) == (1 + 1, 4)
    assert (sure(phases.compression).start, sure(phases.compression).end) == (16, 32)


def test_a_fall_below_all_before_is_compression_once_fitting_is_over() -> None:
    phases = find_phases(trajectories.mean_curves([0.5, 0.5, 0.5, 0.4, 0.3], [0.0, 0.1, 0.2, 0.2, 0.2]))
    assert (sure(phases.compression).start, sure(phases.compression).end, phases.collapse) == (4, 16, None)


def test_a_share_that_falls_by_less_than_a_phase_needs_and_more_than_its_error_is_no_narrowing() -> None:
    run = trajectories.mean_curves([0.4, 0.1, 0.1], [0.1] * 3, se=0.002, ceiling=[0.8, 0.211, 0.211])
    phases = find_phases(run)
    assert phases.narrowing == ()
    assert phases.collapse is None


def test_a_share_that_falls_within_noise_still_makes_a_narrowing() -> None:
    run = trajectories.mean_curves([0.4, 0.1, 0.1], [0.08, 0.0202, 0.0202], ceiling=[0.8, 0.202, 0.202])
    phases = find_phases(run)
    assert sure(phases.narrowing[0].beside).change == pytest.approx(0.1 / 0.202 - 0.5)
    assert "while its share of the ceiling does not fall beyond noise (-0.005)." in phases.sentence()
    assert phases.short() == "narrowing until 2 (106.1 se), no compression"
    lost = trajectories.mean_curves([0.4, 0.1, 0.1], [0.1] * 3, ceiling=[0.8, 0.4, 0.4])
    assert find_phases(lost).narrowing == ()
    assert sure(find_phases(lost).collapse).change == pytest.approx(-0.25)


def test_a_fall_that_is_a_part_of_a_longer_fall_of_the_share_is_no_narrowing() -> None:
    shares, ceiling = [0.3, 0.86, 0.845, 0.84], [0.5, 0.5, 0.56, 0.5]
    complexity = [share * whole for share, whole in zip(shares, ceiling, strict=True)]
    run = trajectories.mean_curves(complexity, [0.1] * 4, se=0.002, ceiling=ceiling)
    log_k = [phase for phase in (find_phases(run, unit="log_k").compression,) if phase]
    assert [(fall.start, fall.end) for fall in log_k] == [(4, 8)]
    phases = find_phases(run)
    assert (sure(phases.compression).start, sure(phases.compression).end) == (2, 8)
    assert phases.narrowing == ()


def without(run: Trajectory, *suffixes: str) -> Trajectory:
    """A run as an older version wrote it."""
    points = [
        replace(point, values={key: value for key, value in point.values.items() if not key.endswith(suffixes)})
        for point in run.points
    ]
    return replace(run, points=points)


def test_a_run_without_errors_of_its_shares_falls_back_and_says_so() -> None:
    run = trajectories.mean_curves(IN_LOG_K, ceiling=CONE)
    phases = find_phases(without(run, "kept_se", "told_se"))
    assert (phases.unit, phases.remark) == ("log_k", NO_SHARES)
    assert phases.sentence().endswith(NO_SHARES)
    assert len(phases.narrowing) == 1  # a share that rises does not fall, whatever its error
    assert "(14.1 se; -0.082 of the ceiling)" in phases.sentence()
    bare = find_phases(without(run, "kept", "told", "kept_se", "told_se"))
    assert (bare.unit, bare.remark, bare.narrowing) == ("log_k", NO_SHARES, ())
    assert sure(bare.collapse).change == pytest.approx(-0.165)
    assert "; " not in bare.sentence().split("Told in")[0]  # there is no second unit to speak of
    assert find_phases(without(run, "kept", "told"), unit="share").why_not == "No point has a value for token labels."


def test_without_any_errors_the_share_is_still_what_is_spoken_of() -> None:
    run = trajectories.mean_curves([0.1, 0.4, 0.3], se=None, ceiling=0.5)
    assert find_phases(run).sentence().startswith("I(X;Z) -0.200 of the ceiling from step 2, its highest, to 4")
    assert find_phases(without(run, "kept", "told")).sentence().startswith("I(X;Z) -0.100 of log K from step 2")


def test_numbers_have_one_unit_under_each_name() -> None:
    run = trajectories.mean_curves(IN_LOG_K, ceiling=CONE)
    in_shares, in_log_k = (find_phases(run, unit=unit).numbers() for unit in ("share", "log_k"))
    for numbers in (in_shares, in_log_k):
        assert numbers["compression"] == pytest.approx(0.40 / 0.49 - 0.36 / 0.49)
        assert numbers["compression_log_k"] == pytest.approx(0.04)
        assert numbers["narrowing_log_k"] == pytest.approx(0.165)
        assert numbers["narrowing"] == pytest.approx(0.5 - 0.11 / 0.15)
        assert numbers["narrowing_end"] == 4
    assert in_shares["fitting"] > 0
    assert in_log_k["fitting_log_k"] > 0
    bare = find_phases(without(run, "kept", "told", "kept_se", "told_se")).numbers()
    assert {name.removesuffix("_log_k") for name in bare if bare[name]} >= {"compression", "fitting"}
    assert "compression" not in bare


def test_runs_are_compared_in_one_unit() -> None:
    new = trajectories.mean_curves(IN_LOG_K, ceiling=CONE)
    old = without(new, "kept_se", "told_se")
    assert {each.unit for each in phases_of_runs({"a": new, "b": new}).values()} == {"share"}
    mixed = phases_of_runs({"a": new, "b": old, "c": Trajectory({}, {}, [])})
    assert [mixed[name].unit for name in "ab"] == ["log_k", "log_k"]
    assert mixed["a"].sentence().endswith(NOT_ALL_SHARES)
    assert mixed["c"].why_not == "No points yet."
    assert phases_of_runs({"a": old})["a"].remark == NO_SHARES
    assert phases_of_runs({"a": new}, unit="log_k")["a"].remark == ""


def test_an_unknown_unit_is_refused() -> None:
    with pytest.raises(ValueError, match="unit must be one of 'share', 'log_k', got 'bits'"):
        find_phases(trajectories.mean_curves([0.1, 0.2]), unit="bits")
