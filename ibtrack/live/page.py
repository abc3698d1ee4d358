"""The page of runs that go on, and the news of it: what a browser that has one version of it needs for the next.

The page is that of `ibtrack.report.html.write_report`, with one script more. News hold the numbers of those runs alone
that have changed.
"""

from __future__ import annotations

import html
import threading
import time
import uuid
from collections.abc import Mapping, Sequence
from importlib.resources import files
from string import Template
from typing import Any, NamedTuple

from ibtrack.live.runs import FollowedRuns
from ibtrack.report.details import details_text
from ibtrack.report.html import SCRIPT, Page, in_one, json_of, page_html, page_of
from ibtrack.report.sheet import Sheet

DETAILS = "details"  # the folder of the details, as the page asks for them
_LIVE_SCRIPT = (*SCRIPT, "live.js")
_SCRIPTS = " 'self'; connect-src 'self'"  # what the page loads: details and news, from where it was loaded
_COMPLETE = "It is served by ibtrack watch and loads nothing from anywhere else."
_MORE = "Choose a run under Highlight: all of its points and layers are loaded."
_TABLES = ("texts", "keys", "bandNames")  # what the numbers of a run refer to by place


class _Drawn(NamedTuple):
    """The charts of a page, before they have rows.

    Attributes:
        specs: The charts.
        of: What they depend on: paths, protocols and stages of the runs.
        ends: First and last places of the runs, from which axes have their ticks.
        number: Version since which they are these.
    """

    specs: Mapping[str, Any]
    of: tuple[Any, ...]
    ends: tuple[Any, ...]
    number: int


class _Written(NamedTuple):
    """A page as JSON.

    Attributes:
        page: The page.
        rest: Its numbers without those of the runs.
        runs: Path of each run to its numbers.
        since: Path of each run to the version since which its numbers are these.
    """

    page: Page
    rest: str
    runs: dict[str, str]
    since: dict[str, int]


class LivePage:
    """The page of runs that go on, in its newest version; several threads may ask for it while it is made anew.

    Args:
        runs: The runs.

    Attributes:
        version: Name of the newest version, which no other start of the program has.
        took: Seconds that the last version took to be made.
    """

    def __init__(self, runs: FollowedRuns) -> None:
        self._runs = runs
        self._start = uuid.uuid4().hex[:8]
        self._number, self._page_number = 0, 0
        self._written: _Written | None = None
        self._changed = threading.Condition()
        self._states: dict[str, Any] = {}
        self._drawn: _Drawn | None = None
        self._stale_since: float | None = None
        self.took = 0.0

    @property
    def stale(self) -> float:
        """Seconds since the axes of the charts have ticks of earlier points; 0 where they have not."""
        return 0.0 if self._stale_since is None else time.monotonic() - self._stale_since

    @property
    def version(self) -> str:
        """Name of the newest version, which no other start of the program has."""
        return f"{self._start}.{self._number}"

    def update(self, *, with_numbers: bool = True, with_charts: bool = False, reading: float = 0.0) -> None:
        """Make a new version of the page, and wake up who waits for it.

        Args:
            with_numbers: Whether numbers of runs may have changed; else it is only told which runs go on.
            with_charts: Whether charts are drawn anew where runs have only grown; else these get their new points, and
                the ticks of their axes stay as they were, see `stale`.
            reading: Seconds that the reading of files has taken, for the reader to know how old the page may be.
        """
        began = time.monotonic()
        written = self._made(self._number + 1, with_charts=with_charts) if with_numbers else self._written
        took = reading + time.monotonic() - began
        with self._changed:
            self._number += 1
            if with_numbers:
                self._page_number, self._written, self.took = self._number, written, took
            self._states = self._now()
            self._changed.notify_all()

    def wait(self, version: str, seconds: float) -> bool:
        """Wait until there is another version than one; say whether there is.

        Args:
            version: Version that a browser has.
            seconds: How long to wait at most.
        """
        with self._changed:
            return self._changed.wait_for(lambda: self.version != version, seconds)

    def html(self) -> str:
        """Write the page as one HTML file; before there is a run, it says that it waits for one."""
        with self._changed:
            written, version, states = self._written, self.version, self._states
        following = {**states, "version": version, "now": time.time()}
        if written is None:
            text = _asset("waiting.html")
            return Template(text).substitute(folder=html.escape(str(self._runs.folder)), version=version)
        data = f'{written.rest[:-1]},"following":{json_of(following)},"runs":[{",".join(written.runs.values())}]}}'
        return page_html(written.page, data=data, script=_LIVE_SCRIPT, scripts=_SCRIPTS, complete=_COMPLETE)

    def news(self, version: str) -> str:
        """Write what a browser needs that has another version of the page, as JSON.

        Args:
            version: The version that it has; all of the page is told to one that was made by another start.
        """
        with self._changed:
            written, now, states, page_number = self._written, self.version, self._states, self._page_number
        start, _, number = version.partition(".")
        known = int(number) if start == self._start and number.isdecimal() else -1
        page = "null"
        if written is not None and known < page_number:
            runs = [
                json_of({"kept": path}) if written.since[path] <= known else text for path, text in written.runs.items()
            ]
            parts = json_of(written.page.parts)
            page = f'{{"parts":{parts},"data":{written.rest[:-1]},"runs":[{",".join(runs)}]}}}}'
        head = json_of({"version": now, "is_empty": written is None, "following": {**states, "now": time.time()}})
        return f'{head[:-1]},"page":{page}}}'

    def details(self, number: int) -> str | None:
        """Write the details of a run as a script; None where there is no such run.

        Args:
            number: Place of the run on the page.

        Raises:
            OSError: The file cannot be read any more.
            ValueError: The file is damaged by now.
        """
        run = self._runs.details(number)
        return None if run is None else details_text(run, number)

    def _made(self, number: int, *, with_charts: bool) -> _Written | None:
        """Make a page of the runs that can be read; None where there are none."""
        runs = self._runs.shown
        if not runs:
            self._drawn = self._stale_since = None
            return None
        sheets = [run.sheet for run in runs if run.sheet is not None]
        of = tuple(
            (run.path, each.run.protocol, tuple(each.run.stages)) for run, each in zip(runs, sheets, strict=True)
        )
        ends = tuple(_ends(each) for each in sheets)
        before = self._drawn if self._drawn is not None and self._drawn.of == of else None
        if before is not None and with_charts and before.ends != ends:
            before = None
        said = in_one({str(run.path): run.said for run in runs})
        page = page_of(
            sheets,
            said,
            allow_mixed=True,
            folder=DETAILS,
            more=_MORE,
            specs=None if before is None else before.specs,
            claims_of_layers=False,  # they take seconds, and new points are to be seen within two
        )
        if before is None:
            before = _Drawn(page.data["specs"], of, ends, number)
        self._drawn = before
        self._stale_since = None if before.ends == ends else self._stale_since or time.monotonic()
        rest = {key: value for key, value in page.data.items() if key != "runs"} | {"drawn": before.number}
        texts = {str(run.path): json_of(data) for run, data in zip(runs, page.data["runs"], strict=True)}
        return _Written(page, json_of(rest), texts, self._since(texts, page.data, number))

    def _since(self, texts: dict[str, str], data: dict[str, Any], number: int) -> dict[str, int]:
        """Say since when the numbers of each run are what they are: this version, or an earlier one."""
        before = self._written
        if before is None or not all(_begins(data[name], before.page.data[name]) for name in _TABLES):
            return dict.fromkeys(texts, number)
        return {path: before.since[path] if before.runs.get(path) == text else number for path, text in texts.items()}

    def _now(self) -> dict[str, Any]:
        """Say which runs go on, which cannot be read, and how old the page may be."""
        runs = self._runs
        return {
            "folder": str(runs.folder),
            "runs": [
                {"path": str(run.path), "state": run.state.value, "changed": run.stamp.changed / 1e9}
                for run in runs.shown
            ],
            "refused": [{"name": runs.name(run), "why": run.refusal} for run in runs.refused],
            "unread": runs.num_unread,
            "took": round(self.took, 3),
        }


def _ends(sheet: Sheet) -> tuple[Any, ...]:
    """Take from a run what axes take their ends and ticks from."""
    points = sheet.run.points
    places = [(point.step, point.tokens_seen) for point in points]
    return (*places[:2], *places[-1:])


def _begins(whole: Sequence[Any], beginning: Sequence[Any]) -> bool:
    """Whether a list has not lost what it began with."""
    return list(whole[: len(beginning)]) == list(beginning)


def _asset(name: str) -> str:
    return (files("ibtrack.live") / name).read_text(encoding="utf-8")
