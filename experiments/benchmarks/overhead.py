"""Measure the share of a training run's wall time that the monitor takes, against the same run without it.

python experiments/benchmarks/overhead.py
python experiments/benchmarks/overhead.py --run demo --repetitions 1    within minutes
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles
from typing import Annotated, Any

import typer
from hydra.utils import instantiate

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from experiments.benchmarks.figures import Figure, report
from experiments.benchmarks.options import JsonFile, Overrides, Threads, use_threads
from experiments.benchmarks.runs import configuration, fit
from experiments.benchmarks.timing import described
from ibtrack.schedules import Progress, Schedule
from ibtrack.tracking.costs import PARTS


@dataclass(frozen=True)
class Watched:
    """A run to be timed with the monitor and without.

    Attributes:
        overrides: Overrides of the configuration.
        wanted: Greatest share of wall time that is wanted.
        steps: Number of steps by default; None takes that of the configuration.
    """

    overrides: tuple[str, ...]
    wanted: float
    steps: int | None = None


RUNS = {"demo": Watched(("experiment=demo",), 0.03), "15M": Watched(("model=llama_15M",), 0.01, steps=200)}


def main(
    runs: Annotated[
        list[str] | None,
        typer.Option("--run", help=f"Run to time, {' or '.join(RUNS)}; may be repeated; by default both."),
    ] = None,
    repetitions: Annotated[
        int, typer.Option(min=1, help="Repetitions of each run, with the monitor and without in turn.")
    ] = 5,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Steps instead of a run's own; by default 200 of the 15M run.")
    ] = None,
    overrides: Overrides = None,
    threads: Threads = None,
    file: JsonFile = None,
) -> None:
    """Time training with the monitor and without.

    Runs with the monitor and without take turns, and each pair has a ratio of its own, whose median and quartiles are
    shown: whatever else the machine does meets both. Making the probe counts as the monitor's. The share in a run of
    the configuration's own length is computed from the seconds of a step and of a measurement, and its note says so.

    Raises:
        typer.BadParameter: There is no such run.
    """
    runs = runs or list(RUNS)
    for name in runs:
        if name not in RUNS:
            raise typer.BadParameter(f"--run must be one of {', '.join(RUNS)}, got {name!r}")
    use_threads(threads)
    rows, figures = [], []
    for name in runs:
        row = measure(RUNS[name], repetitions, steps or RUNS[name].steps, overrides or [])
        print(*_lines(name, row), sep="\n", flush=True)
        rows.append({"run": name, **row})
        figures += _figures(name, row, RUNS[name].wanted)
    report("overhead", figures, rows, file, packages=["lightning", "transformers"])


def measure(run: Watched, repetitions: int, steps: int | None, overrides: Sequence[str]) -> dict[str, Any]:
    """Run with the monitor and without, in turn.

    Args:
        run: The run.
        repetitions: Number of runs of each kind.
        steps: Number of steps; None takes that of the configuration.
        overrides: Further overrides of the configuration.

    Returns:
        The steps of the run and of its configuration, the number of points in each, the seconds of the runs, from the
        trajectories the shares of wall time and the median seconds of a measurement, and for each part of what
        following a run costs its seconds.
    """
    seconds: dict[str, list[float]] = {"without": [], "with": []}
    shares, measurements = [], []
    parts: dict[str, list[float]] = {part: [] for part in PARTS}
    for _ in range(repetitions):
        for watched in (False, True):
            with tempfile.TemporaryDirectory() as folder:
                config = configuration(Path(folder), *run.overrides, *overrides)
                own_steps = config.trainer.max_steps
                config.trainer.max_steps = steps or own_steps
                done = fit(config, watched=watched)
            seconds["with" if watched else "without"].append(done.seconds)
            if done.trajectory is not None:
                shares.append(done.trajectory.points[-1].values["ib/overhead_fraction"])
                measurements += [point.measure_time for point in done.trajectory.points]
            for part, spent in done.costs.items():
                parts[part].append(spent)
    schedule = instantiate(config.monitor.schedule, _convert_="all")
    return {
        "steps": config.trainer.max_steps,
        "points": points(schedule, config.trainer.max_steps),
        "own_steps": own_steps,
        "own_points": points(schedule, own_steps),
        "seconds": seconds,
        "shares": shares,
        "measurement": median(measurements),
        "parts": parts,
    }


def points(schedule: Schedule, steps: int) -> int:
    """Return how often a run is measured: when the schedule says so, before the first step and after the last.

    Example:
        >>> from ibtrack import schedules
        >>> points(schedules.every(4), 10)  # 0, 4, 8, 10
        4
    """
    due = [schedule.due(Progress(step), since=Progress(step - 1)) for step in range(1, steps + 1)]
    return 1 + sum(due) + (not due[-1])


def ratios(row: dict[str, Any]) -> list[float]:
    """Divide the time of each run with the monitor by that of the run without that came before it."""
    return [after / before for before, after in zip(row["seconds"]["without"], row["seconds"]["with"], strict=True)]


def described_ratios(row: dict[str, Any]) -> str:
    """Write median and quartiles of the ratios of a row.

    Example:
        >>> described_ratios({"seconds": {"without": [1.0, 1.0, 1.0], "with": [1.1, 1.0, 1.4]}})
        'median 1.100 of 3, quartiles 1.050 to 1.250'
    """
    found = ratios(row)
    low, high = quantiles(found, n=4, method="inclusive")[::2] if len(found) > 1 else found * 2
    return f"median {median(found):.3f} of {len(found)}, quartiles {low:.3f} to {high:.3f}"


def share_of(row: dict[str, Any]) -> float:
    """Compute the share of wall time in a run of the configuration's own length, from a row of `measure`."""
    measuring: float = row["own_points"] * row["measurement"] + sum(
        median(row["parts"][part]) for part in ("start", "end")
    )
    training: float = row["own_steps"] * median(row["seconds"]["without"]) / row["steps"]
    return measuring / (measuring + training)


def _lines(name: str, row: dict[str, Any]) -> list[str]:
    return [
        f"{name}: {row['steps']} steps, {row['points']} points, {row['measurement']:.3f} s a measurement",
        f"    without {described(row['seconds']['without'])}",
        f"    with    {described(row['seconds']['with'])}",
        f"    with over without: {described_ratios(row)}",
        f"    of it {', '.join(f'{part} {median(seconds):.2f} s' for part, seconds in row['parts'].items())}",
        f"    share of wall time as the trajectory records it: {', '.join(f'{share:.4f}' for share in row['shares'])}",
    ]


def _figures(name: str, row: dict[str, Any], wanted: float) -> list[Figure]:
    """Return the shares as figures, in percent."""
    before = median(row["seconds"]["without"])
    case = f"{row['points']} points in {row['steps']} steps"
    recorded = f"ib/overhead_fraction of the last point, {case}"
    timed = f"with over without {described_ratios(row)}, {case}"
    numbers = [
        ("as the trajectory records it", median(row["shares"]), recorded),
        ("with against without", 1 - 1 / median(ratios(row)), timed),
    ]
    if row["own_steps"] != row["steps"]:
        note = (
            f"computed, not run: {row['own_points']} points of {row['measurement']:.2f} s "
            f"in {row['own_steps']} steps of {before / row['steps']:.2f} s"
        )
        numbers.append((f"in a run of {row['own_steps']} steps", share_of(row), note))
    return [
        Figure(f"share of wall time, {name} run, {how}", "≤", 100 * wanted, 100 * share, " %", note)
        for how, share, note in numbers
    ]


if __name__ == "__main__":
    typer.run(main)
