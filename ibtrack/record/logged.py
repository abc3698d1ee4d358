"""What of a point is logged: the metrics that loggers get, and a line for the terminal."""

from __future__ import annotations

import math

from ibtrack.record.keys import metric_key, parse_key
from ibtrack.record.quantities import Z95
from ibtrack.record.trajectory import Point


def logged_metrics(point: Point, *, prefix: str = "ib") -> dict[str, float]:
    """Return the numbers that loggers get: all of the mean and of the run, the debiased ones of each site; no ``nan``.

    Example:
        >>> point = Point(8, {"ib/mean/entropy": 0.5, "ib_null/L00/token/complexity": 0.1}, tokens_seen=4096)
        >>> logged_metrics(point, prefix="held_out")
        {'held_out/mean/entropy': 0.5, 'held_out/tokens_seen': 4096.0, 'held_out/failed': 0.0}
    """
    metrics = {}
    for key, value in point.values.items():
        parts = parse_key(key)
        if (parts.site in (None, "mean") or parts.reading == "debiased") and math.isfinite(value):
            metrics[metric_key(**{**parts._asdict(), "prefix": prefix})] = float(value)
    if point.tokens_seen is not None:
        metrics[metric_key("tokens_seen", prefix=prefix)] = float(point.tokens_seen)
    metrics[metric_key("failed", prefix=prefix)] = float(point.failure is not None)
    return metrics


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
