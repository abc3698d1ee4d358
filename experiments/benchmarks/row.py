"""One case: what is true, and what is read of it, as fractions of log K."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from experiments.benchmarks.clouds import LOG_K, Recipe, Sample, Truth
from ibtrack.information.label_design import LabelDesign
from ibtrack.information.readings import site_readings
from ibtrack.information.standard_errors import Estimate

READINGS = ("plugin", "without_null", "debiased")


@dataclass(frozen=True)
class Row:
    """What the monitor would log of one sample of a cloud.

    Attributes:
        recipe: of the cloud.
        num_rows: N.
        truth: the information, with its own error.
        plugin: the published reading.
        without_null: plug-in less null.
        debiased: the default reading.
        standard_error: of ``debiased``, as logged.
        sampling_error: the part of it that documents tell.
        seen_twice: share of positions whose label occurs at least twice.
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
        """How far one of `READINGS` is off."""
        return float(getattr(self, reading)) - self.truth.value

    def holds(self, standard_error: float) -> bool:
        """Whether the 95 % interval of such an error about the debiased reading holds the truth."""
        return abs(self.error("debiased")) <= 1.96 * standard_error


def read(recipe: Recipe, sample: Sample, truth: Truth) -> Row:
    """Read a sample by the function whose numbers are logged."""
    labels = torch.unique(sample.labels, return_inverse=True)[1]
    groups = {"label": LabelDesign.from_labels(labels, sample.documents)}
    reading = site_readings([sample.assignments], groups, sample.documents)
    plugin, null, estimate = reading.plugin["label"], reading.null["label"], reading.debiased["label"]
    errors = estimate.standard_error, _sampling(estimate).standard_error
    nats = plugin, plugin - null, estimate.value, *errors
    return Row(recipe, len(labels), truth, *(float(number) / LOG_K for number in nats), seen_twice(labels))


def seen_twice(labels: Tensor) -> float:
    """Share of positions whose label occurs at least twice.

    Example:
        >>> seen_twice(torch.tensor([3, 5, 3, 3]))
        0.75
    """
    occurrences = torch.bincount(labels)
    return float((occurrences[labels] > 1).double().mean())


def _sampling(estimate: Estimate) -> Estimate:
    return replace(estimate, systematic=torch.zeros_like(estimate.systematic))
