"""A share of wall time, for what is done beside the measurements."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator


class Budget:
    """A share of wall time that some things may take.

    Args:
        share: The share, between 0 and 1.
        **expected: Seconds that each thing is expected to take the first time; after that, as long as the last one,
            and in proportion longer where there is more to do.

    Example:
        >>> budget = Budget(0.01, picture=2.0)
        >>> budget.allows("picture", wall_time=150.0), budget.allows("picture", wall_time=250.0)
        (False, True)
        >>> budget.charge("picture", 3.0, size=100)
        >>> budget.expects("picture", size=400)
        12.0
    """

    def __init__(self, share: float, **expected: float) -> None:
        self.share, self.spent = share, 0.0
        self._last = {thing: (seconds, 0.0, 1.0) for thing, seconds in expected.items()}

    def expects(self, thing: str, *, size: float = 1.0) -> float:
        """Predict how many seconds a thing of a size takes.

        Args:
            thing: One of the things that the budget is for.
            size: How much there is to do, in any unit, such as a number of points.
        """
        seconds, growing, last_size = self._last[thing]
        return seconds + growing * max(size / last_size - 1, 0.0)

    def allows(self, thing: str, wall_time: float, *, size: float = 1.0) -> bool:
        """Say whether one more thing of a kind and size stays within the share of so many seconds."""
        return self.spent + self.expects(thing, size=size) < self.share * wall_time

    def charge(self, thing: str, seconds: float, *, size: float = 1.0, growing: float | None = None) -> None:
        """Count what a thing has taken.

        Args:
            thing: One of the things that the budget is for.
            seconds: Seconds that it took.
            size: How much there was to do, more than 0.
            growing: How many of the seconds grow with the size; by default all of them.
        """
        self._last[thing] = (seconds, seconds if growing is None else growing, size)
        self.spent += seconds

    @contextlib.contextmanager
    def spend(self, thing: str, *, size: float = 1.0) -> Iterator[None]:
        """Time what happens inside.

        Args:
            thing: One of the things that the budget is for.
            size: How much there is to do, more than 0.

        Yields:
            Nothing.
        """
        began = time.monotonic()
        try:
            yield
        finally:
            self.charge(thing, time.monotonic() - began, size=size)
