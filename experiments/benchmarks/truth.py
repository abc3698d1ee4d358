"""Measure how far the readings are from the true information, on made-up clouds of activations for which it is known.

python experiments/benchmarks/truth.py                    the grid of 192 cases
python experiments/benchmarks/truth.py --set others       38 clouds of other kinds
python experiments/benchmarks/truth.py --set repeated     12 clouds whose documents repeat their labels
python experiments/benchmarks/truth.py --set documents    18 clouds whose documents differ much, or are few
python experiments/benchmarks/truth.py --coverage         how often the 95 % interval holds the truth
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Annotated, Any, TypeVar

import typer

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from experiments.benchmarks import coverage
from experiments.benchmarks.cases import DRAWN_AGAIN, SETS, shrunk, small
from experiments.benchmarks.clouds import Cloud, Recipe, true_information
from experiments.benchmarks.machine import machine, versions
from experiments.benchmarks.row import READINGS, Row, read

AnyRow = TypeVar("AnyRow")
Summary = TypeVar("Summary")

HEAD = f"{'':45}{'D':>4}{'N':>7}  twice  truth          plugin  - null  debiased   off  se"
WANTED: dict[str, dict[str, float]] = {  # greatest error of debiased readings, by set; set before measuring
    "grid": {"mean": 0.0015, "worst": 0.012, "worst, independent": 0.003},
    "others": {"mean": 0.004, "worst": 0.02},
    "repeated": {"mean": 0.004, "worst": 0.02},
}


def main(
    cases: Annotated[str, typer.Option("--set", help=f"Set of cases, {' or '.join(SETS)}.")] = "grid",
    intervals: Annotated[
        bool, typer.Option("--coverage", help="Repeat every case, and count the intervals that hold the truth.")
    ] = False,
    repetitions: Annotated[int, typer.Option(min=2, help="Repetitions of every case, for --coverage.")] = 400,
    quick: Annotated[
        bool, typer.Option("--quick", help="Take a twentieth of the size, to see that the program runs.")
    ] = False,
    file: Annotated[Path | None, typer.Option("--json", help="File to write every row to.")] = None,
) -> None:
    """Measure the readings on clouds whose information is known; all numbers are fractions of log K.

    Raises:
        typer.BadParameter: There is no such set of cases.
    """
    if cases not in SETS:
        raise typer.BadParameter(f"--set must be one of {', '.join(SETS)}, got {cases!r}")
    started, clock = datetime.now(timezone.utc), time.perf_counter()
    recipes = small(DRAWN_AGAIN[cases]()) if intervals else SETS[cases]()
    recipes = shrunk(recipes) if quick else recipes
    rows: Sequence[Row] | Sequence[coverage.CoverageRow]
    summary: Any
    if intervals:
        repeated = coverage.measure_coverage(recipes, repetitions)
        rows, summary = _table(repeated, coverage.HEAD, coverage.summarise, coverage.summary_lines)
    else:
        lines = partial(summary_lines, wanted=WANTED.get(cases, {}))
        rows, summary = _table(measure(recipes), HEAD, summarise, lines)
    seconds = time.perf_counter() - clock
    print(f"{seconds:.0f} s")
    if file is not None:
        about = {"set": cases, "quick": quick, "date": started.isoformat(timespec="seconds"), "seconds": seconds}
        content = {**about, "versions": versions(), "machine": machine(), "summary": summary}
        file.write_text(json.dumps({**content, "rows": [asdict(row) for row in rows]}) + "\n")


def measure(recipes: Iterable[Recipe]) -> Iterator[Row]:
    """Draw every case once, and read it.

    Args:
        recipes: Recipes of the clouds.

    Yields:
        The readings of each sample.
    """
    for recipe in recipes:
        cloud = Cloud(recipe)
        truth = true_information(cloud)
        for num_rows in recipe.sizes:
            yield read(recipe, cloud.sample(num_rows), truth)


def summarise(rows: Sequence[Row]) -> dict[str, dict[str, float]]:
    """Return the absolute errors of each reading: the mean, and the worst of all cases and of some of them.

    Args:
        rows: The readings of all samples.

    Returns:
        Name of a figure to the errors by reading.
    """
    figures: dict[str, tuple[Callable[[Iterable[float]], float], Sequence[Row]]] = {
        "mean": (fmean, rows),
        "worst": (max, rows),
        "worst, 85 % seen twice": (max, [row for row in rows if row.seen_twice >= 0.85]),
        "worst, independent": (max, [row for row in rows if row.recipe.independent]),
    }
    return {
        name: {reading: summary([abs(row.error(reading)) for row in chosen]) for reading in READINGS}
        for name, (summary, chosen) in figures.items()
    }


def summary_lines(summary: dict[str, dict[str, float]], wanted: dict[str, float]) -> list[str]:
    """Write the summary as lines, with what is wanted of the debiased reading."""
    lines = [f"{'absolute error':24}{'plugin':>8}{'- null':>8}{'debiased':>10}"]
    for name, errors in summary.items():
        target = f"  wanted ≤ {wanted[name]:.4f}" if name in wanted else ""
        lines.append(f"{name:24}{errors['plugin']:8.4f}{errors['without_null']:8.4f}{errors['debiased']:10.4f}{target}")
    return lines


def _table(
    rows: Iterable[AnyRow],
    head: str,
    summarise: Callable[[list[AnyRow]], Summary],
    lines: Callable[[Summary], list[str]],
) -> tuple[list[AnyRow], Summary]:
    """Print each row when it has been measured, and in the end their summary."""
    print(head)
    measured = []
    for row in rows:
        measured.append(row)
        print(row, flush=True)
    summary = summarise(measured)
    print("", *lines(summary), sep="\n")
    return measured, summary


if __name__ == "__main__":
    typer.run(main)
