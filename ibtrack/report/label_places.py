"""On which side of a point its label stands: where it covers least of the path."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from ibtrack.record.quantities import Z95

SIDES = ("above", "below", "right", "left")  # in the order of preference; a path ends on its way up
_SIDE = 420  # pixels of the plane
_LETTER, _HEIGHT, _GAP = 7.0, 15.0, 9.0  # pixels: of a letter in bold 12-pixel type, of a line, from point to label
_OF_A_BAR = 0.4  # of a place of the path: bars are fainter
_PER_SEGMENT = 12  # places of the path between two points that are looked at


def label_sides(
    rows: Sequence[Mapping[str, Any]], labels: Mapping[int, str], ends: tuple[float, float]
) -> list[str | None]:
    """Choose the side of each label of a path.

    Args:
        rows: Rows of the plane of one run, in the order of its steps.
        labels: Step of each point that has a label to its text.
        ends: Ends of both axes.

    Returns:
        One of `SIDES` for each row with a label and a place in the plane, else None.

    Example:
        >>> up = [{"step": step, "complexity": 0.5, "expressivity": step / 10} for step in (1, 5, 9)]
        >>> label_sides(up, {1: "start", 9: "step 9"}, (0.0, 1.0))
        ['below', None, 'above']
    """
    places = [_place(row, ends) for row in rows]
    path = [(x, y, 1.0) for x, y in _sampled([place for place in places if place is not None])]
    path += [(*place, _OF_A_BAR) for row in rows for place in _bars(row, ends)]
    sides: list[str | None] = []
    for row, place in zip(rows, places, strict=True):
        label = labels.get(row["step"])
        if label is None or place is None:
            sides.append(None)
            continue
        boxes = {side: _box(place, side, _LETTER * len(label)) for side in SIDES}
        sides.append(min(SIDES, key=lambda side: _covered(boxes[side], path)))  # of equals the first
    return sides


def _place(row: Mapping[str, Any], ends: tuple[float, float]) -> tuple[float, float] | None:
    x, y = row["complexity"], row["expressivity"]
    if x is None or y is None:
        return None
    scale = _SIDE / (ends[1] - ends[0])
    return (x - ends[0]) * scale, (y - ends[0]) * scale


def _bars(row: Mapping[str, Any], ends: tuple[float, float]) -> list[tuple[float, float]]:
    """Take points along the bars of a point."""
    found = []
    for name in ("complexity", "expressivity"):
        half = row.get(f"{name}_band") or Z95 * (row.get(f"{name}_se") or 0.0)
        moved = (
            [{**row, name: row[name] + half * i / 3} for i in (-3, -2, -1, 1, 2, 3)]
            if half and row[name] is not None
            else []
        )
        found += [place for place in (_place(each, ends) for each in moved) if place is not None]
    return found


def _sampled(places: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Take points along the path."""
    between = [
        (x0 + (x1 - x0) * i / _PER_SEGMENT, y0 + (y1 - y0) * i / _PER_SEGMENT)
        for (x0, y0), (x1, y1) in pairwise(places)
        for i in range(_PER_SEGMENT)
    ]
    return [*between, *places[-1:]]


def _box(place: tuple[float, float], side: str, width: float) -> tuple[float, float, float, float]:
    """Take left, right, bottom and top of a label."""
    x, y = place
    if side in ("above", "below"):
        bottom = y + _GAP if side == "above" else y - _GAP - _HEIGHT
        return x - width / 2, x + width / 2, bottom, bottom + _HEIGHT
    left = x + _GAP if side == "right" else x - _GAP - width
    return left, left + width, y - _HEIGHT / 2, y + _HEIGHT / 2


def _covered(box: tuple[float, float, float, float], path: Sequence[tuple[float, float, float]]) -> float:
    """Add up what a box covers of the path; what stands out of the plane counts as much as a path through all of it."""
    left, right, bottom, top = box
    outside = max(-left, -bottom, right - _SIDE, top - _SIDE, 0.0)
    return outside + sum(weight for x, y, weight in path if left <= x <= right and bottom <= y <= top)
