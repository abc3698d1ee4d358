"""Trajectories become charts: the plane, curves over training, a heatmap of layers by steps.

Each chart reads one named dataset, ``points``, whose rows are those of `ibtrack.report.tables`. So one Vega-Lite spec
serves a PNG, the HTML report (which changes the rows and the parameters) and wandb (whose table has the same columns).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from ibtrack._checks import check_option, needs
from ibtrack.analysis.comparison import why_not_comparable
from ibtrack.record.quantities import QUANTITIES
from ibtrack.record.trajectory import Trajectory
from ibtrack.report import draw
from ibtrack.report.label_places import label_sides
from ibtrack.report.plane_layers import BOTTLENECK_WORDS, bottleneck, diagonal, path, shared_lines
from ibtrack.report.score_chart import score_curves as score_curves
from ibtrack.report.score_chart import scores as scores
from ibtrack.report.shared_paths import mark_shared
from ibtrack.report.stage_marks import stage_lines, stage_rows
from ibtrack.report.style import (
    INK,
    RED,
    SHORT_NUMBER,
    Style,
    half_width,
    has_checkpoints,
    ticks,
    tooltip_of_point,
    value_text,
)
from ibtrack.report.tables import (
    BANDS,
    PLANE_COLUMNS,
    curve_rows,
    doubt_lines,
    heatmap_rows,
    missing_lines,
    plane_domain,
    plane_rows,
)

with needs("a chart", extra="report"):
    import altair as alt

MIXED = "different protocols: compare shapes, never numbers"
_DOUBT = "(isValid(datum.doubt) ? ' In doubt: ' + datum.doubt : '')"
_VALUE_TEXT = f"{value_text('value', 'se', 'band', 'anchor_sd', 'low', 'high', 'z')} + {_DOUBT}"
_REFERENCES = (
    ("null", "dashed: the plug-in of shuffled labels"),
    ("ceiling", "dotted: ceiling I(Z;J)"),
    ("half", "dashed: half of the documents; far from the line, rows are too few"),
)
SHARED_WORDS = "where lines lie on one another, the lower ones are drawn wider"
_BRACKET_WORDS = "light band: bracket"
_BAND_WORDS = {"pointwise": "95 % at each point", "simultaneous": "95 % for all points together"}


def plane(
    trajectories: Trajectory | Sequence[Trajectory],
    *,
    site: str = "mean",
    order: str = "token",
    reading: str = "debiased",
    unit: str = "share",
    colour: str | None = None,
    band: str = "pointwise",
) -> alt.LayerChart:
    """Draw the path of each run through the information plane, its points joined in step order.

    Bars are 95 % intervals: ± 1.96 standard errors, or wider, so that all of a run hold together. A point without a
    place in the plane is named in the caption.

    Args:
        trajectories: One run or more.
        site: ``mean`` or a site of the protocol, such as ``L03``.
        order: Label set, such as ``token``.
        reading: ``debiased``, ``plugin`` or ``null``.
        unit: ``share`` of the ceiling I(Z;J), or ``log_k``, fraction of log K, as published numbers are. The share does
            not move when a cloud of activations narrows, nor much with width and K; the fraction does.
        colour: ``step`` or ``run``; None is step for one run and run for several.
        band: ``pointwise``, bars that each hold with 95 % certainty, or ``simultaneous``, bars that hold with 95 %
            certainty at all points of a run and on both axes together.

    Returns:
        A square chart with one domain for both axes. Its columns are those of `ibtrack.report.tables.plane_rows`. Of
        its parameters ``until`` hides later steps; ``left``, ``right``, ``bottom`` and ``top`` are the ends of the
        axes, ``low`` and ``high`` those of the diagonal; ``bars`` shows bars and ``simultaneous`` picks them; and
        ``bottleneck`` shows the bottleneck curve, which belongs to single tokens and to fractions of log K: it has no
        share of the ceiling.

    Raises:
        ValueError: There is no such reading, unit, colour or band.

    Example:
        >>> from ibtrack.record.trajectory import Point
        >>> values = {"ib/mean/token/kept": 0.4, "ib/mean/token/told": 0.1}
        >>> chart = plane(Trajectory({}, {"name": "a"}, [Point(0, values)]))
        >>> [(row["step"], row["complexity"]) for row in to_spec(chart)["datasets"]["points"]]
        [(0, 0.4)]
    """
    runs = _as_list(trajectories)
    style = Style(runs, colour)
    together = check_option("band", band, BANDS) == "simultaneous"
    rows = plane_rows(runs, site=site, order=order, reading=reading, unit=unit, bands=together)
    low, high = plane_domain(rows)
    rows = mark_shared(rows, PLANE_COLUMNS)
    if style.by_step and len(runs) == 1:
        rows = _with_sides(rows, (low, high))
    last = max((row["step"] for row in rows), default=0)
    parameters = {"until": last, "low": low, "high": high, "bottleneck": order == "token", "simultaneous": together}
    ends = {"left": low, "right": high, "bottom": low, "top": high}
    parameters |= {**ends, "bars": True}
    errors = [f"bars: {_BAND_WORDS[band]}"] if any(row[f"{name}_se"] for row in rows for name in PLANE_COLUMNS) else []
    lines = [" · ".join([_subtitle("order", site, order, reading), *errors])]
    lines += [MIXED] if why_not_comparable(dict(zip(style.labels, runs, strict=True))) else []
    lines += [] if style.by_step else ["ring: start · points grow with the step · largest: end"]
    lines += [SHARED_WORDS] if any(row["shared"] for row in rows) else []
    curve = bottleneck(runs) if unit == "log_k" else []
    lines += [BOTTLENECK_WORDS] if curve and order == "token" else []
    layers = [*diagonal(unit), *curve, *path(style, unit)]
    chart = _finished(layers, rows, _title(runs), [*lines, *_shortened([*missing_lines(rows), *doubt_lines(rows)])])
    named = (alt.param(name=name, value=value) for name, value in parameters.items())
    return _with_rows(chart.properties(width=420, height=420).add_params(*named), rows)


def curves(
    trajectories: Trajectory | Sequence[Trajectory],
    *,
    quantity: str = "kept",
    site: str = "mean",
    order: str = "token",
    reading: str = "debiased",
    x: str = "step",
    bracket: bool = False,
    band: str = "pointwise",
) -> alt.LayerChart:
    """Draw one quantity over training, a line per run, with its 95 % band.

    A dashed line is the null, what the plug-in reads for shuffled labels, or for an effective rank what half of the
    documents read, from which it shows whether there are too few rows; a dotted line is the ceiling. A cross on the
    axis stands for a point without a value; its tooltip says why. Where a run has stages of training, a line with the
    name of each stands where it begins.

    Args:
        trajectories: One run or more.
        quantity: Name in `ibtrack.record.quantities.QUANTITIES`.
        site: ``mean`` or a site of the protocol; not used by quantities of the whole run.
        order: Label set; used only by quantities of an order.
        reading: ``debiased``, ``plugin`` or ``null``.
        x: ``step`` or ``tokens``, on a symlog axis so that 0 has a place.
        bracket: Whether a light band shows the bracket of the debiased complexity or expressivity, from a lower end
            that assumes nothing to the plug-in reading.
        band: ``pointwise``, a band that holds with 95 % certainty at each point by itself, or ``simultaneous``, one
            that holds with 95 % certainty at all points of a run together.

    Returns:
        A chart whose columns are those of `ibtrack.report.tables.curve_rows`; ``bracket``, ``bars`` and
        ``simultaneous`` are parameters of it.

    Raises:
        ValueError: There is no such quantity, reading, x or band.

    Example:
        >>> from ibtrack.record.trajectory import Point
        >>> chart = curves(Trajectory({}, {"name": "a"}, [Point(0, loss=7.0), Point(8, loss=2.0)]), quantity="loss")
        >>> [row["value"] for row in to_spec(chart)["datasets"]["points"]]
        [7.0, 2.0]
    """
    check_option("x", x, ("step", "tokens"))
    runs = _as_list(trajectories)
    style = Style(runs, "run")
    together = check_option("band", band, BANDS) == "simultaneous"
    rows = curve_rows(runs, quantity=quantity, site=site, order=order, reading=reading, bands=together)
    rows = mark_shared(rows, ["value"])
    width = half_width("se", "band")
    along = _along_training(x, [row[x] for row in rows if row[x] is not None])
    base = alt.Chart().encode(x=along)
    with_value = base.transform_filter(f"isValid(datum.value) && isValid(datum.{x})")
    y = alt.Y("value:Q", title=_with_unit(quantity), scale=alt.Scale(zero=False, nice=True))
    by_run = {"color": style.colour_of_run(), "detail": "run:N"}
    in_order = {**by_run, "order": alt.Order("step:Q")}  # on an area it would mean the order of a stack
    tooltip = [
        *tooltip_of_point(with_checkpoint=style.has_checkpoints),
        alt.Tooltip("value_text:N", title=quantity.replace("_", " ")),
    ]
    layers = [
        *stage_lines(stage_rows(runs), along, x),
        base.transform_filter(f"bracket && isValid(datum.low) && isValid(datum.high) && isValid(datum.{x})")
        .mark_area(fillOpacity=0.09, opacity=1)
        .encode(y=alt.Y("low:Q", title=_with_unit(quantity)), y2="high:Q", **by_run),
        with_value.transform_filter("bars && isValid(simultaneous ? datum.band : datum.se)")
        .transform_calculate(band_low=f"datum.value - {width}", band_high=f"datum.value + {width}")
        .mark_area(fillOpacity=0.18, opacity=1)
        .encode(y=alt.Y("band_low:Q", title=_with_unit(quantity)), y2="band_high:Q", **by_run),
        *(
            base.transform_filter(f"isValid(datum.{column}) && isValid(datum.{x})")
            .mark_line(strokeDash=dash, strokeWidth=1.4, strokeOpacity=0.8)
            .encode(y=alt.Y(f"{column}:Q", title=_with_unit(quantity)), **in_order)
            for column, dash in (("null", [5, 4]), ("ceiling", [1.5, 3]), ("half", [5, 4]))
        ),
        *([] if len(runs) == 1 else [shared_lines(with_value).encode(y=y, color=style.colour_of_run())]),
        with_value.mark_line(strokeWidth=2).encode(y=y, **in_order),
        with_value.transform_calculate(value_text=_VALUE_TEXT)
        .mark_point(filled=True, size=36, opacity=1)
        .encode(y=y, color=style.colour_of_run(), shape=style.shape_of_run(), tooltip=tooltip),
        _crosses(base.transform_filter(f"!isValid(datum.value) && isValid(datum.{x})")).encode(y=alt.value("height")),
    ]
    errors = [f"band: {_BAND_WORDS[band]}"] if any(row["se"] for row in rows) else []
    lines = [" · ".join([_subtitle(QUANTITIES[quantity].scope, site, order, reading), *errors])]
    drawn = [name for column, name in _REFERENCES if any(row[column] is not None for row in rows)]
    drawn += [_BRACKET_WORDS] if bracket and any(row["low"] is not None for row in rows) else []
    lines += [" · ".join(drawn)] if drawn else []
    lines += [SHARED_WORDS] if any(row["shared"] for row in rows) else []
    chart = _finished(layers, rows, _title(runs), [*lines, *_shortened([*missing_lines(rows), *doubt_lines(rows)])])
    parameters = {"bracket": bracket, "simultaneous": together, "bars": True}
    named = (alt.param(name=name, value=value) for name, value in parameters.items())
    return _with_rows(chart.properties(width=520, height=300).add_params(*named), rows)


def heatmap(
    trajectory: Trajectory, *, quantity: str = "kept", order: str = "token", reading: str = "debiased"
) -> alt.LayerChart:
    """Draw one quantity of one run, layer by step: a column per measured step, the last layer on top.

    Args:
        trajectory: Run to show.
        quantity: Name in `ibtrack.record.quantities.QUANTITIES`, of a quantity that belongs to a site or an order.
        order: Label set; used only by quantities of an order.
        reading: ``debiased``, ``plugin`` or ``null``.

    Returns:
        A chart whose columns are those of `ibtrack.report.tables.heatmap_rows`; a cell with a cross has no value.

    Raises:
        ValueError: There is no such quantity or reading, or the quantity belongs to the whole run.
    """
    check_option("quantity", quantity, tuple(name for name, each in QUANTITIES.items() if each.scope != "run"))
    rows = heatmap_rows(trajectory, quantity=quantity, order=order, reading=reading)
    base = alt.Chart().encode(
        x=alt.X("step:O", title="step", axis=alt.Axis(labelOverlap=True, labelAngle=0)),
        y=alt.Y("site:N", title=None, sort=alt.EncodingSortField("depth", op="min", order="descending")),
    )
    marks = tooltip_of_point(with_checkpoint=has_checkpoints([trajectory]))
    tooltip = [alt.Tooltip("site:N", title="layer"), *marks]
    cells = (
        base.transform_filter("isValid(datum.value)")
        .transform_calculate(value_text=_VALUE_TEXT)
        .mark_rect()
        .encode(
            color=alt.Color("value:Q", title=None, scale=alt.Scale(scheme="viridis"), legend=alt.Legend(format=".2~f")),
            tooltip=[*tooltip, alt.Tooltip("value_text:N", title=quantity.replace("_", " "))],
        )
    )
    layers = [cells, _crosses(base.transform_filter("!isValid(datum.value)"), tooltip[:1])]
    subtitle = f"{_with_unit(quantity)} · {_subtitle(QUANTITIES[quantity].scope, None, order, reading)}".strip(" ·")
    num_sites = len({row["site"] for row in rows})
    chart = _finished(layers, rows, trajectory.name, [subtitle])
    return _with_rows(chart.properties(width=520, height=max(22 * num_sites, 60)), rows)


def to_spec(chart: alt.LayerChart | alt.VConcatChart) -> dict[str, Any]:
    """Write a chart as a Vega-Lite spec; its rows lie in ``spec["datasets"]["points"]``.

    Args:
        chart: Chart from `plane`, `curves` or `heatmap`.
    """
    bare = chart.copy(deep=False)  # Altair would check every row against its schema, which takes longer than all else
    rows = {} if bare.datasets is alt.Undefined else dict(bare.datasets)
    bare.datasets = alt.Undefined
    spec = bare.to_dict()
    return {**spec, "datasets": {**spec.get("datasets", {}), **rows}}


def to_png(chart: alt.LayerChart | alt.VConcatChart, *, scale: float = 2) -> bytes:
    """Draw a chart as a PNG, without a browser and without the network, in a process of its own.

    Args:
        chart: Chart from `plane`, `curves` or `heatmap`.
        scale: Pixels per unit of the chart.

    Raises:
        ModuleNotFoundError: vl-convert, from the extra ``report``, is not installed.
        RuntimeError: The chart could not be drawn; whatever the reason, this process goes on.
    """
    return draw.png(to_spec(chart), scale=scale)


def save_png(chart: alt.LayerChart | alt.VConcatChart, path: str | os.PathLike[str], *, scale: float = 2) -> Path:
    """Draw a chart into a PNG file.

    Args:
        chart: Chart from `plane`, `curves` or `heatmap`.
        path: File to write, whose name ends in ``.png``; its folder is made.
        scale: Pixels per unit of the chart.

    Returns:
        The path of the file.

    Raises:
        ValueError: The name of the file does not end in ``.png``.
        ModuleNotFoundError: vl-convert, from the extra ``report``, is not installed.
        RuntimeError: The chart could not be drawn.
    """
    path, png = Path(path), to_png(chart, scale=scale)
    if path.suffix.lower() != ".png":
        raise ValueError(f"path must end in .png, as charts are written as PNG, got {str(path)!r}")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(png)
    return path


def save(chart: alt.TopLevelMixin, path: str | os.PathLike[str]) -> Path:
    """Draw a chart into a PNG or SVG file, or write it as a page that opens without a network.

    Args:
        chart: Chart of this package.
        path: File to write, whose name ends in ``.png``, ``.svg`` or ``.html``; its folder is made.

    Returns:
        The path of the file.

    Raises:
        ValueError: The name of the file ends in something else.
        ModuleNotFoundError: vl-convert, from the extra ``report``, is not installed.
        RuntimeError: The chart could not be drawn.
    """
    path = Path(path)
    kind = check_option("the end of path", path.suffix.lower(), (".png", ".svg", ".html"))
    if kind == ".png":
        return save_png(cast(alt.LayerChart, chart), path)
    text = draw.text(chart.to_dict(), kind[1:])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def _with_sides(rows: list[dict[str, Any]], ends: tuple[float, float]) -> list[dict[str, Any]]:
    """Say on which side the labels of the first and the last point stand that have a place in the plane."""
    there = [row["step"] for row in rows if all(row[name] is not None for name in PLANE_COLUMNS)]
    labels = {step: f"step {step:,}" for step in there[-1:]} | dict.fromkeys(there[:1], "start")
    sides = label_sides(rows, labels, ends)
    return [row if side is None else {**row, "side": side} for row, side in zip(rows, sides, strict=True)]


def _crosses(missing: alt.Chart, first_lines: Sequence[alt.Tooltip] = ()) -> alt.Chart:
    """Mark points without a value; the last line of their tooltip says why."""
    tooltip = [*first_lines, *tooltip_of_point(), alt.Tooltip("why:N", title="no value")]
    cross = missing.mark_point(shape="cross", angle=45, size=80, filled=True, color=RED, opacity=1)
    return cast(alt.Chart, cross.encode(tooltip=tooltip))


def _along_training(x: str, values: Sequence[float]) -> alt.X:
    # symlog is linear below its constant, so the constant is the first place after zero
    first = min((value for value in values if value > 0), default=1)
    axis = alt.Axis(values=ticks(max(values, default=0), first), labelExpr=SHORT_NUMBER, grid=False)
    title = "tokens seen" if x == "tokens" else "step"
    return alt.X(f"{x}:Q", title=title, axis=axis).scale(type="symlog", constant=first, nice=False)


def _finished(layers: Sequence[alt.Chart], rows: list[dict[str, Any]], title: str, lines: list[str]) -> alt.LayerChart:
    lines = lines if rows else ["no points yet"]
    head = alt.TitleParams(title, subtitle=lines, anchor="start", fontSize=16, subtitleFontSize=12, subtitleColor=INK)
    chart = (
        alt.layer(*layers)
        .properties(data=alt.NamedData("points"), title=head)
        .configure_axis(labelFontSize=12, titleFontSize=13, titleFontWeight="normal", gridOpacity=0.5, titlePadding=8)
        .configure_legend(labelFontSize=12, titleFontSize=12)
        .configure_view(strokeOpacity=0)
    )
    return cast(alt.LayerChart, chart)


def _with_rows(chart: alt.LayerChart, rows: list[dict[str, Any]]) -> alt.LayerChart:
    """Give a finished chart its rows; at an earlier stage Altair would copy and check each of them at every step."""
    chart.datasets = {"points": rows}
    return chart


def _title(runs: Sequence[Trajectory]) -> str:
    return runs[0].name if len(runs) == 1 else f"{len(runs)} runs"


def _subtitle(scope: str, site: str | None, order: str, reading: str) -> str:
    where = {None: "", "mean": "mean over the layers"}.get(site, f"layer {site}")
    parts = {"order": [where, f"{order} labels", f"{reading} reading"], "site": [where], "run": ["the whole run"]}
    return " · ".join(part for part in parts[scope] if part)


def _with_unit(quantity: str) -> str:
    title, unit = QUANTITIES[quantity].title, QUANTITIES[quantity].unit
    return f"{title}, {unit}" if unit else title


def _shortened(lines: Sequence[str], *, width: int = 90, num_lines: int = 4) -> list[str]:
    """Cut lines to what fits over a chart of 520 pixels in 12-pixel type; the last says how many more there are."""
    cut = [line if len(line) <= width else line[: width - 1] + "…" for line in lines[:num_lines]]
    return cut + ([f"and {len(lines) - num_lines} more runs with missing points"] if len(lines) > num_lines else [])


def _as_list(trajectories: Trajectory | Sequence[Trajectory]) -> list[Trajectory]:
    return [trajectories] if isinstance(trajectories, Trajectory) else list(trajectories)
