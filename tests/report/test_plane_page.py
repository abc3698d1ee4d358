"""The plane as a page for a panel, opened in a frame that may run scripts and nothing else."""

import html
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ibtrack.record.trajectory import Point
from ibtrack.report import draw
from ibtrack.report.plane_page import plane_page
from tests import trajectories

RUN = trajectories.make("demo", num_points=20)


def opened(chromium: Any, folder: Path, text: str, *, width: int = 520, height: int = 400) -> tuple[Any, Any]:
    """Open a page as a dashboard does: in a frame of a small size, which has no origin and may only run scripts."""
    host = folder / "host.html"
    frame = f'<iframe sandbox="allow-scripts" width="{width}" height="{height}" srcdoc="{html.escape(text)}"></iframe>'
    host.write_text(f"<!doctype html>{frame}", encoding="utf-8")
    page = chromium.new_page()
    page.told = []
    page.on("console", lambda message: page.told.append(message.text))
    page.on("pageerror", lambda error: page.told.append(str(error)))
    page.on("request", lambda request: page.told.append(request.url))
    page.goto(host.as_uri())
    (frame,) = page.main_frame.child_frames
    frame.wait_for_selector("html[data-ready=yes]", timeout=60_000)
    assert page.told == [host.as_uri()]  # no complaint, and nothing else was asked for
    return page, frame


def points_in(frame: Any) -> Any:
    """The points of the path, without the marks of start and end."""
    return frame.locator("svg g.mark-symbol.role-mark").nth(0).locator("path")


def becomes(frame: Any, condition: str) -> None:
    """Wait until an expression of the page is true."""
    frame.wait_for_function(condition, timeout=60_000)


def test_the_page_shows_every_point_in_a_frame_that_may_only_run_scripts(chromium: Any, tmp_path: Path) -> None:
    page, frame = opened(chromium, tmp_path, plane_page(RUN))
    assert points_in(frame).count() == len(RUN.points)
    assert "demo" in frame.locator("svg").text_content()
    size = frame.evaluate("[document.body.scrollWidth, document.body.scrollHeight, innerWidth, innerHeight]")
    assert size[0] <= size[2]
    assert size[1] <= size[3]
    page.close()


def test_points_and_label_set_are_chosen_on_the_page(chromium: Any, tmp_path: Path) -> None:
    page, frame = opened(chromium, tmp_path, plane_page(RUN))
    ends = frame.locator("svg g.mark-symbol.role-mark").nth(2).locator("path")
    before = ends.get_attribute("transform")
    frame.locator("input[type=range]").fill("7")
    becomes(frame, f"document.querySelector('svg').textContent.includes('up to step {RUN.points[6].step}')")
    assert points_in(frame).count() == 7
    frame.locator("input[type=range]").fill("20")
    frame.locator("select").select_option("quadgram")
    becomes(frame, "document.querySelector('svg').textContent.includes('quadgram labels, up to step 4,000')")
    assert ends.get_attribute("transform") != before
    assert points_in(frame).count() == 20
    page.close()


def test_a_tooltip_says_what_a_point_is(chromium: Any, tmp_path: Path) -> None:
    page, frame = opened(chromium, tmp_path, plane_page(RUN))
    frame.locator("svg g.mark-symbol.role-mark").nth(2).locator("path").hover()
    told = frame.locator("#vg-tooltip-element").inner_text()
    assert "demo" in told
    assert "4,000" in told
    assert re.search(r"kept\s+0\.\d{4} ± 0\.\d{4}", told)
    page.close()


def test_what_a_user_wrote_stays_text(chromium: Any, tmp_path: Path) -> None:
    run = replace(RUN, run={"name": trajectories.EVIL}, points=trajectories.damaged().points)
    page, frame = opened(chromium, tmp_path, plane_page(run))
    assert frame.evaluate("window.stolen") is None
    page.close()


@pytest.mark.parametrize("points", [[], RUN.points[:1], [Point(0, failure="no memory")]])
def test_a_run_that_has_just_begun_has_a_page(chromium: Any, tmp_path: Path, points: list[Point]) -> None:
    page, frame = opened(chromium, tmp_path, plane_page(replace(RUN, points=points)))
    assert points_in(frame).count() == sum(bool(point.values) for point in points)
    page.close()


def test_a_hundred_points_of_four_label_sets_are_less_than_a_megabyte() -> None:
    run = trajectories.make("a-name-as-long-as-those-of-a-sweep-often-are-lr=0.001-seed=3", num_points=100)
    text = plane_page(run)
    assert len(text.encode()) < 1_000_000
    assert not re.search(r"""(src|href)=["']http""", text.partition("<script>")[0])


def test_the_page_is_also_made_in_another_process() -> None:
    run = trajectories.without_quadgrams()
    text = draw.plane_page(run)
    assert text == plane_page(run)
    (spec,) = re.findall(r"vegaEmbed\('#plane', (\{.*\}), \{ast: true", text)
    rows = json.loads(spec)["datasets"]["points"]
    assert [row["step"] for row in rows if row["order"] == "bigram"] == run.steps
    assert {row["why"] for row in rows if row["order"] == "quadgram"} == {trajectories.ALL_DISTINCT}
