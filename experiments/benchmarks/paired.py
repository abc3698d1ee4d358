"""Numbers of one point on many probes, and the error of the difference of two points under several assumptions.

What the bias correction is off has no replicates in one probe, so how alike it errs at two points has to be assumed.
The assumptions here are compared on probes of a trained model by differences.py.

Letters: P probes, G documents of each.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from ibtrack import Probe
from ibtrack.analysis.deviations import OF_CORRECTION, OF_SYSTEMATIC
from ibtrack.information.readings import site_readings
from ibtrack.information.standard_errors import Estimate
from ibtrack.metrics import InformationPlane

QUANTITIES = ("complexity", "expressivity", "kept", "told", "optimality")
_MADE_OF = {  # the information of which side, over what
    "complexity": ("input", "unit"),
    "expressivity": ("output", "unit"),
    "kept": ("input", "ceiling"),
    "told": ("output", "ceiling"),
    "optimality": ("output", "input"),
}


@dataclass(frozen=True, kw_only=True)
class Information:
    """One information, or the ceiling, on P probes: the mean over layers, in nats.

    Attributes:
        value: (P,) debiased.
        influence: (P, G) change of the value by each document.
        systematic: (P,) standard deviation of what the bias correction may be off.
        correction: (P,) what the bias correction takes off the plug-in reading.
    """

    value: Tensor
    influence: Tensor
    systematic: Tensor
    correction: Tensor

    @classmethod
    def of(cls, estimate: Estimate, plugin: Tensor | None = None) -> Information:
        """Average an estimate of one probe over its sites; without a plug-in reading it has no correction."""
        corrected = torch.zeros_like(estimate.value) if plugin is None else plugin - estimate.value
        return cls(
            value=estimate.value.mean(0, keepdim=True),
            influence=estimate.influence.mean(0, keepdim=True),
            systematic=estimate.systematic.mean(0, keepdim=True),
            correction=corrected.mean(0, keepdim=True),
        )

    @classmethod
    def join(cls, parts: Sequence[Information]) -> Information:
        """Put the probes of all parts one after the other."""
        names = ("value", "influence", "systematic", "correction")
        return cls(**{name: torch.cat([getattr(part, name) for part in parts]) for name in names})


Reading = Mapping[str, Information]  # by the name of a label set, such as ``input/token``, and ``ceiling``


class Part(NamedTuple):
    """One of the two numbers that a ratio is made of.

    Attributes:
        derivative: (P,) of the ratio by the number.
        information: The number.
    """

    derivative: Tensor
    information: Information


@dataclass(frozen=True, kw_only=True)
class Numbers:
    """One quantity of a point on P probes, complexity and expressivity in fractions of log K.

    Attributes:
        value: (P,) the quantity.
        parts: What it is the ratio of.
    """

    value: Tensor
    parts: tuple[Part, Part]

    @property
    def influence(self) -> Tensor:
        """(P, G) change of the value by each document."""
        above, below = (part.derivative.unsqueeze(1) * part.information.influence for part in self.parts)
        return above + below


def read(probe: Probe, activations: Mapping[str, Tensor]) -> Reading:
    """Read a probe as the tracker does, and average over the sites.

    Args:
        probe: The probe, of S blocks of T tokens.
        activations: Site to its activations, (S, T, D).
    """
    plane = InformationPlane(probe, {site: rows.shape[2] for site, rows in activations.items()}, readings=["plugin"])
    for site, rows in activations.items():
        plane.update(site, rows.flatten(0, 1), torch.arange(probe.num_positions), probe.positions)
    readings = site_readings(  # and not by the plane, whose brackets are of no use here
        list(plane.assignments.flatten(0, 1)),
        probe.label_designs,
        probe.document_design,
        readings=("debiased", "plugin"),
    )
    plane.release()
    of_labels = {name: Information.of(each, readings.plugin[name]) for name, each in readings.debiased.items()}
    return {**of_labels, "ceiling": Information.of(readings.ceiling)}


def join(readings: Sequence[Reading]) -> Reading:
    """Put the probes of several readings one after the other."""
    return {name: Information.join([reading[name] for reading in readings]) for name in readings[0]}


def numbers(reading: Reading, quantity: str, order: str, *, num_anchors: int = 100) -> Numbers:
    """Work out a quantity of an order, with its derivatives.

    Args:
        reading: What was read at a point.
        quantity: One of `QUANTITIES`.
        order: Name of the order, such as ``token``.
        num_anchors: Number of anchors K, whose logarithm is the unit.
    """
    side, over = _MADE_OF[quantity]
    above = reading[f"{side}/{order}"]
    if over == "unit":
        below = _constant(math.log(num_anchors), above)
    else:
        below = reading["ceiling" if over == "ceiling" else f"{over}/{order}"]
    value = above.value / below.value
    return Numbers(value=value, parts=(Part(1 / below.value, above), Part(-value / below.value, below)))


def sampling_error(influence: Tensor) -> Tensor:
    """Work out the (P,) standard error of sampling from (P, G) influences."""
    documents = influence.shape[1]
    return (influence.square().sum(1) * documents / (documents - 1)).sqrt()


def correction_errors(first: Numbers, second: Numbers) -> dict[str, Tensor]:
    """Say what the corrections may do to the difference of two points, (P,), under each of `ASSUMPTIONS`.

    The corrections of the two parts of a ratio are taken as independent of each other.
    """
    return {
        name: torch.hypot(*(assumed(a, b) for a, b in zip(first.parts, second.parts, strict=True)))
        for name, assumed in ASSUMPTIONS.items()
    }


def difference_errors(first: Numbers, second: Numbers) -> dict[str, Tensor]:
    """Work out the (P,) standard errors of the difference of two points, under each assumption, and ``as now``.

    The last is that of two independent numbers with all of their errors.
    """
    paired = sampling_error(second.influence - first.influence)
    apart = torch.hypot(sampling_error(first.influence), sampling_error(second.influence))
    corrections = correction_errors(first, second)
    errors = {name: torch.hypot(paired, correction) for name, correction in corrections.items()}
    return {**errors, "as now": torch.hypot(apart, corrections["independent"])}


def _none(a: Part, b: Part) -> Tensor:
    return torch.zeros_like(a.derivative)


def _equal(a: Part, b: Part) -> Tensor:
    return (_error(b) - _error(a)).abs()


def _proportional(a: Part, b: Part) -> Tensor:
    return (b.derivative * b.information.correction - a.derivative * a.information.correction).abs()


def _alike(a: Part, b: Part) -> Tensor:
    return (_error(b).unsqueeze(1) * _direction(b) - _error(a).unsqueeze(1) * _direction(a)).norm(dim=1)


def _independent(a: Part, b: Part) -> Tensor:
    return torch.hypot(_error(a), _error(b))


def _error(part: Part) -> Tensor:
    """Return what the correction of a part may do to the ratio, (P,), with the sign of the derivative."""
    return part.derivative * part.information.systematic


def _direction(part: Part) -> Tensor:
    """Return the influences at length 1, (P, G); 0 where no document moves the number."""
    return torch.nn.functional.normalize(part.information.influence, dim=1, eps=1e-30)


def _constant(value: float, like: Information) -> Information:
    none = torch.zeros_like(like.value)
    return Information(
        value=torch.full_like(like.value, value),
        influence=torch.zeros_like(like.influence),
        systematic=none,
        correction=none,
    )


ASSUMPTIONS: dict[str, Callable[[Part, Part], Tensor]] = {
    "none": _none,  # the corrections are exact
    "equal": _equal,  # they err by the same share of their error, with one sign
    "0.15 of its change": lambda a, b: 0.15 * _proportional(a, b),  # they err by one unknown share of themselves
    "0.6 of alike": lambda a, b: 0.6 * _alike(a, b),
    "alike": _alike,  # they err as alike as documents move the two numbers alike
    "ibtrack": lambda a, b: torch.hypot(OF_CORRECTION * _proportional(a, b), OF_SYSTEMATIC * _alike(a, b)),
    "independent": _independent,
}
