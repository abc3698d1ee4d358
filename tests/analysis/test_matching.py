"""Where runs are compared, on curves that can be worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from ibtrack.analysis.matching import Match, fall_at, match_runs, moved_by, read_at, reader
from ibtrack.record.influences import Influences
from ibtrack.record.trajectory import Point, Trajectory

KEPT = "ib/mean/token/kept"


def run_of(*points: Point) -> Trajectory:
    return Trajectory({}, {}, points)


def curve(values: dict[int, float], se: float = 0.01) -> Trajectory:
    """A run whose share has these values at these steps."""
    return run_of(*(Point(step, {KEPT: value, f"{KEPT}_se": se}) for step, value in values.items()))


def losses(values: dict[int, float], *, tokens: int = 100) -> Trajectory:
    """A run that has these losses on the probe, and sees as many tokens in a step."""
    return run_of(*(Point(step, {"ib/probe_loss": loss}, tokens_seen=tokens * step) for step, loss in values.items()))


READ = reader("kept", "token")


def test_the_matched_step_is_the_last_that_all_have() -> None:
    runs = {"a": curve({0: 0, 8: 0, 16: 0, 32: 0}), "b": curve({0: 0, 8: 0, 20: 0}), "young": run_of()}
    match = match_runs(runs)
    assert (match.target, match.places, match.words()) == (8, {"a": 8.0, "b": 8.0}, "at step 8")
    assert match.left_out == {"young": "it has no points yet"}


def test_runs_that_end_before_others_are_said_to() -> None:
    runs = {"a": curve({0: 0, 8: 1, 16: 2}), "b": curve({0: 0, 8: 1})}
    sentence = "b has come to step 8 so far and the longest run to step 16, so all are compared at step 8."
    assert match_runs(runs).remark == sentence
    assert match_runs(runs | {"c": runs["b"]}).remark.startswith("b and c have come to step 8 so far")
    assert match_runs({"a": runs["a"], "b": curve({0: 0, 8: 1, 12: 1})}).remark == (
        "Step 8 is the last at which all runs have a point; the longest has come to step 16."
    )
    assert match_runs({"a": runs["a"], "c": runs["a"]}).remark == match_runs(runs, step=8).remark == ""
    assert match_runs({name: runs["a"] for name in "ab"}, step=8).remark == ""


def test_a_given_step_leaves_out_the_runs_without_it() -> None:
    runs = {"a": curve({0: 0, 8: 0, 16: 0}), "b": curve({0: 0, 8: 0})}
    match = match_runs(runs, step=16)
    assert match.places == {"a": 16.0}
    assert match.left_out == {"b": "it has no point at step 16, its last is 8"}
    with pytest.raises(ValueError, match=r"^no run has a point at step 15; near are 0, 8, 16$"):
        match_runs(runs, step=15)
    with pytest.raises(ValueError, match=r"^step is for at='step', got at='loss'$"):
        match_runs(runs, "loss", step=8)
    with pytest.raises(ValueError, match=r"^the runs have no step in common; compare them at tokens or at a loss$"):
        match_runs({"a": curve({8: 0}), "b": curve({9: 0})})
    with pytest.raises(ValueError, match=r"^no run can be compared by step: it has no points yet$"):
        match_runs({"a": run_of()})
    with pytest.raises(ValueError, match="at must be one of 'step', 'tokens', 'loss', got 'time'"):
        match_runs(runs, "time")


def test_matched_tokens_are_the_most_that_all_have_seen() -> None:
    runs = {"a": losses({0: 7, 10: 5}), "b": losses({0: 7, 4: 6, 8: 5}, tokens=200), "none": curve({0: 0})}
    match = match_runs(runs, "tokens")
    assert (match.target, match.places, match.words()) == (1000, {"a": 10.0, "b": 5.0}, "after 1,000 tokens")
    assert match.left_out == {"none": "it does not say how many tokens it has seen"}
    logged = run_of(Point(0, {"ib/tokens_seen": 0.0}), Point(4, {"ib/tokens_seen": 2000.0}))
    assert match_runs({"a": runs["a"], "logged": logged}, "tokens").places == {"a": 10.0, "logged": 2.0}


def test_the_matched_loss_is_the_lowest_that_all_come_down_to_and_its_place_the_first() -> None:
    runs = {"a": losses({0: 7, 10: 5, 20: 3, 30: 4, 40: 2}), "b": losses({0: 7, 10: 3.5, 20: 4})}
    match = match_runs(runs, "loss")
    assert match.target == 3.5
    assert match.places == {"a": 17.5, "b": 10.0}
    assert match.words() == "at a loss on the probe of 3.500"


def test_the_training_loss_is_taken_for_all_where_one_run_has_no_other() -> None:
    training = run_of(Point(0), Point(1, loss=6.0), Point(3, loss=4.0), Point(5, loss=math.nan))
    both = run_of(Point(1, {"ib/probe_loss": 1.0}, loss=5.0))
    match = match_runs({"a": training, "b": both}, "loss")
    assert (match.loss, match.target, match.places) == ("loss", 5.0, {"a": 2.0, "b": 1.0})
    assert match.words() == "at a training loss of 5.000"
    lacking = match_runs({"a": training, "b": curve({0: 0})}, "loss")
    assert lacking.left_out == {"b": "it has no loss"}
    with pytest.raises(ValueError, match=r"^no run can be compared by loss: it has no loss$"):
        match_runs({"b": curve({0: 0})}, "loss")


def test_between_two_points_value_and_error_lie_on_the_line() -> None:
    run = run_of(Point(0, {KEPT: 0.2, f"{KEPT}_se": 0.01}), Point(8, {KEPT: 0.6, f"{KEPT}_se": 0.03}))
    assert read_at(run, 2.0, READ)[:2] == pytest.approx((0.3, 0.015))
    assert [read_at(run, float(step), READ).value for step in (0, 8)] == [0.2, 0.6]


def test_between_two_points_a_number_is_moved_by_both_in_proportion() -> None:
    rows = [np.eye(4)[i] - 0.25 for i in (0, 1)]
    points = [
        Point(
            8 * i,
            {"ib/mean/entropy": 0.5},
            influences=Influences.pack(["mean"], ["entropy"], row[None, None], np.zeros((1, 1)), np.zeros((1, 1, 0))),
        )
        for i, row in enumerate(rows)
    ]
    read = reader("entropy", "token")
    found = moved_by(read_at(run_of(*points), 2.0, read))
    assert found is not None
    assert found[:4] == pytest.approx(math.sqrt(4 / 3) * (0.75 * rows[0] + 0.25 * rows[1]), abs=1e-3)
    assert moved_by(read_at(run_of(points[0], Point(8, {"ib/mean/entropy": 0.5})), 2.0, read)) is None
    assert moved_by(read_at(curve({0: 0.1}), 0.0, READ)) is None


def test_a_number_that_is_needed_and_missing_is_missing_for_its_reason() -> None:
    run = run_of(Point(0, {KEPT: 0.2}), Point(8, failure="out of memory"), Point(16, {KEPT: 0.4}))
    for place in (4.0, 8.0, 12.0):
        assert read_at(run, place, READ).why == "its point at step 8 has no value: out of memory"
        assert fall_at(run, place, READ).why == "its point at step 8 has no value: out of memory"
    assert read_at(run, 16.0, READ).why == ""
    assert math.isnan(read_at(run, 16.0, READ).se)
    assert fall_at(run, 16.0, READ).value == 0


@pytest.mark.parametrize(
    ("values", "fall"),
    [
        ({0: 0.7, 1: 0.5, 2: 0.9, 4: 0.8}, 0.1),  # from the top of its rise
        ({0: 0.9, 1: 0.2, 2: 0.6, 4: 0.5}, 0.1),  # a collapse at the start is none of it
        ({0: 0.2, 1: 0.6, 2: 0.3, 4: 0.5}, 0.1),  # nor is a rise since then
        ({0: 0.2, 1: 0.6, 2: 0.5, 4: 0.1}, 0.5),  # below all that was before
        ({0: 0.2, 1: 0.3, 2: 0.5, 4: 0.6}, 0.0),  # it rises
    ],
)
def test_the_fall_is_that_since_the_top_of_the_largest_rise(values: dict[int, float], fall: float) -> None:
    found = fall_at(curve(values), float(max(values)), READ)
    assert found.value == pytest.approx(fall)
    assert found.se == pytest.approx(math.hypot(0.01, 0.01))


def test_what_comes_later_is_no_part_of_the_fall() -> None:
    run = curve({0: 0.2, 1: 0.6, 2: 0.4, 3: 0.9})
    assert fall_at(run, 2.0, READ).value == pytest.approx(0.2)
    assert fall_at(run, 1.5, READ).value == pytest.approx(0.1)


def test_losses_are_read_as_well() -> None:
    point = Point(8, {"ib/probe_loss": 3.0}, loss=2.0)
    assert [reader(name, "token")(point).value for name in ("probe_loss", "loss")] == [3.0, 2.0]
    assert reader("loss", "token")(Point(8)).why == "its point at step 8 has no value: not in this trajectory"
    assert Match(at="loss", target=2.0, loss="loss", places={}, left_out={}).words() == "at a training loss of 2.000"


@pytest.mark.parametrize("at", ["tokens", "loss"])
def test_a_run_that_was_first_measured_past_the_place_is_left_out(at: str) -> None:
    """Nothing tells when it came there."""

    def run(steps: list[int]) -> Trajectory:
        values = [{"ib/mean/token/kept": 0.5, "ib/probe_loss": 7.0 - step / 100} for step in steps]
        points = [Point(step, each, tokens_seen=64 * step) for step, each in zip(steps, values, strict=True)]
        return Trajectory({}, {}, points)

    match = match_runs({"early": run([0, 1, 2]), "also": run([0, 2]), "late": run([100, 200])}, at)
    assert set(match.places) == {"early", "also"}
    assert match.left_out == {"late": "its first point, at step 100, is past that already"}


def test_a_run_without_a_rise_has_no_fall() -> None:
    values = [{"ib/mean/token/kept": value} for value in (0.8, 0.7, 0.6)]
    run = Trajectory({}, {}, [Point(step, each) for step, each in enumerate(values)])
    fall = fall_at(run, 2.0, reader("kept", "token"))
    assert math.isnan(fall.value)
    assert fall.why.startswith("no rise of it was measured")
