"""The sheet of a run: what the page holds of one run alone. Its values are one table of packed float32.

A page of many runs would be too large to open if it held every number, so each run has its share of what a page can
hold: points are left out evenly, and where too few would be left, the layers are. What is said in words, phases,
rankings and effects, is worked out from all points all the same, on the outline of the run that its sheet carries.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import chain
from typing import Any

import numpy as np

from ibtrack.analysis.bands import careful_value, critical_value
from ibtrack.analysis.curves import curve
from ibtrack.analysis.outline import outline
from ibtrack.analysis.phase_words import Phases
from ibtrack.analysis.phases import find_phases
from ibtrack.record.protocol import as_text, flat
from ibtrack.record.quantities import PLANE_UNITS
from ibtrack.record.trajectory import Point, Trajectory
from ibtrack.report.style import PALETTE, SHAPES
from ibtrack.report.tables import later_stages, sites_of, tokens_of

# A number takes 4 bytes of the page, so these take 9.6 MB, which leaves room for Vega and for words in 15 MB.
MOST_NUMBERS = 2_400_000
# Points, or cells of a heatmap, that a browser draws and redraws within a second or two; experiments/benchmarks/
# report_size.py opens the page.
MOST_DRAWN = 10_000
FEWEST_POINTS = 40  # of a run with its layers; with fewer a curve loses its shape, and the layers are left out instead
# Phases take .3 to .5 ms a point, so these, over all layers, label sets and runs, take some 10 s. On a page with more,
# phases, ranking and effects are those of the mean over the layers alone.
MOST_CLAIMED = 30_000
MOST_BANDED = len(PALETTE) * len(SHAPES)  # runs that look different; of more nobody can tell the bands apart
# what the script works out, kept and told; entropy less complexity; what the plug-in reads; what no chart draws
MORE_BESIDE = (
    "Choose a run under Highlight: all of its points and layers are loaded from the folder {}, as long as that lies "
    "beside the page."
)
MORE_ELSEWHERE = "A report of fewer runs shows more of each."
LEFT_OUT = ("/kept", "/told", "/variation", "/variation_se", "_high", "_low_se")


@dataclass(frozen=True, kw_only=True)
class Numbers:
    """The numbers of a run that are drawn, point by point.

    Attributes:
        keys: Metric keys of the table of values.
        failures: Place of a drawn point to the reason why it was not measured as a whole.
        notes: Place of a drawn point to the names of numbers, and why these are missing or in doubt.
        data: Steps, tokens, losses and the table, the sites, and whether it holds the layers, as the script gets them.
    """

    keys: tuple[str, ...]
    failures: Mapping[int, str]
    notes: Mapping[int, Mapping[str, str]]
    data: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """What the page holds of a run.

    Attributes:
        run: Outline of the run, with all of its points, see `ibtrack.analysis.outline`.
        orders: Its label sets.
        phases: Label set to the phases of the run.
        config: Its settings, with dotted keys.
        keys: Metric keys of the table of values.
        band_names: What has a simultaneous band of its own: the key of a number, or the two on the axes of the plane.
        failures: Place of a drawn point to the reason why it was not measured as a whole.
        notes: Place of a drawn point to the names of numbers, and why these are missing or in doubt.
        has_layers: Whether the table holds its layers, or only the mean over them.
        data: The run as the script gets it, without what depends on other runs.
        whole: The run with its layers, where a page of so many runs has claims on each of them; else None.
    """

    run: Trajectory
    orders: tuple[str, ...]
    phases: Mapping[str, Phases]
    config: Mapping[str, Any]
    keys: tuple[str, ...]
    band_names: tuple[str, ...]
    failures: Mapping[int, str]
    notes: Mapping[int, Mapping[str, str]]
    has_layers: bool
    data: dict[str, Any]
    whole: Trajectory | None = None


def sheet(run: Trajectory, num_runs: int = 1) -> Sheet:
    """Take from a run what a page of so many runs holds of it; the run itself is not needed any more.

    Args:
        run: Trajectory of the run.
        num_runs: Number of runs of the page.

    Example:
        >>> found = sheet(Trajectory({}, {"name": "a"}, [Point(8, {"ib/mean/entropy": 0.5})]))
        >>> found.keys, found.data["steps"], found.data["values"]
        (('ib/mean/entropy',), [8], 'AAA/')
    """
    orders = tuple(run.protocol.get("orders") or ("token",))
    drawn = numbers(run, num_runs)
    names = _band_names(drawn.keys) if num_runs <= MOST_BANDED else ()
    config = flat(run.run.get("config") or {})
    return Sheet(
        run=outline(run, orders),
        orders=orders,
        phases={order: find_phases(run, order) for order in orders},
        config=config,
        keys=drawn.keys,
        band_names=names,
        failures=drawn.failures,
        notes=drawn.notes,
        has_layers=drawn.data["layers"],
        data={
            **drawn.data,
            "name": run.name,
            "path": str(run.path or ""),
            "config": {key: as_text(value) for key, value in config.items()},
            "begins": later_stages(run),
            "points": len(run.points),
            "failed": _failed(run),
            "bands": packed([_bands(run, names)]),
            "careful": [value if math.isfinite(value) else None for value in _careful(run)],
        },
        whole=run if drawn.data["layers"] and _has_time_for_layers(run, len(orders), num_runs) else None,
    )


def numbers(run: Trajectory, num_runs: int = 1) -> Numbers:
    """Take from a run the numbers that a page of so many runs has room for.

    Args:
        run: Trajectory of the run.
        num_runs: Number of runs of the page.

    Example:
        >>> numbers(Trajectory({}, {"name": "a"}, [Point(8, {"ib/mean/entropy": 0.5})])).data["values"]
        'AAA/'
    """
    has_layers = has_room_for_layers(run, num_runs)
    keys = tuple(key for key in _keys(run) if has_layers or _is_of_mean(key))
    number = _most_points(len(keys), 1 + len(sites_of(run)) * has_layers, num_runs)
    kept = replace(run, points=[run.points[i] for i in spread(run.steps, number)])
    return Numbers(
        keys=keys,
        failures={i: point.failure for i, point in enumerate(kept.points) if point.failure},
        notes={i: notes for i, point in enumerate(kept.points) if (notes := _notes(point, has_layers=has_layers))},
        data={**_columns(kept, keys), "sites": sites_of(run) if has_layers else [], "layers": has_layers},
    )


def has_room_for_layers(run: Trajectory, num_runs: int) -> bool:
    """Say whether a page of so many runs has room for the layers of a run, by the numbers of the mean over them.

    Args:
        run: Trajectory of the run; it may have been read without its layers.
        num_runs: Number of runs of the page.
    """
    num_sites = len(sites_of(run)) + 1
    num_keys = sum(map(_is_of_mean, _keys(run))) * num_sites
    return num_sites == 1 or _most_points(num_keys, num_sites, num_runs) >= min(FEWEST_POINTS, len(run.points))


def _has_time_for_layers(run: Trajectory, num_orders: int, num_runs: int) -> bool:
    return len(run.points) * len(sites_of(run)) * num_orders * num_runs <= MOST_CLAIMED


def packed(table: Sequence[Sequence[float]]) -> str:
    """Pack numbers as the upper three bytes of float32 in base64: a relative error of 2^-16, a quarter less to load.

    Args:
        table: Rows of equal length.

    Example:
        >>> packed([[1.0, float("nan")]])  # 3f80 0000 and 7fc0 0000, the lower byte of each first and left out
        'AIA/AMB/'
    """
    bits = np.array(table, dtype="<f4").reshape(-1).view("<u4") + np.uint32(0x80)  # to the nearest; nan stays nan
    return base64.b64encode(bits.view(np.uint8).reshape(-1, 4)[:, 1:].tobytes()).decode("ascii")


def spread(steps: Sequence[int], number: int) -> list[int]:
    """Choose points of a run: the first, the last, and others evenly by their number and by the logarithm of the step.

    A run that is measured at every thousandth step keeps most of its beginning, where curves move most, and one that is
    measured at powers of two keeps its end.

    Args:
        steps: Step of each point, in order.
        number: How many to keep at most, two or more.

    Returns:
        Indices in order, all of them where there are no more than asked for.

    Example:
        >>> spread(range(0, 1000, 100), 5)
        [0, 1, 2, 5, 9]
    """
    if len(steps) <= number:
        return list(range(len(steps)))
    logs = np.log1p(np.array(steps, np.float64))
    place = np.arange(len(steps)) / (len(steps) - 1) + (logs - logs[0]) / (logs[-1] - logs[0])
    wanted = np.linspace(0, 2, number)
    after = np.searchsorted(place, wanted).clip(1, len(steps) - 1)
    nearest = np.where(wanted - place[after - 1] <= place[after] - wanted, after - 1, after)
    return sorted({int(i) for i in nearest})


def leaves_out(data: Mapping[str, Any]) -> bool:
    """Say whether a page leaves points or layers out of a run.

    Args:
        data: The run as the script gets it, `Sheet.data`.
    """
    return not data["layers"] or len(data["steps"]) < data["points"]


def size_sentence(sheets: Sequence[Sheet], beside: str = "", *, more: str = MORE_BESIDE) -> str:
    """Say what a page leaves out of its runs so that it opens; an empty text where it leaves out nothing.

    Args:
        sheets: Sheets of the runs.
        beside: Name of the folder beside the page that holds the rest; empty without one.
        more: Where the rest is, with ``{}`` for the folder.
    """
    numbers = [(len(each.data["steps"]), each.data["points"]) for each in sheets]
    thinned = [(drawn, measured) for drawn, measured in numbers if drawn < measured]
    parts = []
    if thinned:
        drawn, measured = (max(each) for each in zip(*thinned, strict=True))
        parts.append(f"draws at most {drawn} of up to {measured} points of each run")
    if not all(each.has_layers for each in sheets):
        parts.append("holds the mean over the layers without the layers themselves")
    if not parts:
        return ""
    return (
        f"So that it opens, this page {' and '.join(parts)}. Phases, ranking and effects are worked out from all "
        f"points. {more.format(beside) if beside else MORE_ELSEWHERE}"
    )


def _keys(run: Trajectory) -> list[str]:
    """List the metric keys of a run that a page may need."""
    every = dict.fromkeys(chain.from_iterable(point.values for point in run.points))
    return [key for key in every if not key.endswith(LEFT_OUT)]


def _most_points(num_keys: int, num_sites: int, num_runs: int) -> int:
    """Work out how many points a run may have: by the numbers of the page, in a chart of all, and in its heatmap."""
    numbers = MOST_NUMBERS // (max(num_keys, 1) * num_runs)
    return max(2, min(numbers, MOST_DRAWN // num_runs, MOST_DRAWN // num_sites))


def _is_of_mean(key: str) -> bool:
    """Whether a number is of the mean over the layers, or of the whole run."""
    _, *middle, _ = key.split("/")
    return middle[:1] in ([], ["mean"])


def _notes(point: Point, *, has_layers: bool) -> dict[str, str]:
    """Keep the notes of a point, without those on single numbers that the page does not hold."""
    return {
        name: why for name, why in point.notes.items() if has_layers or name not in point.values or _is_of_mean(name)
    }


def _columns(run: Trajectory, keys: Sequence[str]) -> dict[str, Any]:
    losses = [point.loss for point in run.points]
    return {
        "steps": run.steps,
        "tokens": [tokens_of(point) for point in run.points],
        "checkpoints": {i: point.checkpoint for i, point in enumerate(run.points) if point.checkpoint},
        "losses": [loss if loss is not None and math.isfinite(loss) else None for loss in losses],
        "values": packed([[point.values.get(key, math.nan) for point in run.points] for key in keys]),
    }


def _failed(run: Trajectory) -> dict[str, Any] | None:
    """Count the points that were not measured as a whole, with the first and its reason."""
    failed = [point for point in run.points if point.failure]
    return {"count": len(failed), "step": failed[0].step, "why": failed[0].failure} if failed else None


def _band_names(keys: Sequence[str]) -> tuple[str, ...]:
    """Name what has a simultaneous band at the mean over the layers: a number, or the two on the axes of the plane."""
    names = [key.removesuffix("_se") for key in keys if key.endswith("_se") and key.startswith("ib/mean/")]
    pairs = [
        (name, name.removesuffix(unit.complexity) + unit.expressivity)
        for unit in PLANE_UNITS.values()
        for name in names
        if name.endswith(f"/{unit.complexity}")
    ]
    return (*names, *(f"{x} {y}" for x, y in pairs if y in names))


def _bands(run: Trajectory, names: Sequence[str]) -> list[float]:
    """Work out how many standard errors hold at all points together, for each name of `_band_names`."""
    read = cache(lambda key: curve(run, key))
    return [critical_value([read(key) for key in name.split()], of_changes=False) for name in names]


def _careful(run: Trajectory) -> tuple[float, float]:
    """Work out how many are enough for any one curve, and for any two: for single layers, of which there are many."""
    num_documents = min((point.influences.num_groups for point in run.points if point.influences), default=0)
    one, two = (careful_value(number * len(run.points), num_documents) for number in (1, 2))
    return one, two
