"""Schedules: at which steps they are due, between questions and after a restart."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ibtrack import schedules
from ibtrack.schedules import Progress, Schedule

HALF: Any = 1.5  # no integer


def due_steps(
    schedule: Schedule, last: int, *, tokens_per_step: int = 0, seconds_per_step: float = 0.0, ask_every: int = 1
) -> list[int]:
    since = Progress(0)
    due: list[int] = []
    for step in range(ask_every, last + 1, ask_every):
        now = Progress(step, step * tokens_per_step, step * seconds_per_step)
        if schedule.due(now, since=since):
            due.append(step)
        since = now
    return due


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        (schedules.every(10), [10, 20, 30, 40]),
        (schedules.powers(2), [1, 2, 4, 8, 16, 32]),
        (schedules.at(5, 3, 5), [3, 5]),
        (schedules.at(3) | schedules.every(20), [3, 20, 40]),
        (schedules.union(schedules.at(3), schedules.every(20)), [3, 20, 40]),
    ],
)
def test_due_steps(schedule: Schedule, expected: list[int]) -> None:
    assert due_steps(schedule, 40) == expected


def test_pythia_has_its_published_checkpoints() -> None:
    expected = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, *range(1000, 143_001, 1000)]
    assert due_steps(schedules.pythia(), 143_000) == expected
    assert len(expected) + 1 == 154  # with step 0, as published


def test_tokens_are_due_at_the_first_step_that_reaches_them() -> None:
    assert due_steps(schedules.tokens(1000), 20, tokens_per_step=150) == [7, 14, 20]


def test_seconds() -> None:
    assert due_steps(schedules.seconds(1.0), 10, seconds_per_step=0.3) == [4, 7, 10]


def test_marks_between_two_questions_are_one_measurement() -> None:
    assert due_steps(schedules.powers(2), 40, ask_every=7) == [7, 14, 21, 35]


def test_nothing_is_due_again_after_a_restart() -> None:
    schedule = schedules.every(10)
    assert not schedule.due(Progress(20), since=Progress(20))
    assert not schedule.due(Progress(21), since=Progress(20))


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: schedules.every(0), "steps must be an integer of at least 1, got 0"),
        (lambda: schedules.tokens(HALF), r"number must be an integer of at least 1, got 1\.5"),
        (lambda: schedules.seconds(0), "number must be greater than 0, got 0"),
        (lambda: schedules.powers(1), "base must be greater than 1, got 1"),
        (lambda: schedules.at(), "needs at least one step"),
        (lambda: schedules.union(), "needs at least one schedule"),
    ],
)
def test_bad_input(make: Callable[[], Schedule], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        make()


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        (schedules.pythia() | schedules.powers(2), True),
        (schedules.every(3) | schedules.tokens(1000), False),
        (schedules.seconds(1.0), False),
    ],
)
def test_a_schedule_of_steps_alone_is_known(schedule: Schedule, expected: bool) -> None:
    assert schedule.by_step_alone is expected


@pytest.mark.parametrize(
    ("text", "schedule"),
    [
        ("every(1000)", schedules.every(1000)),
        (" powers(1.5) |every( 10 )", schedules.powers(1.5) | schedules.every(10)),
        ("at(8, 512)|tokens(1e9)", schedules.at(8, 512) | schedules.tokens(10**9)),
        ("pythia", schedules.pythia()),
        ("pythia() | powers", schedules.pythia() | schedules.powers(2)),
    ],
)
def test_a_schedule_is_read_as_it_is_written(text: str, schedule: Schedule) -> None:
    assert schedules.parse(text) == schedule


@pytest.mark.parametrize(
    "text",
    ["", "often", "every(10) |", "every(ten)", "every(10", "__import__('os').system('ls')", "seconds(3)", "at(1,,2)"],
)
def test_what_is_no_schedule_is_refused_and_nothing_of_it_is_run(text: str) -> None:
    with pytest.raises(ValueError, match=r"a schedule must be every\(1000\), tokens\(1e9\), .* got "):
        schedules.parse(text)


def test_numbers_of_a_schedule_are_checked_as_in_python() -> None:
    with pytest.raises(ValueError, match="steps must be an integer of at least 1, got 0"):
        schedules.parse("every(0)")
    with pytest.raises(ValueError, match="base must be greater than 1"):
        schedules.parse("powers(nan)")
    with pytest.raises(ValueError, match="every of a schedule takes another number of numbers than in 'every'"):
        schedules.parse("every")
    with pytest.raises(ValueError, match=r"at.. needs at least one step"):
        schedules.parse("at")
