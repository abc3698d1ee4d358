from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch

from ibtrack import InformationPlaneTracker, schedules
from ibtrack.replay.checkpoint import Checkpoint
from ibtrack.replay.choice import due, evenly
from ibtrack.schedules import Schedule
from tests.models import Model, probe

PYTHIA = [0, *(2**power for power in range(10)), *range(1000, 144000, 1000)]


def saved(steps: Sequence[int], tokens: int | None = None) -> list[Checkpoint]:
    return [Checkpoint(f"step{step}", "owner/name", step, None if tokens is None else step * tokens) for step in steps]


def steps(chosen: Sequence[Checkpoint]) -> list[Any]:
    return [each.step for each in chosen]


@pytest.mark.parametrize(
    "schedule",
    [schedules.powers(2) | schedules.every(5), schedules.every(3), schedules.at(2, 7), schedules.powers(1.5)],
)
def test_a_schedule_takes_what_a_monitor_takes_that_is_asked_at_the_same_steps(schedule: Schedule) -> None:
    asked = [0, 1, 2, 3, 5, 6, 9, 10, 11, 16, 20]
    tracker, model = InformationPlaneTracker(probe(), schedule=schedule), Model()
    tracker.start(model, max_steps=asked[-1])
    for step in asked:
        tracker.step(model, step)
    tracker.finish(model, asked[-1])
    assert steps(due(saved(asked), schedule)) == [point.step for point in tracker.trajectory.points]


def test_tokens_are_marks_where_they_are_known() -> None:
    assert steps(due(saved([0, 4, 9, 12, 20, 21], tokens=10), schedules.tokens(100))) == [0, 12, 20, 21]


def test_a_schedule_that_counts_what_is_not_known_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^schedule must count steps, as the tokens of step0 are not known"):
        due(saved([0, 1]), schedules.tokens(100))
    with pytest.raises(ValueError, match=r"^schedule must count steps or tokens, as saved checkpoints tell no time"):
        due(saved([0, 1], tokens=1), schedules.seconds(3) | schedules.every(2))


def test_points_lie_evenly_in_the_logarithm_of_the_step() -> None:
    assert steps(evenly(saved(range(1, 1001)), 4)) == [1, 10, 100, 1000]
    assert steps(evenly(saved(range(1, 1001)), 2)) == [1, 1000]


@pytest.mark.parametrize("number", [2, 3, 10, 50, 153, 154, 155])
def test_as_many_as_are_asked_for_are_taken_once_each_with_both_ends(number: int) -> None:
    chosen = steps(evenly(saved(PYTHIA), number))
    assert len(chosen) == min(number, len(PYTHIA))
    assert chosen == sorted({*chosen})
    assert (chosen[0], chosen[-1]) == (0, 143000)


def test_no_gap_is_larger_than_it_must_be() -> None:
    every = torch.tensor(PYTHIA[1:]).log()
    taken = torch.tensor(steps(evenly(saved(PYTHIA), 12))[1:]).log()
    even = float(every[-1] - every[0]) / 10
    nearest = float((every[1:] - every[:-1]).max())  # between two that there are
    assert float((taken[1:] - taken[:-1]).max()) <= even + nearest


@pytest.mark.parametrize("number", [1, 0, True, 2.5])
def test_fewer_than_the_two_ends_are_refused(number: Any) -> None:
    with pytest.raises(ValueError, match=r"^max_points must be an integer of at least 2, got"):
        evenly(saved([1, 2, 3]), number)
