"""A point to the metrics that a logger gets, and what is special to wandb."""

from __future__ import annotations

import contextlib
import io
import math
import time
from collections.abc import Iterator
from typing import Any

from ibtrack._checks import needs
from ibtrack.analysis.phases import Phases, find_phases
from ibtrack.record.keys import metric_key, parse_key
from ibtrack.record.trajectory import Point, Trajectory
from ibtrack.report.tables import TABLE_COLUMNS, table_rows

STEP_KEY = "trainer/global_step"
SHOWING_SHARE = 0.01  # of wall time that table and pictures for wandb may take
FIRST = {"points": 1.5, "plane": 2.0}  # seconds that the first of each is expected to take, imports included


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


class Budget:
    """A share of wall time for what is worth having and not worth waiting for.

    Args:
        share: of wall time.
        **expected: seconds that each thing is expected to take the first time; after that, as long as the last.

    Example:
        >>> budget = Budget(0.01, picture=2.0)
        >>> budget.allows("picture", wall_time=150.0), budget.allows("picture", wall_time=250.0)
        (False, True)
    """

    def __init__(self, share: float, **expected: float) -> None:
        self.share, self.spent, self.expected = share, 0.0, expected

    def allows(self, thing: str, wall_time: float) -> bool:
        return self.spent + self.expected[thing] < self.share * wall_time

    @contextlib.contextmanager
    def spend(self, thing: str) -> Iterator[None]:
        """Time what happens inside."""
        began = time.monotonic()
        try:
            yield
        finally:
            self.expected[thing] = time.monotonic() - began
            self.spent += self.expected[thing]


class PointLog:
    """Gives the points of a run to one logger, each in one call.

    wandb gets more: every key is defined by its full name before its first value, as overlapping globs resolve in
    random order. At the end, and before that as long as it takes less than a hundredth of the run, it also gets all
    points in one table, which is replaced each time, and the plane as a picture, as terminals show no Vega; in its
    summary the phases so far.

    Args:
        logger: a Lightning or Fabric logger, or a wandb run.
        prefix: of the keys.
    """

    def __init__(self, logger: Any, *, prefix: str = "ib") -> None:
        self.logger, self.prefix = logger, prefix
        self._defined: set[str] = set()
        self._budget = Budget(SHOWING_SHARE, **FIRST)
        self._told: list[str] = []  # numbers of phases that the summary holds
        self._left_out: set[str] = set()  # what a package is missing for

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
        try:
            for thing in FIRST:
                if self._budget.allows(thing, point.wall_time):
                    self._show(run, thing, trajectory)
        finally:  # a picture that fails does not cost the numbers
            run.log({**metrics, STEP_KEY: point.step})

    def finish(self, trajectory: Trajectory) -> None:
        """Log what stands at the end of a run: for wandb the phases, the table and the picture."""
        run = wandb_run(self.logger)
        if run is None or not trajectory.points or not trajectory.protocol["orders"]:
            return
        try:
            for thing in FIRST:
                self._show(run, thing, trajectory)
        finally:
            run.log({STEP_KEY: trajectory.points[-1].step})

    def _show(self, run: Any, thing: str, trajectory: Trajectory) -> None:
        """Add a table or a picture to the row that is logged next."""
        if thing in self._left_out:
            return
        make = {"points": self._table, "plane": self._picture}[thing]
        with self._budget.spend(thing):
            try:
                made = make(run, trajectory)
            except ModuleNotFoundError:
                self._left_out.add(thing)  # said once, not at every point
                raise
            if made is not None:
                run.log({metric_key(thing, prefix=self.prefix): made}, commit=False)

    def _table(self, run: Any, trajectory: Trajectory) -> Any:
        """All points so far as a ``wandb.Table``, and the phases into the summary; None without label orders."""
        import wandb

        if not trajectory.protocol["orders"]:  # a preference probe has no plane
            return None
        self._tell_phases(run, find_phases(trajectory, trajectory.protocol["orders"][0]))
        name = run.name or trajectory.name
        rows = table_rows(trajectory, name if run.id in name else f"{name} {run.id}")  # names may be equal, ids not
        data = [[row[column] for column in TABLE_COLUMNS] for row in rows]
        return wandb.Table(columns=list(TABLE_COLUMNS), data=data, log_mode="MUTABLE")

    def _tell_phases(self, run: Any, phases: Phases) -> None:
        numbers: dict[str, float | None] = {**dict.fromkeys(self._told), **phases.numbers()}  # None: no longer so
        self._told = list(numbers)
        run.summary[metric_key("phases", prefix=self.prefix)] = phases.sentence()
        for name, number in numbers.items():
            run.summary[metric_key(name, site="phases", prefix=self.prefix)] = number

    def _picture(self, run: Any, trajectory: Trajectory) -> Any:
        """The plane so far as a ``wandb.Image``; None before there are two points of it."""
        with needs("the picture of the plane in wandb", extra="wandb"):
            import wandb
            from PIL import Image

            from ibtrack.report import charts

        if not trajectory.protocol["orders"]:
            return None
        order = trajectory.protocol["orders"][0]
        if sum(map(math.isfinite, trajectory.values(metric_key("complexity", site="mean", order=order)))) < 2:
            return None
        return wandb.Image(Image.open(io.BytesIO(charts.to_png(charts.plane([trajectory], order=order)))))


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
