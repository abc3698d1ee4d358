"""Where the lines of runs lie on one another."""

from __future__ import annotations

from typing import Any

from ibtrack.report.shared_paths import MOST_MARKED, mark_shared


def rows(**runs: list[float | None]) -> list[dict[str, Any]]:
    return [{"run": run, "step": step, "y": y} for run, values in runs.items() for step, y in enumerate(values)]


def shared(marked: list[dict[str, Any]], run: str) -> list[tuple[int, int]]:
    return [(row["shared"], row["stretch"]) for row in marked if row["run"] == run]


def test_the_lower_of_two_lines_knows_how_many_lie_on_it() -> None:
    marked = mark_shared(rows(a=[0, 1, 2, 3], b=[0, 1, 1, 1], c=[0, 9, 9, 9]), ["y"])
    assert shared(marked, "a") == [(2, 0), (1, 1), (0, 2), (0, 2)]
    assert shared(marked, "b") == [(1, 0), (0, 1), (0, 1), (0, 1)]
    assert shared(marked, "c") == [(0, 0)] * 4


def test_stretches_that_are_apart_are_told_apart() -> None:
    marked = mark_shared(rows(a=[0, 5, 0, 0], b=[0, 1, 0, 0]), ["y"])
    assert shared(marked, "a") == [(1, 0), (0, 1), (1, 2), (1, 2)]


def test_missing_values_and_near_ones() -> None:
    marked = mark_shared(rows(a=[None, 1.0, 0.0], b=[None, 1.003, 0.1]), ["y"])
    assert [each for each, _ in shared(marked, "a")] == [0, 1, 0]


def test_more_runs_than_look_different_are_not_compared() -> None:
    runs: dict[str, list[float | None]] = {f"r{i}": [0.0, 1.0] for i in range(MOST_MARKED + 1)}
    assert {row["shared"] for row in mark_shared(rows(**runs), ["y"])} == {0}
    runs.popitem()
    assert mark_shared(rows(**runs), ["y"])[0]["shared"] == MOST_MARKED - 1
