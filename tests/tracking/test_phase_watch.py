"""Phases while a run goes on: what begins is told once, and finding it keeps to its share of the run."""

from dataclasses import replace

import pytest

from ibtrack.analysis import find_phases
from ibtrack.record.trajectory import Trajectory
from ibtrack.tracking.phase_watch import PhaseWatch
from tests import trajectories

RUN = trajectories.make()  # narrowing, fitting, compression


def until(number: int, *, seconds: float = 1000.0) -> Trajectory:
    points = [replace(point, wall_time=seconds * (i + 1)) for i, point in enumerate(RUN.points[:number])]
    return replace(RUN, points=points)


def test_each_phase_is_told_once_at_the_point_that_shows_it() -> None:
    watch = PhaseWatch()
    told: dict[str, int] = {}
    for number in range(1, len(RUN.points) + 1):
        phases, news = watch.look(until(number))
        assert phases == find_phases(until(number))
        for sentence in news:
            name = sentence.partition(" ")[0]
            assert name not in told
            told[name] = number
            assert f"by step {until(number).steps[-1]} " in sentence or name != "compression"
    assert list(told) == ["narrowing", "fitting", "compression"]
    assert told["narrowing"] <= told["fitting"] < told["compression"] < len(RUN.points)


def test_what_was_known_before_is_no_news() -> None:
    watch = PhaseWatch()
    _, news = watch.look(RUN, is_last=True)
    assert len(news) == 3
    assert watch.look(RUN, is_last=True)[1] == []


def test_phases_are_found_less_often_where_they_take_more_than_their_share(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("ibtrack.tracking.budget.time.monotonic", lambda: now[0])
    found = find_phases(RUN)

    def slow(trajectory: Trajectory, order: str) -> object:
        now[0] += 2.0
        return found

    monkeypatch.setattr("ibtrack.tracking.phase_watch.find_phases", slow)
    watch = PhaseWatch()
    looks = [watch.look(until(number, seconds=100.0))[0] is not None for number in range(1, 13)]
    assert 2 <= sum(looks) <= 6  # of 1200 seconds a hundredth is 12, six times two
    assert watch.look(until(12, seconds=100.0), is_last=True)[0] is found


def test_a_probe_without_label_orders_has_no_phases() -> None:
    assert PhaseWatch().look(Trajectory({"orders": []}, {}, RUN.points), is_last=True) == (None, [])
