"""A share of wall time, for what is done beside the measurements."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator


class Budget:
    """A share of wall time that some things may take.

    Args:
        share: The share, between 0 and 1.
        **expected: Seconds that each thing is expected to take the first time; after that, as long as the last one.

    Example:
        >>> budget = Budget(0.01, picture=2.0)
        >>> budget.allows("picture", wall_time=150.0), budget.allows("picture", wall_time=250.0)
        (False, True)
    """

    def __init__(self, share: float, **expected: float) -> None:
        self.share, self.spent, self.expected = share, 0.0, expected

    def allows(self, thing: str, wall_time: float) -> bool:
        """Say whether one more thing of a kind stays within the share of so many seconds."""
        return self.spent + self.expected[thing] < self.share * wall_time

    @contextlib.contextmanager
    def spend(self, thing: str) -> Iterator[None]:
        """Time what happens inside.

        Yields:
            Nothing.
        """
        began = time.monotonic()
        try:
            yield
        finally:
            self.expected[thing] = time.monotonic() - began
            self.spent += self.expected[thing]
