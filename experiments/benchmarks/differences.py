"""Measure whether the errors of differences between points of a run are right, on probes of a small trained model.

python experiments/benchmarks/differences.py
python experiments/benchmarks/differences.py --quick      a tiny run that shows that it works
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import fmean, median
from typing import Annotated

import torch
import typer
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from experiments.benchmarks.checkpoints import Checkpoints, held_out_windows, train_with_checkpoints
from experiments.benchmarks.figures import Figure, report
from experiments.benchmarks.options import JsonFile, Overrides, Threads, use_threads
from experiments.benchmarks.paired import (
    QUANTITIES,
    Numbers,
    Reading,
    difference_errors,
    join,
    numbers,
    read,
    sampling_error,
)
from experiments.benchmarks.probe_size import run
from ibtrack import Probe

ORDERS = ("token", "bigram", "trigram", "quadgram")
WITHIN_TWO = 1.96  # standard errors of a 95 % interval
CHOSEN = "ibtrack"  # the assumption on the correction that the figures are of
CHOSEN_ON = 0  # the seed of the run on which the assumption on the correction was chosen
HEAD = (
    f"{'seed':>4} {'points':11}{'quantity':13}{'order':9}{'change':>8}{'off':>8}{'spread':>8}{'paired':>8}{'apart':>7}"
    f"{'held':>7}{'by sampling':>12}{'width':>7}"
)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is trained, and which points of it are compared on which probes.

    Attributes:
        overrides: Overrides of the configuration.
        near: Pairs of steps that are near each other in training.
        far: Pairs of steps that are far apart.
        probes: Number of disjoint probes.
        windows: Number of windows, one of each document, in a probe.
        most: Number of windows of the large reading at most; None takes all.
    """

    overrides: tuple[str, ...]
    near: tuple[tuple[int, int], ...]
    far: tuple[tuple[int, int], ...]
    probes: int
    windows: int = 64
    most: int | None = None

    @property
    def steps(self) -> list[int]:
        """The steps of all pairs."""
        return sorted({step for pair in (*self.near, *self.far) for step in pair})


FULL = Plan(
    overrides=("model=llama_0.3M", "data.held_out=0.35", "trainer.max_steps=300"),
    near=((150, 250), (250, 300)),
    far=((0, 300), (16, 300), (64, 300)),
    probes=60,
)
QUICK = Plan(overrides=("experiment=tiny",), near=((4, 8),), far=((0, 8),), probes=3, windows=16, most=64)


@dataclass(frozen=True, kw_only=True)
class Points:
    """What one run read.

    Attributes:
        small: Step to the readings of all small probes.
        large: Step to the reading of all windows at once.
    """

    small: dict[int, Reading] = field(default_factory=dict)
    large: dict[int, Reading] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Row:
    """One quantity and order of one pair of points, on all small probes.

    Attributes:
        kind: ``near`` or ``far`` for two steps of a run, ``seeds`` for two runs at one step.
        seed: Seed of the run; of the first for two runs.
        points: The two points, in words.
        quantity: The quantity.
        order: The order.
        change: Difference of the two points in the large reading.
        off: Mean over the probes of the difference, less that of the large reading.
        spread: Standard deviation of the difference over the probes.
        paired: Median of the paired error of sampling, over the spread.
        apart: Median of the error of sampling as if the points were independent, over the spread.
        held: Share of the probes whose 95 % interval holds the change, for each assumption on the correction.
        width: Median width of that interval over the one that takes the points for independent with all errors.
        held_if_exact: Share for intervals of sampling alone, if no correction were off.
        held_if_known: Share for intervals of the spread in place of the error of sampling, and nothing for corrections.
    """

    kind: str
    seed: int
    points: str
    quantity: str
    order: str
    change: float
    off: float
    spread: float
    paired: float
    apart: float
    held: dict[str, float]
    width: dict[str, float]
    held_if_exact: float
    held_if_known: float

    def __str__(self) -> str:
        return (
            f"{self.seed:4} {self.points:11}{self.quantity:13}{self.order:9}{self.change:+8.4f}{self.off:+8.4f}"
            f"{self.spread:8.4f}{self.paired:8.2f}{self.apart:7.2f}{self.held[CHOSEN]:7.2f}{self.held['none']:12.2f}"
            f"{self.width[CHOSEN]:7.2f}"
        )

    @property
    def name(self) -> str:
        """Which one it is, in words."""
        return f"{self.points} of seed {self.seed}, {self.order} {self.quantity}"


def main(
    seeds: Annotated[list[int] | None, typer.Option("--seed", help="Seed of a run; may be repeated.")] = None,
    overrides: Overrides = None,
    probes: Annotated[int | None, typer.Option(min=2, help="Disjoint probes, as far as the text goes.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Train a tiny model, on few probes.")] = False,
    threads: Threads = None,
    file: JsonFile = None,
) -> None:
    """Compare the differences of points on small probes with those on all held-out text, in fractions of log K.

    Of the columns, off is the mean error of the difference and spread its deviation among probes; paired and apart are
    the errors of sampling over the spread, held the share of 95 % intervals that hold the change of the large reading,
    by sampling the share for the error of sampling alone, and width that of the interval over the one of two
    independent numbers. Of intervals by sampling alone it says in the end how many miss; how many would if no
    correction were off (exact), and how many if the spread stood in place of the error of sampling (known).
    """
    use_threads(threads)
    plan = QUICK if quick else FULL
    began = time.perf_counter()
    runs: dict[int, Points] = {}
    stated = ""
    for seed in seeds or (0, 1):
        trained = train_with_checkpoints((*plan.overrides, f"seed={seed}", *(overrides or ())), plan.steps)
        windows = held_out_windows(trained.data, most=plan.most)
        runs[seed], stated = read_run(trained, windows, plan, probes or plan.probes)
        print(f"{time.perf_counter() - began:.0f} s: seed {seed}, {stated}", flush=True)
    rows = [*within_runs(runs, plan), *between_runs(runs)]
    print("", HEAD, *rows, "", *summary_lines(rows), "", *causes_of_misses(rows), sep="\n")
    report("differences", figures(rows, stated), [asdict(row) for row in rows], file, packages=["transformers"])


def read_run(trained: Checkpoints, windows: Tensor, plan: Plan, probes: int) -> tuple[Points, str]:
    """Read every step of a run on small probes and on all windows.

    Args:
        trained: The run.
        windows: All windows, (S, T).
        plan: How many windows are in a probe.
        probes: Number of probes, as far as there are windows.

    Returns:
        What was read, and a sentence that says on what.

    Raises:
        typer.BadParameter: There are not two probes.
    """
    size = plan.windows
    number = min(probes, len(windows) // size)
    if number < 2:
        raise typer.BadParameter(f"the text must hold two probes of {size} windows, got {len(windows)} windows")
    parts = [slice(index * size, (index + 1) * size) for index in range(number)]
    small = [Probe(windows[part], keep_copies=True) for part in parts]  # there are none
    whole = Probe(windows, keep_copies=True)
    points = Points()
    for step in plan.steps:
        activations = run(trained.at(step), windows)
        del activations["embed"]  # the mean is over the layers
        points.small[step] = join(
            [
                read(probe, {site: rows[part] for site, rows in activations.items()})
                for probe, part in zip(small, parts, strict=True)
            ]
        )
        points.large[step] = read(whole, activations)
    length = windows.shape[1]
    return points, f"{number} probes of {size} windows of {length} tokens against one of {len(windows)} windows"


def within_runs(runs: Mapping[int, Points], plan: Plan) -> Iterator[Row]:
    """Compare pairs of steps of every run.

    Args:
        runs: Seed to what its run read.
        plan: The pairs.

    Yields:
        The rows of each pair.
    """
    for seed, points in runs.items():
        for kind, pairs in (("near", plan.near), ("far", plan.far)):
            for first, second in pairs:
                small = points.small[first], points.small[second]
                large = points.large[first], points.large[second]
                yield from compare(small, large, kind=kind, seed=seed, points=f"{first} to {second}")


def between_runs(runs: Mapping[int, Points]) -> Iterator[Row]:
    """Compare the first run with every other one at each step.

    Args:
        runs: Seed to what its run read.

    Yields:
        The rows of each pair.
    """
    (seed, one), *others = runs.items()
    for other, two in others:
        for step in one.small:
            small, large = (one.small[step], two.small[step]), (one.large[step], two.large[step])
            yield from compare(small, large, kind="seeds", seed=seed, points=f"{other} at {step}")


def compare(
    small: tuple[Reading, Reading], large: tuple[Reading, Reading], *, kind: str, seed: int, points: str
) -> Iterator[Row]:
    """Compare every quantity and order of two points.

    Args:
        small: What the two points read on all small probes.
        large: What they read on all windows.
        kind: See `Row`, as are the next two.
        seed: Seed of the run.
        points: The two points, in words.

    Yields:
        A row for each quantity and order.
    """
    for quantity in QUANTITIES:
        for order in ORDERS:
            first, second = (numbers(reading, quantity, order) for reading in small)
            before, after = (numbers(reading, quantity, order).value for reading in large)
            yield _row(
                first,
                second,
                float(after - before),
                kind=kind,
                seed=seed,
                points=points,
                quantity=quantity,
                order=order,
            )


def _row(
    first: Numbers, second: Numbers, change: float, *, kind: str, seed: int, points: str, quantity: str, order: str
) -> Row:
    error = second.value - first.value - change
    off, spread = error.mean(), error.std()
    paired = sampling_error(second.influence - first.influence)
    apart = torch.hypot(sampling_error(first.influence), sampling_error(second.influence))
    errors = difference_errors(first, second)
    return Row(
        kind=kind,
        seed=seed,
        points=points,
        quantity=quantity,
        order=order,
        change=change,
        off=float(off),
        spread=float(spread),
        paired=float(paired.median() / spread),
        apart=float(apart.median() / spread),
        held={name: _held(error, of_difference) for name, of_difference in errors.items()},
        width={name: float((of_difference / errors["as now"]).median()) for name, of_difference in errors.items()},
        held_if_exact=_held(error - off, paired),
        held_if_known=_held(error, spread),
    )


def _held(error: Tensor, standard_error: Tensor) -> float:
    return float((error.abs() <= WITHIN_TWO * standard_error).double().mean())


def summary_lines(rows: Sequence[Row]) -> list[str]:
    """Write, for each kind of pair, each seed and each assumption, how often intervals hold and how wide they are."""
    head = f"{'pairs':8}{'seed':>5}  {'correction':22}{'held':>7}{'worst':>7}{'width':>7}  worst at"
    lines = [head]
    for kind, seed in dict.fromkeys((row.kind, row.seed) for row in rows):
        some = [row for row in rows if (row.kind, row.seed) == (kind, seed)]
        for name in some[0].held:
            worst = min(some, key=lambda row: row.held[name])
            lines.append(
                f"{kind:8}{seed:5}  {name:22}{fmean(row.held[name] for row in some):7.3f}{worst.held[name]:7.2f}"
                f"{median(row.width[name] for row in some):7.2f}  {worst.name}"
            )
    return lines


def causes_of_misses(rows: Sequence[Row]) -> list[str]:
    """Write, for each quantity and order, how many intervals of sampling alone miss, and how many by which cause.

    The two causes are what the corrections are off, and an error of sampling that is not the spread.
    """
    head = f"{'two steps':13}{'':9}{'paired':>7}{'missed by sampling':>20}{'if exact':>9}{'if known':>9}"
    some = [row for row in rows if row.kind != "seeds"]
    lines = [
        _miss_line(*name, [row for row in some if (row.quantity, row.order) == name])
        for name in dict.fromkeys((row.quantity, row.order) for row in some)
    ]
    return [head, *lines, _miss_line("all", "", some)]


def _miss_line(quantity: str, order: str, rows: Sequence[Row]) -> str:
    missed = [
        1 - fmean(held)
        for held in zip(*((row.held["none"], row.held_if_exact, row.held_if_known) for row in rows), strict=True)
    ]
    paired = median(row.paired for row in rows)
    return f"{quantity:13}{order:9}{paired:7.2f}{missed[0]:20.3f}{missed[1]:9.3f}{missed[2]:9.3f}"


def figures(rows: Sequence[Row], stated: str) -> list[Figure]:
    """Sum up what is wanted: errors of sampling that are the spread, intervals that hold, and that are narrow.

    Args:
        rows: The rows.
        stated: A sentence that says what was read.
    """
    found = []
    for seed in dict.fromkeys(row.seed for row in rows):
        name = f"two steps of seed {seed}"
        found += _figures_of(name, [row for row in rows if row.kind != "seeds" and row.seed == seed], stated)
    between = [row for row in rows if row.kind == "seeds"]
    return [*found, *(_figures_of("two seeds", between, stated) if between else ())]


def _figures_of(name: str, rows: Sequence[Row], stated: str) -> list[Figure]:
    least, most = (pick(rows, key=lambda row: row.paired) for pick in (min, max))
    right = fmean(0.8 <= row.paired <= 1.25 for row in rows)
    apart = median(row.apart for row in rows)
    held = fmean(row.held[CHOSEN] for row in rows)
    worst = min(rows, key=lambda row: row.held[CHOSEN])
    return [
        Figure(f"{name}: paired error of sampling over the spread, least", "≥", 0.8, least.paired, note=least.name),
        Figure(
            f"{name}: the same, most",
            "≤",
            1.25,
            most.paired,
            note=f"{most.name}; {right:.0%} of {len(rows)} lie within both, and the median as if independent is "
            f"{apart:.2f}; {stated}",
        ),
        Figure(
            f"{name}: 95 % intervals that hold",
            "≥",
            0.92,
            held,
            note=f"{worst.held[CHOSEN]:.2f} for {worst.name}; the assumption was chosen on seed {CHOSEN_ON}",
        ),
        Figure(f"{name}: the same", "≤", 0.98, held),
        Figure(
            f"{name}: width over that of two independent numbers, median",
            "≤",
            0.9,
            median(row.width[CHOSEN] for row in rows),
        ),
    ]


if __name__ == "__main__":
    typer.run(main)
