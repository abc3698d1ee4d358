"""What the charts have in common: colours and shapes of runs, ticks, the words of a tooltip."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, cast

from ibtrack._checks import check_option, needs
from ibtrack.record.quantities import TELLING_Z, Z95
from ibtrack.record.trajectory import Trajectory
from ibtrack.report.run_labels import run_labels
from ibtrack.report.tables import later_stages

with needs("a chart", extra="report"):
    import altair as alt

# Colours that people with any colour vision tell apart (Okabe and Ito 2008, Color Universal Design), less black and
# yellow, which vanish on dark and on light: the others have a contrast of at least 2.2 to white and of 4 to black. With
# the shapes they make 24 runs that look different.
PALETTE = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9")
SHAPES = ("circle", "square", "triangle-up", "cross")
# Early to late: lightness rises from 43 to 72 of 100 (CIELAB), so the order survives in grey. The contrast is at least
# 2.1 to white and 3.5 to black; the yellow end of viridis has 1.3 to white.
RAMP = ("#6a4fc9", "#3f76d6", "#1f95c2", "#1aa68d", "#55b04e", "#a9b12a", "#e0a90f")
INK = "#7d838c"  # text and axes: a contrast of 3.8 to white and of 5.5 to black
RED = "#d0342c"  # what is missing, and what bounds: a contrast of 5.0 to white and of 4.2 to black

# Letters of a run's name for which there is room beside a chart, and in a line of a legend below it.
_LONGEST_BESIDE, _LEGEND_LETTERS = 26, 84
_MOST_LARGE = 24  # runs whose legend has its usual size
# 4k for 4000: as a plain `format` Vega gives all ticks the unit of the largest one, and writes 1 as 0k
SHORT_NUMBER = "format(datum.value, '.3~s')"


class Style:
    """How points and runs are told apart: by step, or by colour and shape of the run.

    Without runs, as in a chart that gets its rows later, colours and shapes are dealt out in turn.

    Args:
        runs: Runs of the chart.
        colour: ``step`` or ``run``; None is step for one run and run for several.

    Raises:
        ValueError: There is no such colour.
    """

    def __init__(self, runs: Sequence[Trajectory], colour: str | None) -> None:
        colour = colour or ("step" if len(runs) == 1 else "run")
        self.by_step = check_option("colour", colour, ("step", "run")) == "step"
        self.labels = run_labels(runs)
        self.is_crowded = len(self.labels) > len(PALETTE)  # then marks are smaller, so that paths can be told apart
        self.has_stages = any(map(later_stages, runs))
        self.has_checkpoints = has_checkpoints(runs)
        self.last_step = max((step for run in runs for step in run.steps), default=0)

    def colour_of_run(self) -> alt.Color:
        """Encode the run as a colour."""
        colours = [PALETTE[i % len(PALETTE)] for i in range(len(self.labels))] or PALETTE
        return alt.Color("run:N", scale=self._scale_of_run(colours), legend=self._legend())

    def shape_of_run(self) -> alt.Shape:
        """Encode the run as a shape, which changes when the colours are used up."""
        shapes = [SHAPES[i // len(PALETTE) % len(SHAPES)] for i in range(len(self.labels))] or SHAPES
        legend = self._legend() if self.labels else None  # two scales without names do not merge into one legend
        return alt.Shape("run:N", scale=self._scale_of_run(shapes), legend=legend)

    def colour_of_point(self) -> alt.Color:
        """Encode the step of a point, or its run, as a colour."""
        if not self.by_step:
            return self.colour_of_run()
        domain = [math.expm1(i / (len(RAMP) - 1) * math.log1p(max(self.last_step, 1))) for i in range(len(RAMP))]
        legend = alt.Legend(title="step", values=ticks(self.last_step), labelExpr=SHORT_NUMBER, symbolStrokeWidth=0)
        return alt.Color("step:Q", scale=alt.Scale(type="symlog", domain=domain, range=RAMP), legend=legend)

    def colour_of_line(self) -> Any:
        """Encode the run as the colour of its line; where colour means the step, lines are grey."""
        return alt.value(INK) if self.by_step else self.colour_of_run()

    def size_of_point(self) -> Any:
        """Encode the step as a size in square pixels, where colour does not say it."""
        domain = [0, max(self.last_step, 1)] if self.labels else alt.Undefined
        scale = alt.Scale(type="symlog", domain=domain, range=[8, 40] if self.is_crowded else [12, 110])
        return alt.value(60) if self.by_step else alt.Size("step:Q", scale=scale, legend=None)

    def _scale_of_run(self, marks: Sequence[str]) -> alt.Scale:
        return alt.Scale(domain=self.labels or alt.Undefined, range=marks)

    def _legend(self) -> alt.Legend | None:
        if len(self.labels) == 1:
            return None
        longest = max(map(len, self.labels), default=0)
        below = (
            {"orient": "bottom", "columns": max(1, _LEGEND_LETTERS // (longest + 4))}
            if longest > _LONGEST_BESIDE
            else {}
        )
        size = 80 if len(self.labels) <= _MOST_LARGE else 50
        return alt.Legend(
            title=None,
            symbolOpacity=1,
            symbolSize=size,
            symbolStrokeWidth=0,
            symbolLimit=0,  # else Vega lists 30 runs and leaves the others out
            labelLimit=_LEGEND_LETTERS * 8,
            **cast(Any, below if below or len(self.labels) <= _MOST_LARGE else {"columns": -(-len(self.labels) // 40)}),
        )


def ticks(last: float, first: float = 1) -> list[float]:
    """Choose the ticks of a symlog axis: 0, then powers of ten from the first value on, then the end.

    Args:
        last: End of the axis.
        first: First value after 0.

    Example:
        >>> ticks(4000)
        [0, 1, 10, 100, 1000, 4000]
        >>> ticks(1500)  # 1000 would stand on the label of the end
        [0, 1, 10, 100, 1500]
    """
    if not last:
        return [0]
    exponents = range(math.floor(math.log10(first)), math.floor(math.log10(last)) + 1)
    return [0, *(10**k for k in exponents if first <= 10**k < last / 1.6), last]


def half_width(se: str, band: str) -> str:
    """Write the Vega expression for half of the interval that is drawn, which the parameter ``simultaneous`` chooses.

    Args:
        se: Column of the standard error.
        band: Column of the half width that holds for all points together.
    """
    return f"(simultaneous ? datum.{band} : {Z95} * datum.{se})"


def value_text(value: str, se: str, band: str, anchor_sd: str, low: str, high: str, z: str) -> str:
    """Write the Vega expression for a value, half of its 95 % intervals, its spread over anchors, and its bracket.

    Args:
        value: Column of the value.
        se: Column of its standard error; the interval is left out where it is null.
        band: Column of the half width that holds for all points together, which is left out where it is null.
        anchor_sd: Column of the standard deviation over draws of the anchors, which is left out where it is null.
        low: Column of the lower end of its bracket, which is left out where this is null.
        high: Column of the upper end.
        z: Column of how far the spread between labels stands out of noise; below 2 the text says so.
    """
    error = f"' ± ' + format({Z95} * datum.{se}, '.4f')"
    together = f"', for all points ± ' + format(datum.{band}, '.4f')"
    spread = f"' (sd over anchors ' + format(datum.{anchor_sd}, '.4f') + ')'"
    shown = " + ".join(
        f"(isValid(datum.{column}) ? {words} : '')"
        for column, words in ((se, error), (band, together), (anchor_sd, spread))
    )
    ends = f"format(datum.{low}, '.4f') + ' to ' + format(datum.{high}, '.4f')"
    bracket = f"(isValid(datum.{low}) && isValid(datum.{high}) ? ', bracket ' + {ends} : '')"
    faint = f"', not told from noise (z ' + format(datum.{z}, '.1f') + ')'"
    noise = f"(isValid(datum.{z}) && datum.{z} < {TELLING_Z} ? {faint} : '')"
    return f"format(datum.{value}, '.4f') + {shown} + {bracket} + {noise}"


def has_checkpoints(runs: Sequence[Trajectory]) -> bool:
    """Say whether any point was measured on a saved checkpoint, whose name it then carries.

    Args:
        runs: Runs of the chart.
    """
    return any(point.checkpoint for run in runs for point in run.points)


def tooltip_of_point(*, with_checkpoint: bool = False) -> list[alt.Tooltip]:
    """Make the lines with which the tooltip of any point begins: its run, step, tokens and training loss.

    Args:
        with_checkpoint: Whether points name the checkpoint that they were measured on.
    """
    return [
        alt.Tooltip("run:N"),
        alt.Tooltip("step:Q", format=","),
        *([alt.Tooltip("checkpoint:N")] if with_checkpoint else []),
        alt.Tooltip("tokens:Q", format=",", title="tokens seen"),
        alt.Tooltip("loss:Q", format=".3f", title="training loss"),
    ]
