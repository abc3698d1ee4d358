"""A replay that is killed and started again, as a process of its own for `test_killed`."""

from __future__ import annotations

import os
import time
import warnings
from pathlib import Path

import torch

from ibtrack.replay.loop import replay
from tests.models import probe
from tests.saved_series import SavedSeries, load

STEPS = [0, *range(1, 80)]


def run(folder: Path, slow: float) -> None:
    """Replay a series to its end, from where an earlier process has come; say how many checkpoints the cache had."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    series = SavedSeries(folder / "hub", STEPS)
    series.before_fetch = lambda step: time.sleep(slow)
    series.errors = {13: [FileNotFoundError("gone")], 40: [FileNotFoundError("gone")]}
    log = os.open(folder / "in_cache", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    series.seen = lambda number: os.write(log, f"{number}\n".encode())
    replay(series, probe(8), path=folder / "run" / "trajectory.jsonl", load=load)
