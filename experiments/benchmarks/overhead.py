"""Measure the share of a training run's wall time that the monitor takes, against the same run without it.

python experiments/benchmarks/overhead.py
python experiments/benchmarks/overhead.py --run demo --repetitions 7
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import typer
from hydra.utils import instantiate

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from experiments.benchmarks.figures import Figure, report
from experiments.benchmarks.options import JsonFile, Overrides, Threads, use_threads
from experiments.benchmarks.runs import configuration, fit
from experiments.benchmarks.timing import described
from ibtrack.schedules import Progress, Schedule


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
    ] = 1,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Steps instead of a run's own; by default 200 of the 15M run.")
    ] = None,
    overrides: Overrides = None,
    threads: Threads = None,
    file: JsonFile = None,
) -> None:
    """Time training with the monitor and without.

    A run takes minutes, so by default there is one of each. The difference of the two then includes whatever else the
    machine did meanwhile; the share that the trajectory records does not. The share in a run of the configuration's own
    length is computed from the seconds of a step and of a measurement, and its note says so.

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
        The steps of the run and of its configuration, the number of points in each, the seconds of the runs, and from
        the trajectories the shares of wall time and the median seconds of a measurement.
    """
    seconds: dict[str, list[float]] = {"without": [], "with": []}
    shares, measurements = [], []
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
    schedule = instantiate(config.monitor.schedule, _convert_="all")
    return {
        "steps": config.trainer.max_steps,
        "points": points(schedule, config.trainer.max_steps),
        "own_steps": own_steps,
        "own_points": points(schedule, own_steps),
        "seconds": seconds,
        "shares": shares,
        "measurement": median(measurements),
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


def share_of(row: dict[str, Any]) -> float:
    """Compute the share of wall time in a run of the configuration's own length, from a row of `measure`."""
    measuring: float = row["own_points"] * row["measurement"]
    training: float = row["own_steps"] * median(row["seconds"]["without"]) / row["steps"]
    return measuring / (measuring + training)


def _lines(name: str, row: dict[str, Any]) -> list[str]:
    return [
        f"{name}: {row['steps']} steps, {row['points']} points, {row['measurement']:.3f} s a measurement",
        f"    without {described(row['seconds']['without'])}",
        f"    with    {described(row['seconds']['with'])}",
        f"    share of wall time as the trajectory records it: {', '.join(f'{share:.4f}' for share in row['shares'])}",
    ]


def _figures(name: str, row: dict[str, Any], wanted: float) -> list[Figure]:
    """Return the shares as figures, in percent."""
    before, after = median(row["seconds"]["without"]), median(row["seconds"]["with"])
    case = f"{row['points']} points in {row['steps']} steps"
    recorded = f"ib/overhead_fraction of the last point, {case}"
    timed = f"1 - {before:.1f} s / {after:.1f} s, {len(row['seconds']['with'])} of each, {case}"
    numbers = [
        ("as the trajectory records it", median(row["shares"]), recorded),
        ("with against without", 1 - before / after, timed),
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
