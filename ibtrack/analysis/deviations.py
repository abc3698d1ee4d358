"""Deviations: what each cause of error moves a number by, so that errors of differences and ratios can be made.

A number is off for three reasons: the probe holds these documents and no others, the bias correction is not exact, and
the anchors were drawn at random. Each cause is one coordinate or more of a vector. Two points of one run, or of two
runs on one probe, share their causes: the error of a difference is the length of the difference of the two vectors,
which is short where both move alike. The vector of a smooth function of numbers follows by the delta method (Oehlert,
The American Statistician 46, 1992).

The correction has no replicates from which to tell how alike it errs at two points. Two assumptions bound it. Its error
is to a part a fixed share of the correction, which cancels as far as two corrections are equal; and to a part alike at
two points as far as documents move the two numbers alike, so that its deviation points into the direction of theirs.
Inputs and outputs err on their own. These assumptions are about differences; the error of one number is the one that is
logged with it, and not the length of its vector.

Letters: G groups of documents, R draws of the anchors, C coordinates.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ibtrack.record.influences import Influence, Influences
from ibtrack.record.keys import Key, metric_key, parse_key
from ibtrack.record.quantities import QUANTITIES, RATIOS
from ibtrack.record.trajectory import Point

Vector = NDArray[np.float64]
# The share of the correction, and the share of what a correction may be off at one point. Chosen on six checkpoints of
# one small model, each read on 60 probes, and on made-up trajectories; on a second seed of the model 95 % intervals
# hold 94 %, between the two seeds 91 % (experiments/benchmarks/differences.py). Larger ones hold more often, and find
# fewer of the falls that are there (claims.py).
OF_CORRECTION, OF_SYSTEMATIC = 0.15, 0.2


@dataclass(frozen=True)
class Number:
    """A number of a point, with what each cause of error moves it by.

    Attributes:
        value: The number.
        documents: (G,) deviation by each group of documents; its length is the error of sampling.
        correction: (2 G + 2,) deviation by the bias corrections of the input and of the output side.
        anchors: (R,) deviation by each draw of the anchors, or (0,) for a single draw.
    """

    value: float
    documents: Vector
    correction: Vector
    anchors: Vector

    @property
    def deviations(self) -> Vector:
        """(C,) all deviations in one vector."""
        return np.concatenate([self.documents, self.correction, self.anchors])

    def minus(self, other: Number) -> Number:
        """Subtract a number that was read on the same documents."""
        return self._combined(self.value - other.value, 1.0, other, -1.0)

    def ratio(self, other: Number) -> Number:
        """Divide by a number that was read on the same documents."""
        inverse = 1 / other.value if other.value else math.nan
        value = self.value * inverse
        return self._combined(value, inverse, other, -value * inverse)

    def _combined(self, value: float, weight: float, other: Number, other_weight: float) -> Number:
        return Number(
            value,
            weight * self.documents + other_weight * other.documents,
            weight * self.correction + other_weight * other.correction,
            weight * self.anchors + other_weight * other.anchors,
        )


def stacked(vectors: Sequence[Vector | None]) -> NDArray[np.float64] | None:
    """Put the deviations of several numbers into the rows of one table.

    Args:
        vectors: (C,) deviations of each number; None where they are not known.

    Returns:
        (number of vectors, C), or None if one is not known, they are not by the same causes, or there are none.

    Example:
        >>> stacked([np.zeros(2), np.ones(2)]).shape, stacked([np.zeros(2), None]), stacked([np.zeros(2), np.ones(3)])
        ((2, 2), None, None)
    """
    known = [vector for vector in vectors if vector is not None]
    return np.stack(known) if len(known) == len(vectors) and len({each.shape for each in known}) == 1 else None


def number_of(point: Point, key: str) -> Number | None:
    """Look up a number of a point with its deviations, or work these out from those of the numbers it is made of.

    Args:
        point: Point of a run.
        key: Metric key of the debiased reading: entropy, ceiling, complexity, expressivity, kept, told, optimality,
            regularity, variation, share, or the information of a label set without an order.

    Returns:
        The number, or None where the point does not have it, or not what moves it.
    """
    if point.influences is None or not math.isfinite(point.values.get(key, math.nan)):
        return None
    number = _number(point, point.influences, parse_key(key))
    return number if number is not None and np.isfinite(number.deviations).all() else None


def _number(point: Point, influences: Influences, key: Key) -> Number | None:
    name = metric_key(**key._asdict())
    influence = influences.of(name)
    if influence is not None:
        plugin = point.values.get(metric_key(**key._replace(reading="plugin")._asdict()), math.nan)
        return _basic(point.values.get(name, math.nan), plugin, influence, is_output=key.quantity == "expressivity")
    is_derived = key.quantity in (*RATIOS, "variation", "share")
    return _derived(point, influences, key) if is_derived and key.order and key.reading == "debiased" else None


def _derived(point: Point, influences: Influences, key: Key) -> Number | None:
    """Make a number out of others of its site, and of its order or the one before; None if one of them is missing."""

    def other(quantity: str, order: str | None = key.order) -> Number | None:
        of_site = QUANTITIES[quantity].scope == "site"
        return _number(point, influences, key._replace(quantity=quantity, order=None if of_site else order))

    part, whole = map(other, RATIOS.get(key.quantity, ("complexity", "entropy")))
    if part is None or whole is None:
        return None
    if key.quantity == "variation":
        return whole.minus(part)
    before = _order_before(influences, key.order) if key.quantity == "share" else None
    shorter = other("complexity", before) if before else None
    return (part.minus(shorter) if shorter else part).ratio(whole)


def _order_before(influences: Influences, order: str | None) -> str | None:
    """Name the order before another one; None for the first."""
    names = (name for name in influences.quantities if name.endswith("/complexity"))
    orders = [None, *(name.rpartition("/")[0] for name in names)]
    return orders[orders.index(order) - 1]


def _basic(value: float, plugin: float, influence: Influence, *, is_output: bool) -> Number:
    groups, draws = len(influence.by_document), len(influence.by_draw)
    documents = influence.by_document * (math.sqrt(groups / (groups - 1)) if groups > 1 else math.nan)
    length = float(np.linalg.norm(documents))
    along = documents * (OF_SYSTEMATIC * influence.systematic / length if length else 0.0)
    corrected = plugin - value if math.isfinite(plugin) else 0.0  # entropy and ceiling have no correction
    correction = np.zeros((2, groups + 1))
    correction[int(is_output)] = [*along, OF_CORRECTION * corrected]
    spread = influence.by_draw - influence.by_draw.mean() if draws else influence.by_draw
    return Number(value, documents, correction.flatten(), spread / math.sqrt(max(draws * (draws - 1), 1)))
