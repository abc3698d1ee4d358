"""Measure how often the bracket of an information holds the truth, and how wide it is, on made-up clouds.

python experiments/benchmarks/brackets.py                     the clouds of truth.py, few and nested labels
python experiments/benchmarks/brackets.py --set nested        one set of them
python experiments/benchmarks/brackets.py --cost              what the lower ends add to the time of the readings
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import fmean, median
from time import process_time
from typing import Annotated, Any

import torch
import typer
from torch import Generator, Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from experiments.benchmarks.cases import SETS, shrunk
from experiments.benchmarks.clouds import LOG_K, NUM_ANCHORS, Cloud, Recipe, Sample, Truth, true_information
from experiments.benchmarks.machine import machine, versions
from experiments.benchmarks.options import use_threads
from experiments.benchmarks.row import read
from experiments.benchmarks.text import made_up_text
from ibtrack import Probe
from ibtrack.information.assignments import assign, draw_anchors, temperature
from ibtrack.information.functional import information_lower_end
from ibtrack.information.readings import site_readings
from ibtrack.tracking.notes import OUTSIDE

CHILDREN = 8  # labels of the finer set under each of the coarser one
OWN_SIZES = (4000, 16_000)
WANTED = 0.99  # share of samples whose bracket, two standard errors wider at both ends, holds the truth


@dataclass(frozen=True, kw_only=True)
class BracketRow:
    """The bracket of one sample, as fractions of log K.

    Attributes:
        set: Set of cases that the cloud is of.
        name: Name of the cloud.
        num_rows: Size of the sample, N.
        truth: The information, with its own standard error.
        low: The lower end.
        low_error: Its standard error.
        flat: The lower end without the coarser labels as a prior; nan where there are none.
        high: The plug-in reading.
        high_error: Standard error of the debiased reading, which errs with the plug-in.
        debiased: The debiased reading.
        independent: Whether labels tell nothing.
    """

    set: str
    name: str
    num_rows: int
    truth: Truth
    low: float
    low_error: float
    flat: float
    high: float
    high_error: float
    debiased: float
    independent: bool

    @property
    def held(self) -> bool:
        """Whether the bracket holds the truth."""
        return self.low <= self.truth.value <= self.high

    @property
    def held_within_errors(self) -> bool:
        """Whether it does when both ends are two standard errors further out; the truth's own error counts as well."""
        low = self.low - 2 * math.hypot(self.low_error, self.truth.error)
        return low <= self.truth.value <= self.high + 2 * math.hypot(self.high_error, self.truth.error)

    @property
    def doubted(self) -> bool:
        """Whether the tracker would say that the debiased value is in doubt."""
        low = self.low - OUTSIDE * math.hypot(self.low_error, self.high_error)
        return not low <= self.debiased <= self.high + OUTSIDE * self.high_error

    def __str__(self) -> str:
        marks = ("" if self.held_within_errors else "  missed") + ("  doubted" if self.doubted else "")
        return (
            f"{self.set:9}{self.name:45}{self.num_rows:7}  {self.truth} {self.low:8.4f} ±{self.low_error:.4f} "
            f"{self.flat:8.4f} {self.high:7.4f}   {self.debiased:.4f}{marks}"
        )


ALL_SETS = (*SETS, "few", "nested")
HEAD = f"{'':54}{'N':>7}  truth              low             flat    high  debiased"


def main(
    cases: Annotated[
        list[str] | None, typer.Option("--set", help=f"Set of cases: {', '.join(ALL_SETS)}; may be repeated.")
    ] = None,
    largest: Annotated[int, typer.Option(min=1, help="Largest sample, in rows.")] = 16_000,
    every: Annotated[int, typer.Option(min=1, help="Take every so many-th cloud.")] = 1,
    repetitions: Annotated[int, typer.Option(min=1, help="Samples of each size of each cloud.")] = 1,
    cost: Annotated[bool, typer.Option("--cost", help="Measure the time instead.")] = False,
    quick: Annotated[bool, typer.Option("--quick", help="Take a twentieth of the size, to see that it runs.")] = False,
    threads: Annotated[int | None, typer.Option(min=1, help="Threads of torch.")] = None,
    file: Annotated[Path | None, typer.Option("--json", help="File to write every row to.")] = None,
) -> None:
    """Measure brackets on clouds whose information is known; all numbers are fractions of log K.

    Raises:
        typer.BadParameter: There is no such set of cases.
    """
    use_threads(threads)
    chosen = cases or list(ALL_SETS)
    unknown = [name for name in chosen if name not in ALL_SETS]
    if unknown:
        raise typer.BadParameter(f"--set must be one of {', '.join(ALL_SETS)}, got {unknown[0]!r}")
    rows: list[BracketRow] = []
    if cost:
        summary: dict[str, Any] = time_of_lower_ends(blocks=8 if quick else 128, repetitions=2 if quick else 7)
        print(*(f"{name:40}{value:10.4f}" for name, value in summary.items()), sep="\n")
    else:
        print(HEAD)
        for name in chosen:
            recipes = {**SETS, "few": few, "nested": nested}[name]()
            recipes = (shrunk(recipes) if quick else recipes)[::every]
            recipes = [replace(each, sizes=tuple(n for n in each.sizes if n <= largest)) for each in recipes]
            for row in measure(name, recipes, repetitions):
                rows.append(row)
                print(row, flush=True)
        summary = {name: summarise([row for row in rows if name in ("all", row.set)]) for name in (*chosen, "all")}
        print("", *summary_lines(summary), sep="\n")
    if file is not None:
        about = {"quick": quick, "versions": versions(), "machine": machine(), "summary": summary}
        file.write_text(json.dumps({**about, "rows": [asdict(row) for row in rows]}) + "\n")


def nested() -> list[Recipe]:
    """Return clouds whose labels lie in families of 8, which share a part of their mean as k-grams share tokens."""
    return [
        Recipe(
            f"{law} {strength} in families",
            value,
            exponent=exponent,
            num_labels=4000,
            sizes=OWN_SIZES,
            seed=3000 + i,
        )
        for i, (law, exponent, strength, value) in enumerate(
            (law, exponent, strength, value)
            for law, exponent in (("uniform", 0.0), ("zipf", 1.0))
            for strength, value in (("weak", 0.3), ("middle", 0.7), ("strong", 1.1), ("stronger", 1.8))
        )
    ]


def few() -> list[Recipe]:
    """Return clouds of 50 labels, on which brackets are narrow, so that their errors matter."""
    return [
        Recipe(f"{law} {strength}, 50 labels", value, exponent=exponent, num_labels=50, sizes=OWN_SIZES, seed=4000 + i)
        for i, (law, exponent, strength, value) in enumerate(
            (law, exponent, strength, value)
            for law, exponent in (("uniform", 0.0), ("zipf", 1.0))
            for strength, value in (("weak", 0.3), ("middle", 0.7), ("strong", 1.1), ("stronger", 1.8))
        )
    ]


class FamilyCloud(Cloud):
    """A cloud whose label means are 80 % that of the family, by variance, and 20 % the label's own.

    A family is 8 labels drawn at random, so its label is coarser and known from the label.

    Args:
        recipe: The recipe.
    """

    def __init__(self, recipe: Recipe) -> None:
        super().__init__(recipe)
        generator = Generator().manual_seed(recipe.seed)
        number = recipe.num_labels
        self.family = torch.randperm(number, generator=generator) // CHILDREN  # (M,)
        parents, own = (
            torch.randn(count, recipe.width, generator=generator) / math.sqrt(recipe.width)
            for count in (number // CHILDREN + 1, number)
        )
        self.means = recipe.strength * (math.sqrt(0.8) * parents[self.family] + math.sqrt(0.2) * own)


def measure(name: str, recipes: Iterable[Recipe], repetitions: int) -> Iterator[BracketRow]:
    """Draw samples of every cloud, and work out their brackets.

    Args:
        name: Name of the set of cases.
        recipes: Recipes of the clouds.
        repetitions: Samples of each size of each cloud.

    Yields:
        The bracket of each sample.
    """
    for recipe in recipes:
        cloud = FamilyCloud(recipe) if name == "nested" else Cloud(recipe)
        truth = true_information(cloud)
        for num_rows in recipe.sizes:
            for repetition in range(repetitions):
                yield bracket_row(name, cloud, cloud.sample(num_rows, repetition=repetition), truth)


def bracket_row(name: str, cloud: Cloud, sample: Sample, truth: Truth) -> BracketRow:
    """Work out the bracket of a sample.

    Args:
        name: Name of the set of cases.
        cloud: The cloud.
        sample: The sample.
        truth: The information of the cloud.
    """
    reading = read(cloud.recipe, sample, truth)
    documents = sample.documents.index
    family = cloud.family[sample.labels] if isinstance(cloud, FamilyCloud) else None
    chains: list[list[Tensor]] = [[sample.labels]] + ([] if family is None else [[family, sample.labels]])
    ends = [information_lower_end(sample.assignments, chain, documents).scaled(1 / LOG_K) for chain in chains]
    return BracketRow(
        set=name,
        name=cloud.recipe.name,
        num_rows=len(sample.labels),
        truth=truth,
        low=float(ends[-1].value),
        low_error=float(ends[-1].standard_error),
        flat=math.nan if family is None else float(ends[0].value),
        high=reading.plugin,
        high_error=reading.standard_error,
        debiased=reading.debiased,
        independent=cloud.recipe.independent,
    )


def summarise(rows: Sequence[BracketRow]) -> dict[str, float]:
    """Return the shares of samples whose brackets hold the truth, and how wide they are."""
    above = [row for row in rows if row.low > row.truth.value]
    independent = [row for row in rows if row.independent]
    nested_rows = [row for row in rows if not math.isnan(row.flat)]
    return {
        "samples": len(rows),
        "held within 2 se": fmean(row.held_within_errors for row in rows),
        "held": fmean(row.held for row in rows),
        "low above the truth": len(above),
        "low above the truth, most": max((row.low - row.truth.value for row in above), default=0.0),
        "width, mean": fmean(row.high - row.low for row in rows),
        "truth - low, mean": fmean(row.truth.value - row.low for row in rows),
        "high - truth, mean": fmean(row.high - row.truth.value for row in rows),
        "se of low, largest": max(row.low_error for row in rows),
        "low of independent labels, greatest": max((row.low for row in independent), default=math.nan),
        "low - low without back-off, mean": fmean(row.low - row.flat for row in nested_rows)
        if nested_rows
        else math.nan,
        "doubted": sum(row.doubted for row in rows),
    }


def _mean(values: Iterable[float]) -> float:
    listed = list(values)
    return fmean(listed) if listed else math.nan


def summary_lines(summary: dict[str, dict[str, float]]) -> list[str]:
    """Write the summary as a table, a column for each set."""
    names = list(next(iter(summary.values())))
    lines = [f"{'':42}" + "".join(f"{name:>10}" for name in summary)]
    for name in names:
        wanted = f"  wanted ≥ {WANTED}" if name == "held within 2 se" else ""
        lines.append(f"{name:42}" + "".join(f"{figures[name]:10.4g}" for figures in summary.values()) + wanted)
    return lines


def time_of_lower_ends(*, blocks: int, repetitions: int) -> dict[str, float]:
    """Time the readings of six sites and eight label sets with and without lower ends, in turn, in processor time.

    Args:
        blocks: Blocks of 128 tokens.
        repetitions: Number of rounds, of which the median is taken.
    """
    probe = Probe(made_up_text(blocks))
    generator = Generator().manual_seed(0)
    anchors, epsilon = draw_anchors(128, NUM_ANCHORS), temperature(128, NUM_ANCHORS)
    sites = []
    for site in range(6):
        cloud = (0.1 + 0.3 * site) * torch.randn(probe.num_positions, 128, generator=generator)
        for order, weight in (("token", 1.0), ("bigram", 0.7), ("trigram", 0.4)):
            ids = probe.label_sets[f"input/{order}"]
            cloud += weight * torch.randn(int(ids.max()) + 1, 128, generator=generator)[ids]
        sites.append(assign(cloud, anchors, epsilon))
    designs, documents = probe.label_designs, probe.document_design
    began = process_time()
    brackets = probe.bracket_design
    made = process_time() - began
    seconds: dict[str, list[float]] = {"readings": [], "with lower ends": []}
    for repetition in range(repetitions + 1):
        for name, design in (("readings", None), ("with lower ends", brackets)):
            began = process_time()
            site_readings(sites, designs, documents, brackets=design)
            if repetition:
                seconds[name].append(process_time() - began)
    figures = {f"{name}, s": median(times) for name, times in seconds.items()}
    ratio = median(b / a for a, b in zip(*seconds.values(), strict=True))
    return {"rows": probe.num_positions, **figures, "ratio": ratio, "design, once, s": made}


if __name__ == "__main__":
    typer.run(main)
