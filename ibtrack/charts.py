"""Trajectories → charts: the plane, curves over training, layer by step.

Each chart reads one named dataset, ``points``, whose rows are those of `ibtrack.rows`. So one Vega-Lite spec serves a
PNG, the HTML report (which changes the rows and the parameters) and wandb (whose table has the same columns).
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import altair as alt

from ibtrack._checks import check_option
from ibtrack.rows import (
    QUANTITIES,
    Z95,
    curve_rows,
    heatmap_rows,
    missing_lines,
    plane_domain,
    plane_rows,
    run_labels,
)
from ibtrack.trajectory import Trajectory

# Okabe and Ito's colours less black and yellow, which vanish on dark and on light; with the shapes, 24 looks
PALETTE = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9")
SHAPES = ("circle", "square", "triangle-up", "cross")
# early to late; hue and lightness both rise, and neither end vanishes on white or on black, as those of viridis do
RAMP = ("#6a4fc9", "#3f76d6", "#1f95c2", "#1aa68d", "#55b04e", "#a9b12a", "#e0a90f")
INK = "#7d838c"  # readable on white and on black
RED = "#d0342c"

_X_TITLE, _Y_TITLE = (f"{QUANTITIES[name].title}, fraction of log K" for name in ("complexity", "expressivity"))
_SHORT = (
    "format(datum.value, '.3~s')"  # 4k; as `format` Vega gives all ticks the unit of the largest, and writes 1 as 0k
)
_REFERENCES = (("null", "dashed: the plug-in of shuffled labels"), ("ceiling", "dotted: ceiling I(Z;J)"))


def plane(
    trajectories: Trajectory | Sequence[Trajectory],
    *,
    site: str = "mean",
    order: str = "token",
    reading: str = "debiased",
    colour: str | None = None,
) -> alt.LayerChart:
    """Path of each run through the information plane, its points joined in step order.

    Bars are ± 1.96 standard errors. A point without a place in the plane is named in the caption.

    Args:
        trajectories: one or more runs.
        site: ``mean`` or a site of the protocol, such as ``L03``.
        order: label set, such as ``token``.
        reading: ``debiased``, ``plugin`` or ``null``.
        colour: ``step`` or ``run``; None is step for one run and run for several.

    Returns:
        A square chart with one domain for both axes, in fractions of log K. Its columns are those of
        `ibtrack.rows.plane_rows`; of its parameters ``until`` hides later steps, ``low`` and ``high`` are the
        domain, and ``bottleneck`` shows the bottleneck curve, which belongs to single tokens.

    Raises:
        ValueError: no such reading or colour.

    Example:
        >>> from ibtrack.trajectory import Point
        >>> readings = {"ib/mean/token/complexity": 0.4, "ib/mean/token/expressivity": 0.1}
        >>> chart = plane(Trajectory({}, {"name": "a"}, [Point(0, readings)]))
        >>> [(row["step"], row["complexity"]) for row in to_spec(chart)["datasets"]["points"]]
        [(0, 0.4)]
    """
    runs = _as_list(trajectories)
    looks = _Looks(runs, colour)
    rows = plane_rows(runs, site=site, order=order, reading=reading)
    low, high = plane_domain(rows)
    last = max((row["step"] for row in rows), default=0)
    parameters = {"until": last, "low": low, "high": high, "bottleneck": order == "token"}
    lines = [_subtitle("order", site, order, reading)]
    lines += [] if looks.by_step else ["ring: start · points grow with the step · largest: end"]
    layers = [*_diagonal(), *_bottleneck(runs), *_path(looks)]
    chart = _finished(layers, rows, _title(runs), [*lines, *_shortened(missing_lines(rows))])
    return chart.properties(width=420, height=420).add_params(
        *(alt.param(name=name, value=value) for name, value in parameters.items())
    )


def curves(
    trajectories: Trajectory | Sequence[Trajectory],
    *,
    quantity: str = "complexity",
    site: str = "mean",
    order: str = "token",
    reading: str = "debiased",
    x: str = "step",
) -> alt.LayerChart:
    """One quantity over training, a line per run, with its 95 % band.

    Dashed: the null, what the plug-in reads for shuffled labels. Dotted: the ceiling. A cross on the axis: a point
    without a value; its tooltip says why.

    Args:
        trajectories: one or more runs.
        quantity: a name of `ibtrack.rows.QUANTITIES`.
        site: as in `plane`; not used by quantities of the whole run.
        order: as in `plane`; used only by quantities of an order.
        reading: as in `plane`.
        x: ``step`` or ``tokens``, on a symlog axis so that 0 has a place.

    Raises:
        ValueError: no such quantity, reading or x.

    Example:
        >>> from ibtrack.trajectory import Point
        >>> chart = curves(Trajectory({}, {"name": "a"}, [Point(0, loss=7.0), Point(8, loss=2.0)]), quantity="loss")
        >>> [row["value"] for row in to_spec(chart)["datasets"]["points"]]
        [7.0, 2.0]
    """
    check_option("x", x, ("step", "tokens"))
    runs = _as_list(trajectories)
    looks = _Looks(runs, "run")
    rows = curve_rows(runs, quantity=quantity, site=site, order=order, reading=reading)
    base = alt.Chart().encode(x=_along_training(x, [row[x] for row in rows if row[x] is not None]))
    known = base.transform_filter(f"isValid(datum.value) && isValid(datum.{x})")
    y = alt.Y("value:Q", title=_with_unit(quantity), scale=alt.Scale(zero=False, nice=True))
    of_run = {"color": looks.of_run(), "detail": "run:N"}
    in_order = {**of_run, "order": alt.Order("step:Q")}  # on an area it would mean the order of a stack
    tooltip = [*_tooltip_of_point(), alt.Tooltip("value_text:N", title=quantity.replace("_", " "))]
    layers = [
        known.transform_filter("isValid(datum.se)")
        .transform_calculate(band_low=f"datum.value - {Z95} * datum.se", band_high=f"datum.value + {Z95} * datum.se")
        .mark_area(fillOpacity=0.18, opacity=1)
        .encode(y=alt.Y("band_low:Q", title=_with_unit(quantity)), y2="band_high:Q", **of_run),
        *(
            base.transform_filter(f"isValid(datum.{column}) && isValid(datum.{x})")
            .mark_line(strokeDash=dash, strokeWidth=1.4, strokeOpacity=0.8)
            .encode(y=alt.Y(f"{column}:Q", title=_with_unit(quantity)), **in_order)
            for column, dash in (("null", [5, 4]), ("ceiling", [1.5, 3]))
        ),
        known.mark_line(strokeWidth=2).encode(y=y, **in_order),
        known.transform_calculate(value_text=_text("value", "se"))
        .mark_point(filled=True, size=36, opacity=1)
        .encode(y=y, color=looks.of_run(), shape=looks.shape_of_run(), tooltip=tooltip),
        _crosses(base.transform_filter(f"!isValid(datum.value) && isValid(datum.{x})")).encode(y=alt.value("height")),
    ]
    lines = [_subtitle(QUANTITIES[quantity].scope, site, order, reading)]
    drawn = [name for column, name in _REFERENCES if any(row[column] is not None for row in rows)]
    lines += [" · ".join(drawn)] if drawn else []
    chart = _finished(layers, rows, _title(runs), [*lines, *_shortened(missing_lines(rows))])
    return chart.properties(width=520, height=300)


def heatmap(
    trajectory: Trajectory, *, quantity: str = "complexity", order: str = "token", reading: str = "debiased"
) -> alt.LayerChart:
    """One quantity of one run, layer by step: a column per measured step, the last layer on top.

    Args:
        trajectory: the run.
        quantity: as in `curves`, but of a site or an order.
        order: as in `plane`.
        reading: as in `plane`.

    Returns:
        A chart whose columns are those of `ibtrack.rows.heatmap_rows`; a cell with a cross has no value.

    Raises:
        ValueError: no such quantity or reading, or the quantity belongs to the whole run.
    """
    check_option("quantity", quantity, tuple(name for name, of in QUANTITIES.items() if of.scope != "run"))
    rows = heatmap_rows(trajectory, quantity=quantity, order=order, reading=reading)
    base = alt.Chart().encode(
        x=alt.X("step:O", title="step", axis=alt.Axis(labelOverlap=True, labelAngle=0)),
        y=alt.Y("site:N", title=None, sort=alt.EncodingSortField("depth", op="min", order="descending")),
    )
    tooltip = [alt.Tooltip("site:N", title="layer"), *_tooltip_of_point()]
    cells = (
        base.transform_filter("isValid(datum.value)")
        .transform_calculate(value_text=_text("value", "se"))
        .mark_rect()
        .encode(
            color=alt.Color("value:Q", title=None, scale=alt.Scale(scheme="viridis"), legend=alt.Legend(format=".2~f")),
            tooltip=[*tooltip, alt.Tooltip("value_text:N", title=quantity.replace("_", " "))],
        )
    )
    layers = [cells, _crosses(base.transform_filter("!isValid(datum.value)"), tooltip[:1])]
    subtitle = f"{_with_unit(quantity)} · {_subtitle(QUANTITIES[quantity].scope, None, order, reading)}".strip(" ·")
    num_sites = len({row["site"] for row in rows})
    return _finished(layers, rows, trajectory.name, [subtitle]).properties(width=520, height=max(22 * num_sites, 60))


def to_spec(chart: alt.LayerChart) -> dict[str, Any]:
    """The chart as a Vega-Lite spec; its rows lie in ``spec["datasets"]["points"]``."""
    return cast(dict[str, Any], chart.to_dict())


def to_png(chart: alt.LayerChart, *, scale: float = 2) -> bytes:
    """The chart as a PNG, without a browser and without the network.

    Args:
        chart: from `plane`, `curves` or `heatmap`.
        scale: pixels per unit of the chart.
    """
    import vl_convert

    return cast(bytes, vl_convert.vegalite_to_png(to_spec(chart), scale=scale))


def save_png(chart: alt.LayerChart, path: str | os.PathLike[str], *, scale: float = 2) -> Path:
    """Write the chart into a PNG file; see `to_png`."""
    path = Path(path)
    path.write_bytes(to_png(chart, scale=scale))
    return path


class _Looks:
    """How points and runs are told apart: by step, or by colour and shape of the run."""

    def __init__(self, runs: Sequence[Trajectory], colour: str | None) -> None:
        colour = colour or ("step" if len(runs) == 1 else "run")
        self.by_step = check_option("colour", colour, ("step", "run")) == "step"
        self.labels = run_labels(runs)
        self.last = max((step for run in runs for step in run.steps), default=0)

    def of_run(self) -> alt.Color:
        colours = [PALETTE[i % len(PALETTE)] for i in range(len(self.labels))]
        return alt.Color("run:N", scale=alt.Scale(domain=self.labels, range=colours), legend=self._legend())

    def shape_of_run(self) -> alt.Shape:
        shapes = [SHAPES[i // len(PALETTE) % len(SHAPES)] for i in range(len(self.labels))]
        return alt.Shape("run:N", scale=alt.Scale(domain=self.labels, range=shapes), legend=self._legend())

    def of_point(self) -> alt.Color:
        if not self.by_step:
            return self.of_run()
        domain = [math.expm1(i / (len(RAMP) - 1) * math.log1p(max(self.last, 1))) for i in range(len(RAMP))]
        legend = alt.Legend(title="step", values=_ticks(self.last), labelExpr=_SHORT, symbolStrokeWidth=0)
        return alt.Color("step:Q", scale=alt.Scale(type="symlog", domain=domain, range=RAMP), legend=legend)

    def of_line(self) -> Any:
        return alt.value(INK) if self.by_step else self.of_run()

    def size_of_point(self) -> Any:
        scale = alt.Scale(type="symlog", domain=[0, max(self.last, 1)], range=[12, 110])
        return alt.value(60) if self.by_step else alt.Size("step:Q", scale=scale, legend=None)

    def _legend(self) -> alt.Legend | None:
        if len(self.labels) == 1:
            return None
        return alt.Legend(title=None, symbolOpacity=1, symbolSize=80, symbolStrokeWidth=0, labelLimit=220)


def _path(looks: _Looks) -> list[alt.Chart]:
    """Line, bars and points of the runs, then the marks of start and end."""
    scale = alt.Scale(domain=cast(Any, [{"expr": "low"}, {"expr": "high"}]), nice=False, zero=False)
    base = (
        alt.Chart()
        .transform_filter("isValid(datum.complexity) && isValid(datum.expressivity) && datum.step <= until")
        .transform_joinaggregate(first="min(step)", last="max(step)", groupby=["run"])
        .transform_calculate(
            complexity_text=_text("complexity", "complexity_se"),
            expressivity_text=_text("expressivity", "expressivity_se"),
        )
        .encode(
            x=alt.X("complexity:Q", title=_X_TITLE, scale=scale), y=alt.Y("expressivity:Q", title=_Y_TITLE, scale=scale)
        )
    )
    start, end = base.transform_filter("datum.step == datum.first"), base.transform_filter("datum.step == datum.last")
    tooltip = [
        *_tooltip_of_point(),
        alt.Tooltip("complexity_text:N", title="complexity"),
        alt.Tooltip("expressivity_text:N", title="expressivity"),
    ]
    marks = {"color": looks.of_point(), "shape": looks.shape_of_run(), "tooltip": tooltip}
    layers = [
        base.mark_line(strokeWidth=1.8, strokeOpacity=0.75).encode(
            color=looks.of_line(), detail="run:N", order=alt.Order("step:Q", sort="ascending")
        ),
        _bar(base, "complexity").encode(x=alt.X("bar_low:Q", title=_X_TITLE), x2="bar_high:Q", color=looks.of_point()),
        _bar(base, "expressivity").encode(
            y=alt.Y("bar_low:Q", title=_Y_TITLE), y2="bar_high:Q", color=looks.of_point()
        ),
        base.mark_point(filled=True, opacity=1, stroke=INK, strokeWidth=0.5).encode(
            size=looks.size_of_point(), **marks
        ),
        start.mark_point(filled=False, opacity=1, size=190, strokeWidth=2).encode(**marks),
        end.mark_point(filled=True, opacity=1, size=190, stroke=INK, strokeWidth=1.2).encode(**marks),
    ]
    return [*layers, *_end_labels(start, end)] if looks.by_step and len(looks.labels) == 1 else layers


def _bar(base: alt.Chart, name: str) -> alt.Chart:
    value, se = f"datum.{name}", f"datum.{name}_se"
    known = base.transform_filter(f"isValid({se})")
    ends = known.transform_calculate(bar_low=f"{value} - {Z95} * {se}", bar_high=f"{value} + {Z95} * {se}")
    return ends.mark_rule(strokeOpacity=0.55)


def _end_labels(start: alt.Chart, end: alt.Chart) -> list[alt.Chart]:
    return [
        start.mark_text(align="left", dx=11, dy=13, fontSize=12, fontWeight="bold", color=INK, text="start"),
        end.transform_filter("datum.last > datum.first")
        .transform_calculate(label="'step ' + format(datum.step, ',')")
        .mark_text(dy=-18, fontSize=12, fontWeight="bold", color=INK)  # runs end on their way up, so above is free
        .encode(text="label:N"),
    ]


def _diagonal() -> list[alt.Chart]:
    """From corner to corner; cut by its data, because one clip path makes a PNG ten times as slow."""
    text = "I(X;Z) = I(Y;Z), not a bound for k-grams"
    line = _along_diagonal([0.0, 1.0]).mark_line(strokeDash=[6, 4], color=INK, strokeWidth=1.2)
    label = _along_diagonal([0.62]).mark_text(angle=315, dy=-9, fontSize=12, color=INK, text=text)
    return [layer.encode(x=alt.X("at:Q", title=_X_TITLE), y=alt.Y("at:Q", title=_Y_TITLE)) for layer in (line, label)]


def _along_diagonal(shares: Sequence[float]) -> alt.Chart:
    values = cast(Any, [{"share": share} for share in shares])
    return alt.Chart(alt.InlineData(values=values)).transform_calculate(at="low + datum.share * (high - low)")


def _bottleneck(runs: Sequence[Trajectory]) -> list[alt.Chart]:
    """The information-bottleneck curve of the probe's tokens, where the runs agree on one."""
    given = [run.protocol["bottleneck_curve"] for run in runs if run.protocol.get("bottleneck_curve")]
    if not given or any(curve != given[0] for curve in given):
        return []
    pairs = enumerate(zip(given[0]["complexity"], given[0]["expressivity"], strict=True))
    values = cast(Any, [{"at": i, "bound_x": x, "bound_y": y} for i, (x, y) in pairs])
    visible = (
        alt.Chart(alt.InlineData(values=values))
        .transform_filter("bottleneck && datum.bound_x <= high && datum.bound_y <= high")
        .transform_joinaggregate(end="max(at)")
        .encode(x=alt.X("bound_x:Q", title=_X_TITLE), y=alt.Y("bound_y:Q", title=_Y_TITLE))
    )
    return [
        visible.mark_line(color=RED, strokeWidth=1.6).encode(order="at:Q"),
        visible.transform_filter("datum.at == datum.end").mark_text(
            color=RED, align="right", dy=-8, dx=-4, fontSize=12, text="bottleneck curve"
        ),
    ]


def _crosses(missing: alt.Chart, more: Sequence[alt.Tooltip] = ()) -> alt.Chart:
    tooltip = [*more, *_tooltip_of_point(), alt.Tooltip("why:N", title="no value")]
    return missing.mark_point(shape="cross", angle=45, size=80, filled=True, color=RED, opacity=1).encode(
        tooltip=tooltip
    )


def _along_training(x: str, values: Sequence[float]) -> alt.X:
    # symlog is linear below its constant, so the constant is the first place after zero
    first = min((value for value in values if value > 0), default=1)
    axis = alt.Axis(values=_ticks(max(values, default=0), first), labelExpr=_SHORT, grid=False)
    title = "tokens seen" if x == "tokens" else "step"
    return alt.X(f"{x}:Q", title=title, axis=axis).scale(type="symlog", constant=first, nice=False)


def _ticks(last: float, first: float = 1) -> list[float]:
    """0, then powers of ten from the first value on, then the end.

    Example:
        >>> _ticks(4000)
        [0, 1, 10, 100, 1000, 4000]
    """
    powers = [10**k for k in range(math.floor(math.log10(first)), 19) if first <= 10**k < last / 1.6]
    return [0, *powers, *([last] if last else [])]


def _text(value: str, se: str) -> str:
    """Expression for a value and the half width of its 95 % interval."""
    error = f"' ± ' + format({Z95} * datum.{se}, '.4f')"
    return f"format(datum.{value}, '.4f') + (isValid(datum.{se}) ? {error} : '')"


def _tooltip_of_point() -> list[alt.Tooltip]:
    return [
        alt.Tooltip("run:N"),
        alt.Tooltip("step:Q", format=","),
        alt.Tooltip("tokens:Q", format=",", title="tokens seen"),
        alt.Tooltip("loss:Q", format=".3f", title="training loss"),
    ]


def _finished(layers: Sequence[alt.Chart], rows: list[dict[str, Any]], title: str, lines: list[str]) -> alt.LayerChart:
    lines = lines if rows else ["no points yet"]
    head = alt.TitleParams(title, subtitle=lines, anchor="start", fontSize=16, subtitleFontSize=12, subtitleColor=INK)
    chart = cast(alt.LayerChart, alt.layer(*layers))
    return (
        chart.properties(data=alt.NamedData("points"), datasets={"points": rows}, title=head)
        .configure_axis(labelFontSize=12, titleFontSize=13, titleFontWeight="normal", gridOpacity=0.5, titlePadding=8)
        .configure_legend(labelFontSize=12, titleFontSize=12)
        .configure_view(strokeOpacity=0)
    )


def _title(runs: Sequence[Trajectory]) -> str:
    return runs[0].name if len(runs) == 1 else f"{len(runs)} runs"


def _subtitle(scope: str, site: str | None, order: str, reading: str) -> str:
    where = {None: "", "mean": "mean over the layers"}.get(site, f"layer {site}")
    parts = {"order": [where, f"{order} labels", f"{reading} reading"], "site": [where], "run": ["the whole run"]}
    return " · ".join(part for part in parts[scope] if part)


def _with_unit(quantity: str) -> str:
    title, unit, _ = QUANTITIES[quantity]
    return f"{title}, {unit}" if unit else title


def _shortened(lines: Sequence[str], *, width: int = 90, most: int = 4) -> list[str]:
    """As many lines as a picture has room for; the last says how many more there are."""
    cut = [line if len(line) <= width else line[: width - 1] + "…" for line in lines[:most]]
    return cut + ([f"and {len(lines) - most} more runs with missing points"] if len(lines) > most else [])


def _as_list(trajectories: Trajectory | Sequence[Trajectory]) -> list[Trajectory]:
    return [trajectories] if isinstance(trajectories, Trajectory) else list(trajectories)
