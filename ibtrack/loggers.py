"""A point to the metrics that a logger gets, and what is special to wandb."""

from __future__ import annotations

import math
from typing import Any

from ibtrack.keys import metric_key, parse_key
from ibtrack.trajectory import Point, Trajectory

STEP_KEY = "trainer/global_step"


def logged_metrics(point: Point, *, prefix: str = "ib") -> dict[str, float]:
    """The numbers that loggers get: all of the mean and of the run, the debiased ones of each site; no ``nan``.

    Example:
        >>> point = Point(8, {"ib/mean/entropy": 0.5, "ib_null/L00/token/complexity": 0.1}, tokens_seen=4096)
        >>> logged_metrics(point, prefix="held_out")
        {'held_out/mean/entropy': 0.5, 'held_out/tokens_seen': 4096.0, 'held_out/failed': 0.0}
    """
    metrics = {}
    for key, value in point.readings.items():
        parts = parse_key(key)
        if (parts.site in (None, "mean") or parts.reading == "debiased") and math.isfinite(value):
            metrics[metric_key(**{**parts._asdict(), "prefix": prefix})] = float(value)
    if point.tokens_seen is not None:
        metrics[metric_key("tokens_seen", prefix=prefix)] = float(point.tokens_seen)
    metrics[metric_key("failed", prefix=prefix)] = float(point.failure is not None)
    return metrics


def log_point(point: Point, logger: Any, *, trajectory: Trajectory, prefix: str = "ib") -> None:
    """Give a point to a logger, in one call.

    Args:
        point: the newest of ``trajectory``.
        logger: a Lightning or Fabric logger, or a wandb run.
        trajectory: so far; wandb gets a picture of it.
        prefix: of the keys.
    """
    metrics = logged_metrics(point, prefix=prefix)
    run = _wandb_run(logger)
    if run is None:
        logger.log_metrics(metrics, step=point.step)
    else:
        _log_to_wandb(run, metrics, point, trajectory, prefix)


def _log_to_wandb(run: Any, metrics: dict[str, float], point: Point, trajectory: Trajectory, prefix: str) -> None:
    """One row: the numbers with their x axis, and the plane as a picture, as terminals and free plans show no Vega.

    Every key is defined by its full name before its first value, since overlapping globs resolve in random order.
    """
    known = run.__dict__.setdefault("_ibtrack_keys", set())
    for key in metrics.keys() - known:
        run.define_metric(key, step_metric=STEP_KEY)
    known.update(metrics)
    row: dict[str, Any] = {**metrics, STEP_KEY: point.step}
    picture = plane_picture(trajectory)
    if picture is not None:
        row[metric_key("plane", prefix=prefix)] = picture
    run.log(row)


def plane_picture(trajectory: Trajectory) -> Any:
    """The plane so far as a ``wandb.Image``, or None without two measured points."""
    import io

    import wandb
    from PIL import Image

    from ibtrack import charts

    order = trajectory.protocol["orders"][0]
    values = trajectory.values(metric_key("complexity", site="mean", order=order))
    if sum(map(math.isfinite, values)) < 2:
        return None
    chart = charts.plane([trajectory], order=order)
    return wandb.Image(Image.open(io.BytesIO(charts.to_png(chart))))


def _wandb_run(logger: Any) -> Any:
    """The wandb run behind a logger, or None if it is not wandb's."""
    if type(logger).__name__ == "WandbLogger":
        return logger.experiment
    return logger if hasattr(logger, "define_metric") else None


def summary_line(point: Point) -> str:
    """One line for the terminal.

    Example:
        >>> print(summary_line(Point(8, failure="L00 did not fire")))
        ibtrack step 8: not measured: L00 did not fire
    """
    if point.failure is not None:
        return f"ibtrack step {point.step}: not measured: {point.failure}"
    values = {quantity: point.readings.get(f"ib/mean/{quantity}") for quantity in ("entropy", *_SHOWN)}
    parts = [f"{_SHORT[name]} {value:.3f}" for name, value in values.items() if value is not None]
    error = point.readings.get("ib/mean/token/optimality_se")
    parts[-1] += f" ± {error:.3f}" if error is not None else ""
    return f"ibtrack step {point.step}: {', '.join(parts)} ({point.measure_time:.2f} s)"


_SHOWN = ("token/complexity", "token/expressivity", "token/optimality")
_SHORT = dict(zip(("entropy", *_SHOWN), ("H", "token I(X;Z)", "I(Y;Z)", "optimality"), strict=True))
