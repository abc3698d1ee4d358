"""What each constant of the debiased reading buys: errors on clouds of known information, with one constant changed.

    python experiments/benchmarks/ablation.py                 a part of all three sets of truth.py
    python experiments/benchmarks/ablation.py --every 1       all of them, some hours

Each cloud is drawn once and read by every variant, so that differences between variants are not differences of draws.
The figures beside the constants are those of ``--every 8`` for the grid, 5 for the others and 3 for repeated texts.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import fmean
from types import ModuleType
from typing import Annotated, Any, NamedTuple

import typer

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from experiments.benchmarks.cases import SETS, shrunk
from experiments.benchmarks.clouds import Cloud, Recipe, Sample, Truth, true_information
from experiments.benchmarks.row import read
from ibtrack.information import debiased, jensen_gap, sample_sizes

LARGEST_SAMPLE = 17_000  # rows; larger samples are left out, as every sample is read by every variant


class Variant(NamedTuple):
    """One constant with another value.

    Attributes:
        name: What the table calls it.
        module: Module that holds the constant; None for the estimator as it is.
        constant: Name of the constant.
        value: The other value.
    """

    name: str
    module: ModuleType | None = None
    constant: str = ""
    value: Any = None


VARIANTS = (
    Variant("as it is"),
    Variant("label means no smoother than rows", jensen_gap, "SMOOTH_SHARE", 0.0),
    Variant("label means twice as smooth", jensen_gap, "SMOOTH_SHARE", 0.30),
    Variant("smooth in proportion to the square", jensen_gap, "SMOOTH_POWER", 2),
    Variant("rows by the Beta closure", jensen_gap, "MIXTURE_RANGE", (0.0, 0.0)),
    Variant("mixture within [0, 1]", jensen_gap, "MIXTURE_RANGE", (0.0, 1.0)),
    Variant("mixture unbounded", jensen_gap, "MIXTURE_RANGE", (-10.0, 10.0)),
    Variant("no pre-test", debiased, "CAUTION", 0.0),
    Variant("no calibration", debiased, "CALIBRATION_RANGE", (1.0, 1.0)),
    Variant("calibration unbounded", debiased, "CALIBRATION_RANGE", (0.0, 1e9)),
    Variant("variance of means below .9", debiased, "LARGEST_BETWEEN", 0.9),
    Variant("variance of means below .999", debiased, "LARGEST_BETWEEN", 0.999),
    Variant("bins of ratio 1.2", sample_sizes, "BIN_RATIO", 1.2),
    Variant("bins of ratio 1.5", sample_sizes, "BIN_RATIO", 1.5),
)


@contextlib.contextmanager
def changed(variant: Variant) -> Iterator[None]:
    """Give the constant of a variant its other value.

    Yields:
        Nothing; the constant has its own value again afterwards.
    """
    if variant.module is None:
        yield
        return
    value = getattr(variant.module, variant.constant)
    setattr(variant.module, variant.constant, variant.value)
    try:
        yield
    finally:
        setattr(variant.module, variant.constant, value)


def draw(recipes: Sequence[Recipe]) -> list[tuple[Recipe, Sample, Truth]]:
    """Draw every recipe once in each of its sizes, up to `LARGEST_SAMPLE` rows."""
    samples = []
    for recipe in recipes:
        cloud = Cloud(recipe)
        truth = true_information(cloud)
        samples += [(recipe, cloud.sample(size), truth) for size in recipe.sizes if size <= LARGEST_SAMPLE]
    return samples


def errors(variant: Variant, samples: Sequence[tuple[Recipe, Sample, Truth]]) -> list[float]:
    """Read every sample by a variant: absolute errors as fractions of log K."""
    with changed(variant):
        return [abs(read(*sample).error("debiased")) for sample in samples]


def main(
    every: Annotated[int, typer.Option(min=1, help="Take one recipe of so many of each set.")] = 6,
    quick: Annotated[bool, typer.Option("--quick", help="A twentieth of the size: to see that it runs.")] = False,
) -> None:
    """Print mean and largest absolute error of the debiased reading by set and variant, as fractions of log K."""
    for name, recipes in SETS.items():
        chosen = recipes()[::every]
        samples = draw(shrunk(chosen) if quick else chosen)
        print(f"{name}: {len(samples)} samples{'':22} mean   worst")
        for variant in VARIANTS:
            absolute_errors = errors(variant, samples)
            print(f"  {variant.name:38} {fmean(absolute_errors):.4f}  {max(absolute_errors):.4f}", flush=True)


if __name__ == "__main__":
    typer.run(main)
