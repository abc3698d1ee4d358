"""How near the readings come to the information itself, on sources where it is known.

python experiments/benchmarks/truth.py                    the grid of 192 cases
python experiments/benchmarks/truth.py --set others       38 clouds of other kinds
python experiments/benchmarks/truth.py --set repeated     12 clouds whose documents repeat their labels
python experiments/benchmarks/truth.py --coverage         how often the 95 % interval holds the truth
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from statistics import fmean
from typing import Annotated, Any

import typer

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from experiments.benchmarks import coverage
from experiments.benchmarks.cases import DRAWN_AGAIN, SETS, shrunk, small
from experiments.benchmarks.clouds import Cloud, Recipe, true_information
from experiments.benchmarks.machine import machine, versions
from experiments.benchmarks.row import READINGS, Row, read

HEAD = f"{'':45}{'D':>4}{'N':>7}  twice  truth          plugin  - null  debiased   off  se"
WANTED = {"mean": 0.010, "worst, 85 % seen twice": 0.03, "worst, independent": 0.005}  # of the debiased reading


def main(
    cases: Annotated[str, typer.Option("--set", help=f"{' or '.join(SETS)}.")] = "grid",
    intervals: Annotated[bool, typer.Option("--coverage", help="Repeat, and count the intervals that hold.")] = False,
    repetitions: Annotated[int, typer.Option(min=2, help="Of every case, for --coverage.")] = 400,
    quick: Annotated[bool, typer.Option("--quick", help="A twentieth of the size: to see that it runs.")] = False,
    file: Annotated[Path | None, typer.Option("--json", help="Write every row here.")] = None,
) -> None:
    """Measure the readings on sources whose information is known; all numbers are fractions of log K."""
    if cases not in SETS:
        raise typer.BadParameter(f"--set must be one of {', '.join(SETS)}, got {cases!r}")
    started, clock = datetime.now(timezone.utc), time.perf_counter()
    recipes = small(DRAWN_AGAIN[cases]()) if intervals else SETS[cases]()
    recipes = shrunk(recipes) if quick else recipes
    if intervals:
        show = coverage.HEAD, coverage.summarise, coverage.summary_lines
        rows, summary = _table(coverage.measure_coverage(recipes, repetitions), *show)
    else:
        rows, summary = _table(measure(recipes), HEAD, summarise, summary_lines)
    seconds = time.perf_counter() - clock
    print(f"{seconds:.0f} s")
    if file is not None:
        about = {"set": cases, "quick": quick, "date": started.isoformat(timespec="seconds"), "seconds": seconds}
        content = {**about, "versions": versions(), "machine": machine(), "summary": summary}
        file.write_text(json.dumps({**content, "rows": [asdict(row) for row in rows]}) + "\n")


def measure(recipes: Iterable[Recipe]) -> Iterator[Row]:
    """Draw every case once, and read it."""
    for recipe in recipes:
        cloud = Cloud(recipe)
        truth = true_information(cloud)
        for num_rows in recipe.sizes:
            yield read(recipe, cloud.sample(num_rows), truth)


def summarise(rows: Sequence[Row]) -> dict[str, dict[str, float]]:
    """Absolute errors of each reading: on average and at worst, and at worst where something is promised."""
    kept = {
        "mean": (fmean, rows),
        "worst": (max, rows),
        "worst, 85 % seen twice": (max, [row for row in rows if row.seen_twice >= 0.85]),
        "worst, independent": (max, [row for row in rows if row.recipe.independent]),
    }
    return {
        name: {reading: summary([abs(row.error(reading)) for row in some]) for reading in READINGS}
        for name, (summary, some) in kept.items()
    }


def summary_lines(summary: dict[str, dict[str, float]]) -> list[str]:
    """The summary, beside what is wanted of the debiased reading."""
    lines = [f"{'absolute error':24}{'plugin':>8}{'- null':>8}{'debiased':>10}"]
    for name, errors in summary.items():
        wanted = f"  wanted ≤ {WANTED[name]:.3f}" if name in WANTED else ""
        lines.append(f"{name:24}{errors['plugin']:8.4f}{errors['without_null']:8.4f}{errors['debiased']:10.4f}{wanted}")
    return lines


def _table(
    rows: Iterable[Any], head: str, summarise: Callable[[list[Any]], Any], lines: Callable[[Any], list[str]]
) -> tuple[list[Any], Any]:
    """Print rows as they come and then their summary."""
    print(head)
    kept = []
    for row in rows:
        kept.append(row)
        print(row, flush=True)
    summary = summarise(kept)
    print("", *lines(summary), sep="\n")
    return kept, summary


if __name__ == "__main__":
    typer.run(main)
