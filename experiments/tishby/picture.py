"""Draw the picture of both papers: each layer's path through the plane of hard bins, with one panel for each run.

python experiments/tishby/picture.py RUN [RUN ...] -o tishby.png
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, cast

import altair as alt
import typer

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # the packages of this checkout come first

from experiments.tishby.bins import Row
from ibtrack import Trajectory
from ibtrack.report import charts
from ibtrack.report.style import INK, RAMP


def main(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Folders of runs of experiment=tishby.")],
    output: Annotated[Path, typer.Option("-o", help="The PNG to write.")] = Path("tishby.png"),
) -> None:
    """Draw the information plane of hard bins, with one panel for each run."""
    chart: Any = picture(runs)
    print(charts.save_png(chart, output))


def picture(runs: Sequence[Path]) -> alt.HConcatChart:
    """Return a chart of I(X;T) and I(T;Y) in bits: a panel for each run, a line for each layer, coloured by step.

    Args:
        runs: Folders of finished runs of ``experiment=tishby``.
    """
    return alt.hconcat(*(_panel(read(run), Trajectory.load(run).run["config"]) for run in runs))


def read(run: Path) -> list[Row]:
    """Read the file that `experiments.tishby.bins.BinnedPlane` has written.

    Args:
        run: Folder of the run.

    Returns:
        A row for each layer and step.

    Raises:
        FileNotFoundError: The run has not come to its end.
    """
    with (run / "bins.csv").open(newline="", encoding="utf-8") as file:
        return [
            Row(int(row["step"]), row["layer"], float(row["input"]), float(row["label"]))
            for row in csv.DictReader(file)
        ]


def _panel(rows: Sequence[Row], config: dict[str, Any]) -> alt.LayerChart:
    points = [row._asdict() | {"shown": row.step + 1} for row in rows]  # step 0 has no place on a logarithmic scale
    last = max(row.step for row in rows)
    ends = [point for point in points if point["step"] == last]
    x = alt.X("input:Q", title="I(X;T), bits", scale=alt.Scale(domain=[0, 12]))
    y = alt.Y("label:Q", title="I(T;Y), bits", scale=alt.Scale(domain=[0, 1]))
    colour = alt.Color("shown:Q", title="step + 1", scale=alt.Scale(type="log", range=list(RAMP)))
    base = alt.Chart(alt.InlineData(values=points)).encode(x=x, y=y)
    paths = base.mark_line(color=INK, strokeWidth=1).encode(detail="layer:N", order="step:Q")
    dots = base.mark_circle(size=45, opacity=1).encode(color=colour)
    names = alt.Chart(alt.InlineData(values=ends)).mark_text(dx=-8, dy=-9, color=INK).encode(x=x, y=y, text="layer:N")
    title = f"{config['model']['activation']}, 30 bins, seed {config['seed']}"
    return cast("alt.LayerChart", alt.layer(paths, dots, names, width=380, height=320, title=title))


if __name__ == "__main__":
    typer.run(main)
