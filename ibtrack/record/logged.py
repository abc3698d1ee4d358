"""What of a point is logged: the numbers that loggers get, under which names, and a line for the terminal."""

from __future__ import annotations

import math
from collections.abc import Iterator

from ibtrack.record.keys import Key, metric_key, parse_key
from ibtrack.record.quantities import GEOMETRY, Z95
from ibtrack.record.trajectory import Point

LOGS = ("few", "all")
"""How much loggers get."""

PLANE = ("kept", "told", "optimality", "complexity", "expressivity")
"""The numbers of the mean and of the first label set that come first."""

FEW: dict[str, tuple[str, ...]] = {  # at most 60 for 12 layers, with the step and what else wandb gets
    "mean, first order": (*PLANE, "kept_se", "told_se", "optimality_se"),
    "mean, other orders": ("kept", "kept_se", "told", "told_se"),
    "mean, no order": ("preference_information", "preference_information_se", *GEOMETRY),
    "layer, first order": ("kept", "told"),
    "layer, no order": ("preference_information",),
    "run": ("probe_loss", "overhead_fraction", "tokens_seen", "failed"),
}
"""Scope of a number to the quantities that loggers get of it unless they get all."""


def point_metrics(point: Point, *, prefix: str = "ib") -> dict[str, float]:
    """Return all numbers of a point but the other readings of single layers, under the names of the file; no ``nan``.

    ``EarlyStopping`` and ``ModelCheckpoint`` can monitor each of them.

    Args:
        point: Point that was measured.
        prefix: First part of the keys.

    Example:
        >>> point = Point(8, {"ib/mean/entropy": 0.5, "ib_null/L00/token/complexity": 0.1}, tokens_seen=4096)
        >>> point_metrics(point, prefix="held_out")
        {'held_out/mean/entropy': 0.5, 'held_out/tokens_seen': 4096.0, 'held_out/failed': 0.0}
    """
    return {metric_key(**{**key._asdict(), "prefix": prefix}): value for key, value in _numbers(point)}


def logged_metrics(point: Point, *, prefix: str = "ib", log: str = "few") -> dict[str, float]:
    """Return the numbers that loggers get, under names that put the plane first; no ``nan``.

    Args:
        point: Point that was measured.
        prefix: First part of the keys.
        log: ``few``: of the mean the plane, with standard errors; of each layer what it keeps and tells by the first
            label set; of the run four numbers. ``all``: everything that `point_metrics` returns.

    Example:
        >>> values = {"ib/mean/token/kept": 0.5, "ib/mean/token/kept_z": 9.0, "ib/L00/token/kept": 0.4}
        >>> logged_metrics(Point(8, values))
        {'ib/mean/token/kept': 0.5, 'ib_layers/L00/token/kept': 0.4, 'ib_run/failed': 0.0}
    """
    order = next(filter(None, (parse_key(name).order for name in point.values)), None)
    return {
        logged_key(**{**key._asdict(), "prefix": prefix}, first_order=order): value
        for key, value in _numbers(point)
        if log == "all" or _is_one_of_few(key, order)
    }


def logged_key(
    quantity: str,
    *,
    site: str | None = None,
    order: str | None = None,
    reading: str = "debiased",
    prefix: str = "ib",
    first_order: str | None = None,
) -> str:
    """Name a number as loggers have it: as in the file, with the section in the first part.

    Dashboards make a section of the first part of a key, and sort sections and keys by name. So ``ib/`` holds the plane
    of the mean alone; what is less often looked at has sections that come after it: ``ib_layers/``, ``ib_more/`` for
    the rest of the mean, ``ib_null/`` and ``ib_plugin/`` for the other readings, ``ib_run/``.

    Args:
        quantity: Name of the number, with its suffixes.
        site: Layer or ``mean``; None for a number of the whole run.
        order: Label set; None for a number of the whole site.
        reading: ``debiased``, ``plugin`` or ``null``.
        prefix: First part of the key.
        first_order: The first label set of the probe, whose plane is the one that comes first.

    Example:
        >>> logged_key("kept", site="mean", order="token", first_order="token")
        'ib/mean/token/kept'
        >>> logged_key("kept_se", site="mean", order="token", first_order="token")
        'ib_more/mean/token/kept_se'
        >>> logged_key("probe_loss"), logged_key("kept", site="L03", order="token", first_order="token")
        ('ib_run/probe_loss', 'ib_layers/L03/token/kept')
    """
    section = "" if reading != "debiased" else _section(quantity, site, order, first_order)
    return metric_key(quantity, site=site, order=order, reading=reading, prefix=prefix + section)


def _section(quantity: str, site: str | None, order: str | None, first_order: str | None) -> str:
    if site is None:
        return "_run"
    if site != "mean":
        return "_layers"
    is_first = quantity in PLANE and order == first_order if order else quantity == "preference_information"
    return "" if is_first else "_more"


def _is_one_of_few(key: Key, first_order: str | None) -> bool:
    if key.site is None:
        return key.quantity in FEW["run"]
    where = "mean" if key.site == "mean" else "layer"
    of = "no order" if key.order is None else "first order" if key.order == first_order else "other orders"
    return key.reading == "debiased" and key.quantity in FEW.get(f"{where}, {of}", ())


def _numbers(point: Point) -> Iterator[tuple[Key, float]]:
    """Take a point apart into numbers; of single layers the debiased readings alone.

    Yields:
        The parts of each key as the file has it, and the value.
    """
    for name, value in point.values.items():
        key = parse_key(name)
        if (key.site in (None, "mean") or key.reading == "debiased") and math.isfinite(value):
            yield key, float(value)
    if point.tokens_seen is not None:
        yield Key("tokens_seen"), float(point.tokens_seen)
    yield Key("failed"), float(point.failure is not None)


def summary_line(point: Point, *, prefix: str = "ib") -> str:
    """Write a point as one line for the terminal; what follows ± is 1.96 standard errors, as in every table and chart.

    Args:
        point: Point that was measured.
        prefix: Prefix of the logged keys, which the line names unless it is the usual one.

    Example:
        >>> print(summary_line(Point(8, failure="L00 did not fire")))
        ibtrack step 8: not measured: L00 did not fire
        >>> print(summary_line(Point(8, {"ib/mean/token/optimality": 0.4, "ib/mean/token/optimality_se": 0.01})))
        ibtrack step 8: optimality 0.400 ± 0.020 (0.00 s)
    """
    head = f"ibtrack step {point.step}" if prefix == "ib" else f"ibtrack {prefix} step {point.step}"
    if point.failure is not None:
        return f"{head}: not measured: {point.failure}"
    values = {quantity: point.values.get(f"ib/mean/{quantity}") for quantity in ("entropy", *_SHOWN)}
    parts = {name: f"{_SHORT[name]} {value:.3f}" for name, value in values.items() if value is not None}
    error = point.values.get("ib/mean/token/optimality_se")
    if error is not None and "token/optimality" in parts:
        parts["token/optimality"] += f" ± {Z95 * error:.3f}"
    return f"{head}: {', '.join(parts.values()) or 'no values'} ({point.measure_time:.2f} s)"


_SHOWN = ("preference_information", "token/kept", "token/told", "token/optimality")
_SHORT = dict(zip(("entropy", *_SHOWN), ("H", "I(pref;Z)", "token kept", "told", "optimality"), strict=True))
