"""The section of the page on readings and scores, also as a browser shows it."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ibtrack.analysis.scores import Relations, ScoreRow, join_scores, relate
from ibtrack.record.trajectory import Trajectory
from ibtrack.report.html import write_report
from ibtrack.report.score_section import score_section
from tests import trajectories
from tests.report.conftest import Show
from tests.report.test_score_chart import along_training


def related(num_families: int = 6, *, name: str = "f0-small") -> tuple[list[Trajectory], Relations]:
    """Runs, and how their readings go with made-up scores; the first run is called as asked for."""
    runs, table = trajectories.scored(num_families)
    runs[0] = replace(runs[0], run={**runs[0].run, "name": name})
    table[0]["run"] = name
    rows = [ScoreRow(model=each.pop("run"), scores=each) for each in table]
    joined = join_scores({run.name: run for run in runs}, rows, by="family", quantities=["kept", "told"])
    return runs, relate(joined, num_draws=200)


def test_the_section_has_sentences_table_and_chart() -> None:
    _, found = related()
    text = score_section(found)
    assert text.count("<li>") == len(found.sentences())
    assert text.count("<tr>") == 1 + len(found.relations)
    assert found.sentences()[0] in text
    spec = json.loads(re.search(r'id="scores-data">(.*?)</script>', text, flags=re.DOTALL)[1])  # type: ignore[index]
    assert list(spec) == ["scores"]
    assert len(spec["scores"]["concat"]) == 3
    assert not spec["scores"].keys() & {"title", "config", "columns"}
    assert score_section(None) == ""


def test_names_are_text_whatever_they_hold() -> None:
    _, found = related(name=trajectories.EVIL)
    text = score_section(replace(found, joined=replace(found.joined, left_out={trajectories.EVIL: "so"})))
    assert "<script>window" not in text
    assert "<img" not in text


def test_a_page_without_scores_has_no_section(tmp_path: Path) -> None:
    page = write_report([trajectories.make()], tmp_path / "a.html").read_text()
    assert 'id="scores-section"' not in page


@pytest.mark.parametrize(("width", "columns"), [(1280, 3), (800, 2), (400, 1)])
def test_the_page_draws_as_many_panels_beside_each_other_as_there_is_room_for(
    show: Show, width: int, columns: int
) -> None:
    runs, found = related()
    page = show(runs, width=width, scores=found)
    page.wait_for_selector("#scores svg")
    assert page.locator("#score-sentences li").count() == len(found.sentences())
    assert page.locator("#relations tbody tr").count() == len(found.relations)
    places = _panels(page)
    assert len(places) == 3
    assert len({round(place["x"]) for place in places}) == columns
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    chart = page.locator("#scores svg").first.bounding_box()
    assert chart["x"] + chart["width"] <= width


def test_scores_at_several_steps_are_drawn_along_training(show: Show) -> None:
    runs, found = related()
    page = show(runs, scores=along_training(found, runs=[runs[0].name]))
    page.wait_for_selector("#score-curves svg")
    assert page.locator("#score-curves .mark-line path").count() == 3, "a line in each panel"


def _panels(page: Any) -> list[Any]:
    """The places of the panels, which are the square ones of what Vega draws."""
    every = "[...document.querySelectorAll('#scores .role-scope .background')]"
    places = page.evaluate(f"{every}.map((each) => each.getBoundingClientRect().toJSON())")
    return [each for each in places if each["width"] > 100 and abs(each["width"] - each["height"]) < 2]
