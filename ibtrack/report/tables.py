"""Trajectories become the rows behind the charts: plain columns, one row per point, nothing drawn yet."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ibtrack._checks import check_option
from ibtrack.analysis.bands import critical_value
from ibtrack.analysis.curves import curve
from ibtrack.record.keys import BRACKET, metric_key
from ibtrack.record.quantities import PLANE_UNITS, SHARE_OF, Z95, quantity_key
from ibtrack.record.trajectory import Point, Trajectory
from ibtrack.report.run_labels import run_labels

BANDS = ("pointwise", "simultaneous")  # what errors are drawn for: each point by itself, or all of a run together
PLANE_COLUMNS = ("complexity", "expressivity")  # the axes of the plane, whatever their unit

# columns of `table_rows`, in the order in which a table shows them
TABLE_COLUMNS = (
    *("run", "order", "step", "tokens", "loss"),
    *("kept", "kept_se", "told", "told_se"),
    *("complexity", "complexity_se", "expressivity", "expressivity_se", "why"),
)


def plane_rows(
    trajectories: Sequence[Trajectory],
    *,
    site: str = "mean",
    order: str = "token",
    reading: str = "debiased",
    unit: str = "share",
    bands: bool = False,
) -> list[dict[str, Any]]:
    """Make the rows of the plane, one per run and point.

    Args:
        trajectories: Runs to show.
        site: ``mean`` or a site of the protocol, such as ``L03``.
        order: Label set, such as ``token``.
        reading: ``debiased``, ``plugin`` or ``null``.
        unit: Unit of complexity and expressivity: ``share`` of the ceiling, or ``log_k``, fraction of log K.
        bands: Whether to work out the simultaneous bands, which takes about a hundredth of a second per run.

    Returns:
        Rows of plain columns, which have the same names in both units. ``complexity_band`` and ``expressivity_band``
        are half widths of bands that hold with 95 % certainty at all points of a run and on both axes together. A
        number that does not exist is None; then ``why`` says the reason. ``doubt`` says why one that exists is not to
        be trusted; ``begins``, which other rows lack, names a stage of training that begins there after another one;
        and ``complexity_z`` and ``expressivity_z`` how far the spread between labels stands out of noise.

    Raises:
        ValueError: There is no such reading or unit.

    Example:
        >>> values = {"ib/mean/token/kept": 0.4, "ib/mean/token/told": 0.1}
        >>> for row in plane_rows([Trajectory({}, {"name": "a"}, [Point(8, values, loss=5.0)])]):
        ...     print(row)
        {'run': 'a', 'step': 8, 'tokens': None, 'loss': 5.0, \
'complexity': 0.4, 'complexity_se': None, 'complexity_anchor_sd': None, 'complexity_band': None, \
'complexity_low': None, 'complexity_high': None, 'complexity_z': None, 'expressivity': 0.1, \
'expressivity_se': None, 'expressivity_anchor_sd': None, 'expressivity_band': None, 'expressivity_low': None, \
'expressivity_high': None, 'expressivity_z': None, 'doubt': None, 'why': None}
    """
    names = PLANE_UNITS[check_option("unit", unit, tuple(PLANE_UNITS))]
    keys = {
        column: quantity_key(name, site, order, reading) for column, name in zip(PLANE_COLUMNS, names[:2], strict=True)
    }
    parts = {name: quantity_key(name, site, order, reading) for name in PLANE_COLUMNS}
    widths = _numbers_of_errors(trajectories, [*keys.values()]) if bands else {}
    rows = []
    begins = [later for run in trajectories for later in _begins(run)]
    for (label, point), stage in zip(_labelled_points(trajectories), begins, strict=True):
        row = _common_columns(label, point) | ({} if stage is None else {"begins": stage})
        for name, key in keys.items():
            row |= {f"{name}{suffix}": _value(point, f"{key}{suffix}") for suffix in ("", "_se", "_anchor_sd")}
            row[f"{name}_band"] = _half_width(row[f"{name}_se"], widths.get(label))
            row |= {f"{name}{end}": value for end, value in _bracket(point, key, parts[name], site).items()}
            row[f"{name}_z"] = _value(point, f"{parts[name]}_z")
        missing = [key for name, key in keys.items() if row[name] is None]
        doubt = next((point.doubts[key] for key in (*keys.values(), *parts.values()) if key in point.doubts), None)
        rows.append({**row, "doubt": doubt, "why": point.why_missing(missing[0]) if missing else None})
    return rows


def table_rows(trajectory: Trajectory, run: str) -> list[dict[str, Any]]:
    """Make the rows of the table that wandb keeps: those of the plane at the mean, of every order, in both units.

    Args:
        trajectory: Run to show.
        run: Name that the rows carry.

    Example:
        >>> trajectory = Trajectory({"orders": ["token", "bigram"]}, {"name": "a"}, [Point(8, loss=5.0)])
        >>> [(row["run"], row["order"], row["step"], row["why"]) for row in table_rows(trajectory, "a 1x")]
        [('a 1x', 'token', 8, 'not in this trajectory'), ('a 1x', 'bigram', 8, 'not in this trajectory')]
    """
    rows = []
    for order in trajectory.protocol["orders"]:
        in_units = (plane_rows([trajectory], order=order, unit=unit) for unit in ("log_k", "share"))
        for row, share in zip(*in_units, strict=True):
            columns = {
                f"{SHARE_OF[name]}{suffix}": share[f"{name}{suffix}"] for name in SHARE_OF for suffix in ("", "_se")
            }
            rows.append({**row, **columns, "why": row["why"] or share["why"], "run": run, "order": order})
    return rows


def curve_rows(
    trajectories: Sequence[Trajectory],
    *,
    quantity: str = "kept",
    site: str = "mean",
    order: str = "token",
    reading: str = "debiased",
    bands: bool = False,
) -> list[dict[str, Any]]:
    """Make the rows of a curve over training, one per run and point.

    Args:
        trajectories: Runs to show.
        quantity: Name in `ibtrack.record.quantities.QUANTITIES`.
        site: ``mean`` or a site of the protocol; not used by quantities of the whole run.
        order: Label set; used only by quantities of an order.
        reading: ``debiased``, ``plugin`` or ``null``.
        bands: Whether to work out the simultaneous band, which takes about a hundredth of a second per run.

    Returns:
        Rows of plain columns, with ``band``, half the width of a band that holds with 95 % certainty at all points of a
        run together, with the null, the ceiling and the ends ``low`` and ``high`` of the bracket where they
        apply, and with what half of the documents read where that was measured. A number that does not exist is None;
        if it is the value, ``why`` says the reason. ``doubt`` says why a value that exists is not to be trusted, and
        ``z`` how far the spread between labels stands out of noise.

    Example:
        >>> (row,) = curve_rows([Trajectory({}, {"name": "a"}, [Point(8, failure="out of memory")])])
        >>> row["value"], row["why"]
        (None, 'out of memory')
    """
    key = quantity_key(quantity, site, order, reading)
    whole_of = {share: name for name, share in SHARE_OF.items()}
    part = quantity_key(whole_of.get(quantity, quantity), site, order, reading)  # a share is as sure as its part
    has_null = quantity in SHARE_OF or quantity in SHARE_OF.values()
    null = quantity_key(quantity, site, order, "null") if has_null and reading != "null" else ""
    ceiling = quantity_key("ceiling", site, order, reading) if quantity in SHARE_OF else ""  # of a share it would be 1
    widths = _numbers_of_errors(trajectories, [key]) if bands else {}
    rows = []
    for label, point in _labelled_points(trajectories):
        bracket = _bracket(point, key, part, site)
        value = _finite(point.loss) if quantity == "loss" else _value(point, key)
        se = _value(point, f"{key}_se")
        rows.append(
            {
                **_common_columns(label, point),
                "value": value,
                "se": se,
                "band": _half_width(se, widths.get(label)),
                "anchor_sd": _value(point, f"{key}_anchor_sd"),
                "z": _value(point, f"{part}_z"),
                "low": bracket["_low"],
                "high": bracket["_high"],
                "null": _value(point, null),
                "ceiling": _value(point, ceiling),
                "doubt": point.doubts.get(key) or point.doubts.get(part),
                "half": _value(point, f"{key}_half"),
                "why": point.why_missing(key) if value is None else None,
            }
        )
    return rows


def heatmap_rows(
    trajectory: Trajectory, *, quantity: str = "kept", order: str = "token", reading: str = "debiased"
) -> list[dict[str, Any]]:
    """Make the rows of the heatmap, one per site and point; ``depth`` counts the sites from the input on.

    Args:
        trajectory: Run to show.
        quantity: Quantity of a site or of an order.
        order: Label set, such as ``token``.
        reading: ``debiased``, ``plugin`` or ``null``.
    """
    return [
        {**row, "site": site, "depth": depth}
        for depth, site in enumerate(sites_of(trajectory))
        for row in curve_rows([trajectory], quantity=quantity, site=site, order=order, reading=reading)
    ]


def plane_domain(rows: Iterable[Mapping[str, Any]]) -> tuple[float, float]:
    """Choose one domain for both axes: zero, every point and every bar lie inside, and its upper end is a round number.

    Args:
        rows: Rows of the plane, as `plane_rows` makes them; where they have simultaneous bands, bars are these.

    Returns:
        The lower end, a multiple of .01, and the upper end, a multiple of .05.

    Example:
        >>> plane_domain([{"complexity": 0.41, "complexity_se": 0.01, "expressivity": 0.1, "expressivity_se": None}])
        (0.0, 0.45)
        >>> plane_domain([])
        (0.0, 1.0)
    """
    ends = [0.0]
    for row in rows:
        for name in PLANE_COLUMNS:
            value, bar = row[name], row.get(f"{name}_band") or Z95 * (row[f"{name}_se"] or 0.0)
            ends += [] if value is None else [value - bar, value + bar]
    if len(ends) == 1:
        return 0.0, 1.0
    return math.floor(min(ends) * 100) / 100, max(math.ceil(max(ends) * 20), 1) / 20


def missing_lines(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """Say of each run which points cannot be drawn: how many, the first, and why.

    Args:
        rows: Rows of a chart, as `plane_rows` or `curve_rows` makes them.

    Example:
        >>> missing_lines([{"run": "a", "step": 0, "why": None}, {"run": "a", "step": 8, "why": "no hook fired"}])
        ['a: 1 of 2 points cannot be drawn, the first at step 8: no hook fired']
    """
    return _first_of_each_run(rows, "why", "cannot be drawn")


def doubt_lines(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """Say of each run how many of its points are in doubt, the first, and why.

    Args:
        rows: Rows of a chart, as `plane_rows` or `curve_rows` makes them.

    Example:
        >>> doubt_lines([{"run": "a", "step": 0, "doubt": None}, {"run": "a", "step": 8, "doubt": "below its bracket"}])
        ['a: 1 of 2 points in doubt, the first at step 8: below its bracket']
    """
    return _first_of_each_run(rows, "doubt", "in doubt")


def sites_of(trajectory: Trajectory) -> list[str]:
    """List the sites of a run from input to output, without ``mean``.

    Args:
        trajectory: Run whose protocol names them.
    """
    return list(trajectory.protocol.get("sites", ()))


def later_stages(run: Trajectory) -> dict[int, str]:
    """Name the stages that begin after the first point of a run, by the step at which they do.

    Args:
        run: Trajectory of a run.

    Example:
        >>> from ibtrack.record.trajectory import Point
        >>> later_stages(Trajectory({}, {}, [Point(0), Point(8), Point(9, stage="dpo")]))
        {8: 'dpo'}
    """
    return {step: stage for stage, step in run.stages.items() if step != run.steps[0]}


def tokens_of(point: Point) -> float | None:
    """Look up the training tokens at a point; None where the loop did not say.

    Args:
        point: Point of a run.
    """
    logged = point.values.get(metric_key("tokens_seen"))
    return _finite(point.tokens_seen if point.tokens_seen is not None else logged)


def _first_of_each_run(rows: Iterable[Mapping[str, Any]], column: str, words: str) -> list[str]:
    """Say of each run how many of its points have a text in a column, and the first with its text."""
    runs: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        runs.setdefault(row["run"], []).append(row)
    lines = []
    for run, points in runs.items():
        told = [point for point in points if point[column]]
        if told:
            count, first = f"{len(told)} of {len(points)} points", told[0]
            lines.append(f"{run}: {count} {words}, the first at step {first['step']}: {first[column]}")
    return lines


def _bracket(point: Point, key: str, part: str, site: str) -> dict[str, float | None]:
    """Look up the ends of the bracket of a value, in its unit: those of a share are shares of the same ceiling."""
    ends = {suffix: _value(point, f"{part}{suffix}") for suffix in BRACKET}
    if key == part:
        return ends
    ceiling = _value(point, metric_key("ceiling", site=site))
    return {suffix: end / ceiling if end is not None and ceiling else None for suffix, end in ends.items()}


def _numbers_of_errors(runs: Sequence[Trajectory], keys: Sequence[str]) -> dict[str, float | None]:
    """Work out for each run how many standard errors hold for all points of some curves together; None without any."""
    numbers = (critical_value([curve(run, key) for key in keys], of_changes=False) for run in runs)
    return dict(zip(run_labels(runs), map(_finite, numbers), strict=True))


def _half_width(se: float | None, number: float | None) -> float | None:
    return None if se is None or number is None else number * se


def _labelled_points(trajectories: Sequence[Trajectory]) -> Iterator[tuple[str, Point]]:
    for label, run in zip(run_labels(trajectories), trajectories, strict=True):
        for point in run.points:
            yield label, point


def _common_columns(label: str, point: Point) -> dict[str, Any]:
    columns = {"run": label, "step": point.step, "tokens": tokens_of(point), "loss": _finite(point.loss)}
    return columns | ({} if point.checkpoint is None else {"checkpoint": point.checkpoint})


def _begins(run: Trajectory) -> list[str | None]:
    """Name for each point the stage of training that begins there, unless it is the first one."""
    begins = later_stages(run)
    return [begins.get(step) for step in run.steps]


def _value(point: Point, key: str) -> float | None:
    return _finite(point.values.get(key))


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
