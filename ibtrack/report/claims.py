"""What a page says of its runs, at one site and for one label set: verdict, phases, ranking, effects of settings.

The script of the page shows what belongs to the site and the label set that are chosen, and says so where there is
nothing, so that no sentence is of something else than the charts beside it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ibtrack.analysis.effects import effects
from ibtrack.analysis.groups import group_runs
from ibtrack.analysis.matching import WAYS
from ibtrack.analysis.movements import Movement
from ibtrack.analysis.phase_words import Phases
from ibtrack.analysis.ranking import ranking
from ibtrack.record.trajectory import Trajectory
from ibtrack.report.effect_rows import contrast_rows, group_rows
from ibtrack.report.opening import Opening, opening

MOST_GROUPS = 8  # as many as a reader can compare at a glance; they make 28 pairs
NOT_RANKED = "These runs are not ranked, as they were measured under different protocols. Each has its phases below."


def claims(
    runs: Mapping[str, Trajectory],
    phases: Mapping[str, Phases],
    *,
    order: str,
    site: str = "mean",
    comparable: bool = True,
) -> dict[str, Any]:
    """Put together all that is said of the runs, as JSON has it.

    Args:
        runs: Label of each run to its trajectory; of the mean, its `ibtrack.analysis.outline.outline` is enough.
        phases: Label of each run to its phases, all in one unit, see `ibtrack.analysis.phases.in_one_unit`.
        order: Label set, such as ``token``.
        site: ``mean``, or a site of the protocols, such as ``L03``.
        comparable: Whether the runs were measured under one protocol; else they are not ranked.

    Example:
        >>> said = claims({"a": Trajectory({}, {}, [])}, {"a": Phases(why_not="No points yet.")}, order="token")
        >>> said["verdict"], said["ranking"]
        (Opening(headline='No points yet.', rest=''), [{'run': 0, 'behind': None, 'tied': False}])
    """
    unit = unit_of(phases)
    said = opening(runs, phases, order, unit=unit, site=site) if comparable else Opening(NOT_RANKED)
    return {
        "unit": unit,
        "verdict": said,
        "phases": [_phases(each) for each in phases.values()],
        "ranking": _places(phases, comparable=comparable),
        "effects": {at: _effects(runs, order, unit, at, site) for at in WAYS} if len(runs) > 1 else {},
    }


def unit_of(phases: Mapping[str, Phases]) -> str:
    """Name the unit that runs are compared in: that of the phases which were found, all of which have one unit.

    Args:
        phases: Label of each run to its phases.

    Example:
        >>> unit_of({"a": Phases(unit="log_k"), "b": Phases(why_not="No points yet.")})
        'log_k'
    """
    return next((each.unit for each in phases.values() if each.why_not is None), "share")


def _phases(phases: Phases) -> dict[str, Any]:
    return {
        "sentence": phases.sentence(),
        "decided": phases.why_not is None,
        "fitting": _movement(phases.fitting),
        "compression": _movement(phases.compression),
        "collapse": _movement(phases.collapse),
        "threshold": phases.threshold if math.isfinite(phases.threshold) else None,
    }


def _movement(movement: Movement | None) -> dict[str, Any] | None:
    names = ("start", "end", "change", "se", "num_se", "begins")
    return None if movement is None else {name: getattr(movement, name) for name in names}


def _places(phases: Mapping[str, Phases], *, comparable: bool) -> list[dict[str, Any]]:
    """Rank the runs, each by its number on the page; of runs that are not comparable only the order is told."""
    numbers = {label: number for number, label in enumerate(phases)}
    return [
        {
            "run": numbers[place.run],
            "behind": place.behind if place.fall and comparable else None,
            "tied": place.tied,
        }
        for place in ranking(phases)
    ]


def _effects(runs: Mapping[str, Trajectory], order: str, unit: str, at: str, site: str) -> dict[str, Any]:
    try:
        number = len(group_runs(runs).members)
        if number > MOST_GROUPS:
            raise ValueError(f"these are {number} groups; ibtrack compare --by takes one setting of them")
        found = effects(runs, order=order, unit=unit, at=at, site=site)
    except ValueError as error:
        return {"why": str(error)}
    return {
        "where": found.match.words(),
        "sentences": found.sentences(),
        "titles": [each.title for each in found.effects],
        "groups": group_rows(found),
        "contrasts": [row for each in found.effects for row in contrast_rows(each)],
    }
