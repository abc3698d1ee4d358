"""What wandb gets of a run: points, all points as a table, the plane as page and as picture, the phases, and alerts.

wandb's client sends numbers from a process of its own, so giving them to it takes no time, whatever its server does.
A table it gives out of hand only once the server has answered, which takes 20 s where that is down. So table, page and
picture are made and sent beside the training.
"""

from __future__ import annotations

import io
import math
import time
from dataclasses import replace
from typing import Any

from ibtrack._checks import needs
from ibtrack.analysis.phase_words import Phases
from ibtrack.record.keys import metric_key
from ibtrack.record.logged import logged_metrics
from ibtrack.record.texts import printable, reason
from ibtrack.record.trajectory import Point, Trajectory
from ibtrack.report import draw
from ibtrack.report.tables import TABLE_COLUMNS, table_rows
from ibtrack.tracking.aside import Aside
from ibtrack.tracking.budget import Budget

STEP_KEY = "trainer/global_step"
TABLE, PICTURE, PAGE = "points", "information_plane_picture", "information_plane"
SHOWING_SHARE = 0.01  # of wall time that table, pictures and pages may take
FIRST = {TABLE: 1.5, PICTURE: 2.0, PAGE: 3.0}  # seconds that the first of each is expected to take, imports included
WORDS = {TABLE: "the table of all points", PICTURE: "the picture of the plane", PAGE: "the page of the plane"}
MOST_POINTS = 1000  # in table and picture, each of which takes a second then; wandb cuts a table off at 10,000 rows
MOST_IN_PAGE = 100  # as many as a panel has room for; with four label sets they make a tenth of the page
MOST = {TABLE: MOST_POINTS, PICTURE: MOST_POINTS, PAGE: MOST_IN_PAGE}
GROWTH = (
    1.5  # of the points from one page to the next: each is a megabyte that wandb keeps, so there are some 15 of them
)
WAIT_AT_END = 30.0  # seconds: a server that is down is given up by wandb after 20


class WandbLog:
    """Gives the points of a run to wandb, each in one call.

    Every key is defined by its full name before its first value, as overlapping globs resolve in random order. At the
    end, and before that as long as it takes less than a hundredth of the run, wandb also gets all points in one table,
    which is replaced each time, the plane as a page to look at closely, which needs no custom chart of an account, and
    as a picture, as terminals show no pages. Each is made and sent in a thread of its own, for which only the end of a
    run waits, half a minute at most. Of a run with more than 1000 points table and picture show every second, third …
    and the last; the page shows 100, and is made again when there are half as many points again. The summary holds the
    phases so far.

    Args:
        logger: A wandb run, or Lightning's ``WandbLogger``, whose run begins when it is first asked for.
        prefix: Prefix of the keys.
        log: What it gets of a point, ``few`` or ``all`` of its numbers, see `ibtrack.record.logged.logged_metrics`.
    """

    def __init__(self, logger: Any, *, prefix: str = "ib", log: str = "few") -> None:
        self.logger, self.prefix, self.numbers = logger, prefix, log
        self._defined: set[str] = set()
        self._budget = Budget(SHOWING_SHARE, **FIRST)
        self._asides = {thing: Aside() for thing in FIRST}
        self._sizes: dict[str, int] = {}  # number of points in the last of each
        self._in_page = 0  # number of points of the run when its last page was made
        self._in_summary: list[str] = []  # numbers of phases that the summary holds
        self._imported: set[str] = set()  # what the packages have been imported for
        self._left_out: set[str] = set()  # what a package is missing for
        self._problems: dict[str, Exception] = {}  # what went wrong and has not been raised

    @property
    def run(self) -> Any:
        """The wandb run."""
        return self.logger if hasattr(self.logger, "define_metric") else self.logger.experiment

    def log(self, point: Point, trajectory: Trajectory) -> None:
        """Log a point, the newest of ``trajectory``.

        Raises:
            ModuleNotFoundError: The extra ``wandb`` is not installed; the numbers of the point are logged all the same.
            RuntimeError: Table, picture or page of an earlier point did not reach wandb; the same holds.
        """
        metrics, run = logged_metrics(point, prefix=self.prefix, log=self.numbers), self.run
        for key in metrics.keys() - self._defined:
            run.define_metric(key, step_metric=STEP_KEY)
        self._defined.update(metrics)
        run.log({**metrics, STEP_KEY: point.step})
        self._take_stock()
        for thing, aside in self._asides.items():
            shown = thinned(trajectory, MOST[thing])
            is_worth_it = thing != PAGE or len(trajectory.points) >= GROWTH * self._in_page
            if not aside.busy and is_worth_it and self._budget.allows(thing, point.wall_time, size=_size(shown)):
                self._in_page = len(trajectory.points) if thing == PAGE else self._in_page
                self._show(run, thing, shown)
        self._raise_problems()

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
        """Log table, picture and page as they stand at the end of a run; wait for them, half a minute at most.

        Raises:
            ModuleNotFoundError: The extra ``wandb`` is not installed.
            RuntimeError: One of them did not reach wandb, or not in time.
        """
        if not trajectory.points or not trajectory.protocol["orders"]:
            return
        run, until = self.run, time.monotonic() + WAIT_AT_END
        for thing in self._asides:
            self._show(run, thing, thinned(trajectory, MOST[thing]))
        late = [thing for thing, aside in self._asides.items() if not aside.wait(until - time.monotonic())]
        self._take_stock()
        self._problems |= {thing: TimeoutError(f"given up after {WAIT_AT_END:g} s") for thing in late}
        run.log({STEP_KEY: trajectory.points[-1].step})
        self._raise_problems()

    def _show(self, run: Any, thing: str, trajectory: Trajectory) -> None:
        """Begin to add a table, a picture or a page to the row that is open when it is made."""
        if thing in self._left_out:
            return
        make = {TABLE: self._table, PICTURE: self._picture, PAGE: self._page}[thing]

        def work() -> None:
            item = make(run, trajectory)
            if item is not None:
                run.log({shown_key(thing, self.prefix): item}, commit=False)

        self._sizes[thing] = _size(trajectory)
        if self._are_imported(thing):
            self._asides[thing].start(work)

    def _are_imported(self, thing: str) -> bool:
        """Import the packages that one of them needs; say whether they are there.

        It is done here, and not beside the training, since altair and others take a package that another thread is
        just importing for finished.
        """
        if thing not in self._imported:
            self._imported.add(thing)
            with self._budget.spend(thing, size=self._sizes[thing]):
                try:
                    _IMPORTS[thing]()
                except ModuleNotFoundError as error:
                    self._left_out.add(thing)  # said once, not at every point
                    self._problems[thing] = error
        return thing not in self._left_out

    def _take_stock(self) -> None:
        """Charge what they have taken since the last time, and keep what went wrong."""
        for thing, aside in self._asides.items():
            for outcome in aside.outcomes():
                self._budget.charge(thing, outcome.seconds, size=self._sizes[thing], growing=outcome.working)
                if outcome.error is not None:
                    self._problems[thing] = outcome.error
                if isinstance(outcome.error, ModuleNotFoundError):
                    self._left_out.add(thing)

    def _raise_problems(self) -> None:
        """Raise what kept table, picture or page from wandb, as one error.

        Raises:
            ModuleNotFoundError: A package of the extra ``wandb`` is missing.
            RuntimeError: Anything else.
        """
        problems, self._problems = self._problems, {}
        if not problems:
            return
        first = next(iter(problems.values()))
        if len(problems) == 1 and isinstance(first, ModuleNotFoundError):
            raise first
        told = "; ".join(f"{WORDS[thing]} ({reason(error)})" for thing, error in problems.items())
        raise RuntimeError(f"only this is missing there: {told}") from first

    def _table(self, run: Any, trajectory: Trajectory) -> Any:
        """Make a ``wandb.Table`` of all points; None without label orders."""
        import wandb

        if not trajectory.protocol["orders"]:  # a preference probe has no plane
            return None
        name = printable(run.name or trajectory.name)
        rows = table_rows(trajectory, name if run.id in name else f"{name} {run.id}")  # names may be equal, ids not
        data = [[row[column] for column in TABLE_COLUMNS] for row in rows]
        return wandb.Table(columns=list(TABLE_COLUMNS), data=data, log_mode="MUTABLE")

    def _picture(self, run: Any, trajectory: Trajectory) -> Any:
        """Draw the plane as a ``wandb.Image``; None before there are two points of it."""
        import wandb
        from PIL import Image

        if not _has_a_path(trajectory):
            return None
        order = trajectory.protocol["orders"][0]
        return wandb.Image(Image.open(io.BytesIO(draw.plane_png(trajectory, order=order))))

    def _page(self, run: Any, trajectory: Trajectory) -> Any:
        """Write the plane as a ``wandb.Html``; None before there are two points of it."""
        import wandb

        # wandb would add a style sheet from the network
        return wandb.Html(draw.plane_page(trajectory), inject=False) if _has_a_path(trajectory) else None


def shown_key(thing: str, prefix: str = "ib") -> str:
    """Name what is shown beside numbers: page and picture before all curves; the table, which charts read, after them.

    Args:
        thing: ``information_plane``, ``information_plane_picture`` or ``points``.
        prefix: Prefix of the keys.

    Example:
        >>> shown_key(PAGE), shown_key(TABLE)
        ('ib/information_plane', 'ib_more/points')
    """
    return metric_key(thing, prefix=f"{prefix}_more" if thing == TABLE else prefix)


def _has_a_path(trajectory: Trajectory) -> bool:
    """Whether two points of the run have a place in the plane of its first label set."""
    orders = trajectory.protocol["orders"]  # a preference probe has none
    return (
        bool(orders)
        and sum(map(math.isfinite, trajectory.values(metric_key("kept", site="mean", order=orders[0])))) > 1
    )


def thinned(trajectory: Trajectory, most: int = MOST_POINTS) -> Trajectory:
    """Take every second, third … point of a long run, and its last.

    Args:
        trajectory: Points of a run.
        most: How many points are left at most.

    Example:
        >>> shown = thinned(Trajectory({}, {}, [Point(step) for step in range(2500)]))
        >>> len(shown.points), shown.steps[:3], shown.steps[-2:]
        (834, [0, 3, 6], [2496, 2499])
    """
    points = trajectory.points
    stride = -(-len(points) // most)
    if stride <= 1:
        return trajectory
    return replace(trajectory, points=[*points[: len(points) - 1 : stride][: most - 1], points[-1]])


def _size(trajectory: Trajectory) -> int:
    return max(len(trajectory.points), 1)


def _import_for_tables() -> None:
    import wandb

    wandb.Table(columns=["step"], data=[])  # the first one imports pandas and others


def _import_for_pictures() -> None:
    with needs("the picture of the plane in wandb", extra="wandb"):
        import wandb  # noqa: F401
        from PIL import Image  # noqa: F401


def _import_for_pages() -> None:
    import wandb  # noqa: F401


_IMPORTS = {TABLE: _import_for_tables, PICTURE: _import_for_pictures, PAGE: _import_for_pages}
