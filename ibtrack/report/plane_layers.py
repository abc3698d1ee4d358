"""The layers of `ibtrack.report.charts.plane`: the path of each run, the diagonal, the bottleneck curve."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Literal, cast

from ibtrack._checks import needs
from ibtrack.record.quantities import PLANE_UNITS, QUANTITIES
from ibtrack.record.trajectory import Trajectory
from ibtrack.report.style import INK, RED, Style, half_width, tooltip_of_point, value_text
from ibtrack.report.tables import PLANE_COLUMNS

with needs("a chart", extra="report"):
    import altair as alt

BOTTLENECK_WORDS = "red: bottleneck curve, the most that the current token alone could say of the next"
# The bottleneck curve is cut at one of its points where the plane ends. This distance between them, as a fraction of
# log K, is 2 pixels in a plane that reaches to 1 and 7 in one that reaches to 0.3, so the cut lies at the edge.
_CURVE_STEP = 0.005


def axis_titles(unit: str) -> tuple[str, str]:
    """Name the axes of the plane.

    Args:
        unit: ``share`` or ``log_k``.

    Example:
        >>> axis_titles("log_k")
        ('complexity I(X;Z), fraction of log K', 'expressivity I(Y;Z), fraction of log K')
    """
    x, y = (QUANTITIES[name] for name in PLANE_UNITS[unit][:2])
    return f"{x.title}, {x.unit}", f"{y.title}, {y.unit}"


def path(style: Style, unit: str) -> list[alt.Chart]:
    """Draw the line, the bars and the points of each run, then the marks of start and end.

    Args:
        style: Colours and shapes of the chart.
        unit: Unit of the rows, which names the axes and the lines of the tooltip.
    """
    x_title, y_title = axis_titles(unit)
    scales = (
        alt.Scale(domain=cast(Any, [{"expr": low}, {"expr": high}]), nice=False, zero=False)
        for low, high in (("left", "right"), ("bottom", "top"))
    )
    x_scale, y_scale = scales
    base = (
        alt.Chart()
        .transform_filter("isValid(datum.complexity) && isValid(datum.expressivity) && datum.step <= until")
        .transform_joinaggregate(first="min(step)", last="max(step)", groupby=["run"])
        .transform_calculate(
            complexity_text=_text_of("complexity"),
            expressivity_text=_text_of("expressivity"),
        )
        .encode(
            x=alt.X("complexity:Q", title=x_title, scale=x_scale),
            y=alt.Y("expressivity:Q", title=y_title, scale=y_scale),
        )
    )
    start, end = base.transform_filter("datum.step == datum.first"), base.transform_filter("datum.step == datum.last")
    tooltip = [
        *tooltip_of_point(with_checkpoint=style.has_checkpoints),
        *(
            alt.Tooltip(f"{column}_text:N", title=name)
            for column, name in zip(PLANE_COLUMNS, PLANE_UNITS[unit][:2], strict=True)
        ),
    ]
    marks = {"color": style.colour_of_point(), "shape": style.shape_of_run(), "tooltip": tooltip}
    end_size = 70 if style.is_crowded else 190  # square pixels: larger than the largest point on the way
    layers = [
        *([] if len(style.labels) == 1 else [shared_lines(base).encode(color=style.colour_of_line())]),
        base.mark_line(strokeWidth=1.8, strokeOpacity=0.75).encode(
            color=style.colour_of_line(), detail="run:N", order=alt.Order("step:Q", sort="ascending")
        ),
        _bar(base, "complexity", style).encode(
            x=alt.X("bar_low:Q", title=x_title), x2="bar_high:Q", color=style.colour_of_point()
        ),
        _bar(base, "expressivity", style).encode(
            y=alt.Y("bar_low:Q", title=y_title), y2="bar_high:Q", color=style.colour_of_point()
        ),
        base.mark_point(filled=True, opacity=1, stroke=INK, strokeWidth=0.5).encode(
            size=style.size_of_point(), **marks
        ),
        start.mark_point(filled=False, opacity=1, size=end_size, strokeWidth=2).encode(**marks),
        end.mark_point(filled=True, opacity=1, size=end_size, stroke=INK, strokeWidth=1.2).encode(**marks),
    ]
    if style.has_stages:
        layers += [_stage_names(base, "left"), _stage_names(base, "right")]
    return [*layers, *_end_labels(base)] if style.by_step and len(style.labels) == 1 else layers


def shared_lines(base: alt.Chart) -> alt.Chart:
    """Draw the edges of lines that others lie on, so that these do not hide them: a line for each other one wider.

    Args:
        base: Chart whose rows `ibtrack.report.shared_paths.mark_shared` has marked.
    """
    width = alt.StrokeWidth("shared:Q", scale=alt.Scale(domain=[1, 4], range=[6, 15], clamp=True), legend=None)
    there = base.transform_filter("datum.shared > 0").mark_line(strokeOpacity=0.6, strokeCap="butt")
    detail = [alt.Detail("run:N"), alt.Detail("stretch:O")]
    return cast(alt.Chart, there.encode(strokeWidth=width, detail=detail, order=alt.Order("step:Q", sort="ascending")))


def _stage_names(base: alt.Chart, align: Literal["left", "right"]) -> alt.Chart:
    """Name each later stage of training beside the point where it begins, towards the middle of the plane."""
    is_here = {"left": "<=", "right": ">"}[align]  # of the middle; a text at the edge would be cut off
    there = base.transform_filter(f"isValid(datum.begins) && 2 * datum.complexity {is_here} low + high")
    text = there.mark_text(align=align, dx=10 if align == "left" else -10, dy=-12, fontSize=12, color=INK)
    return cast(alt.Chart, text.encode(text="begins:N"))


def _text_of(quantity: str) -> str:
    return value_text(quantity, *(f"{quantity}_{suffix}" for suffix in ("se", "band", "anchor_sd", "low", "high", "z")))


def _bar(base: alt.Chart, quantity: str, style: Style) -> alt.Chart:
    value, se, band = f"datum.{quantity}", f"{quantity}_se", f"{quantity}_band"
    with_error = base.transform_filter(f"bars && isValid(simultaneous ? datum.{band} : datum.{se})")
    width = half_width(se, band)
    ends = with_error.transform_calculate(bar_low=f"{value} - {width}", bar_high=f"{value} + {width}")
    return cast(alt.Chart, ends.mark_rule(strokeOpacity=0.25 if style.is_crowded else 0.55))


def _end_labels(base: alt.Chart) -> list[alt.Chart]:
    """Name the first and the last point, each on the side that its row names, as `label_sides` has chosen it."""
    ends = base.transform_filter("datum.step == datum.first || datum.step == datum.last").transform_calculate(
        label="datum.step == datum.first ? 'start' : 'step ' + format(datum.step, ',')",
        at="isValid(datum.side) ? datum.side : datum.step == datum.first ? 'below' : 'above'",
    )
    marks: dict[str, dict[str, Any]] = {
        "above": {"align": "center", "baseline": "bottom", "dy": -10},
        "below": {"align": "center", "baseline": "top", "dy": 11},
        "right": {"align": "left", "baseline": "middle", "dx": 11},
        "left": {"align": "right", "baseline": "middle", "dx": -11},
    }
    return [
        ends.transform_filter(f"datum.at == '{side}'")
        .mark_text(fontSize=12, fontWeight="bold", color=INK, **mark)
        .encode(text="label:N")
        for side, mark in marks.items()
    ]


def diagonal(unit: str) -> list[alt.Chart]:
    """Draw the diagonal from corner to corner, and its label; it is the same line in either unit.

    It ends where its data do, because one clip path makes a PNG ten times as slow.

    Args:
        unit: Unit of the rows, which names the axes.
    """
    x_title, y_title = axis_titles(unit)
    text = "I(X;Z) = I(Y;Z), not a bound"
    line = _along_diagonal(0.0, 1.0).mark_line(strokeDash=[6, 4], color=INK, strokeWidth=1.2)
    place = _along_diagonal(0.72)  # past the middle: paths begin near the lower end
    label = place.transform_filter("high - low == right - left && right - left == top - bottom").mark_text(
        angle=315, dy=-9, fontSize=12, color=INK, text=text
    )
    return [layer.encode(x=alt.X("at:Q", title=x_title), y=alt.Y("at:Q", title=y_title)) for layer in (line, label)]


def _along_diagonal(first: float, last: float | None = None) -> alt.Chart:
    # a sequence, as rows inside a spec break wandb's custom charts (wandb#6766)
    shares = alt.sequence(first, (last or first) + 0.5, 1, as_="share")
    return alt.Chart(shares).transform_calculate(at="low + datum.share * (high - low)")


def bottleneck(runs: Sequence[Trajectory]) -> list[alt.Chart]:
    """Draw the information-bottleneck curve of the probe's tokens, if the runs agree on one.

    Source: Tishby, Pereira and Bialek 1999. It is the most I(Y;Z) at each I(X;Z) of a Z made from the token X alone,
    Y being the next token of the probe; a layer that sees the context may pass it. It is an information of tokens, in
    nats over log K, and belongs to the plane in that unit alone: a description of tokens has no soft assignment, and so
    no ceiling to have a share of.

    Args:
        runs: Runs of the chart; the protocol of each may hold the curve.
    """
    x_title, y_title = axis_titles("log_k")
    curves = [run.protocol["bottleneck_curve"] for run in runs if run.protocol.get("bottleneck_curve")]
    if not curves or any(curve != curves[0] for curve in curves):
        return []
    points = _subdivided(sorted(zip(curves[0]["complexity"], curves[0]["expressivity"], strict=True)))
    slopes = [(y1 - y0) / (x1 - x0) if x1 > x0 else 1.0 for (x0, y0), (x1, y1) in pairwise(points)]
    rows = zip(points, [*slopes[:1], *slopes], strict=False)
    values = cast(
        Any, [{"at": i, "bound_x": x, "bound_y": y, "slope": slope} for i, ((x, y), slope) in enumerate(rows)]
    )
    visible = (
        alt.Chart(alt.InlineData(values=values))
        .transform_filter(
            "bottleneck && inrange(datum.bound_x, [left, right]) && inrange(datum.bound_y, [bottom, top])"
        )
        .encode(x=alt.X("bound_x:Q", title=x_title), y=alt.Y("bound_y:Q", title=y_title))
    )
    labelled = visible.transform_joinaggregate(end="max(at)").transform_filter("datum.at == datum.end")
    return [
        visible.mark_line(color=RED, strokeWidth=1.6).encode(order="at:Q"),
        # along the curve, over its end
        labelled.transform_calculate(angle="-atan2(datum.slope * (right - left), top - bottom) * 180 / PI")
        .mark_text(color=RED, align="right", baseline="bottom", dx=-4, dy=-5, fontSize=12, text="bottleneck curve")
        .encode(angle=alt.Angle("angle:Q", scale=None)),
    ]


def _subdivided(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Add points to a curve, straight between those given, until they are `_CURVE_STEP` apart or closer."""
    subdivided = list(points[:1])
    for (x0, y0), (x1, y1) in pairwise(points):
        parts = max(1, math.ceil((x1 - x0) / _CURVE_STEP))
        subdivided += [(x0 + (x1 - x0) * i / parts, y0 + (y1 - y0) * i / parts) for i in range(1, parts + 1)]
    return subdivided
