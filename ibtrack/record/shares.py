"""Shares of the ceiling for points that were written without them: the values follow from others, the errors do not."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING

from ibtrack.record.keys import metric_key, parse_key
from ibtrack.record.notes import NO_CEILING
from ibtrack.record.quantities import SHARE_OF, SMALLEST_CEILING
from ibtrack.record.values import Columns, Values

if TYPE_CHECKING:
    from ibtrack.record.trajectory import Point


def with_shares(point: Point) -> Point:
    """Divide complexity and expressivity by the ceiling, wherever a point has these and not their share.

    The quotient is what the plane would have written, as it too divides after averaging. A standard error is not made:
    it needs the influence of every document on both numbers.

    Args:
        point: Point of any age.

    Returns:
        The point with ``kept`` and ``told``; a value that was missing passes its note on to its share.

    Example:
        >>> from ibtrack.record.trajectory import Point
        >>> dict(with_shares(Point(8, {"ib/mean/token/complexity": 0.25, "ib/mean/ceiling": 0.5})).values)
        {'ib/mean/token/complexity': 0.25, 'ib/mean/ceiling': 0.5, 'ib/mean/token/kept': 0.5}
    """
    own = Values.of(point.values)
    values: dict[str, float] = {}
    notes: dict[str, str] = {}
    for share, part, whole in _lacking(own.columns):
        ceiling = own.numbers.item(whole)
        values[share] = own.numbers.item(part) / ceiling if ceiling >= SMALLEST_CEILING else math.nan
        notes |= {share: NO_CEILING} if ceiling < SMALLEST_CEILING else {}
    if not values:
        return point
    return replace(point, values=own.extended(values), notes={**_passed_on(point.notes), **notes, **point.notes})


@lru_cache(maxsize=64)
def _lacking(columns: Columns) -> list[tuple[str, int, int]]:
    """List the shares that points of these columns lack: key, place of what it is a share of, place of the ceiling."""
    shares = []
    for key, place in columns.places.items():
        parts = parse_key(key)
        ceiling = columns.places.get(metric_key("ceiling", site=parts.site))
        if parts.quantity in SHARE_OF and parts.order is not None and ceiling is not None:
            share = metric_key(**{**parts._asdict(), "quantity": SHARE_OF[parts.quantity]})
            if share not in columns.places:
                shares.append((share, place, ceiling))
    return shares


def _passed_on(notes: Mapping[str, str]) -> dict[str, str]:
    """Rename notes on complexity and expressivity to those on their shares."""
    renamed = {}
    for name, reason in notes.items():
        head, slash, quantity = name.rpartition("/")
        if quantity in SHARE_OF:
            renamed[f"{head}{slash}{SHARE_OF[quantity]}"] = reason
    return renamed
