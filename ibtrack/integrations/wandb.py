"""What wandb gets of a run: the points, all points as one table, the plane as a picture, the phases, and alerts."""

from __future__ import annotations

import io
import math
from typing import Any

from ibtrack._checks import needs
from ibtrack.analysis.phase_words import Phases
from ibtrack.record.keys import metric_key
from ibtrack.record.logged import logged_metrics
from ibtrack.record.trajectory import Point, Trajectory
from ibtrack.report.tables import TABLE_COLUMNS, table_rows
from ibtrack.tracking.budget import Budget

STEP_KEY = "trainer/global_step"
SHOWING_SHARE = 0.01  # of wall time that table and pictures may take
FIRST = {"points": 1.5, "plane": 2.0}  # seconds that the first of each is expected to take, imports included


class WandbLog:
    """Gives the points of a run to wandb, each in one call.

    Every key is defined by its full name before its first value, as overlapping globs resolve in random order. At the
    end, and before that as long as it takes less than a hundredth of the run, wandb also gets all points in one table,
    which is replaced each time, and the plane as a picture, as terminals show no Vega. Its summary holds the phases so
    far.

    Args:
        logger: A wandb run, or Lightning's ``WandbLogger``, whose run begins when it is first asked for.
        prefix: Prefix of the keys.
    """

    def __init__(self, logger: Any, *, prefix: str = "ib") -> None:
        self.logger, self.prefix = logger, prefix
        self._defined: set[str] = set()
        self._budget = Budget(SHOWING_SHARE, **FIRST)
        self._in_summary: list[str] = []  # numbers of phases that the summary holds
        self._left_out: set[str] = set()  # what a package is missing for

    @property
    def run(self) -> Any:
        """The wandb run."""
        return self.logger if hasattr(self.logger, "define_metric") else self.logger.experiment

    def log(self, point: Point, trajectory: Trajectory) -> None:
        """Log a point, the newest of ``trajectory``.

        Raises:
            ModuleNotFoundError: The extra ``wandb`` is not installed; the numbers of the point are logged all the same.
        """
        metrics, run = logged_metrics(point, prefix=self.prefix), self.run
        for key in metrics.keys() - self._defined:
            run.define_metric(key, step_metric=STEP_KEY)
        self._defined.update(metrics)
        try:
            for thing in FIRST:
                if self._budget.allows(thing, point.wall_time):
                    self._show(run, thing, trajectory)
        finally:  # a picture that fails does not cost the numbers
            run.log({**metrics, STEP_KEY: point.step})

    def tell(self, phases: Phases) -> None:
        """Put the phases so far into the summary, as a sentence and as numbers."""
        run = self.run
        numbers: dict[str, float | None] = {**dict.fromkeys(self._in_summary), **phases.numbers()}  # None: no longer so
        self._in_summary = list(numbers)
        run.summary[metric_key("phases", prefix=self.prefix)] = phases.sentence()
        for name, number in numbers.items():
            run.summary[metric_key(name, site="phases", prefix=self.prefix)] = number

    def alert(self, title: str, text: str) -> bool:
        """Raise an alert, which wandb sends by mail or to a chat, as its user has set it up."""
        self.run.alert(title=title, text=text)
        return True

    def finish(self, trajectory: Trajectory) -> None:
        """Log the table and the picture as they stand at the end of a run."""
        if not trajectory.points or not trajectory.protocol["orders"]:
            return
        run = self.run
        try:
            for thing in FIRST:
                self._show(run, thing, trajectory)
        finally:
            run.log({STEP_KEY: trajectory.points[-1].step})

    def _show(self, run: Any, thing: str, trajectory: Trajectory) -> None:
        """Add a table or a picture to the row that is logged next.

        Raises:
            ModuleNotFoundError: A package of the extra ``wandb`` is missing; this is said once, and not again.
        """
        if thing in self._left_out:
            return
        make = {"points": self._table, "plane": self._picture}[thing]
        with self._budget.spend(thing):
            try:
                item = make(run, trajectory)
            except ModuleNotFoundError:
                self._left_out.add(thing)  # said once, not at every point
                raise
            if item is not None:
                run.log({metric_key(thing, prefix=self.prefix): item}, commit=False)

    def _table(self, run: Any, trajectory: Trajectory) -> Any:
        """Make a ``wandb.Table`` of all points; None without label orders."""
        import wandb

        if not trajectory.protocol["orders"]:  # a preference probe has no plane
            return None
        name = run.name or trajectory.name
        rows = table_rows(trajectory, name if run.id in name else f"{name} {run.id}")  # names may be equal, ids not
        data = [[row[column] for column in TABLE_COLUMNS] for row in rows]
        return wandb.Table(columns=list(TABLE_COLUMNS), data=data, log_mode="MUTABLE")

    def _picture(self, run: Any, trajectory: Trajectory) -> Any:
        """Draw the plane as a ``wandb.Image``; None before there are two points of it."""
        with needs("the picture of the plane in wandb", extra="wandb"):
            import wandb
            from PIL import Image

            from ibtrack.report import charts

        if not trajectory.protocol["orders"]:
            return None
        order = trajectory.protocol["orders"][0]
        if sum(map(math.isfinite, trajectory.values(metric_key("kept", site="mean", order=order)))) < 2:
            return None
        return wandb.Image(Image.open(io.BytesIO(charts.to_png(charts.plane([trajectory], order=order)))))
