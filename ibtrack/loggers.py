"""A point to the metrics that a logger gets, and what is special to wandb."""

from __future__ import annotations

import io
import math
import time
from typing import Any

from ibtrack.keys import metric_key, parse_key
from ibtrack.phases import find_phases
from ibtrack.trajectory import Point, Trajectory

STEP_KEY = "trainer/global_step"
PICTURE_SHARE = 0.01  # of wall time that drawing pictures for wandb may take
FIRST_PICTURE = 2.0  # seconds that the first one is expected to take, imports included


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


class PointLog:
    """Gives the points of a run to one logger, each in one call.

    wandb gets more: every key is defined by its full name before its first value, as overlapping globs resolve in
    random order; and the plane comes as a picture, as terminals show no Vega: at the end, and before that as long as
    drawing takes less than a hundredth of the run.

    Args:
        logger: a Lightning or Fabric logger, or a wandb run.
        prefix: of the keys.
    """

    def __init__(self, logger: Any, *, prefix: str = "ib") -> None:
        self.logger, self.prefix = logger, prefix
        self._defined: set[str] = set()
        self._drawing, self._drawn = FIRST_PICTURE, 0.0  # seconds: expected of the next picture, spent so far

    def log(self, point: Point, trajectory: Trajectory) -> None:
        """Log a point, the newest of ``trajectory``."""
        metrics = logged_metrics(point, prefix=self.prefix)
        run = wandb_run(self.logger)
        if run is None:
            self.logger.log_metrics(metrics, step=point.step)
            return
        for key in metrics.keys() - self._defined:
            run.define_metric(key, step_metric=STEP_KEY)
        self._defined.update(metrics)
        row: dict[str, Any] = {**metrics, STEP_KEY: point.step}
        try:
            if self._drawn + self._drawing < PICTURE_SHARE * point.wall_time:
                row.update(self._picture(trajectory))
        finally:  # a picture that fails does not cost the numbers
            run.log(row)

    def finish(self, trajectory: Trajectory) -> None:
        """Log what stands at the end of a run: for wandb the phases, in its summary, and the last picture."""
        run = wandb_run(self.logger)
        if run is None or not trajectory.points or not trajectory.protocol["orders"]:
            return
        run.summary[metric_key("phases", prefix=self.prefix)] = find_phases(
            trajectory, trajectory.protocol["orders"][0]
        ).sentence()
        if picture := self._picture(trajectory):
            run.log({**picture, STEP_KEY: trajectory.points[-1].step})

    def _picture(self, trajectory: Trajectory) -> dict[str, Any]:
        """The plane so far as a ``wandb.Image`` under its key; nothing before there are two points."""
        import wandb
        from PIL import Image

        from ibtrack import charts

        if not trajectory.protocol["orders"]:  # a preference probe has no plane
            return {}
        order = trajectory.protocol["orders"][0]
        if sum(map(math.isfinite, trajectory.values(metric_key("complexity", site="mean", order=order)))) < 2:
            return {}
        began = time.monotonic()
        picture = Image.open(io.BytesIO(charts.to_png(charts.plane([trajectory], order=order))))
        self._drawing = time.monotonic() - began
        self._drawn += self._drawing
        return {metric_key("plane", prefix=self.prefix): wandb.Image(picture)}


def wandb_run(logger: Any) -> Any:
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


_SHOWN = ("preference_information", "token/complexity", "token/expressivity", "token/optimality")
_SHORT = dict(zip(("entropy", *_SHOWN), ("H", "I(pref;Z)", "token I(X;Z)", "I(Y;Z)", "optimality"), strict=True))
