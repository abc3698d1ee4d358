"""Pictures of readings beside scores: a panel for each of the strongest relations, and the scores along training."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
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
    shown = _strongest(relations, num_panels)
    over = "over each panel: Spearman's ρ with the 95 % interval that holds for all readings and scores"
    return _side_by_side([_panel(each, relations) for each in shown], "Readings and scores", relations, over)


def score_curves(relations: Relations, *, num_panels: int = 6) -> alt.ConcatChart | None:
    """Draw scores over the steps of training, with a line for each run that has them at several steps.

    Args:
        relations: Readings and scores, as from `ibtrack.analysis.scores.relate`.
        num_panels: Number of scores that are drawn: the same as in `scores`, in the same order.

    Returns:
        A chart whose panels have the columns ``run``, ``step``, ``family`` and ``score``; colour is the family. None
        where no run has scores at two steps.

    Raises:
        ValueError: There are fewer panels than one.

    Example:
        >>> from ibtrack.analysis.scores import Joined, JoinedRow, relate
        >>> rows = tuple(
        ...     JoinedRow(run="a", step=step, family="a", readings={"ib/mean/token/told": step / 10},
        ...               scores={"arc": step / 20})
        ...     for step in range(6)
        ... )
        >>> len(score_curves(relate(Joined(rows=rows, by=None))).concat)
        1
    """
    shown = _strongest(relations, num_panels)
    steps = Counter(row.run for row in relations.joined.rows)
    runs = [run for run, number in steps.items() if number > 1]
    if not runs:
        return None
    panels = [_curves(each.score, relations, runs) for each in shown]
    return _side_by_side(panels, "Scores along training", relations, "a line for each run that has several steps")


def _strongest(relations: Relations, number: int) -> list[Relation]:
    """Take of each score its strongest relation, and of these the strongest."""
    check_integer("num_panels", number, minimum=1)
    best: dict[str, Relation] = {}
    for each in relations.relations:
        before = best.get(each.score)
        best[each.score] = each if before is None or _strength(each) > _strength(before) else before
    return sorted(best.values(), key=_strength, reverse=True)[:number]


def _side_by_side(panels: Sequence[Any], title: str, relations: Relations, line: str) -> alt.ConcatChart:
    num_runs = len({row.run for row in relations.joined.rows})
    by = f" by {relations.joined.by}" if relations.joined.by else ""
    lines = [f"{num_runs} runs, {relations.num_families} families{by}", line]
    head = alt.TitleParams(title, subtitle=lines, anchor="start", fontSize=16, subtitleFontSize=12, subtitleColor=INK)
    return (
        alt.concat(*panels, columns=3)
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
    families = _families(relations)
    colours = _colours(families)
    shapes = alt.Scale(domain=families, range=[SHAPES[i // len(PALETTE) % len(SHAPES)] for i in range(len(families))])
    legend = _legend(relations) if relations.joined.by else None  # else names at the dots tell runs apart
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


def _curves(score: str, relations: Relations, runs: Sequence[str]) -> Any:
    rows = [
        {
            "run": printable(row.run),
            "step": row.step,
            "family": printable(row.family),
            "score": row.scores[score],
        }
        for row in relations.joined.rows
        if row.run in runs and math.isfinite(row.scores[score])
    ]
    base = alt.Chart(alt.InlineData(values=rows)).encode(
        x=alt.X("step:Q", title="step", scale=alt.Scale(zero=False, nice=True), axis=alt.Axis(tickCount=4)),
        y=alt.Y("score:Q", title=score, scale=alt.Scale(zero=False, nice=True)),
        color=alt.Color("family:N", scale=_colours(_families(relations)), legend=_legend(relations)),
        detail="run:N",
    )
    lines = base.mark_line(strokeWidth=2, opacity=0.85)
    dots = base.mark_point(filled=True, size=40, opacity=0.85).encode(
        tooltip=[alt.Tooltip(f"{name}:{kind}") for name, kind in _TOOLTIP if name != "reading"]
    )
    return alt.layer(lines, dots).properties(width=_SIZE, height=_SIZE)


def _families(relations: Relations) -> list[str]:
    return list(dict.fromkeys(printable(row.family) for row in relations.joined.rows))


def _colours(families: Sequence[str]) -> alt.Scale:
    return alt.Scale(domain=families, range=[PALETTE[i % len(PALETTE)] for i in range(len(families))])


def _legend(relations: Relations) -> alt.Legend:
    return alt.Legend(title=relations.joined.by or "run", labelLimit=220)


_TOOLTIP = (("run", "N"), ("step", "Q"), ("family", "N"), ("reading", "Q"), ("score", "Q"))


def _rho(relation: Relation) -> str:
    if math.isnan(relation.alone.value):
        return relation.alone.why
    ends = relation.alone.together
    interval = f" ({two_digits(ends[0])} to {two_digits(ends[1])})" if ends else f", {relation.alone.why}"
    return f"ρ {two_digits(relation.alone.value)}{interval}"
