"""Which run compresses most, by how many standard errors, and which others cannot be told from it.

Runs are compared by the fall of I(X;Z) in their compression phase, see `ibtrack.analysis.phases`. The error of a
difference of falls is taken as if the runs were independent; they share the documents of the probe, so it is smaller.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from ibtrack.analysis.phases import Movement, Phases, noise_threshold


class Place(NamedTuple):
    """A run among others.

    Attributes:
        run: its name.
        fall: its compression, or None if none can be told from noise.
        behind: how many standard errors its fall is smaller than the largest; 0 for the first, ``nan`` without a fall.
        tied: whether it cannot be told from the first, at 5 % for all pairs of runs together.
    """

    run: str
    fall: Movement | None
    behind: float
    tied: bool


def ranking(phases: Mapping[str, Phases]) -> list[Place]:
    """Runs from the largest fall of I(X;Z) to the smallest, then those without one.

    Args:
        phases: of each run, by the run's name.

    Example:
        >>> falls = {"a": Movement(64, 512, -0.04, 0.01), "b": Movement(64, 512, -0.10, 0.01)}
        >>> for place in ranking({name: Phases(compression=fall) for name, fall in falls.items()} | {"c": Phases()}):
        ...     print(place.run, round(place.behind, 1), place.tied)
        b 0.0 True
        a 4.2 False
        c nan False
    """
    falls = sorted(
        ((name, found.compression) for name, found in phases.items() if found.compression is not None),
        key=lambda pair: pair[1].change,
    )
    threshold = noise_threshold(max(len(phases), 2))
    places = []
    for name, fall in falls:
        first = falls[0][1]
        behind = (fall.change - first.change) / math.hypot(fall.se, first.se)
        places.append(Place(name, fall, behind, behind <= threshold))
    return places + [Place(name, None, math.nan, False) for name, found in phases.items() if found.compression is None]


def verdict(phases: Mapping[str, Phases]) -> str:
    """The ranking in words: the first, who cannot be told from it, and who is next.

    Args:
        phases: of each run, by the run's name.

    Example:
        >>> falls = {"a": Movement(64, 512, -0.10, 0.01), "b": Movement(64, 512, -0.09, 0.01)}
        >>> falls["c"] = Movement(64, 512, -0.04, 0.01)
        >>> print(verdict({name: Phases(compression=fall) for name, fall in falls.items()}))
        a compresses most: I(X;Z) falls by 0.100 from step 64 to 512, 10.0 standard errors.
        It cannot be told apart from b.
        Next is c: its fall of 0.040 is smaller by 4.2 standard errors.
    """
    if len(phases) < 2:
        return next((found.sentence() for found in phases.values()), "No runs.")
    places = [place for place in ranking(phases) if place.fall is not None]
    if all(found.why_not for found in phases.values()):
        return " ".join(dict.fromkeys(str(found.why_not) for found in phases.values()))
    if not places:
        return f"In none of the {len(phases)} runs can a compression phase be told from noise."
    first, *others = places
    near = [place.run for place in others if place.tied]
    lines = [f"{first.run} compresses most: {_fall(first.fall)}."]
    lines += [f"It cannot be told apart from {_listed(near)}."] if near else []
    lines += [
        f"Next is {place.run}: its fall of {-place.fall.change:.3f} is smaller by {place.behind:.1f} standard errors."
        for place in others
        if place.fall is not None and not place.tied
    ][:1]
    lines += [] if others else ["In no other run can a compression phase be told from noise."]
    return "\n".join(lines)


def _fall(fall: Movement | None) -> str:
    assert fall is not None
    size = f"I(X;Z) falls by {-fall.change:.3f} from step {fall.start} to {fall.end}"
    return f"{size}, {fall.num_se:.1f} standard errors"


def _listed(names: Sequence[str]) -> str:
    shown = list(names) if len(names) <= 5 else [*names[:4], f"{len(names) - 4} more"]
    return " and ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)
