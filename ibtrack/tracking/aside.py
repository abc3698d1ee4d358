"""Work beside the training: in a thread of its own, so that the training loop never waits for it."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import NamedTuple


class Outcome(NamedTuple):
    """How one piece of work ended.

    Attributes:
        seconds: Seconds that it took.
        working: How many of these its thread was at work, and did not wait for another process or a server.
        error: What it raised, or None.
    """

    seconds: float
    working: float
    error: Exception | None


class Aside:
    """Does pieces of work one after the other, in a thread that does not keep Python from ending.

    Example:
        >>> aside, done = Aside(), []
        >>> aside.start(lambda: done.append(1))
        >>> aside.wait(60.0), done, [outcome.error for outcome in aside.outcomes()]
        (True, [1], [None])
    """

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None
        self._outcomes: deque[Outcome] = deque()

    @property
    def busy(self) -> bool:
        """Whether there is work that has not ended."""
        return self._thread is not None and self._thread.is_alive()

    def start(self, work: Callable[[], None]) -> None:
        """Do a piece of work after those that were started before it.

        Args:
            work: Called without arguments, in the thread.
        """
        self._thread = threading.Thread(target=self._do, args=(work, self._thread), name="ibtrack", daemon=True)
        self._thread.start()

    def wait(self, seconds: float) -> bool:
        """Wait until all work has ended, but not longer than so many seconds; say whether it has.

        Args:
            seconds: Longest time to wait.
        """
        if self._thread is not None:
            self._thread.join(max(seconds, 0.0))
        return not self.busy

    def outcomes(self) -> list[Outcome]:
        """List how the pieces of work ended that have ended since this was last asked."""
        return [self._outcomes.popleft() for _ in range(len(self._outcomes))]

    def _do(self, work: Callable[[], None], before: threading.Thread | None) -> None:
        if before is not None:
            before.join()
        began, worked, error = time.monotonic(), time.thread_time(), None
        try:
            work()
        except Exception as problem:
            error = problem
        self._outcomes.append(Outcome(time.monotonic() - began, time.thread_time() - worked, error))
