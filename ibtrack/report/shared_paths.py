"""Where lines of runs lie on one another, as along a warm-up that they share: there the lower ones are drawn wider."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

# Two points closer than this share of what a chart spans are drawn within the width of a line, 2 pixels of 500.
CLOSE = 0.004
MOST_MARKED = 24  # runs: more do not look different, and each is compared with each


def mark_shared(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> list[dict[str, Any]]:
    """Add to each row how many lines of later runs are drawn over its point, and which stretch of its own run it is on.

    Args:
        rows: Rows of a chart, as `ibtrack.report.tables` makes them, run by run; the last run is drawn on top.
        columns: The numbers that are drawn, along the axes.

    Returns:
        The rows with ``shared``, the number of lines over the point, and ``stretch``, which is another one wherever
        that number changes along a run.

    Example:
        >>> ends = {"a": 2.0, "b": 3.0}
        >>> rows = [{"run": run, "step": step, "y": y} for run in ends for step, y in ((0, 1.0), (8, ends[run]))]
        >>> [(row["run"], row["step"], row["shared"]) for row in mark_shared(rows, ["y"])]
        [('a', 0, 1), ('a', 8, 0), ('b', 0, 0), ('b', 8, 0)]
    """
    spans = [_span([row[name] for row in rows if row[name] is not None]) for name in columns]
    names = list(dict.fromkeys(row["run"] for row in rows))
    if len(names) > MOST_MARKED:
        return [{**row, "shared": 0, "stretch": 0} for row in rows]
    place = {name: number for number, name in enumerate(names)}
    at_step: dict[int, list[Mapping[str, Any]]] = {}
    for row in rows:
        at_step.setdefault(row["step"], []).append(row)

    def is_close(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
        return all(
            one[name] is not None and other[name] is not None and abs(one[name] - other[name]) <= CLOSE * span
            for name, span in zip(columns, spans, strict=True)
        )

    marked: list[dict[str, Any]] = []
    for row in rows:
        over = [other for other in at_step[row["step"]] if place[other["run"]] > place[row["run"]]]
        shared = sum(is_close(row, other) for other in over)
        before = marked[-1] if marked and marked[-1]["run"] == row["run"] else None
        stretch = 0 if before is None else before["stretch"] + (before["shared"] != shared)
        marked.append({**row, "shared": shared, "stretch": stretch})
    return marked


def _span(values: Sequence[float]) -> float:
    return max(values) - min(values) if values else 0.0
