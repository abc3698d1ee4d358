"""Measure what reports and lists of many runs take: time, peak of memory, size of the page, and its opening.

A point is one real measurement of a tiny model with as many layers as are asked for; the runs are made up from it, as
their numbers say nothing here: values follow a curve over training, with noise of their own.

python experiments/benchmarks/report_size.py --runs 1 --runs 4 --runs 20 --runs 200
"""

# ruff: noqa: E402 (the packages of this checkout are put on the path first)
from __future__ import annotations

import math
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from torch import Tensor, nn

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from experiments.benchmarks.figures import Figure, report
from experiments.benchmarks.options import JsonFile
from experiments.benchmarks.text import made_up_text
from ibtrack import InformationPlaneTracker, Probe, Trajectory
from ibtrack.record.influences import Influences
from ibtrack.record.trajectory import Point
from ibtrack.record.writer import TrajectoryWriter

MEGABYTE = 1e6
LAST_STEP = 100_000
NUM_DOCUMENTS = 128  # influences are kept for as many at most
RECIPES = ("constant", "cosine", "linear", "wsd")
MOST_SIZE, MOST_SECONDS, MOST_MEMORY = 15, 5, 1000  # megabytes of the page, seconds to open it, megabytes of a command
MOST_LISTING = 3  # seconds of a list of files that have not changed


@dataclass(frozen=True)
class Cost:
    """What a command took.

    Attributes:
        seconds: Processor time, which does not depend on what else the machine does.
        wall: Seconds by the clock.
        megabytes: Peak of its memory.
    """

    seconds: float
    wall: float
    megabytes: float


class Layer(nn.Module):
    """A layer that turns its input a little.

    Args:
        width: Width of the activations, D.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.turn = nn.Linear(width, width)

    def forward(self, activations: Tensor) -> Tensor:
        """Return activations of the same shape."""
        return activations + torch.tanh(self.turn(activations))


class Stack(nn.Module):
    """A model without a head.

    Args:
        vocabulary: Number of token ids.
        width: Width of the activations, D.
        layers: Number of layers, L.
    """

    def __init__(self, vocabulary: int, width: int, layers: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width)
        self.layers = nn.ModuleList(Layer(width) for _ in range(layers))

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the activations of the last layer, (batch_size, T, D), for tokens (batch_size, T)."""
        activations = self.embedding(tokens)
        for layer in self.layers:
            activations = layer(activations)
        return activations


def measured_once(layers: int, orders: Sequence[int] = (1, 2, 3, 4)) -> Trajectory:
    """Measure a tiny model once: the point has every number, note and influence that a real one has.

    Args:
        layers: Number of layers, L.
        orders: Orders of the k-grams.
    """
    torch.manual_seed(0)
    tokens = made_up_text(NUM_DOCUMENTS, 64)
    tracker = InformationPlaneTracker(Probe(tokens, orders=orders), batch_size=16)
    point = tracker.measure(Stack(int(tokens.max()) + 1, 32, layers), step=0)
    return Trajectory(tracker.protocol, {"name": "template"}, [point])


def made_up_points(template: Point, num_points: int) -> list[Point]:
    """Make the points of a run out of one: each value follows a curve over training, documents move every point anew.

    Args:
        template: The point.
        num_points: Number of points, T.
    """
    draw = np.random.default_rng(0)
    steps = [0, *np.unique(np.geomspace(1, LAST_STEP, 4 * num_points).astype(int))]
    chosen = [steps[round(i * (len(steps) - 1) / max(num_points - 1, 1))] for i in range(num_points)]
    return [
        replace(
            template,
            step=int(step),
            loss=10 * math.exp(-step / LAST_STEP) if step else None,
            tokens_seen=int(step) * 4096,
            wall_time=float(step),
            influences=_moved(template.influences, draw),
        )
        for step in chosen
    ]


def _moved(influences: Influences | None, draw: np.random.Generator) -> Influences | None:
    """Let other documents move the numbers: half of each influence stays, the other half goes to another document."""
    if influences is None:
        return None
    order = draw.permutation(influences.num_groups)
    shape = (len(influences.sites), len(influences.quantities))
    found = [influences.of(key) for key in influences.keys()]  # noqa: SIM118  # a method of its own, of no mapping
    known = [each for each in found if each is not None]
    by_document = np.array([(each.by_document + each.by_document[order]) / math.sqrt(2) for each in known])
    return Influences.pack(
        influences.sites,
        influences.quantities,
        by_document.reshape(*shape, -1),
        np.array([each.systematic for each in known]).reshape(shape),
        np.array([each.by_draw for each in known]).reshape(*shape, -1),
    )


def write_runs(folder: Path, num_runs: int, template: Trajectory, num_points: int) -> None:
    """Write the files of made-up runs: four recipes with seeds, each with noise of its own.

    Args:
        folder: Folder that gets a folder for each run.
        num_runs: Number of runs.
        template: Trajectory of one point.
        num_points: Number of points of each run, T.
    """
    points = made_up_points(template.points[0], num_points)
    keys = list(template.points[0].values)
    base = np.array([template.points[0].values[key] for key in keys])
    moves = np.array([key.rpartition("/")[2] in ("complexity", "expressivity", "kept", "told") for key in keys])
    for number in range(num_runs):
        draw = np.random.default_rng(number)
        recipe, seed = RECIPES[number % len(RECIPES)], number // len(RECIPES)
        run = {"name": f"{recipe}-{seed}", "config": {"recipe": recipe, "seed": seed}}
        path = folder / f"run{number:03}" / "trajectory.jsonl"
        writer = TrajectoryWriter.create(path, template.protocol, run)
        for i, point in enumerate(points):
            progress = i / max(num_points - 1, 1)
            level = 1 - 0.3 * math.cos(6 * progress + 0.2 * (number % len(RECIPES)))
            noise = 1 + 0.003 * draw.standard_normal(len(keys))
            values = base * np.where(moves, level * noise, 1.0)
            writer.append(replace(point, values=dict(zip(keys, values.tolist(), strict=True))))
        writer.close()


def cost_of(*arguments: str, cache: Path | None = None) -> Cost:
    """Run a command of ibtrack.

    Args:
        *arguments: Arguments of the command.
        cache: Folder for what it keeps for the next call; None is that of the user.

    Raises:
        RuntimeError: The command failed.
    """
    began = time.perf_counter()
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    environment |= {} if cache is None else {"XDG_CACHE_HOME": str(cache)}
    command = [sys.executable, "-m", "ibtrack", *arguments]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"ibtrack {arguments[0]} ended with code {process.returncode}")
    seconds = usage.ru_utime + usage.ru_stime
    return Cost(seconds, time.perf_counter() - began, usage.ru_maxrss * 1024 / MEGABYTE)


def opening_seconds(page: Path) -> float | None:
    """Open a page in Chromium; the processor time of its thread until it is ready, or None without a browser.

    Args:
        page: The page.
    """
    browser_path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    try:
        from playwright.sync_api import sync_playwright
    except ModuleNotFoundError:
        return None
    if browser_path is None:
        return None
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=browser_path, args=["--no-sandbox", "--disable-gpu"])
        opened = browser.new_page(viewport={"width": 1400, "height": 900})
        tools = opened.context.new_cdp_session(opened)
        tools.send("Performance.enable", {"timeDomain": "threadTicks"})
        opened.goto(page.as_uri())
        opened.wait_for_selector("html[data-ready=yes]", timeout=300_000)
        metrics = {each["name"]: each["value"] for each in tools.send("Performance.getMetrics")["metrics"]}
        browser.close()
    return float(metrics["TaskDuration"])


def measure(num_runs: int, template: Trajectory, num_points: int, folder: Path) -> dict[str, object]:
    """Write runs, make their report and their list, and open the page.

    Args:
        num_runs: Number of runs.
        template: Trajectory of one point.
        num_points: Number of points of each run, T.
        folder: Folder for the files, which are removed again.
    """
    runs, page = folder / "runs", folder / "report.html"
    write_runs(runs, num_runs, template, num_points)
    files = sorted(runs.glob("*/trajectory.jsonl"))
    row = {
        "runs": num_runs,
        "files": sum(file.stat().st_size for file in files) / MEGABYTE,
        "report": asdict(cost_of("report", *map(str, files), "-o", str(page))),
        "list": asdict(cost_of("list", str(runs), cache=folder / "cache")),
        "list_again": asdict(cost_of("list", str(runs), cache=folder / "cache")),
        "page": page.stat().st_size / MEGABYTE,
        "opening": opening_seconds(page),
    }
    shutil.rmtree(runs)
    shutil.rmtree(folder / "cache")
    return row


def figures_of(row: dict[str, object]) -> list[Figure]:
    """Put what was measured beside what is wanted.

    Args:
        row: What `measure` returned.
    """
    names = ("report", "list", "list_again")
    made, listed, again = (Cost(**row[name]) for name in names)  # type: ignore[arg-type]  # as asdict made them
    of = f"{row['runs']} runs"
    opening = row["opening"]
    return [
        Figure(f"page of {of}", "≤", MOST_SIZE, float(str(row["page"])), " MB"),
        Figure(f"opening of it in Chromium, processor time of the page, {of}", "≤", MOST_SECONDS, opening, " s"),  # type: ignore[arg-type]
        Figure(f"peak of memory of ibtrack report, {of}", "≤", MOST_MEMORY, made.megabytes, " MB", _times(made)),
        Figure(f"peak of memory of ibtrack list, {of}", "≤", MOST_MEMORY, listed.megabytes, " MB", _times(listed)),
        Figure(f"ibtrack list of files that were listed before, {of}", "≤", MOST_LISTING, again.seconds, " s"),
    ]


def _times(cost: Cost) -> str:
    return f"{cost.seconds:.1f} s of processor time, {cost.wall:.1f} s by the clock"


def main(
    runs: Annotated[list[int] | None, typer.Option(help="Number of runs; may be repeated.")] = None,
    points: Annotated[int, typer.Option(min=2, help="Points of each run.")] = 200,
    layers: Annotated[int, typer.Option(min=1, help="Layers of the model.")] = 24,
    orders: Annotated[int, typer.Option(min=1, max=4, help="Label sets: token, bigram and so on.")] = 4,
    file: JsonFile = None,
) -> None:
    """Measure reports and lists of made-up runs, the smallest first."""
    template = measured_once(layers, tuple(range(1, orders + 1)))
    rows: list[dict[str, object]] = []
    for number in sorted(runs or [1, 4, 20, 200]):
        with tempfile.TemporaryDirectory() as folder:
            rows.append(measure(number, template, points, Path(folder)))
        print(rows[-1], flush=True)
    figures = [figure for row in rows for figure in figures_of(row)]
    report("report_size", figures, rows, file, packages=["altair", "vl-convert-python"])


if __name__ == "__main__":
    typer.run(main)
