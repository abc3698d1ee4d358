"""On which side of a point its label stands."""

from __future__ import annotations

from typing import Any

import pytest

from ibtrack.report.label_places import label_sides


def path(*places: tuple[float | None, float | None]) -> list[dict[str, Any]]:
    return [{"step": step, "complexity": x, "expressivity": y} for step, (x, y) in enumerate(places)]


@pytest.mark.parametrize(
    ("towards", "side"),
    [((0.0, -0.4), "above"), ((0.0, 0.4), "below"), ((-0.4, 0.0), "above")],
)
def test_a_label_stands_away_from_the_path(towards: tuple[float, float], side: str) -> None:
    rows = path((0.5 + towards[0], 0.5 + towards[1]), (0.5, 0.5))
    assert label_sides(rows, {1: "step 1"}, (0.0, 1.0))[1] == side


def test_a_label_between_two_lines_stands_beside_them() -> None:
    rows = path((0.5, 0.1), (0.5, 0.5), (0.5, 0.9))
    assert label_sides(rows, {1: "step 1"}, (0.0, 1.0)) == [None, "right", None]


def test_no_label_stands_out_of_the_plane() -> None:
    assert label_sides(path((0.5, 0.99)), {0: "start"}, (0.0, 1.0)) == ["below"]
    assert label_sides(path((0.99, 0.99)), {0: "start"}, (0.0, 1.0)) == ["left"]


def test_a_point_without_a_place_has_no_label() -> None:
    assert label_sides(path((None, 0.1), (0.5, None), (0.5, 0.5)), {0: "start", 1: "x", 2: "y"}, (0.0, 1.0)) == [
        *(None, None, "above"),
    ]
