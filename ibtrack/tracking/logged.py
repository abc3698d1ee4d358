"""What of a point is logged: the metrics that loggers get, and a line for the terminal."""

from __future__ import annotations

import importlib
import math
from typing import Any, Protocol

from ibtrack.record.keys import metric_key, parse_key
from ibtrack.record.trajectory import Point, Trajectory


class PointLog(Protocol):
    """Takes the points of a run, each in one call, and is told when the run is over."""

    logger: Any

    def log(self, point: Point, trajectory: Trajectory) -> None:
        """Log a point, the newest of ``trajectory``."""

    def finish(self, trajectory: Trajectory) -> None:
        """Log what stands at the end of a run."""


class MetricsLog:
    """Gives the metrics of every point to a logger with ``log_metrics(metrics, step)``.

    Args:
        logger: A Lightning or Fabric logger, or any object with this method.
        prefix: Prefix of the keys.
    """

    def __init__(self, logger: Any, *, prefix: str = "ib") -> None:
        self.logger, self.prefix = logger, prefix

    def log(self, point: Point, trajectory: Trajectory) -> None:
        """Log a point in one call."""
        self.logger.log_metrics(logged_metrics(point, prefix=self.prefix), step=point.step)

    def finish(self, trajectory: Trajectory) -> None:
        """Do nothing: the logger has had all points."""


def point_log(logger: Any, *, prefix: str = "ib") -> PointLog:
    """Choose how points reach a logger.

    Args:
        logger: A wandb run, Lightning's ``WandbLogger``, or an object with ``log_metrics(metrics, step)``.
        prefix: Prefix of the keys.

    Raises:
        ValueError: ``logger`` is none of these.
    """
    if type(logger).__name__ == "WandbLogger" or hasattr(logger, "define_metric"):
        # the adapter draws charts, which measuring knows nothing of: it is imported only where wandb is used
        return importlib.import_module("ibtrack.integrations.wandb").WandbLog(logger, prefix=prefix)
    if not callable(getattr(logger, "log_metrics", None)):
        raise ValueError(
            f"loggers must be wandb runs or have a method log_metrics(metrics, step), got {type(logger).__name__}"
        )
    return MetricsLog(logger, prefix=prefix)


def logged_metrics(point: Point, *, prefix: str = "ib") -> dict[str, float]:
    """The numbers that loggers get: all of the mean and of the run, the debiased ones of each site; no ``nan``.

    Example:
        >>> point = Point(8, {"ib/mean/entropy": 0.5, "ib_null/L00/token/complexity": 0.1}, tokens_seen=4096)
        >>> logged_metrics(point, prefix="held_out")
        {'held_out/mean/entropy': 0.5, 'held_out/tokens_seen': 4096.0, 'held_out/failed': 0.0}
    """
    metrics = {}
    for key, value in point.values.items():
        parts = parse_key(key)
        if (parts.site in (None, "mean") or parts.reading == "debiased") and math.isfinite(value):
            metrics[metric_key(**{**parts._asdict(), "prefix": prefix})] = float(value)
    if point.tokens_seen is not None:
        metrics[metric_key("tokens_seen", prefix=prefix)] = float(point.tokens_seen)
    metrics[metric_key("failed", prefix=prefix)] = float(point.failure is not None)
    return metrics


def summary_line(point: Point) -> str:
    """One line for the terminal.

    Example:
        >>> print(summary_line(Point(8, failure="L00 did not fire")))
        ibtrack step 8: not measured: L00 did not fire
    """
    if point.failure is not None:
        return f"ibtrack step {point.step}: not measured: {point.failure}"
    values = {quantity: point.values.get(f"ib/mean/{quantity}") for quantity in ("entropy", *_SHOWN)}
    parts = [f"{_SHORT[name]} {value:.3f}" for name, value in values.items() if value is not None]
    error = point.values.get("ib/mean/token/optimality_se")
    parts[-1] += f" ± {error:.3f}" if error is not None else ""
    return f"ibtrack step {point.step}: {', '.join(parts)} ({point.measure_time:.2f} s)"


_SHOWN = ("preference_information", "token/complexity", "token/expressivity", "token/optimality")
_SHORT = dict(zip(("entropy", *_SHOWN), ("H", "I(pref;Z)", "token I(X;Z)", "I(Y;Z)", "optimality"), strict=True))
