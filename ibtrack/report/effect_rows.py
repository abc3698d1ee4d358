"""Effects of settings become the rows of tables and pictures: plain columns, numbers beside how they are written."""

from __future__ import annotations

import math
from collections.abc import Collection
from statistics import fmean, stdev
from typing import Any

from ibtrack.analysis.effects import Effect, Effects
from ibtrack.record.quantities import Z95

NONE = "—"


def group_rows(effects: Effects) -> list[dict[str, Any]]:
    """Make one row per group: its name, its number of runs, and its mean in each quantity.

    Args:
        effects: Effects of settings.

    Returns:
        Rows whose ``cells`` are in the order of the quantities, each with the standard deviation between runs; so are
        ``means``, as numbers.
    """
    return [
        {
            "group": group,
            "runs": len(names),
            "cells": [_mean(each.values[group].values(), each) for each in effects.effects],
            "means": [each.means.get(group) for each in effects.effects],
        }
        for group, names in effects.groups.members.items()
    ]


def run_rows(effect: Effect) -> list[dict[str, Any]]:
    """Make one row per run: its group, its number, and the mean of the group.

    Args:
        effect: Effect on one quantity.
    """
    return [
        {"group": group, "run": run, "value": value, "mean": fmean(runs.values())}
        for group, runs in effect.values.items()
        for run, value in runs.items()
    ]


def contrast_rows(effect: Effect) -> list[dict[str, Any]]:
    """Make one row per pair of groups: the difference and both of its errors, whose ends are None where there are none.

    Args:
        effect: Effect on one quantity.
    """
    rows = []
    for each in effect.contrasts:
        low, high = each.interval or (None, None)
        half = None if math.isnan(each.probe_se) else Z95 * each.probe_se
        rows.append(
            {
                "quantity": effect.title,
                "unit": effect.unit,
                "pair": f"{each.second} less {each.first}",
                "difference": each.difference,
                "difference_text": effect.text(each.difference),
                "low": low,
                "high": high,
                "interval_text": " to ".join(map(effect.text, each.interval)) if each.interval else NONE,
                "probe": half,
                "probe_text": NONE if half is None else f"± {effect.text(half, sign=False)}",
                "told": each.is_told,
            }
        )
    return rows


def _mean(values: Collection[float], effect: Effect) -> str:
    if not values:
        return NONE
    spread = f" (sd {effect.text(stdev(values), sign=False)})" if len(values) > 1 else ""
    return effect.text(fmean(values), sign=False) + spread
