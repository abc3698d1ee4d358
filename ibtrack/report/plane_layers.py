"""The path of runs through the plane, and what it is drawn on: the layers of `ibtrack.report.charts.plane`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, cast

from ibtrack._checks import needs
from ibtrack.record.quantities import QUANTITIES
from ibtrack.record.trajectory import Trajectory
from ibtrack.report.style import INK, RED, Looks, tooltip_of_point, value_text
from ibtrack.report.tables import Z95

with needs("a chart", extra="report"):
    import altair as alt

_X_TITLE, _Y_TITLE = (f"{QUANTITIES[name].title}, fraction of log K" for name in ("complexity", "expressivity"))

BOTTLENECK_WORDS = "red: bottleneck curve, the most that the current token alone could say of the next"
_FINE = 0.005  # of log K, between points of a curve that is cut where the plane ends


def path(looks: Looks) -> list[alt.Chart]:
    """Line, bars and points of the runs, then the marks of start and end."""
    scale = alt.Scale(domain=cast(Any, [{"expr": "low"}, {"expr": "high"}]), nice=False, zero=False)
    base = (
        alt.Chart()
        .transform_filter("isValid(datum.complexity) && isValid(datum.expressivity) && datum.step <= until")
        .transform_joinaggregate(first="min(step)", last="max(step)", groupby=["run"])
        .transform_calculate(
            complexity_text=value_text("complexity", "complexity_se", "complexity_anchor_sd"),
            expressivity_text=value_text("expressivity", "expressivity_se", "expressivity_anchor_sd"),
        )
        .encode(
            x=alt.X("complexity:Q", title=_X_TITLE, scale=scale), y=alt.Y("expressivity:Q", title=_Y_TITLE, scale=scale)
        )
    )
    start, end = base.transform_filter("datum.step == datum.first"), base.transform_filter("datum.step == datum.last")
    tooltip = [
        *tooltip_of_point(),
        alt.Tooltip("complexity_text:N", title="complexity"),
        alt.Tooltip("expressivity_text:N", title="expressivity"),
    ]
    marks = {"color": looks.of_point(), "shape": looks.shape_of_run(), "tooltip": tooltip}
    end_size = 70 if looks.crowded else 190
    layers = [
        base.mark_line(strokeWidth=1.8, strokeOpacity=0.75).encode(
            color=looks.of_line(), detail="run:N", order=alt.Order("step:Q", sort="ascending")
        ),
        _bar(base, "complexity", looks).encode(
            x=alt.X("bar_low:Q", title=_X_TITLE), x2="bar_high:Q", color=looks.of_point()
        ),
        _bar(base, "expressivity", looks).encode(
            y=alt.Y("bar_low:Q", title=_Y_TITLE), y2="bar_high:Q", color=looks.of_point()
        ),
        base.mark_point(filled=True, opacity=1, stroke=INK, strokeWidth=0.5).encode(
            size=looks.size_of_point(), **marks
        ),
        start.mark_point(filled=False, opacity=1, size=end_size, strokeWidth=2).encode(**marks),
        end.mark_point(filled=True, opacity=1, size=end_size, stroke=INK, strokeWidth=1.2).encode(**marks),
    ]
    return [*layers, *_end_labels(start, end)] if looks.by_step and len(looks.labels) == 1 else layers


def _bar(base: alt.Chart, name: str, looks: Looks) -> alt.Chart:
    value, se = f"datum.{name}", f"datum.{name}_se"
    known = base.transform_filter(f"isValid({se})")
    ends = known.transform_calculate(bar_low=f"{value} - {Z95} * {se}", bar_high=f"{value} + {Z95} * {se}")
    return ends.mark_rule(strokeOpacity=0.25 if looks.crowded else 0.55)


def _end_labels(start: alt.Chart, end: alt.Chart) -> list[alt.Chart]:
    return [
        start.mark_text(align="left", dx=11, dy=13, fontSize=12, fontWeight="bold", color=INK, text="start"),
        end.transform_filter("datum.last > datum.first")
        .transform_calculate(label="'step ' + format(datum.step, ',')")
        .mark_text(dy=-18, fontSize=12, fontWeight="bold", color=INK)  # runs end on their way up, so above is free
        .encode(text="label:N"),
    ]


def diagonal() -> list[alt.Chart]:
    """From corner to corner; cut by its data, because one clip path makes a PNG ten times as slow."""
    text = "I(X;Z) = I(Y;Z), not a bound"
    line = _along_diagonal(0.0, 1.0).mark_line(strokeDash=[6, 4], color=INK, strokeWidth=1.2)
    label = _along_diagonal(0.72).mark_text(angle=315, dy=-9, fontSize=12, color=INK, text=text)
    return [layer.encode(x=alt.X("at:Q", title=_X_TITLE), y=alt.Y("at:Q", title=_Y_TITLE)) for layer in (line, label)]


def _along_diagonal(first: float, last: float | None = None) -> alt.Chart:
    # a sequence, as rows inside a spec break wandb's custom charts (wandb#6766)
    shares = alt.sequence(first, (last or first) + 0.5, 1, as_="share")
    return alt.Chart(shares).transform_calculate(at="low + datum.share * (high - low)")


def bottleneck(runs: Sequence[Trajectory]) -> list[alt.Chart]:
    """The information-bottleneck curve of the probe's tokens, where the runs agree on one.

    Source: Tishby, Pereira and Bialek 1999. It is the most I(Y;Z) at each I(X;Z) of a Z made from the token X alone,
    Y being the next token of the probe; a layer that sees the context may pass it.
    """
    given = [run.protocol["bottleneck_curve"] for run in runs if run.protocol.get("bottleneck_curve")]
    if not given or any(curve != given[0] for curve in given):
        return []
    points = _fine(sorted(zip(given[0]["complexity"], given[0]["expressivity"], strict=True)))
    values = cast(Any, [{"at": i, "bound_x": x, "bound_y": y} for i, (x, y) in enumerate(points)])
    visible = (
        alt.Chart(alt.InlineData(values=values))
        .transform_filter("bottleneck && datum.bound_x <= high && datum.bound_y <= high")
        .encode(x=alt.X("bound_x:Q", title=_X_TITLE), y=alt.Y("bound_y:Q", title=_Y_TITLE))
    )
    labelled = (  # one point, below which the plane is free: neither the end of a path nor the diagonal
        visible.transform_joinaggregate(end="max(bound_x)")
        .transform_filter("datum.bound_x <= 0.6 * datum.end")
        .transform_joinaggregate(at_label="max(at)")
        .transform_filter("datum.at == datum.at_label")
    )
    return [
        visible.mark_line(color=RED, strokeWidth=1.6).encode(order="at:Q"),
        labelled.mark_text(color=RED, align="left", dy=14, dx=4, fontSize=12, text="bottleneck curve"),
    ]


def _fine(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The same curve with points `_FINE` apart or closer, straight between those given."""
    fine = list(points[:1])
    for (x0, y0), (x1, y1) in pairwise(points):
        parts = max(1, math.ceil((x1 - x0) / _FINE))
        fine += [(x0 + (x1 - x0) * i / parts, y0 + (y1 - y0) * i / parts) for i in range(1, parts + 1)]
    return fine
