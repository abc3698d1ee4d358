"""Draws the pictures of the documentation from a run of the demo: python docs/pictures/draw.py RUN."""

from __future__ import annotations

import sys
from pathlib import Path

from ibtrack import Trajectory
from ibtrack.report import charts

FOLDER = Path(__file__).parent
SCALE = 1.3  # pixels per unit of a chart: below 100 kB each


def draw(trajectory: Trajectory) -> None:
    """Draw the plane in two readings, complexity over training with its ceiling, and its share by layer."""
    pictures = {
        "demo_plugin": charts.plane(trajectory, reading="plugin"),
        "demo_debiased": charts.plane(trajectory),
        "demo_curves": charts.curves(trajectory, quantity="complexity"),
        "demo_layers": charts.heatmap(trajectory, quantity="kept"),
    }
    for name, chart in pictures.items():
        print(charts.save_png(chart, FOLDER / f"{name}.png", scale=SCALE))


if __name__ == "__main__":
    draw(Trajectory.load(sys.argv[1]))
