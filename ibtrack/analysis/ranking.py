"""Which run compresses most, by how many standard errors, and which others cannot be told from it.

Runs are compared by the fall of I(X;Z) in their compression phase, see `ibtrack.analysis.phases`, and so in shares of
the ceiling: runs of two widths, or with clouds of two shapes, do not share a scale in fractions of log K. The error of
a difference of falls is that of two numbers read on the same documents. That start and end of each fall were selected
from its curve is not accounted for, nor is chance in training: what a setting does, runs of several seeds tell.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ibtrack.analysis.bands import critical_value
from ibtrack.analysis.curves import Curve
from ibtrack.analysis.deviations import stacked
from ibtrack.analysis.groups import listed
from ibtrack.analysis.movements import Movement
from ibtrack.analysis.phase_words import Phases
from ibtrack.record.quantities import PLANE_UNITS


@dataclass(frozen=True, kw_only=True)
class Place:
    """The place of a run among others.

    Attributes:
        run: Name of the run.
        fall: Compression of the run, or None if none can be told from noise.
        behind: Number of standard errors by which its fall is smaller than the largest; 0 for the first, ``nan``
            without a fall.
        tied: Whether it cannot be told from the first, at 5 % for all pairs of runs together.
    """

    run: str
    fall: Movement | None
    behind: float
    tied: bool


def ranking(phases: Mapping[str, Phases]) -> list[Place]:
    """Order runs from the largest fall of I(X;Z) to the smallest; those without one come last.

    Args:
        phases: Name of each run to its phases, as from `ibtrack.analysis.phases.phases_of_runs`.

    Raises:
        ValueError: Phases of the runs are in two units.

    Example:
        >>> changes = {"a": -0.04, "b": -0.1}
        >>> falls = {name: Movement(start=64, end=512, change=change, se=0.01) for name, change in changes.items()}
        >>> for place in ranking({name: Phases(compression=fall) for name, fall in falls.items()} | {"c": Phases()}):
        ...     print(place.run, round(place.behind, 1), place.tied)
        b 0.0 True
        a 4.2 False
        c nan False
    """
    units = {each.unit for each in phases.values() if each.compression is not None}
    if len(units) > 1:
        raise ValueError("phases must be in one unit to be ranked, as phases_of_runs finds them, got share and log_k")
    falls = sorted(_falls(phases).items(), key=lambda item: item[1].change)
    sizes = _side_by_side([fall for _, fall in falls], min((each.num_documents for each in phases.values()), default=0))
    threshold = critical_value([sizes])
    places = []
    for index, (name, fall) in enumerate(falls):
        behind = float(sizes.changes[0, index] / sizes.errors[0, index])
        places.append(Place(run=name, fall=fall, behind=behind, tied=not behind > threshold))
    others = [name for name, each in phases.items() if each.compression is None]
    return places + [Place(run=name, fall=None, behind=math.nan, tied=False) for name in others]


def verdict(phases: Mapping[str, Phases]) -> str:
    """Say the ranking in words: the first, which runs cannot be told from it, and which is next.

    Args:
        phases: Name of each run to its phases, as from `ibtrack.analysis.phases.phases_of_runs`.

    Raises:
        ValueError: Phases of the runs are in two units.

    Example:
        >>> changes = {"a": -0.1, "b": -0.09, "c": -0.04}
        >>> falls = {name: Movement(start=64, end=512, change=change, se=0.01) for name, change in changes.items()}
        >>> print(verdict({name: Phases(compression=fall) for name, fall in falls.items()}))
        a compresses most: I(X;Z) falls by 0.100 of the ceiling from step 64 to 512, 10.0 standard errors.
        It cannot be told apart from b.
        Next is c: its fall of 0.040 is smaller by 4.2 standard errors.
    """
    if len(phases) < 2:
        return next((each.sentence() for each in phases.values()), "No runs.")
    if all(each.why_not for each in phases.values()):
        return " ".join(dict.fromkeys(str(each.why_not) for each in phases.values()))
    falls = _falls(phases)
    if not falls:
        return f"In none of the {len(phases)} runs can a compression phase be told from noise."
    first, *others = (place for place in ranking(phases) if place.run in falls)
    lines = [f"{first.run} compresses most: {_evidence(falls[first.run], phases[first.run].unit)}."]
    if tied := [place.run for place in others if place.tied]:
        lines.append(f"It cannot be told apart from {listed(tied)}.")
    if behind := [place for place in others if not place.tied]:
        run, size = behind[0].run, -falls[behind[0].run].change
        lines.append(f"Next is {run}: its fall of {size:.3f} is smaller by {behind[0].behind:.1f} standard errors.")
    if not others:
        lines.append("In no other run can a compression phase be told from noise.")
    lines += dict.fromkeys(each.remark for each in phases.values() if each.remark)
    return "\n".join(lines)


def _falls(phases: Mapping[str, Phases]) -> dict[str, Movement]:
    return {name: each.compression for name, each in phases.items() if each.compression is not None}


def _side_by_side(falls: Sequence[Movement], num_documents: int) -> Curve:
    """Take the changes of several runs as a curve, whose points are the runs."""
    together = stacked([fall.deviations for fall in falls])
    errors = np.diag([fall.se for fall in falls]) if together is None else together
    values = np.array([fall.change for fall in falls], dtype=np.float64)
    return Curve(tuple(range(len(falls))), values, errors, 0 if together is None else num_documents)


def _evidence(fall: Movement, unit: str) -> str:
    size = f"I(X;Z) falls by {-fall.change:.3f} of {PLANE_UNITS[unit].whole} from step {fall.start} to {fall.end}"
    return f"{size}, {fall.num_se:.1f} standard errors"
