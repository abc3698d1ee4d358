"""A training as a process of its own: it says when two steps are measured, waits for a word, and goes on to its end."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import torch

from ibtrack import InformationPlaneTracker, schedules
from tests.models import Model, probe


def train(folder: Path) -> None:
    """Train a small model for eight steps, of which every second is measured."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    tracker = InformationPlaneTracker(
        probe(8), path=folder / "trajectory.jsonl", schedule=schedules.every(2), report=None, name=folder.name
    )
    model = Model()
    tracker.start(model)
    for step in range(1, 9):
        tracker.step(model, step)
        if step == 2:
            print("step 2", flush=True)
            sys.stdin.readline()
    tracker.finish(model, 8)


if __name__ == "__main__":
    train(Path(sys.argv[1]))
