"""One sample of a cloud: its true information, and the readings of it, as fractions of log K."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from experiments.benchmarks.clouds import LOG_K, Recipe, Sample, Truth
from ibtrack.information.label_design import LabelDesign
from ibtrack.information.readings import site_readings
from ibtrack.information.standard_errors import Estimate

READINGS = ("plugin", "without_null", "debiased")


@dataclass(frozen=True, kw_only=True)
class Row:
    """The numbers that the monitor would log of one sample of a cloud, beside the truth.

    Attributes:
        recipe: Recipe of the cloud.
        num_rows: Size of the sample, N.
        truth: The information, with its own standard error.
        plugin: The plug-in reading.
        without_null: The plug-in reading less the null reading.
        debiased: The debiased reading.
        standard_error: The logged standard error of the debiased reading.
        sampling_error: The part of it that comes from the spread over documents.
        seen_twice: Share of positions whose label occurs at least twice.
    """

    recipe: Recipe
    num_rows: int
    truth: Truth
    plugin: float
    without_null: float
    debiased: float
    standard_error: float
    sampling_error: float
    seen_twice: float

    def __str__(self) -> str:
        return (
            f"{self.recipe.name:45}{self.recipe.width:4}{self.num_rows:7}{self.seen_twice:7.3f}  {self.truth} "
            f"{self.plugin:7.4f} {self.without_null:7.4f}   {self.debiased:.4f} {self.error('debiased'):+.4f}  "
            f"{self.standard_error:.4f}"
        )

    def error(self, reading: str) -> float:
        """Return one of `READINGS` less the truth."""
        return float(getattr(self, reading)) - self.truth.value

    def holds(self, standard_error: float) -> bool:
        """Return whether the debiased reading's 95 % interval of this standard error holds the truth."""
        return abs(self.error("debiased")) <= 1.96 * standard_error


def read(recipe: Recipe, sample: Sample, truth: Truth) -> Row:
    """Read a sample by the function whose numbers the monitor logs.

    Args:
        recipe: Recipe of the cloud.
        sample: The sample.
        truth: The information of the cloud.
    """
    labels = torch.unique(sample.labels, return_inverse=True)[1]
    designs = {"label": LabelDesign.from_labels(labels, sample.documents)}
    readings = site_readings([sample.assignments], designs, sample.documents)
    plugin, null, debiased = readings.plugin["label"], readings.null["label"], readings.debiased["label"]
    return Row(
        recipe=recipe,
        num_rows=len(labels),
        truth=truth,
        plugin=float(plugin) / LOG_K,
        without_null=float(plugin - null) / LOG_K,
        debiased=float(debiased.value) / LOG_K,
        standard_error=float(debiased.standard_error) / LOG_K,
        sampling_error=float(_sampling(debiased).standard_error) / LOG_K,
        seen_twice=seen_twice(labels),
    )


def seen_twice(labels: Tensor) -> float:
    """Return the share of positions whose label occurs at least twice.

    Example:
        >>> seen_twice(torch.tensor([3, 5, 3, 3]))
        0.75
    """
    occurrences = torch.bincount(labels)
    return float((occurrences[labels] > 1).double().mean())


def _sampling(estimate: Estimate) -> Estimate:
    """Return an estimate whose standard error is that of sampling only."""
    return replace(estimate, systematic=torch.zeros_like(estimate.systematic))
