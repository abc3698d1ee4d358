"""Runs that go on, and a page that follows them in a browser."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ibtrack.live.page import LivePage
from ibtrack.live.runs import FollowedRuns
from ibtrack.live.server import PageServer
from ibtrack.record.trajectory import Point, Trajectory
from ibtrack.record.writer import TrajectoryWriter
from tests.report.conftest import chromium as chromium  # a fixture

PATIENCE = 300_000  # milliseconds that a page is waited for


class GrowingRun:
    """A run that is written point by point; the points are those of a trajectory."""

    def __init__(self, run: Trajectory, folder: Path, num_points: int) -> None:
        self.path = folder / "trajectory.jsonl"
        self.writer = TrajectoryWriter.create(self.path, run.protocol, run.run)
        self.points: Iterator[Point] = iter(run.points)
        self.grow(num_points)

    def grow(self, num_points: int = 1) -> int:
        """Write further points; return the step of the last one."""
        for _ in range(num_points):
            self.writer.append(next(self.points))
        return self.writer.points[-1].step if self.writer.points else 0


class Watched:
    """A folder that is served, looked at whenever a test says so."""

    def __init__(self, folder: Path) -> None:
        self.runs = FollowedRuns(folder)
        self.page = LivePage(self.runs)
        self.server = PageServer(self.page, port=0)
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def look(self) -> None:
        """See what has changed and make the page anew, as `ibtrack watch` does again and again."""
        news = self.runs.look()
        if any(news):
            self.page.update(with_numbers=bool(news.read or news.gone))

    def end(self) -> None:
        """Serve no more."""
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    """The folder of the test, served."""
    served = Watched(tmp_path / "runs")
    yield served
    served.end()


@pytest.fixture
def follow(chromium: Any, watched: Watched) -> Iterator[Callable[..., Any]]:
    """Open the page that follows; at the end there was no complaint in the console, and nothing was asked elsewhere."""
    opened: list[tuple[Any, Any]] = []

    def open_page(*, width: int = 1280) -> Any:
        context = chromium.new_context(viewport={"width": width, "height": 900})
        page = context.new_page()
        page.complaints, page.asked = [], []
        page.on("console", lambda message: page.complaints.append(message.text))
        page.on("pageerror", lambda error: page.complaints.append(str(error)))
        page.on("request", lambda request: page.asked.append(request.url))
        page.set_default_timeout(PATIENCE)
        page.goto(watched.server.url)
        opened.append((context, page))
        return page

    yield open_page
    for context, page in opened:
        assert page.complaints == []
        assert all(url.startswith((watched.server.url, "data:", "blob:")) for url in page.asked)
        context.close()
