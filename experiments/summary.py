"""The summary of a run for the terminal: a table of its measured points, and the paths of its files."""

from __future__ import annotations

import math
from pathlib import Path

from ibtrack import Trajectory
from ibtrack.record.keys import metric_key
from ibtrack.record.trajectory import Point

SHOWN_ORDERS = ("token", "bigram")
_QUANTITIES = ("kept", "told", "optimality")
_WIDTH = 37  # characters of the columns of one order


def table(trajectory: Trajectory) -> str:
    """Lay out step, loss, entropy and the quantities of the mean over layers, with one row for each point.

    Args:
        trajectory: Trajectory of the run; of the orders of its probe, those in `SHOWN_ORDERS` are shown.

    Returns:
        Lines of text.

    Example:
        >>> values = {"ib/mean/entropy": 0.5, "ib/mean/token/kept": 0.4, "ib/mean/token/kept_se": 0.01}
        >>> print(table(Trajectory({"orders": ["token"]}, {}, [Point(8, values, loss=2.5)])))
                               token
          step   loss     H    kept         told         optimality
             8  2.500  .500    .400 ±.010   –            –
    """
    orders = [order for order in trajectory.protocol["orders"] if order in SHOWN_ORDERS]
    head = "                       " + "".join(f"{order:<{_WIDTH}}" for order in orders)
    names = "  step   loss     H    " + f"{'kept':<13}{'told':<13}{'optimality':<11}" * len(orders)
    return "\n".join(line.rstrip() for line in [head, names, *(_row(point, orders) for point in trajectory.points)])


def places(run_dir: Path) -> str:
    """List the files that a run has left in its folder, with the commands that open them."""
    names = {
        "trajectory": run_dir / "trajectory.jsonl",
        "plane": run_dir / "plane.png",
        "report": run_dir / "report.html",
    }
    lines = [f"{name:<11}{path}" for name, path in names.items() if path.exists()]
    for folder in sorted(run_dir.glob("wandb/*run-*")):
        lines += [f"{'wandb':<11}{folder}", f"{'to open it':<11}wandb leet run {folder}"]
    return "\n".join(lines)


def _row(point: Point, orders: list[str]) -> str:
    if point.failure is not None:
        return f"{point.step:>6}  not measured: {point.failure}"
    loss = f"{point.loss:.3f}" if point.loss is not None else "–"
    entropy = _fraction(point.values.get(metric_key("entropy", site="mean")))
    return f"{point.step:>6}{loss:>7}{entropy:>6}    " + "".join(_cells(point, order) for order in orders)


def _cells(point: Point, order: str) -> str:
    cells = []
    for quantity, width in zip(_QUANTITIES, (13, 13, 11), strict=True):
        value = point.values.get(metric_key(quantity, site="mean", order=order))
        error = point.values.get(metric_key(f"{quantity}_se", site="mean", order=order))
        cells.append(f"{_fraction(value)} ±{_fraction(error)}".removesuffix(" ±–").ljust(width))
    return "".join(cells)


def _fraction(value: float | None) -> str:
    """Write a number with three decimals and without the zero before the point; a dash stands for a missing one.

    Example:
        >>> _fraction(0.4), _fraction(-0.0123), _fraction(1.0), _fraction(-1e-9), _fraction(None)
        ('.400', '-.012', '1.000', '.000', '–')
    """
    if value is None or not math.isfinite(value):
        return "–"
    digits = f"{abs(value):.3f}".removeprefix("0")
    return f"-{digits}" if round(value, 3) < 0 else digits
