"""A wandb run that the training loop logs to as well, of whose rows none is lost for a point.

wandb counts rows, and drops one that comes with a ``step=`` below its count. A row of ours adds one to the count. Where
the loop leaves ``step=`` out, that is nothing to it; where it counts epochs, say, its rows would be gone.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

from ibtrack.integrations.wandb import WandbLog
from ibtrack.record.trajectory import Trajectory

MOST_WAITING = 8  # points until the loop has logged for the first time; after that it seems not to log at all


class SharedRun:
    """Adds the rows of points to a run without raising its count of rows where the loop counts by itself.

    Until the loop has logged for the first time, a few rows wait. If it passes ``step=``, each row of ours joins a row
    of the loop's, and they wait for these; at the end those that still wait are logged all the same, so the loop logs
    its own before that. If it leaves ``step=`` out, each is a row of its own.

    Args:
        run: The wandb run.
    """

    def __init__(self, run: Any) -> None:
        self._run = run
        self._waiting: deque[Mapping[str, Any]] = deque()
        self._sent = 0  # rows of ours that wandb has counted
        self._joined = -1  # count at which one of ours has joined a row of the loop's
        self._is_ours = False  # the loop does not log
        self._is_over = False

    def __getattr__(self, name: str) -> Any:
        """Be the run in all else."""
        return getattr(self._run, name)

    def log(self, row: Mapping[str, Any], commit: bool | None = None) -> None:
        """Log a row, now or later; with ``commit=False`` it is added to the row that is open, as wandb does it."""
        if commit is False:
            self._run.log(row, commit=False)
            return
        self._waiting.append(row)
        if self._loop_counts():
            self._join()
        elif self._is_over or self._loop_logs() or len(self._waiting) > MOST_WAITING:
            self._is_ours = self._is_ours or not self._loop_logs()
            self._send(len(self._waiting))

    def end(self) -> None:
        """Log what waits; what is logged from now on does not wait."""
        self._is_over = True
        if self._loop_counts():
            self._join()
        else:
            self._send(len(self._waiting))

    def _loop_counts(self) -> bool:
        """Whether the loop has passed ``step=``, which wandb notes for its makers, and tells nobody else."""
        return bool(
            getattr(getattr(getattr(self._run, "_telemetry_obj", None), "feature", None), "set_step_log", False)
        )

    def _loop_logs(self) -> bool:
        """Whether there are rows that are not ours, or the loop is known not to log."""
        return self._is_ours or self._run.step != self._sent

    def _join(self) -> None:
        """Put a row into the one that the loop has open, unless one is there; at the end all, each in its own."""
        if self._is_over and self._waiting:
            if self._joined == self._run.step:
                self._run.log({}, commit=True)
            self._send(len(self._waiting) - 1)
            self._joined = -1
        if self._waiting and (count := self._run.step) != self._joined:
            self._run.log(self._waiting.popleft(), commit=False)
            self._joined = count

    def _send(self, number: int) -> None:
        """Log rows that wait, each by itself."""
        for _ in range(number):
            self._run.log(self._waiting.popleft())
            self._sent += 1


class SharedRunLog(WandbLog):
    """Gives the points of a run to a wandb run that was found open, and which the loop may log to.

    Args:
        run: The wandb run.
        **options: Those of `ibtrack.integrations.wandb.WandbLog`.
    """

    def __init__(self, run: Any, **options: Any) -> None:
        super().__init__(SharedRun(run), **options)

    def finish(self, trajectory: Trajectory) -> None:
        """Log what waits, then the table and the picture as they stand at the end of a run."""
        self.logger.end()
        super().finish(trajectory)
