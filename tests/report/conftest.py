"""A browser for the page."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from ibtrack.analysis.scores import Relations
from ibtrack.record.trajectory import Trajectory
from ibtrack.report.html import write_report

Show = Callable[..., Any]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """A Chromium that is already on the machine."""
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="playwright is not installed: the page is not opened"
    )
    with playwright.sync_playwright() as driver:
        installed = [shutil.which(name) for name in ("chromium", "chromium-browser", "google-chrome")]
        paths = [name for name in [*installed, driver.chromium.executable_path] if name and Path(name).exists()]
        if not paths:
            pytest.skip("no Chromium on this machine: the page is not opened")
        flags = "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
        browser = driver.chromium.launch(executable_path=paths[0], args=flags.split())
        yield browser
        browser.close()


@pytest.fixture
def show(chromium: Any, tmp_path: Path) -> Iterator[Show]:
    """Open runs as a page; at the end there was no complaint in the console and no request."""
    opened: list[tuple[Any, Any, Path]] = []

    def open_runs(
        runs: Sequence[Trajectory],
        *,
        width: int = 1280,
        allow_mixed: bool = False,
        scores: Relations | None = None,
        **options: Any,
    ) -> Any:
        path = write_report(runs, tmp_path / f"{len(opened)}.html", allow_mixed=allow_mixed, scores=scores)
        context = chromium.new_context(viewport={"width": width, "height": 900}, **options)
        page = context.new_page()
        page.complaints, page.asked = [], []
        page.on("console", lambda message: page.complaints.append(message.text))
        page.on("pageerror", lambda error: page.complaints.append(str(error)))
        page.on("request", lambda request: page.asked.append(request.url))
        page.goto(path.as_uri())
        page.wait_for_selector("html[data-ready=yes]", timeout=20_000)
        opened.append((context, page, path))
        return page

    yield open_runs
    for context, page, path in opened:
        assert page.complaints == []
        assert page.asked == [path.as_uri()]
        context.close()
