"""How often the 95 % interval holds the truth: every case is drawn and read many times, for truth.py --coverage."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from experiments.benchmarks.clouds import Cloud, Recipe, Truth, true_information
from experiments.benchmarks.row import Row, read

HEAD = f"{'':45}{'D':>4}{'N':>7}  truth          bias    spread  se     of sampling  held"


@dataclass(frozen=True, kw_only=True)
class CoverageRow:
    """The repetitions of one case, as fractions of log K.

    Attributes:
        recipe: Recipe of the cloud, which stays the same; labels, rows and documents are drawn anew.
        num_rows: Size of the samples, N.
        truth: The information, with its own standard error.
        bias: Mean of the debiased readings, less the truth.
        spread: Standard deviation of the debiased readings.
        standard_error: Mean of the logged standard errors.
        sampling_error: Mean of their part that comes from the spread over documents.
        held: Share of the intervals, debiased ± 1.96 standard errors, that hold the truth.
        held_by_sampling: Share of the intervals that would hold the truth with the sampling errors alone.
        plugin: Plug-in reading of every repetition.
        debiased: Debiased reading of every repetition.
        sampling_errors: Sampling error of every repetition.
    """

    recipe: Recipe
    num_rows: int
    truth: Truth
    bias: float
    spread: float
    standard_error: float
    sampling_error: float
    held: float
    held_by_sampling: float
    plugin: list[float]
    debiased: list[float]
    sampling_errors: list[float]

    @classmethod
    def from_rows(cls, rows: Sequence[Row]) -> CoverageRow:
        """Sum up the repetitions of one case."""
        return cls(
            recipe=rows[0].recipe,
            num_rows=rows[0].num_rows,
            truth=rows[0].truth,
            bias=fmean(row.error("debiased") for row in rows),
            spread=stdev(row.debiased for row in rows),
            standard_error=fmean(row.standard_error for row in rows),
            sampling_error=fmean(row.sampling_error for row in rows),
            held=fmean(row.holds(row.standard_error) for row in rows),
            held_by_sampling=fmean(row.holds(row.sampling_error) for row in rows),
            plugin=[round(row.plugin, 5) for row in rows],
            debiased=[round(row.debiased, 5) for row in rows],
            sampling_errors=[round(row.sampling_error, 5) for row in rows],
        )

    def __str__(self) -> str:
        return (
            f"{self.recipe.name:45}{self.recipe.width:4}{self.num_rows:7}  {self.truth} {self.bias:+.4f}  "
            f"{self.spread:.4f}  {self.standard_error:.4f} {self.sampling_error:.4f}       {self.held:.3f}"
        )


def measure_coverage(recipes: Iterable[Recipe], repetitions: int) -> Iterator[CoverageRow]:
    """Draw and read every case several times.

    Args:
        recipes: Recipes of the clouds.
        repetitions: Number of samples of each size of each cloud.

    Yields:
        The repetitions of each case.
    """
    for recipe in recipes:
        cloud = Cloud(recipe)
        truth = true_information(cloud)
        for num_rows in recipe.sizes:
            samples = (cloud.sample(num_rows, repetition=repetition) for repetition in range(repetitions))
            yield CoverageRow.from_rows([read(recipe, sample, truth) for sample in samples])


def summarise(rows: Sequence[CoverageRow]) -> dict[str, float]:
    """Return the shares of intervals that hold the truth: over all cases, and in the extreme ones."""
    held = [row.held for row in rows]
    return {
        "cases": len(rows),
        "held, mean": fmean(held),
        "held, mean where labels tell something": fmean(row.held for row in rows if not row.recipe.independent),
        "held, least": min(held),
        "cases below 92 %": sum(share < 0.92 for share in held),
        "cases above 98 %": sum(share > 0.98 for share in held),
        "held by sampling errors alone, mean": fmean(row.held_by_sampling for row in rows),
        "standard error, mean": fmean(row.standard_error for row in rows),
        "standard error of sampling, mean": fmean(row.sampling_error for row in rows),
    }


def summary_lines(summary: dict[str, float]) -> list[str]:
    """Write the summary as lines, with the wanted mean share: 92 to 98 %."""
    wanted = {"held, mean": "  wanted .92 to .98"}
    return [f"{name:40}{value:8.4g}{wanted.get(name, '')}" for name, value in summary.items()]
