"""What following a run costs: the wall time of its start, its points, their records and its end."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

PARTS = ("start", "points", "records", "end")


class Costs:
    """Seconds of wall time that following a run has taken.

    The start prepares the probe, tries it on the model and opens the file; points are the measurements; records are
    what file, loggers and phases take of each; the end is what loggers do when they are told of it, such as drawing.

    Attributes:
        earlier: Seconds before a restart, or in the stages of training before this one.
        seconds: Part to the seconds since then.

    Example:
        >>> costs = Costs(earlier=1.5)
        >>> with costs.spend("points"):
        ...     pass
        >>> costs.total < 1.6
        True
    """

    def __init__(self, earlier: float = 0.0) -> None:
        self.earlier = earlier
        self.seconds = dict.fromkeys(PARTS, 0.0)

    @contextlib.contextmanager
    def spend(self, part: str) -> Iterator[None]:
        """Count what is done inside towards a part, also if it fails."""
        began = time.monotonic()
        try:
            yield
        finally:
            self.seconds[part] += time.monotonic() - began

    @property
    def total(self) -> float:
        """All seconds."""
        return self.earlier + sum(self.seconds.values())

    def sentence(self, wall: float) -> str:
        """Say what share of the run's wall time that is, and what it is made of.

        Args:
            wall: Wall time of the run in seconds, over all restarts.

        Example:
            >>> Costs(earlier=2.0).sentence(100)
            '2.00 % of 100 s: start 0.0 s, points 0.0 s, records 0.0 s, end 0.0 s, before a restart 2.0 s'
        """
        parts = {**self.seconds, **({"before a restart": self.earlier} if self.earlier else {})}
        told = ", ".join(f"{part} {seconds:.1f} s" for part, seconds in parts.items())
        return f"{100 * self.total / max(wall, self.total, 1e-9):.2f} % of {wall:.0f} s: {told}"
