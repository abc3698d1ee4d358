"""Which points of a made-up replay are suspected, and which of an honest one with noise and spikes are not."""

import math
import random

import pytest

from ibtrack import Point, Trajectory
from ibtrack.analysis.mislabelled import mislabelled, with_doubts

STEPS = [0, *(2**power for power in range(10)), *range(1000, 144_000, 1000)]  # those of Pythia
LATE = 2.95


def honest(step: int) -> float:
    """The loss of a model of some 100 million parameters by its step, from 10.8 to 3 nats."""
    return 10.8 if step < 2 else 2.9 + 7.9 / (1 + (step / 60) ** 0.6)


def series(losses: dict[int, float], **options: float) -> Trajectory:
    """A replay of these losses; every point has another number beside its loss."""
    points = [
        Point(step, {"ib/probe_loss": loss, "ib/mean/entropy": 0.5 + i / 1e3, **options}, checkpoint=f"step{step}")
        for i, (step, loss) in enumerate(losses.items())
    ]
    return Trajectory({}, {"replay": {}}, points)


def noisy(seed: int) -> dict[int, float]:
    draw = random.Random(seed)
    return {step: honest(step) + draw.gauss(0, 0.015) for step in STEPS}


@pytest.mark.parametrize("seed", range(20))
def test_no_point_of_an_honest_run_is_suspected(seed: int) -> None:
    assert mislabelled(series(noisy(seed))) == {}


@pytest.mark.parametrize("below", [0.2, 1.0])
def test_a_loss_far_below_the_last_one_is_not_taken_for_equal(below: float) -> None:
    losses = {0: 10.8, 1: 8.0, 2: 6.0, 4: LATE - below, 8: 4.0, 16: LATE}
    assert mislabelled(series(losses)) == {}
    assert list(mislabelled(series(losses | {4: LATE}))) == [4]


@pytest.mark.parametrize("height", [0.3, 1.0, 4.0])
@pytest.mark.parametrize("at", [8000, 60_000, 142_000])
def test_a_spike_of_the_loss_makes_no_suspects(at: int, height: float) -> None:
    losses = noisy(0)
    losses |= {at: losses[at] + height, at + 1000: losses[at + 1000] + height / 3}
    assert mislabelled(series(losses)) == {}


@pytest.mark.parametrize("wrong", [[0], [64], [0, 1, 2, 4], [128, 256, 512], [4000], [0, 8, 512, 3000]])
def test_early_points_of_late_weights_are_found_and_no_others(wrong: list[int]) -> None:
    losses = noisy(1) | dict.fromkeys(wrong, LATE + 0.01)
    found = mislabelled(series(losses))
    assert list(found) == wrong
    assert f"step{wrong[0]} is probably mislabelled: its probe loss is 2.960" in found[wrong[0]]


def test_most_of_a_series_may_be_wrong() -> None:
    draw = random.Random(7)
    early = [step for step in STEPS if 0 < step <= 5000]
    wrong = sorted([0, *draw.sample(early, len(early) // 2)])
    assert list(mislabelled(series(noisy(2) | dict.fromkeys(wrong, LATE)))) == wrong


def test_equal_numbers_are_found_wherever_they_stand() -> None:
    run = series(noisy(3))
    last = dict(run.points[-1].values)
    points = [
        Point(p.step, {**last, "ib/overhead_fraction": 0.1}, checkpoint=p.checkpoint) if p.step == 100_000 else p
        for p in run.points
    ]
    found = mislabelled(Trajectory({}, {}, points))
    assert list(found) == [100_000]
    assert "all its numbers equal those of step143000" in found[100_000]


def test_missing_numbers_equal_each_other() -> None:
    values = [{"ib/probe_loss": loss, "ib/L00/ceiling": math.nan} for loss in (3.0, 5.0, 3.0)]
    points = [Point(step, each, checkpoint=f"step{step}") for step, each in enumerate(values)]
    assert list(mislabelled(Trajectory({}, {}, points))) == [0]


def test_runs_that_say_nothing_have_no_suspects() -> None:
    losses = noisy(4) | {64: LATE}
    trained = [Point(step, {"ib/probe_loss": loss}) for step, loss in losses.items()]
    assert mislabelled(Trajectory({}, {}, trained)) == {}, "a run that was watched has no labels"
    assert mislabelled(series(dict.fromkeys(STEPS, 3.0))) == {}, "it does not fall"
    assert mislabelled(series({0: 3.0})) == mislabelled(series({})) == {}
    assert mislabelled(series(dict.fromkeys(STEPS, math.nan))) == {}
    failed = [Point(step, failure="damaged", checkpoint=f"step{step}") for step in (0, 1, 2)]
    assert mislabelled(Trajectory({}, {}, failed)) == {}


def test_the_suspected_points_get_doubts_in_memory() -> None:
    run = series(noisy(5) | {64: LATE}, **{"ib/mean/token/kept": 0.4, "ib/mean/token/kept_se": 0.1})
    doubted = with_doubts(run)
    assert [point.step for point in doubted.points if point.doubts] == [64]
    (point,) = [point for point in doubted.points if point.doubts]
    assert set(point.doubts) == {"ib/probe_loss", "ib/mean/token/kept"}
    assert not any(point.doubts for point in run.points)
    sound = series(noisy(5))
    assert with_doubts(sound) is sound
