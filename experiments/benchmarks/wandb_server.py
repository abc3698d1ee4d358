"""Measure how long training waits for wandb while its server is down, slow, silent or fails half of the time.

python experiments/benchmarks/wandb_server.py
python experiments/benchmarks/wandb_server.py --fault slow --seconds 60 --age 3600
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, cast

import torch
import typer
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from experiments.benchmarks.figures import Figure, report
from experiments.benchmarks.options import JsonFile
from ibtrack import InformationPlaneTracker, Probe, schedules
from tests.wandb_server import FAULTS, WandbServer

EVERY = 100  # steps
WANTED = 1.0  # percent


def main(
    faults: Annotated[
        list[str] | None,
        typer.Option("--fault", help=f"Fault of the server, {', '.join(FAULTS)}; may be repeated; by default all."),
    ] = None,
    seconds: Annotated[float, typer.Option(min=1, help="Seconds of training for each fault.")] = 160.0,
    age: Annotated[
        float,
        typer.Option(
            min=0,
            help="Seconds that the run takes itself to be old at its start: an old run has time "
            "for a table and a picture at every point, a new one not in its first 150 s.",
        ),
    ] = 0.0,
    file: JsonFile = None,
) -> None:
    """Train a toy with a wandb run whose server lies on this machine, each fault in a process of its own.

    Raises:
        typer.BadParameter: There is no such fault.
    """
    faults = faults or list(FAULTS)
    for fault in faults:
        if fault not in FAULTS:
            raise typer.BadParameter(f"--fault must be one of {', '.join(FAULTS)}, got {fault!r}")
    rows, figures = [], []
    for fault in faults:
        row = measure_apart(fault, seconds, age)
        print(row, flush=True)
        rows.append(row)
        figures += _figures(row)
    report("wandb_server", figures, rows, file, packages=["wandb"])


def measure_apart(fault: str, seconds: float, age: float = 0.0) -> dict[str, Any]:
    """Measure in a process of its own, as wandb's client is set up once in a process."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(measure, (fault, seconds, age))


def measure(fault: str, seconds: float, age: float) -> dict[str, Any]:
    """Train for some time while the server has a fault, which it has not while the run begins and when it is finished.

    Args:
        fault: One of `tests.wandb_server.FAULTS`.
        seconds: Seconds of training, measurements included.
        age: Seconds that the run takes itself to be old at its start.

    Returns:
        Wall time of the training, the seconds that its thread spent in calls that give something to wandb, for how many
        of them it was at work, the longest call, the seconds at work of the threads that make tables and pictures, and
        the seconds of the end.
    """
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder, WandbServer() as server:
        os.environ.update(server.environment(folder))
        import wandb

        run = wandb.init(project="ibtrack")
        server.fault = fault
        model = nn.Sequential(
            nn.Embedding(50, 64), nn.Sequential(nn.Linear(64, 64), nn.Linear(64, 64)), nn.Linear(64, 50)
        )
        tokens = torch.randint(50, (16, 64), generator=torch.Generator().manual_seed(0))
        tracker = InformationPlaneTracker(Probe(tokens), schedule=schedules.every(EVERY), loggers=[run], verbose=False)
        tracker.start(model)
        tracker._began = time.monotonic() - age
        (log,) = cast(Any, tracker)._recorder.logs
        calls: list[tuple[float, float]] = []
        working: list[float] = []
        _time_calls(log, ("log", "tell"), calls)
        _note_work(log, working)
        began, step = time.monotonic(), 0
        optimizer = torch.optim.AdamW(model.parameters())
        while time.monotonic() - began < seconds:
            tracker.step(model, step)
            logits = model(tokens)
            nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), tokens[:, 1:].flatten()).backward()
            optimizer.step()
            optimizer.zero_grad()
            step += 1
        wall = time.monotonic() - began
        in_calls, at_work = (sum(parts) for parts in zip(*calls, strict=True))
        longest = max(calls)[0]
        began = time.monotonic()
        tracker.finish(model, step)
        end = time.monotonic() - began
        server.fault = "none"
        run.finish()
        return {
            "fault": fault,
            "wall": wall,
            "steps": step,
            "points": len(tracker.trajectory.points),
            "in_calls": in_calls,
            "at_work": at_work,
            "longest": longest,
            "working": sum(working),
            "end": end,
            "tables": len(server.artifacts),
        }


def _time_calls(log: Any, names: tuple[str, ...], calls: list[tuple[float, float]]) -> None:
    """Note the seconds of each call of some methods, and for how many of them its thread was at work."""

    def timed(method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any) -> Any:
            began, worked = time.monotonic(), time.thread_time()
            try:
                return method(*args)
            finally:
                calls.append((time.monotonic() - began, time.thread_time() - worked))

        return call

    for name in names:
        setattr(log, name, timed(getattr(log, name)))


def _note_work(log: Any, working: list[float]) -> None:
    """Note the seconds at work of each table and picture, as they are charged to the budget."""
    charge = log._budget.charge

    def noted(thing: str, seconds: float, *, size: float = 1.0, growing: float | None = None) -> None:
        working.append(seconds if growing is None else growing)
        charge(thing, seconds, size=size, growing=growing)

    log._budget.charge = noted


def _figures(row: dict[str, Any]) -> list[Figure]:
    """Return the shares as figures, in percent."""
    case = f"{row['points']} points in {row['wall']:.0f} s, {row['tables']} tables arrived"
    work = f"{100 * row['at_work'] / row['wall']:.2f} % at work, the rest waiting"
    calls = f"{work}; longest call {row['longest']:.2f} s, {case}; end of the run {row['end']:.1f} s"
    shares = [
        ("training's own thread gives points to wandb", "in_calls", calls),
        ("threads beside it", "working", case),
    ]
    return [
        Figure(
            f"share of wall time, server {row['fault']}, {words}", "≤", WANTED, 100 * row[key] / row["wall"], " %", note
        )
        for words, key, note in shares
    ]


if __name__ == "__main__":
    typer.run(main)
