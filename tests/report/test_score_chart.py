"""The picture of readings beside scores."""

from __future__ import annotations

from collections.abc import Collection
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
        rows = _rows(spec, panel)
        expected = [row.readings[best[name].reading] for row in found.joined.rows]
        assert [row["reading"] for row in rows] == expected
        assert panel["title"]["text"].startswith(f"ρ {best[name].alone.value:.2f} (")
        assert [layer["mark"]["type"] for layer in panel["layer"]] == ["point", "text"]
    assert spec["concat"][3]["title"]["text"] == "constant is the same in all rows"
    assert len(charts.scores(found, num_panels=2).to_dict()["concat"]) == 2
    with pytest.raises(ValueError, match="num_panels must be an integer of at least 1, got 0"):
        charts.scores(found, num_panels=0)


def _rows(spec: dict[str, Any], layer: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows of a layer, which Altair leaves where they are or puts beside the panels."""
    data = layer["data"]
    rows: list[dict[str, Any]] = data["values"] if "values" in data else spec["datasets"][data["name"]]
    return rows


def along_training(found: Relations, *, runs: Collection[str]) -> Relations:
    """Give some runs a second row, at step 0 and with scores of 0."""
    first = [
        replace(row, step=0, scores=dict.fromkeys(row.scores, 0.0)) for row in found.joined.rows if row.run in runs
    ]
    return replace(found, joined=replace(found.joined, rows=(*first, *found.joined.rows)))


def test_scores_along_training_have_a_line_for_each_run_with_several_steps() -> None:
    found = along_training(relations(), runs=("f0-small", "f3-large"))
    chart, scatter = charts.score_curves(found), charts.scores(found)
    assert chart is not None
    spec = chart.to_dict()
    names = [
        [panel["layer"][0]["encoding"]["y"]["title"] for panel in each["concat"]] for each in (spec, scatter.to_dict())
    ]
    assert names[0] == names[1], "the same scores in the same order"
    panel = spec["concat"][0]
    last = {row.run: row for row in found.joined.rows}
    shown = [(row["run"], row["step"], row["score"]) for row in _rows(spec, panel)]
    assert shown == [
        *((run, 0, 0.0) for run in ("f0-small", "f3-large")),
        *((run, last[run].step, last[run].scores[names[0][0]]) for run in ("f0-small", "f3-large")),
    ]
    assert panel["layer"][0]["encoding"]["color"]["legend"]["title"] == "family"
    with pytest.raises(ValueError, match="num_panels must be an integer of at least 1, got 0"):
        charts.score_curves(found, num_panels=0)


def test_of_single_steps_there_are_no_curves() -> None:
    assert charts.score_curves(relations()) is None


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
