"""The outline of a run: of its points only what phases, rankings and effects of settings read.

A point of 24 layers has thousands of numbers, and what each document adds to most of them; what is said of many runs
together needs some tens, of the mean over the layers and of the whole run. So runs are read one after the other, and of
each its outline is kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ibtrack.record.influences import Influences
from ibtrack.record.keys import metric_key
from ibtrack.record.quantities import QUANTITIES, RATIOS, SHARE_OF
from ibtrack.record.trajectory import Point, Trajectory

_OF_AN_ORDER = (*SHARE_OF, *SHARE_OF.values(), "optimality")  # what phases and effects are about
_SUFFIXES = ("", "_se", "_z")


def outline(run: Trajectory, orders: Sequence[str]) -> Trajectory:
    """Keep of a run what is said of it among others: the debiased numbers of the mean over the layers, and its losses.

    Phases, rankings, matches and effects of the outline are those of the run, to the last digit.

    Args:
        run: Trajectory of the run.
        orders: Label sets that are asked for, such as ``token``.

    Returns:
        A trajectory of the same header and steps whose points have tens of numbers in place of thousands.

    Example:
        >>> values = {"ib/mean/token/kept": 0.4, "ib/L00/token/kept": 0.3, "ib/mean/bigram/kept": 0.2}
        >>> outline(Trajectory({}, {}, [Point(8, values)]), ["token"]).points[0].values
        {'ib/mean/token/kept': 0.4}
    """
    keys = _keys(orders)
    return replace(run, points=[_reduced(point, keys) for point in run.points])


def _keys(orders: Sequence[str]) -> list[str]:
    of_order = [
        metric_key(f"{name}{suffix}", site="mean", order=order)
        for order in orders
        for name in _OF_AN_ORDER
        for suffix in _SUFFIXES
    ]
    plugin = [metric_key(name, site="mean", order=order, reading="plugin") for order in orders for name in SHARE_OF]
    wholes = [metric_key(f"{name}{suffix}", site="mean") for name in _wholes() for suffix in _SUFFIXES]
    of_run = [metric_key(name) for name, each in QUANTITIES.items() if each.scope == "run"]
    return [*of_order, *plugin, *wholes, *of_run, metric_key("tokens_seen")]


def _wholes() -> list[str]:
    """Name what numbers of an order are divided by."""
    return list(dict.fromkeys(whole for _, whole in RATIOS.values() if QUANTITIES[whole].scope == "site"))


def _reduced(point: Point, keys: Sequence[str]) -> Point:
    values = {key: point.values[key] for key in keys if key in point.values}
    notes = {name: why for name, why in point.notes.items() if name in values or name not in point.values}
    influences = point.influences and _at_mean(point.influences, keys)
    return replace(point, values=values, notes=notes, influences=influences)


def _at_mean(influences: Influences, keys: Sequence[str]) -> Influences | None:
    """Keep the influences on the numbers of the mean that are asked for, packed as they were."""
    named = {name: influences.of(metric_key(name, site="mean")) for name in influences.quantities}
    found = {name: each for name, each in named.items() if each is not None and metric_key(name, site="mean") in keys}
    if not found:
        return None
    by_document, systematic, by_draw = (np.array([list(parts)]) for parts in zip(*found.values(), strict=True))
    return Influences.pack(["mean"], list(found), by_document, systematic, by_draw)
