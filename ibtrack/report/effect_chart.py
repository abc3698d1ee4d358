"""The picture of what settings do: the runs of each group, and the differences between groups with their intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ibtrack._checks import needs
from ibtrack.analysis.effects import ONE_EACH, Effect, Effects
from ibtrack.record.quantities import Z95
from ibtrack.report.effect_rows import contrast_rows, run_rows
from ibtrack.report.style import INK, PALETTE

with needs("a chart", extra="report"):
    import altair as alt

_WIDTH, _ROW = 250, 26  # pixels of a panel and of a line in it
_AXIS = alt.Axis(tickCount=5)


def effect_chart(effects: Effects) -> alt.VConcatChart:
    """Draw two panels for each quantity: a dot for each run beside the mean of its group, and each difference.

    Args:
        effects: Effects of settings, as `ibtrack.analysis.effects.effects` finds them.

    Returns:
        A chart whose rows are those of `ibtrack.report.effect_rows`: `run_rows` left and `contrast_rows` right.
    """
    shown = [each for each in effects.effects if each.contrasts]
    has_intervals = any(pair.interval for each in shown for pair in each.contrasts)
    where = "mean over the layers" if effects.site == "mean" else f"layer {effects.site}"
    lines = [
        f"{effects.match.words()} · {effects.order} labels · {where}",
        "left: a dot is a run, a bar the mean of its group",
        "right: line: 95 % interval from the spread between runs" if has_intervals else f"right: {ONE_EACH}",
        f"pale bar: ± {Z95} standard errors over the probe's documents, which know nothing of seeds",
    ]
    title = f"Effect of {', '.join(effects.groups.by)}"
    head = alt.TitleParams(title, subtitle=lines, anchor="start", fontSize=16, subtitleFontSize=12, subtitleColor=INK)
    panels = [alt.hconcat(_runs(each), _contrasts(each), spacing=24) for each in shown]
    return (
        alt.vconcat(*panels, spacing=18)
        .properties(title=head)
        .configure_axis(labelFontSize=12, titleFontSize=13, titleFontWeight="normal", gridOpacity=0.5, titlePadding=6)
        .configure_view(strokeOpacity=0)
    )


def _runs(effect: Effect) -> Any:
    rows = run_rows(effect)
    groups = list(effect.values)
    colours = alt.Scale(domain=groups, range=[PALETTE[i % len(PALETTE)] for i in range(len(groups))])
    base = _base(rows, "group", groups).encode(color=alt.Color("group:N", scale=colours, legend=None))
    mean, value = (
        alt.X(f"{name}:Q", title=_title(effect), scale=alt.Scale(zero=False), axis=_AXIS) for name in ("mean", "value")
    )
    return alt.layer(
        base.mark_tick(thickness=2.5, size=18).encode(x=mean),
        base.mark_point(filled=True, size=50, opacity=0.75).encode(x=value),
    ).properties(width=_WIDTH, height=_ROW * len(groups))


def _contrasts(effect: Effect) -> Any:
    rows = contrast_rows(effect)
    pairs = [row["pair"] for row in rows]
    base = _base(rows, "pair", pairs)
    title = f"difference in {_title(effect)}"
    colour = alt.value(PALETTE[0])
    weight = alt.condition("datum.told", alt.value(3), alt.value(1.5))
    return alt.layer(
        base.transform_filter("isValid(datum.probe)")
        .transform_calculate(probe_low="datum.difference - datum.probe", probe_high="datum.difference + datum.probe")
        .mark_bar(size=13, opacity=0.22, color=INK)
        .encode(x=alt.X("probe_low:Q", title=title, axis=_AXIS), x2="probe_high:Q"),
        alt.Chart(alt.InlineData(values=[{"zero": 0}])).mark_rule(color=INK, strokeDash=[4, 3]).encode(x="zero:Q"),
        base.transform_filter("isValid(datum.low)")
        .mark_rule()
        .encode(x=alt.X("low:Q", title=title), x2="high:Q", color=colour, strokeWidth=weight),
        base.mark_point(filled=True, size=60, opacity=1).encode(x=alt.X("difference:Q", title=title), color=colour),
    ).properties(width=_WIDTH, height=_ROW * len(pairs))


def _base(rows: Sequence[Mapping[str, Any]], name: str, names: Sequence[str]) -> alt.Chart:
    axis = alt.Axis(labelLimit=340, grid=False)
    return alt.Chart(alt.InlineData(values=[dict(row) for row in rows])).encode(
        y=alt.Y(f"{name}:N", title=None, sort=list(names), axis=axis)
    )


def _title(effect: Effect) -> str:
    return " ".join(filter(None, (effect.title, f"({effect.unit})" if effect.unit else "")))
