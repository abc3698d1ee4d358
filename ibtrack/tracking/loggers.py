"""How points reach loggers, each in one call."""

from __future__ import annotations

import importlib
import sys
from typing import Any, Protocol

from ibtrack.analysis.phase_words import Phases
from ibtrack.record.logged import logged_metrics
from ibtrack.record.texts import printable
from ibtrack.record.trajectory import Point, Trajectory


class PointLog(Protocol):
    """Takes the points of a run, each in one call, and is told when the run is over."""

    logger: Any

    def log(self, point: Point, trajectory: Trajectory) -> None:
        """Log a point, the newest of ``trajectory``."""

    def tell(self, phases: Phases) -> None:
        """Show the phases so far, in the place of those that were shown before."""

    def alert(self, title: str, text: str) -> bool:
        """Raise an alert; say whether the logger can."""

    def finish(self, trajectory: Trajectory) -> None:
        """Log what stands at the end of a run."""


class MetricsLog:
    """Gives the metrics of every point to a logger with ``log_metrics(metrics, step)``.

    Args:
        logger: A Lightning or Fabric logger, or any object with this method.
        prefix: Prefix of the keys.
        log: What it gets of a point, ``few`` or ``all`` of its numbers, see `ibtrack.record.logged.logged_metrics`.
    """

    def __init__(self, logger: Any, *, prefix: str = "ib", log: str = "few") -> None:
        self.logger, self.prefix, self.numbers = logger, prefix, log

    def log(self, point: Point, trajectory: Trajectory) -> None:
        """Log a point in one call."""
        self.logger.log_metrics(logged_metrics(point, prefix=self.prefix, log=self.numbers), step=point.step)

    def tell(self, phases: Phases) -> None:
        """Do nothing: such a logger has no place for a sentence that changes."""

    def alert(self, title: str, text: str) -> bool:
        """Do nothing: such a logger raises no alerts."""
        return False

    def finish(self, trajectory: Trajectory) -> None:
        """Do nothing: the logger has had all points."""


def point_log(logger: Any, *, prefix: str = "ib", log: str = "few", is_shared: bool = False) -> PointLog:
    """Choose how points reach a logger.

    Args:
        logger: A wandb run, Lightning's ``WandbLogger``, or an object with ``log_metrics(metrics, step)``.
        prefix: Prefix of the keys.
        log: What it gets of a point, ``few`` or ``all`` of its numbers.
        is_shared: Whether a wandb run was found open, so that the loop may log to it as well; none of its rows is lost
            then, see `ibtrack.integrations.shared_run`.

    Raises:
        ValueError: ``logger`` is none of these.
    """
    if type(logger).__name__ == "WandbLogger" or hasattr(logger, "define_metric"):
        # the adapter draws charts, which measuring knows nothing of: it is imported only where wandb is used
        if is_shared:
            shared_run = importlib.import_module("ibtrack.integrations.shared_run")
            return shared_run.SharedRunLog(logger, prefix=prefix, log=log)
        return importlib.import_module("ibtrack.integrations.wandb").WandbLog(logger, prefix=prefix, log=log)
    if not callable(getattr(logger, "log_metrics", None)):
        raise ValueError(
            f"loggers must be wandb runs or have a method log_metrics(metrics, step), got {type(logger).__name__}"
        )
    return MetricsLog(logger, prefix=prefix, log=log)


def open_wandb_runs() -> list[Any]:
    """Find the run that ``wandb.init`` has opened in this process, if there is one; wandb itself is not imported."""
    run = getattr(sys.modules.get("wandb"), "run", None)
    return [] if run is None or getattr(run, "disabled", False) else [run]


def logger_name(logger: Any) -> str:
    """Name a logger in a sentence: a wandb run by its name, a reporter of a trainer and a module by their own, others
    by their class.

    Args:
        logger: What `point_log` takes.
    """
    if hasattr(logger, "define_metric"):
        return (
            f"the wandb run {printable(str(getattr(logger, 'name', None) or getattr(logger, 'id', 'without a name')))}"
        )
    named = getattr(logger, "reports_to", None) or getattr(logger, "__name__", None)  # the latter of a module: mlflow
    return str(named or type(logger).__name__)
