"""When to measure: schedules are values that combine with ``|``.

A schedule counts the marks that a run has passed. A measurement is due when that count has grown since the schedule was
last asked. So a mark between two questions is never missed, and none is taken twice after a restart.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from ibtrack._checks import check_integer


class Progress(NamedTuple):
    """How far a run is.

    Attributes:
        step: Number of optimizer steps taken.
        tokens: Number of training tokens seen over all processes.
        seconds: Wall time since training began.
    """

    step: int
    tokens: int = 0
    seconds: float = 0.0


class _Rule(Protocol):
    """A sequence of marks along a run."""

    def marks(self, progress: Progress) -> float:
        """Count the marks at or before ``progress``; the count never falls."""


@dataclass(frozen=True)
class Schedule:
    """A union of rules, made by the functions of this module.

    Attributes:
        rules: Rules whose marks are all due.

    Example:
        >>> schedule = powers(2) | every(10)
        >>> last, due = Progress(0), []
        >>> for now in map(Progress, range(1, 33)):
        ...     if schedule.due(now, since=last):
        ...         due.append(now.step)
        ...     last = now
        >>> due
        [1, 2, 4, 8, 10, 16, 20, 30, 32]
    """

    rules: tuple[_Rule, ...]

    def due(self, now: Progress, *, since: Progress) -> bool:
        """Tell whether a mark lies after one moment of a run and not after another.

        Args:
            now: How far the run is.
            since: How far it was when the schedule was last asked.
        """
        return any(rule.marks(now) > rule.marks(since) for rule in self.rules)

    @property
    def by_step_alone(self) -> bool:
        """Whether the schedule depends on nothing but the step, which is equal on all processes.

        They count tokens differently, as their batches are padded differently, and their clocks differ.
        """
        return all(not isinstance(rule, _Every) or rule.unit == "step" for rule in self.rules)

    def __or__(self, other: Schedule) -> Schedule:
        return Schedule(tuple(dict.fromkeys(self.rules + other.rules)))


def every(steps: int) -> Schedule:
    """Measure every so many optimizer steps.

    Args:
        steps: Number of steps from one measurement to the next.

    Example:
        >>> [step for step in range(1, 30) if every(10).due(Progress(step), since=Progress(step - 1))]
        [10, 20]
    """
    return Schedule((_Every("step", check_integer("steps", steps, minimum=1)),))


def tokens(number: int) -> Schedule:
    """Measure every so many training tokens, at the first step that reaches them.

    Args:
        number: Number of tokens from one measurement to the next.
    """
    return Schedule((_Every("tokens", check_integer("number", number, minimum=1)),))


def seconds(number: float) -> Schedule:
    """Measure every so many seconds of wall time, at the first step that reaches them.

    Args:
        number: Number of seconds from one measurement to the next.

    Raises:
        ValueError: The number is not above 0.
    """
    if not number > 0:
        raise ValueError(f"number must be greater than 0, got {number!r}")
    return Schedule((_Every("seconds", number),))


def powers(base: float = 2) -> Schedule:
    """Measure at the steps 1, base, base² and so on, rounded up.

    Args:
        base: Factor from one measurement to the next.

    Raises:
        ValueError: The base is not above 1.

    Example:
        >>> [step for step in range(1, 30) if powers(1.5).due(Progress(step), since=Progress(step - 1))]
        [1, 2, 3, 4, 6, 8, 12, 18, 26]
    """
    if not base > 1:
        raise ValueError(f"base must be greater than 1, got {base!r}")
    return Schedule((_Powers(base),))


def at(*steps: int) -> Schedule:
    """Measure at these steps.

    Args:
        *steps: Optimizer steps of at least 1.

    Raises:
        ValueError: There is none, or one is below 1.
    """
    if not steps:
        raise ValueError("at() needs at least one step, got none")
    return Schedule((_At(tuple(sorted({check_integer("steps", step, minimum=1) for step in steps}))),))


def union(*schedules: Schedule) -> Schedule:
    """Measure when any of several schedules says so; what ``a | b`` is called in configuration files.

    Args:
        *schedules: Schedules to combine.

    Raises:
        ValueError: There is none.
    """
    if not schedules:
        raise ValueError("union() needs at least one schedule, got none")
    return Schedule(tuple(dict.fromkeys(rule for schedule in schedules for rule in schedule.rules)))


def pythia() -> Schedule:
    """Measure at the checkpoints of Pythia: 1, 2, 4 and so on to 512, then every 1000 steps.

    Source: Biderman et al., arXiv 2304.01373.
    """
    return at(*(2**power for power in range(10))) | every(1000)


_CALL = re.compile(r"\s*(every|tokens|powers|at|pythia)\s*(?:\(([^()]*)\))?\s*")


def parse(text: str) -> Schedule:
    """Read a schedule that is written as in Python, such as a command line has it; nothing of it is run.

    Args:
        text: ``every(1000)``, ``tokens(1e9)``, ``powers(2)``, ``at(8, 512)`` or ``pythia``, or several with ``|``.

    Raises:
        ValueError: The text is no schedule, or a number in it is out of its range.

    Example:
        >>> parse("powers(2) | every(1000)") == powers(2) | every(1000)
        True
    """
    return union(*map(_parse_one, text.split("|")))


def _parse_one(text: str) -> Schedule:
    found = _CALL.fullmatch(text)
    try:
        numbers = [float(number) for number in found[2].split(",")] if found and (found[2] or "").strip() else []
    except ValueError:
        found = None
    if found is None:
        raise ValueError(
            "a schedule must be every(1000), tokens(1e9), powers(2), at(8, 512) or pythia, or several with |, "
            f"got {text!r}"
        )
    makers: dict[str, Callable[..., Schedule]] = {
        "every": every,
        "tokens": tokens,
        "powers": powers,
        "at": at,
        "pythia": pythia,
    }
    try:
        return makers[found[1]](*[int(number) if number.is_integer() else number for number in numbers])
    except TypeError:
        raise ValueError(f"{found[1]} of a schedule takes another number of numbers than in {text!r}") from None


@dataclass(frozen=True)
class _Every:
    """Marks at the multiples of a number of steps, tokens or seconds."""

    unit: str
    number: float

    def marks(self, progress: Progress) -> float:
        passed: float = getattr(progress, self.unit) // self.number
        return passed


@dataclass(frozen=True)
class _Powers:
    """Marks at the powers of a base, in steps."""

    base: float

    def marks(self, progress: Progress) -> float:
        passed, power = 0, 1.0
        while power <= progress.step:  # a few dozen turns at most, and exact where a logarithm is not
            passed, power = passed + 1, power * self.base
        return passed


@dataclass(frozen=True)
class _At:
    """Marks at given steps."""

    steps: tuple[int, ...]

    def marks(self, progress: Progress) -> float:
        return bisect_right(self.steps, progress.step)
