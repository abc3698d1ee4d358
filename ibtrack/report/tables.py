"""Trajectories → the rows behind the charts: plain columns, a row per point, nothing drawn yet."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ibtrack.record.keys import metric_key
from ibtrack.record.quantities import quantity_key
from ibtrack.record.trajectory import Point, Trajectory

Z95 = 1.96  # two-sided 95 % of a normal


# of `table_rows`, in the order in which a table shows them
TABLE_COLUMNS = (
    *("run", "order", "step", "tokens", "loss"),
    *("complexity", "complexity_se", "expressivity", "expressivity_se", "why"),
)


def plane_rows(
    trajectories: Sequence[Trajectory], *, site: str = "mean", order: str = "token", reading: str = "debiased"
) -> list[dict[str, Any]]:
    """Rows of the plane, one per run and point; a number that does not exist is None.

    Example:
        >>> readings = {"ib/mean/token/complexity": 0.4, "ib/mean/token/expressivity": 0.1}
        >>> for row in plane_rows([Trajectory({}, {"name": "a"}, [Point(8, readings, loss=5.0)])]):
        ...     print(row)
        {'run': 'a', 'step': 8, 'tokens': None, 'loss': 5.0, \
'complexity': 0.4, 'complexity_se': None, 'complexity_anchor_sd': None, \
'expressivity': 0.1, 'expressivity_se': None, 'expressivity_anchor_sd': None, 'why': None}
    """
    keys = {name: quantity_key(name, site, order, reading) for name in ("complexity", "expressivity")}
    rows = []
    for label, point in _points(trajectories):
        row = _common(label, point)
        for name, key in keys.items():
            row |= {f"{name}{more}": _value(point, f"{key}{more}") for more in ("", "_se", "_anchor_sd")}
        lost = [keys[name] for name in keys if row[name] is None]
        rows.append({**row, "why": why_missing(point, lost[0]) if lost else None})
    return rows


def table_rows(trajectory: Trajectory, run: str) -> list[dict[str, Any]]:
    """Rows of the table that wandb keeps: those of the plane at the mean, of every order, under the name ``run``.

    Example:
        >>> trajectory = Trajectory({"orders": ["token", "bigram"]}, {"name": "a"}, [Point(8, loss=5.0)])
        >>> [(row["run"], row["order"], row["step"], row["why"]) for row in table_rows(trajectory, "a 1x")]
        [('a 1x', 'token', 8, 'not in this trajectory'), ('a 1x', 'bigram', 8, 'not in this trajectory')]
    """
    return [
        {**row, "run": run, "order": order}
        for order in trajectory.protocol["orders"]
        for row in plane_rows([trajectory], order=order)
    ]


def curve_rows(
    trajectories: Sequence[Trajectory],
    *,
    quantity: str = "complexity",
    site: str = "mean",
    order: str = "token",
    reading: str = "debiased",
) -> list[dict[str, Any]]:
    """Rows of a curve over training, one per run and point, with the null and the ceiling where they apply."""
    key = quantity_key(quantity, site, order, reading)
    bounded = quantity in ("complexity", "expressivity")
    null = quantity_key(quantity, site, order, "null") if bounded and reading != "null" else ""
    ceiling = quantity_key("ceiling", site, order, reading) if bounded else ""
    rows = []
    for label, point in _points(trajectories):
        value = _finite(point.loss) if quantity == "loss" else _value(point, key)
        rows.append(
            {
                **_common(label, point),
                "value": value,
                "se": _value(point, f"{key}_se"),
                "anchor_sd": _value(point, f"{key}_anchor_sd"),
                "null": _value(point, null),
                "ceiling": _value(point, ceiling),
                "why": why_missing(point, "loss" if quantity == "loss" else key) if value is None else None,
            }
        )
    return rows


def heatmap_rows(
    trajectory: Trajectory, *, quantity: str = "complexity", order: str = "token", reading: str = "debiased"
) -> list[dict[str, Any]]:
    """Rows of the heatmap, one per site and point; ``depth`` counts the sites from the input on."""
    return [
        {**row, "site": site, "depth": depth}
        for depth, site in enumerate(sites_of(trajectory))
        for row in curve_rows([trajectory], quantity=quantity, site=site, order=order, reading=reading)
    ]


def plane_domain(rows: Iterable[Mapping[str, Any]]) -> tuple[float, float]:
    """One domain for both axes: zero, every point and every bar are inside, the upper end is a multiple of .05.

    Example:
        >>> plane_domain([{"complexity": 0.41, "complexity_se": 0.01, "expressivity": 0.1, "expressivity_se": None}])
        (0.0, 0.45)
        >>> plane_domain([])
        (0.0, 1.0)
    """
    ends = [0.0]
    for row in rows:
        for name in ("complexity", "expressivity"):
            value, bar = row[name], Z95 * (row[f"{name}_se"] or 0.0)
            ends += [] if value is None else [value - bar, value + bar]
    if len(ends) == 1:
        return 0.0, 1.0
    return math.floor(min(ends) * 100) / 100, max(math.ceil(max(ends) * 20), 1) / 20


def missing_lines(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """One sentence per run that has points which cannot be drawn: how many, the first, and why.

    Example:
        >>> missing_lines([{"run": "a", "step": 0, "why": None}, {"run": "a", "step": 8, "why": "no hook fired"}])
        ['a: 1 of 2 points cannot be drawn, the first at step 8: no hook fired']
    """
    runs: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        runs.setdefault(row["run"], []).append(row)
    lines = []
    for run, points in runs.items():
        lost = [point for point in points if point["why"]]
        if lost:
            count, first, why = f"{len(lost)} of {len(points)} points", lost[0]["step"], lost[0]["why"]
            lines.append(f"{run}: {count} cannot be drawn, the first at step {first}: {why}")
    return lines


def why_missing(point: Point, key: str) -> str:
    """Why a point has no value under a key, in the words that the point carries.

    Example:
        >>> why_missing(Point(8, failure="hook of L01 did not fire"), "ib/mean/token/complexity")
        'hook of L01 did not fire'
        >>> why_missing(Point(8), "ib/mean/token/complexity")
        'not in this trajectory'
    """
    names = (key, *key.split("/")[1:-1])
    note = next((point.notes[name] for name in names if name in point.notes), None)
    return note or point.failure or "not in this trajectory"


def run_labels(trajectories: Sequence[Trajectory]) -> list[str]:
    """A short name per run, each different: without the words that all names begin or end with.

    Runs that share a name get their folder, or else a number, added.

    Example:
        >>> names = ("sweep lr=1 s=0", "sweep lr=2 s=0", "sweep lr=2 s=0")
        >>> run_labels([Trajectory({}, {"name": name}, []) for name in names])
        ['lr=1', 'lr=2', 'lr=2 (2)']
    """
    names = _without_shared_words([run.name for run in trajectories])
    count = Counter(names)
    labels: list[str] = []
    for run, name in zip(trajectories, names, strict=True):
        folder = run.path.parent.name if run.path and count[name] > 1 else ""
        label = f"{name} ({folder})" if folder not in ("", run.name) else name
        numbered = (f"{label} ({number})" for number in range(2, len(trajectories) + 2))
        labels.append(label if label not in labels else next(other for other in numbered if other not in labels))
    return labels


def _without_shared_words(names: Sequence[str]) -> list[str]:
    words = [name.split() for name in names]
    if len(set(names)) < 2:
        return list(names)
    for end in (0, -1):
        while all(len(parts) > 1 for parts in words) and len({parts[end] for parts in words}) == 1:
            for parts in words:
                del parts[end]
    return [" ".join(parts) or name for parts, name in zip(words, names, strict=True)]


def sites_of(trajectory: Trajectory) -> list[str]:
    """Sites of a run from input to output, without ``mean``."""
    return list(trajectory.protocol.get("sites", ()))


def tokens_of(point: Point) -> float | None:
    """Training tokens at a point, or None where the loop did not say."""
    logged = point.values.get(metric_key("tokens_seen"))
    return _finite(point.tokens_seen if point.tokens_seen is not None else logged)


def _points(trajectories: Sequence[Trajectory]) -> Iterable[tuple[str, Point]]:
    for label, run in zip(run_labels(trajectories), trajectories, strict=True):
        for point in run.points:
            yield label, point


def _common(label: str, point: Point) -> dict[str, Any]:
    return {"run": label, "step": point.step, "tokens": tokens_of(point), "loss": _finite(point.loss)}


def _value(point: Point, key: str) -> float | None:
    return _finite(point.values.get(key))


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
