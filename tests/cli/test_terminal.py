"""The plane in letters and the tables in plain text."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ibtrack.analysis.movements import Movement
from ibtrack.analysis.phase_words import Phases
from ibtrack.analysis.phases import find_phases
from ibtrack.analysis.rank_correlations import RankCorrelation
from ibtrack.analysis.ranking import Place
from ibtrack.analysis.scores import Joined, Relation, Relations
from ibtrack.cli.terminal import LIST_HEAD, list_row, points_table, relations_table, terminal_plane, text_table
from ibtrack.record.trajectory import Point, Trajectory
from ibtrack.report.tables import plane_rows
from tests import trajectories

FALL = Movement(start=64, end=512, change=-0.1, se=0.01)


def row(step: int, complexity: float | None, expressivity: float | None, **more: Any) -> dict[str, Any]:
    return {
        "step": step,
        "loss": None,
        "complexity": complexity,
        "complexity_se": None,
        "complexity_z": None,
        "expressivity_z": None,
        "expressivity": expressivity,
        "expressivity_se": None,
        "why": None,
        **more,
    }


def body(plane: str) -> list[str]:
    """The lines of a plane from top to bottom, without the axes."""
    return [line[7:] for line in plane.splitlines()[1:-2]]


def test_a_letter_stands_where_its_numbers_put_it() -> None:
    lines = body(terminal_plane([row(0, 0.0, 0.0), row(1, 1.0, 0.0), row(2, 1.0, 1.0)], width=11, height=5))
    assert lines[-1][0] == "a"
    assert lines[-1][10] == "b"
    assert lines[0][10] == "c"


def test_a_path_fills_the_plane() -> None:
    plane = terminal_plane([row(0, 0.71, 0.21), row(1, 0.84, 0.29)], width=21, height=6)
    lines = body(plane)
    assert (lines[-1][1], lines[1][19]) == ("a", "b")
    assert "." not in "".join(lines)  # nowhere here are both numbers equal
    assert plane.splitlines()[1].startswith(" 0.30 |")
    assert plane.splitlines()[-1].split() == ["0.70", "0.85", "I(X;Z)"]
    assert terminal_plane([row(0, 0.5, 0.5)], width=9, height=5).splitlines()[-1].split()[:2] == ["0.50", "0.55"]


@given(st.lists(st.tuples(st.floats(-0.1, 2), st.floats(-0.1, 2)), max_size=70))
def test_the_plane_has_its_size_whatever_is_drawn(points: list[tuple[float, float]]) -> None:
    plane = terminal_plane([row(i, x, y) for i, (x, y) in enumerate(points)], width=30, height=8)
    assert len(body(plane)) == 8
    assert max(map(len, body(plane))) <= 30


def test_after_the_letters_comes_a_plus_and_without_a_place_a_cross() -> None:
    rows = [row(0, None, 0.1, why="zero-norm rows"), *(row(i, i / 60, 0.1) for i in range(1, 54))]
    letters = [line.split()[0] for line in points_table(rows).splitlines()[1:]]
    assert letters[:3] == ["×", "a", "b"]
    assert letters[26:28] == ["z", "A"]
    assert letters[52:] == ["Z", "+"]
    assert "×" not in terminal_plane(rows)


def test_a_missing_value_is_replaced_by_its_reason_and_its_neighbour_is_kept() -> None:
    rows = [
        row(0, None, 0.1, why="all distinct"),
        row(1, 0.25, None, why="one label", complexity_se=0.01),
        row(2, 0.25, 0.125, loss=2.5),
    ]
    lines = [line.split(maxsplit=2) for line in points_table(rows).splitlines()[1:]]
    assert lines[0] == ["×", "0", "no value: all distinct"]
    assert lines[1] == ["×", "1", "0.250 ± 0.020           no value: one label"]
    assert lines[2][2].split() == ["2.500", "0.250", "0.125"]


def test_a_value_that_noise_would_explain_is_marked_and_the_mark_is_explained() -> None:
    faint, clear = row(0, 0.01, 0.125, complexity_z=0.4, expressivity_z=5.0), row(1, 0.25, 0.125, complexity_z=9.0)
    table = points_table([faint, clear])
    assert table.splitlines()[1].split()[-3:] == ["0.010", "~", "0.125"]
    assert table.endswith("~  the spread between labels cannot be told from noise (z below 2)")
    assert "~" not in points_table([clear])


def test_columns_are_as_wide_as_their_widest_cell() -> None:
    assert text_table([("a", "b", "c"), ("long", "", "x")]) == "a     b  c\nlong     x"


@pytest.mark.parametrize(
    ("place", "text"),
    [
        (None, ""),
        (Place(run="a", fall=None, behind=math.nan, tied=False), ""),
        (Place(run="a", fall=FALL, behind=0.0, tied=True), "first"),
        (Place(run="a", fall=FALL, behind=1.25, tied=True), "1.2 se, tied"),
        (Place(run="a", fall=FALL, behind=5.0, tied=False), "5.0 se"),
    ],
)
def test_a_run_of_the_list_says_how_far_it_is_behind(place: Place | None, text: str) -> None:
    cells = dict(
        zip(LIST_HEAD, list_row("a", "in/a", trajectories.make(), "token", "share", Phases(), place), strict=True)
    )
    assert cells["behind"] == text
    assert (cells["points"], cells["last step"]) == ("14", "4000")


def test_a_run_that_cannot_be_read_or_is_young_has_its_row() -> None:
    unread = list_row("a", "in/a", "it is not text", "token", "share", None, None)
    young = list_row("a", "in/a", Trajectory({}, {}, []), "token", "share", Phases(), None)
    assert unread[-2:] == ("not readable: it is not text", "in/a")
    assert young[-2:] == ("no points yet", "in/a")


def test_failed_points_of_a_run_are_counted() -> None:
    run = trajectories.make(num_points=3)
    run = replace(run, points=[*run.points, Point(9000, failure="out of memory")])
    cells = list_row("a", "in/a", run, "token", "share", find_phases(run), None)
    assert cells[1:5] == ("4 (1 failed)", "9000", "", "no value: out of memory")
    assert cells[-2:] == (find_phases(run).short(), "in/a")


def test_the_table_of_a_run_has_a_line_per_point() -> None:
    run = trajectories.make(num_points=7)
    assert len(points_table(plane_rows([run])).splitlines()) == 1 + 7


def test_relations_are_listed_from_the_strongest_and_those_without_a_value_last() -> None:
    def relation(score: str, value: float, **more: Any) -> Relation:
        alone = RankCorrelation(value=value, num_rows=9, num_families=7, **more)
        given = {"loss": RankCorrelation(value=0.1, why="loss is the same in all rows")}
        return Relation(reading="ib/mean/bigram/told", score=score, alone=alone, given=given)

    told = relation("a", -0.62, interval=(-0.9, -0.1), together=(-0.95, -0.05))
    relations = [relation("b", math.nan, why="b is the same in all rows"), relation("c", 0.3), told]
    head, first, second, third, _, *notes = relations_table(
        Relations(joined=Joined(rows=(), by=None), relations=tuple(relations))
    ).splitlines()
    assert re.split("  +", head) == ["score", "reading", "ρ", "ρ given loss", "families", "rows"]
    assert re.split("  +", first) == ["a", "told of bigrams", "-0.62 (-0.90 to -0.10) *", "0.10", "7", "9"]
    assert second.split() == ["c", "told", "of", "bigrams", "0.30", "0.10", "7", "9"]
    assert third.split() == ["b", "told", "of", "bigrams", "—", "0.10", "7", "9"]
    assert [note[:1] for note in notes] == ["*", "—", "—"]
    many = Relations(joined=Joined(rows=(), by=None), relations=tuple(relation(f"s{i}", i / 30) for i in range(23)))
    lines = relations_table(many).splitlines()
    assert [line.split()[0] for line in lines[1:21]] == [f"s{i}" for i in range(22, 2, -1)]
    assert lines[-1] == "3 weaker ones are not shown; -o table.csv of ibtrack scores has all"
