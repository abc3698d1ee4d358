"""What the charts have in common: colours and shapes of runs, ticks, the words of a tooltip."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ibtrack._checks import check_option, needs
from ibtrack.record.trajectory import Trajectory
from ibtrack.report.tables import Z95, run_labels

with needs("a chart", extra="report"):
    import altair as alt

# Okabe and Ito's colours less black and yellow, which vanish on dark and on light; with the shapes, 24 looks
PALETTE = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9")
SHAPES = ("circle", "square", "triangle-up", "cross")
# early to late; hue and lightness both rise, and neither end vanishes on white or on black, as those of viridis do
RAMP = ("#6a4fc9", "#3f76d6", "#1f95c2", "#1aa68d", "#55b04e", "#a9b12a", "#e0a90f")
INK = "#7d838c"  # readable on white and on black
RED = "#d0342c"

SHORT = (
    "format(datum.value, '.3~s')"  # 4k; as `format` Vega gives all ticks the unit of the largest, and writes 1 as 0k
)


class Looks:
    """How points and runs are told apart: by step, or by colour and shape of the run.

    Without runs, as in a chart whose rows are not known yet, colours and shapes are dealt out in turn.
    """

    def __init__(self, runs: Sequence[Trajectory], colour: str | None) -> None:
        colour = colour or ("step" if len(runs) == 1 else "run")
        self.by_step = check_option("colour", colour, ("step", "run")) == "step"
        self.labels = run_labels(runs)
        self.crowded = len(self.labels) > len(PALETTE)  # smaller marks, so that paths can be told
        self.last = max((step for run in runs for step in run.steps), default=0)

    def of_run(self) -> alt.Color:
        colours = [PALETTE[i % len(PALETTE)] for i in range(len(self.labels))] or PALETTE
        return alt.Color("run:N", scale=self._scale_of_run(colours), legend=self._legend())

    def shape_of_run(self) -> alt.Shape:
        shapes = [SHAPES[i // len(PALETTE) % len(SHAPES)] for i in range(len(self.labels))] or SHAPES
        legend = self._legend() if self.labels else None  # two scales without names do not merge into one legend
        return alt.Shape("run:N", scale=self._scale_of_run(shapes), legend=legend)

    def of_point(self) -> alt.Color:
        if not self.by_step:
            return self.of_run()
        domain = [math.expm1(i / (len(RAMP) - 1) * math.log1p(max(self.last, 1))) for i in range(len(RAMP))]
        legend = alt.Legend(title="step", values=ticks(self.last), labelExpr=SHORT, symbolStrokeWidth=0)
        return alt.Color("step:Q", scale=alt.Scale(type="symlog", domain=domain, range=RAMP), legend=legend)

    def of_line(self) -> Any:
        return alt.value(INK) if self.by_step else self.of_run()

    def size_of_point(self) -> Any:
        domain = [0, max(self.last, 1)] if self.labels else alt.Undefined
        scale = alt.Scale(type="symlog", domain=domain, range=[8, 40] if self.crowded else [12, 110])
        return alt.value(60) if self.by_step else alt.Size("step:Q", scale=scale, legend=None)

    def _scale_of_run(self, looks: Sequence[str]) -> alt.Scale:
        return alt.Scale(domain=self.labels or alt.Undefined, range=looks)

    def _legend(self) -> alt.Legend | None:
        if len(self.labels) == 1:
            return None
        return alt.Legend(title=None, symbolOpacity=1, symbolSize=80, symbolStrokeWidth=0, labelLimit=220)


def ticks(last: float, first: float = 1) -> list[float]:
    """0, then powers of ten from the first value on, then the end.

    Example:
        >>> ticks(4000)
        [0, 1, 10, 100, 1000, 4000]
    """
    powers = [10**k for k in range(math.floor(math.log10(first)), 19) if first <= 10**k < last / 1.6]
    return [0, *powers, *([last] if last else [])]


def value_text(value: str, se: str, anchor_sd: str) -> str:
    """Expression for a value, the half width of its 95 % interval, and its spread over draws of the anchors."""
    error = f"' ± ' + format({Z95} * datum.{se}, '.4f')"
    spread = f"' (sd over anchors ' + format(datum.{anchor_sd}, '.4f') + ')'"
    shown = f"(isValid(datum.{se}) ? {error} : '') + (isValid(datum.{anchor_sd}) ? {spread} : '')"
    return f"format(datum.{value}, '.4f') + {shown}"


def tooltip_of_point() -> list[alt.Tooltip]:
    return [
        alt.Tooltip("run:N"),
        alt.Tooltip("step:Q", format=","),
        alt.Tooltip("tokens:Q", format=",", title="tokens seen"),
        alt.Tooltip("loss:Q", format=".3f", title="training loss"),
    ]
