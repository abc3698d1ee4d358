"""The picture of readings beside scores: a panel for each of the strongest relations, a named dot for each run."""

from __future__ import annotations

import math
from typing import Any

from ibtrack._checks import check_integer, needs
from ibtrack.analysis.scores import Relation, Relations, reading_words, two_digits
from ibtrack.record.texts import printable
from ibtrack.report.style import INK, PALETTE, SHAPES

with needs("a chart", extra="report"):
    import altair as alt

_SIZE = 230  # pixels of a panel
_MAX_LABELS = 40  # names of runs that can be read in a panel; of more, only the tooltip says them


def scores(relations: Relations, *, num_panels: int = 6) -> alt.ConcatChart:
    """Draw each score over the reading that goes with it most, with a dot for each run and step, and its name.

    Args:
        relations: Readings and scores, as from `ibtrack.analysis.scores.relate`.
        num_panels: Number of scores that are drawn, those of the largest |ρ| first.

    Returns:
        A chart whose panels have the columns ``run``, ``step``, ``family``, ``reading`` and ``score``; colour and shape
        are the family. A row without one of both numbers has no dot.

    Raises:
        ValueError: There are fewer panels than one.

    Example:
        >>> from ibtrack.analysis.scores import Joined, JoinedRow, relate
        >>> rows = tuple(
        ...     JoinedRow(run=f"r{i}", step=8, family=f"r{i}", readings={"ib/mean/token/told": i / 10},
        ...               scores={"arc": i / 20})
        ...     for i in range(6)
        ... )
        >>> len(scores(relate(Joined(rows=rows, by=None))).concat)
        1
    """
    check_integer("num_panels", num_panels, minimum=1)
    best: dict[str, Relation] = {}
    for each in relations.relations:
        before = best.get(each.score)
        best[each.score] = each if before is None or _strength(each) > _strength(before) else before
    shown = sorted(best.values(), key=_strength, reverse=True)[:num_panels]
    rows = relations.joined.rows
    lines = [
        f"{len({row.run for row in rows})} runs, {relations.num_families} families"
        + (f" by {relations.joined.by}" if relations.joined.by else ""),
        "over each panel: Spearman's ρ with the 95 % interval that holds for all readings and scores",
    ]
    head = alt.TitleParams(
        "Readings and scores", subtitle=lines, anchor="start", fontSize=16, subtitleFontSize=12, subtitleColor=INK
    )
    return (
        alt.concat(*(_panel(each, relations) for each in shown), columns=3)
        .properties(title=head)
        .configure_axis(labelFontSize=12, titleFontSize=13, titleFontWeight="normal", gridOpacity=0.5, titlePadding=6)
        .configure_view(strokeOpacity=0)
    )


def _strength(relation: Relation) -> float:
    return -1.0 if math.isnan(relation.alone.value) else abs(relation.alone.value)


def _panel(relation: Relation, relations: Relations) -> Any:
    rows = [
        {
            "run": printable(row.run),
            "step": row.step,
            "family": printable(row.family),
            "reading": row.readings[relation.reading],
            "score": row.scores[relation.score],
        }
        for row in relations.joined.rows
    ]
    there = [row for row in rows if math.isfinite(row["reading"]) and math.isfinite(row["score"])]  # type: ignore[arg-type]
    families = list(dict.fromkeys(printable(row.family) for row in relations.joined.rows))
    colours = alt.Scale(domain=families, range=[PALETTE[i % len(PALETTE)] for i in range(len(families))])
    shapes = alt.Scale(domain=families, range=[SHAPES[i // len(PALETTE) % len(SHAPES)] for i in range(len(families))])
    legend = alt.Legend(title=relations.joined.by, labelLimit=220) if relations.joined.by else None
    base = alt.Chart(alt.InlineData(values=there)).encode(
        x=alt.X("reading:Q", title=reading_words(relation.reading), scale=alt.Scale(zero=False, nice=True)),
        y=alt.Y("score:Q", title=relation.score, scale=alt.Scale(zero=False, nice=True)),
    )
    dots = base.mark_point(filled=True, size=60, opacity=0.85).encode(
        color=alt.Color("family:N", scale=colours, legend=legend),
        shape=alt.Shape("family:N", scale=shapes, legend=legend),
        tooltip=[alt.Tooltip(f"{name}:{kind}") for name, kind in _TOOLTIP],
    )
    layers = [dots]
    if len(there) <= _MAX_LABELS:
        layers.append(base.mark_text(align="left", dx=7, fontSize=10, color=INK, limit=110).encode(text="run:N"))
    title = alt.TitleParams(_rho(relation), anchor="start", fontSize=12, fontWeight="normal", color=INK)
    return alt.layer(*layers).properties(width=_SIZE, height=_SIZE, title=title)


_TOOLTIP = (("run", "N"), ("step", "Q"), ("family", "N"), ("reading", "Q"), ("score", "Q"))


def _rho(relation: Relation) -> str:
    if math.isnan(relation.alone.value):
        return relation.alone.why
    ends = relation.alone.together
    interval = f" ({two_digits(ends[0])} to {two_digits(ends[1])})" if ends else f", {relation.alone.why}"
    return f"ρ {two_digits(relation.alone.value)}{interval}"
