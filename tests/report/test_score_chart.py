"""The picture of readings beside scores."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ibtrack.analysis.scores import Relation, Relations, ScoreRow, join_scores, relate
from ibtrack.report import charts
from tests import trajectories


def relations(num_families: int = 6, **scores: Any) -> Relations:
    runs, table = trajectories.scored(num_families)
    rows = [
        ScoreRow(model=each["run"], scores={k: v for k, v in {**each, **scores}.items() if k != "run"})
        for each in table
    ]
    return relate(join_scores({run.name: run for run in runs}, rows, by="family"), num_draws=100)


def test_each_score_has_a_panel_with_the_reading_that_goes_with_it_most() -> None:
    found = relations(constant=0.5)
    spec = charts.scores(found).to_dict()
    best: dict[str, Relation] = {}
    for each in found.relations:
        if abs(each.alone.value) > abs(best[each.score].alone.value if each.score in best else 0):
            best[each.score] = each
    assert len(spec["concat"]) == 4
    for panel in spec["concat"][:3]:
        name = panel["layer"][0]["encoding"]["y"]["title"]
        rows = panel["data"]["values"] if "values" in panel["data"] else spec["datasets"][panel["data"]["name"]]
        expected = [row.readings[best[name].reading] for row in found.joined.rows]
        assert [row["reading"] for row in rows] == expected
        assert panel["title"]["text"].startswith(f"ρ {best[name].alone.value:.2f} (")
        assert [layer["mark"]["type"] for layer in panel["layer"]] == ["point", "text"]
    assert spec["concat"][3]["title"]["text"] == "constant is the same in all rows"
    assert len(charts.scores(found, num_panels=2).to_dict()["concat"]) == 2
    with pytest.raises(ValueError, match="num_panels must be an integer of at least 1, got 0"):
        charts.scores(found, num_panels=0)


def test_more_runs_than_names_that_can_be_read_have_none() -> None:
    (panel, *_) = charts.scores(relations(24)).to_dict()["concat"]
    assert [layer["mark"]["type"] for layer in panel["layer"]] == ["point"]


def test_names_with_control_characters_are_drawn(tmp_path: Path) -> None:
    found = relations()
    rows = tuple(replace(row, run=f"{row.run}\x07", family=f"{row.family}\x00") for row in found.joined.rows)
    odd = replace(found, joined=replace(found.joined, rows=rows))
    assert charts.save(charts.scores(odd), tmp_path / "odd.png").read_bytes().startswith(b"\x89PNG")


def test_it_is_written_as_png_svg_and_a_page_without_a_network(tmp_path: Path) -> None:
    chart = charts.scores(relations())
    assert charts.save(chart, tmp_path / "new" / "s.png").read_bytes().startswith(b"\x89PNG")
    svg = charts.save(chart, tmp_path / "s.SVG").read_text()
    assert svg.startswith("<svg")
    assert "f3-large" in svg
    page = charts.save(chart, tmp_path / "s.html").read_text()
    assert "f3-large" in page
    assert 'src="http' not in page
    with pytest.raises(ValueError, match=r"the end of path must be one of '.png', '.svg', '.html', got '.pdf'"):
        charts.save(chart, tmp_path / "s.pdf")
