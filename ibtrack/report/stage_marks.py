"""Where stages of training begin: the lines that mark it across curves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ibtrack._checks import needs
from ibtrack.record.trajectory import Trajectory
from ibtrack.report.style import INK
from ibtrack.report.tables import later_stages, tokens_of

with needs("a chart", extra="report"):
    import altair as alt


def stage_rows(runs: Sequence[Trajectory]) -> list[dict[str, Any]]:
    """Make the rows of the marks: one for each stage and the place at which it begins, those of several runs once.

    Args:
        runs: Runs to show; those of a single stage have no rows.

    Returns:
        Rows with ``stage``, ``step`` and ``tokens``.
    """
    rows = {}
    for run in runs:
        tokens = {point.step: tokens_of(point) for point in run.points}
        for stage, step in run.stages.items() if later_stages(run) else ():
            rows[stage, step] = {"stage": stage, "step": step, "tokens": tokens.get(step)}
    return list(rows.values())


def stage_lines(rows: Sequence[dict[str, Any]], x: alt.X, column: str) -> list[alt.Chart]:
    """Draw a line with its name where each stage begins, along training.

    Args:
        rows: Rows of `stage_rows`.
        x: Encoding of the axis along training.
        column: Column of that axis, ``step`` or ``tokens``.

    Returns:
        Two layers; none where there are no rows with a place on the axis.
    """
    there = [row for row in rows if row[column] is not None]
    if not there:
        return []
    base = alt.Chart(alt.InlineData(values=there)).encode(x=x)
    rule = base.mark_rule(strokeDash=[2, 3], color=INK, opacity=0.8)
    name = base.mark_text(align="left", baseline="top", dx=4, fontSize=12, color=INK, limit=140)
    return [rule, name.encode(y=alt.value(2), text="stage:N")]
