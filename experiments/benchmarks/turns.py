"""Two loops that take turns, timed from inside of the one that cannot be stopped from outside."""

from __future__ import annotations

import time
from collections.abc import Callable


class Turns:
    """Times some steps of a loop, then as many of another, in turn, so that the load of the machine meets both equally.

    Args:
        other: Takes one step of the other loop.
        turn: Number of steps of a loop before it is the other's turn.
        wait: Function that waits until a device has done what it was given.
        clock: Returns seconds; those of the processor (`time.process_time`) leave out what other programs take.

    Attributes:
        seconds: Seconds of each turn of the loop, without the first, which warms it up.
        others: Seconds of each turn of the other loop.

    Example:
        >>> steps = []
        >>> turns = Turns(lambda: steps.append("other"), turn=2)
        >>> for _ in range(4):
        ...     steps.append("own")
        ...     turns.step_ended()
        >>> steps
        ['own', 'own', 'other', 'other', 'own', 'own', 'other', 'other']
        >>> len(turns.seconds), len(turns.others)
        (1, 1)
    """

    def __init__(
        self,
        other: Callable[[], object],
        *,
        turn: int,
        wait: Callable[[], object] = lambda: None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.turn = turn
        self.seconds: list[float] = []
        self.others: list[float] = []
        self._other, self._wait, self._clock = other, wait, clock
        self._steps = 0
        self._began: float | None = None

    def step_ended(self) -> None:
        """Tell that the loop has taken a step; at the end of its turn the other takes its own before this returns."""
        self._steps += 1
        if self._steps % self.turn:
            return
        self._wait()
        own_ended = self._clock()
        for _ in range(self.turn):
            self._other()
        self._wait()
        other_ended = self._clock()
        if self._began is not None:
            self.seconds.append(own_ended - self._began)
            self.others.append(other_ended - own_ended)
        self._began = self._clock()
