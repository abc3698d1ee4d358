"""Where stages of training begin, on charts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import altair as alt
import pytest

from ibtrack.record.trajectory import Point, Trajectory
from ibtrack.report import charts
from ibtrack.report.payload import payload
from ibtrack.report.sheet import sheet
from ibtrack.report.stage_marks import stage_lines, stage_rows
from tests import trajectories


def staged(name: str = "run", *, at: int = 5, **options: Any) -> Trajectory:
    """A run whose points after the one at ``at`` are of the stage dpo."""
    run = trajectories.make(name, **options)
    points = [replace(point, stage="sft" if i <= at else "dpo") for i, point in enumerate(run.points)]
    return replace(run, points=points)


def _marks(spec: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows of the lines between stages, wherever Altair has put them."""
    rules = [layer for layer in spec["layer"] if layer["mark"]["type"] == "rule" and "data" in layer]
    rows = [layer["data"].get("values") or spec["datasets"][layer["data"]["name"]] for layer in rules]
    return [row for each in rows for row in each]


@pytest.mark.parametrize("x", ["step", "tokens"])
def test_curves_have_a_line_where_a_stage_begins(x: str) -> None:
    run = staged()
    step = run.steps[5]
    spec = charts.to_spec(charts.curves(run, x=x))
    tokens = [2048.0 * each for each in (0, step)]
    assert _marks(spec) == [
        {"stage": "sft", "step": 0, "tokens": tokens[0]},
        {"stage": "dpo", "step": step, "tokens": tokens[1]},
    ]
    assert not _marks(charts.to_spec(charts.curves(trajectories.make(), x=x)))


def test_stages_of_several_runs_are_marked_once() -> None:
    runs = [staged("a"), staged("b"), staged("c", at=7), trajectories.make("d")]
    steps = runs[0].steps
    assert [(row["stage"], row["step"]) for row in stage_rows(runs)] == [
        ("sft", 0),
        ("dpo", steps[5]),
        ("dpo", steps[7]),
    ]


def test_a_run_of_one_stage_has_no_marks() -> None:
    assert stage_rows([staged(at=99)]) == []
    assert stage_lines([], alt.X("step:Q"), "step") == []


def test_a_stage_without_tokens_has_no_place_along_tokens() -> None:
    run = Trajectory({}, {}, [Point(0), Point(4), Point(8, stage="dpo")])
    assert stage_lines(stage_rows([run]), alt.X("tokens:Q"), "tokens") == []
    assert len(stage_lines(stage_rows([run]), alt.X("step:Q"), "step")) == 2


def test_the_plane_names_a_later_stage_beside_its_first_place() -> None:
    run = staged()
    spec = charts.to_spec(charts.plane(run))
    assert [row.get("begins") for row in spec["datasets"]["points"]] == [None] * 5 + ["dpo"] + [None] * 8
    texts = [layer["encoding"]["text"]["field"] for layer in spec["layer"] if "text" in layer["encoding"]]
    assert texts == ["begins", "begins", *["label"] * 4]  # of which each is on a side of its own
    assert "begins" not in str(charts.to_spec(charts.plane(trajectories.make())))


def test_the_page_has_the_marks_of_all_points() -> None:
    run = staged()
    page = payload([sheet(run)], ["run"], comparable=True)
    assert page["runs"][0]["begins"] == {run.steps[5]: "dpo"}
    assert [row["step"] for row in _marks(page["specs"]["curves_step"])] == [0, run.steps[5]]
