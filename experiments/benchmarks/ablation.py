"""What each piece of the debiased reading buys: errors on clouds of known information, with one piece left out.

    python experiments/benchmarks/ablation.py                 a part of all three sets of truth.py
    python experiments/benchmarks/ablation.py --every 1       all of them, some hours

Each cloud is drawn once and read by every variant, so that differences between variants are not differences of draws.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import fmean
from types import ModuleType
from typing import Annotated, Any, NamedTuple

import torch
import typer
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from experiments.benchmarks.cases import SETS, shrunk
from experiments.benchmarks.clouds import Cloud, Recipe, Sample, Truth, true_information
from experiments.benchmarks.row import read
from ibtrack.information import debiased, gap_curves, variance_components
from ibtrack.information.debiased import debiased_from_moments
from ibtrack.information.moments import Moments
from ibtrack.information.plugin import plugin_from_moments

LARGEST_SAMPLE = 17_000  # rows; larger samples are left out, as every sample is read by every variant


class Variant(NamedTuple):
    """The estimator with other values of some names.

    Attributes:
        name: What the table calls it.
        changes: Module, name and other value of what is changed; none for the estimator as it is.
    """

    name: str
    changes: tuple[tuple[ModuleType, str, Any], ...] = ()


def _no_documents(moments: Moments) -> Tensor:
    """Treat the rows of a label in one document as if they were independent."""
    return torch.zeros_like(moments.conditional)


def _no_labels(moments: Moments) -> Tensor:
    """Treat labels as if they told nothing, so that plug-in less null is left."""
    return torch.zeros_like(moments.conditional)


def _not_smooth(moments: Moments, smooth: Tensor, t: Tensor) -> Tensor:
    """Read the gap of a label's mean off the means of random rows alone."""
    return gap_curves.read_curve(moments.beta + moments.null_excess, t)


def _plugin(moments: Moments, *, few_calls: bool) -> Tensor:
    """Correct nothing."""
    return plugin_from_moments(moments)


def _without_marginal_bias(moments: Moments, *, few_calls: bool) -> Tensor:
    """Take H(p) as it is."""
    return debiased_from_moments(moments, few_calls=few_calls) - moments.marginal_bias


VARIANTS = (
    Variant("as it is"),
    Variant("plug-in", ((debiased, "debiased_from_moments", _plugin),)),
    Variant("labels tell nothing: plug-in less null", ((debiased, "label_share", _no_labels),)),
    Variant(
        "rows of one document independent",
        (
            (debiased, "intraclass_correlation", _no_documents),
            (variance_components, "intraclass_correlation", _no_documents),
        ),
    ),
    Variant("label means like means of rows", ((debiased, "_gaps", _not_smooth),)),
    Variant("label means no smoother than rows", ((debiased, "SMOOTHING", 0.0),)),
    Variant("label means twice as smooth", ((debiased, "SMOOTHING", 0.6),)),
    Variant("smooth in proportion to the square", ((debiased, "SMOOTH_POWER", 2),)),
    Variant("smooth in proportion to the 10th power", ((debiased, "SMOOTH_POWER", 10),)),
    Variant("null curve not observed", ((gap_curves, "LARGEST_GROUP", 1),)),
    Variant("no calibration", ((debiased, "CALIBRATION_RANGE", (1.0, 1.0)),)),
    Variant("calibration unbounded", ((debiased, "CALIBRATION_RANGE", (0.0, 1e9)),)),
    Variant("H(p) not corrected", ((debiased, "debiased_from_moments", _without_marginal_bias),)),
)


@contextlib.contextmanager
def changed(variant: Variant) -> Iterator[None]:
    """Give the names of a variant their other values.

    Yields:
        Nothing; the names have their own values again afterwards.
    """
    before = [(module, name, getattr(module, name)) for module, name, _ in variant.changes]
    try:
        for module, name, value in variant.changes:
            setattr(module, name, value)
        yield
    finally:
        for module, name, value in before:
            setattr(module, name, value)


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
