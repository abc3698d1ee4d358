"""Measure what a report of many runs takes: time, peak memory, size of the page, and the time it takes to open.

A point is one real measurement of a tiny model with as many layers as are asked for; the runs are made up from it, as
their numbers say nothing here: every value follows a curve over training, with noise of its own.

python experiments/benchmarks/report_size.py --runs 1 --runs 4 --runs 20 --runs 200
"""

from __future__ import annotations

import json
import math
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from experiments.benchmarks.text import made_up_text
from ibtrack import InformationPlaneTracker, Probe, Trajectory
from ibtrack.record.influences import Influences
from ibtrack.record.trajectory import Point
from ibtrack.record.writer import TrajectoryWriter

MIB = 1 << 20
LAST_STEP = 100_000
NUM_DOCUMENTS = 128  # as many as influences are kept for at most
RECIPES = ("constant", "cosine", "linear", "wsd")


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


def measured_once(layers: int, orders: tuple[int, ...] = (1, 2, 3, 4)) -> Trajectory:
    """Measure a tiny model once: the point has every number, note and influence that a real one has.

    Args:
        layers: Number of layers, L.
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


def runs_on_disk(folder: Path, num_runs: int, template: Trajectory, num_points: int) -> Iterator[Path]:
    """Write the files of made-up runs: four recipes with seeds, each with noise of its own.

    Args:
        folder: Folder that gets a folder for each run.
        num_runs: Number of runs.
        template: Trajectory of one point.
        num_points: Number of points of each run, T.

    Yields:
        The folder of each run.
    """
    points = made_up_points(template.points[0], num_points)
    keys = list(template.points[0].values)
    base = np.array([template.points[0].values[key] for key in keys])
    is_error = np.array([key.endswith(("_se", "_z", "_anchor_sd")) for key in keys])
    for number in range(num_runs):
        draw = np.random.default_rng(number)
        recipe, seed = RECIPES[number % len(RECIPES)], number // len(RECIPES)
        run = {"name": f"{recipe}-{seed}", "config": {"recipe": recipe, "seed": seed}}
        path = folder / f"run{number:03}" / "trajectory.jsonl"
        writer = TrajectoryWriter.create(path, template.protocol, run)
        with path.open("a", encoding="utf-8") as file:
            for i, point in enumerate(points):
                progress = i / max(num_points - 1, 1)
                level = 1 + 0.5 * math.sin(3 * progress + 0.3 * (number % len(RECIPES)))
                noisy = base * np.where(is_error, 1.0, level * (1 + 0.003 * draw.standard_normal(len(keys))))
                file.write(replace(point, values=dict(zip(keys, noisy.tolist(), strict=True))).to_json() + "\n")
        yield writer.path.parent


def measured(command: list[str]) -> dict[str, Any]:
    """Run a command of ibtrack; its seconds and the peak of its memory.

    Args:
        command: Arguments of the command.

    Raises:
        RuntimeError: The command failed.
    """
    code = "import resource, sys; from ibtrack.cli import app\ntry: app(sys.argv[1:])\nfinally: print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)"
    began = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code, *command], capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - began
    if done.returncode:
        raise RuntimeError(f"ibtrack {' '.join(command[:1])} failed: {done.stderr}")
    return {"seconds": seconds, "mib": int(done.stderr.split()[-1]) / 1024}


if __name__ == "__main__":
    pass
