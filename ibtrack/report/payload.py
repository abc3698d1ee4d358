"""The numbers of the page: what its script gets as JSON.

The script only picks rows and fills them into charts; what a number means is decided here. The values of a run are one
table of packed float32.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np

from ibtrack.analysis.bands import careful_value, critical_value
from ibtrack.analysis.comparison import most_telling, telling_settings
from ibtrack.analysis.curves import curve
from ibtrack.analysis.effects import effects, which_compresses
from ibtrack.analysis.groups import group_runs
from ibtrack.analysis.matching import WAYS
from ibtrack.analysis.movements import Movement
from ibtrack.analysis.phase_words import Phases
from ibtrack.analysis.phases import phases_of_runs
from ibtrack.analysis.ranking import ranking, verdict
from ibtrack.record.keys import READINGS
from ibtrack.record.protocol import as_text, flat
from ibtrack.record.quantities import PLANE_UNITS, QUANTITIES, SMALLEST_CEILING, TELLING_Z, Z95
from ibtrack.record.trajectory import Trajectory
from ibtrack.report import charts
from ibtrack.report.effect_rows import contrast_rows, group_rows
from ibtrack.report.plane_layers import BOTTLENECK_WORDS, bottleneck
from ibtrack.report.style import INK, PALETTE, RAMP, SHAPES
from ibtrack.report.tables import sites_of, tokens_of

# pages of many runs stay small without what the script works out, kept and told; entropy less complexity; what the
# plug-in reads; what no chart draws
LEFT_OUT = ("/kept", "/told", "/variation", "/variation_se", "_high", "_low_se")
MOST_GROUPS = 8  # as many as a reader can compare at a glance; they make 28 pairs
NOT_RANKED = "These runs are not ranked, as they were measured under different protocols. Each has its phases below."


def payload(runs: Sequence[Trajectory], labels: Sequence[str], *, comparable: bool) -> dict[str, Any]:
    """Put together all that the page's script needs, as JSON has it.

    Args:
        runs: Runs of the page, at least one.
        labels: Short name of each run, as `ibtrack.report.run_labels.run_labels` gives them.
        comparable: Whether the runs were measured under one protocol; else they are not ranked.
    """
    orders = list(dict.fromkeys(order for run in runs for order in run.protocol.get("orders", ()))) or ["token"]
    by_label = dict(zip(labels, runs, strict=True))
    phases = {order: phases_of_runs(by_label, order) for order in orders}
    keys = [_keys(run) for run in runs]
    key_lists = list(dict.fromkeys(keys))  # runs of one protocol have the same, so it is written once
    band_names = [_band_names(own) for own in key_lists]
    configs = [flat(run.run.get("config") or {}) for run in runs]
    differing = telling_settings(configs, [run.name for run in runs])
    return {
        "runs": [
            _run(run, label, config, own)
            | {
                "keys": key_lists.index(own),
                "bands": packed([_bands(run, band_names[key_lists.index(own)])]),
                "careful": [_or_none(value) for value in _careful(run)],
                "phases": {order: _phases(phases[order][label]) for order in orders},
            }
            for run, label, config, own in zip(runs, labels, configs, keys, strict=True)
        ],
        "keys": key_lists,
        "bandNames": band_names,
        "orders": orders,
        "sites": ["mean", *dict.fromkeys(site for run in runs for site in sites_of(run))],
        "readings": READINGS,
        "quantities": {name: quantity._asdict() for name, quantity in QUANTITIES.items()},
        "units": {name: unit[:2] for name, unit in PLANE_UNITS.items()},
        "smallestCeiling": SMALLEST_CEILING,
        "phaseUnits": {order: _unit_of(each) for order, each in phases.items()},
        "differing": differing,
        "colour": _first_colour(configs, differing, list(phases[orders[0]].values())),
        "verdicts": {order: _verdict(by_label, order, each, comparable=comparable) for order, each in phases.items()},
        "effects": {order: _effects(by_label, order, _unit_of(each)) for order, each in phases.items()},
        "rankings": {order: _places(each, comparable=comparable) for order, each in phases.items()},
        "palette": PALETTE,
        "shapes": SHAPES,
        "ramp": RAMP,
        "ink": INK,
        "z95": Z95,
        "tellingZ": TELLING_Z,
        "bottleneck": BOTTLENECK_WORDS if bottleneck(runs) else "",
        "specs": _specs(runs, orders[0]),
    }


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


def _keys(run: Trajectory) -> tuple[str, ...]:
    return tuple(dict.fromkeys(key for point in run.points for key in point.values if not key.endswith(LEFT_OUT)))


def _run(run: Trajectory, label: str, config: Mapping[str, Any], keys: Sequence[str]) -> dict[str, Any]:
    losses = [point.loss for point in run.points]
    return {
        "label": label,
        "name": run.name,
        "path": str(run.path or ""),
        "config": {key: as_text(value) for key, value in config.items()},
        "sites": sites_of(run),
        "steps": run.steps,
        "tokens": [tokens_of(point) for point in run.points],
        "losses": [loss if loss is not None and math.isfinite(loss) else None for loss in losses],
        "values": packed([[point.values.get(key, math.nan) for point in run.points] for key in keys]),
        "failures": {i: point.failure for i, point in enumerate(run.points) if point.failure},
        "notes": {i: dict(point.notes) for i, point in enumerate(run.points) if point.notes},
    }


def _band_names(keys: Sequence[str]) -> list[str]:
    """Name what has a simultaneous band at the mean over the layers: a number, or the two on the axes of the plane."""
    names = [key.removesuffix("_se") for key in keys if key.endswith("_se") and key.startswith("ib/mean/")]
    pairs = [
        (name, name.removesuffix(unit.complexity) + unit.expressivity)
        for unit in PLANE_UNITS.values()
        for name in names
        if name.endswith(f"/{unit.complexity}")
    ]
    return [*names, *(f"{x} {y}" for x, y in pairs if y in names)]


def _bands(run: Trajectory, names: Sequence[str]) -> list[float]:
    """Work out how many standard errors hold at all points together, for each name of `_band_names`."""
    read = cache(lambda key: curve(run, key))
    return [critical_value([read(key) for key in name.split()], of_changes=False) for name in names]


def _careful(run: Trajectory) -> tuple[float, float]:
    """Work out how many are enough for any one curve, and for any two: for single layers, of which there are many."""
    num_documents = min((point.influences.num_groups for point in run.points if point.influences), default=0)
    one, two = (careful_value(number * len(run.points), num_documents) for number in (1, 2))
    return one, two


def _phases(phases: Phases) -> dict[str, Any]:
    return {
        "sentence": phases.sentence(),
        "decided": phases.why_not is None,
        "fitting": _movement(phases.fitting),
        "compression": _movement(phases.compression),
        "threshold": _or_none(phases.threshold),
    }


def _movement(movement: Movement | None) -> dict[str, Any] | None:
    names = ("start", "end", "change", "se", "num_se", "begins")
    return None if movement is None else {name: getattr(movement, name) for name in names}


def _or_none(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _unit_of(phases: Mapping[str, Phases]) -> str:
    """Name the unit that runs are compared in: that of the phases which were found, all of which have one unit."""
    return next((each.unit for each in phases.values() if each.why_not is None), "share")


def _verdict(runs: Mapping[str, Trajectory], order: str, phases: Mapping[str, Phases], *, comparable: bool) -> str:
    """Say which run compresses most, and which settings do over seeds."""
    if not comparable:
        return NOT_RANKED
    between = which_compresses(runs, order, unit=_unit_of(phases)) if len(runs) > 1 else ""
    return "\n".join(filter(None, (verdict(phases), between)))


def _effects(runs: Mapping[str, Trajectory], order: str, unit: str) -> dict[str, Any]:
    """Work out the effects of settings at equal step, tokens and loss; or say why there are none."""
    return {at: _effects_at(runs, order, unit, at) for at in WAYS} if len(runs) > 1 else {}


def _effects_at(runs: Mapping[str, Trajectory], order: str, unit: str, at: str) -> dict[str, Any]:
    try:
        number = len(group_runs(runs).members)
        if number > MOST_GROUPS:
            raise ValueError(f"these are {number} groups; ibtrack compare --by takes one setting of them")
        found = effects(runs, order=order, unit=unit, at=at)
    except ValueError as error:
        return {"why": str(error)}
    return {
        "where": found.match.words(),
        "sentences": found.sentences(),
        "titles": [each.title for each in found.effects],
        "groups": group_rows(found),
        "contrasts": [row for each in found.effects for row in contrast_rows(each)],
    }


def _first_colour(configs: Sequence[Mapping[str, Any]], differing: Sequence[str], phases: Sequence[Phases]) -> str:
    """Choose what the page colours by at first; more runs than colours are told apart by the most telling setting."""
    if len(configs) == 1:
        return "step"
    if len(configs) <= len(PALETTE):
        return "run"
    falls = [-each.compression.change if each.compression else 0.0 for each in phases]
    return most_telling(differing, configs, falls) or "run"


def _places(phases: Mapping[str, Phases], *, comparable: bool) -> list[dict[str, Any]]:
    """Rank the runs, each by its number on the page; of runs that are not comparable only the order is told."""
    numbers = {label: number for number, label in enumerate(phases)}
    return [
        {
            "run": numbers[place.run],
            "behind": place.behind if place.fall and comparable else None,
            "tied": place.tied,
        }
        for place in ranking(phases)
    ]


def _specs(runs: Sequence[Trajectory], order: str) -> dict[str, Any]:
    pictures = {
        **{f"plane_{unit}": charts.plane(runs, order=order, unit=unit, colour="run") for unit in PLANE_UNITS},
        "curves_step": charts.curves(runs, order=order, x="step"),
        "curves_tokens": charts.curves(runs, order=order, x="tokens"),
        "heatmap": charts.heatmap(runs[0], order=order),
    }
    return {name: _for_page(charts.to_spec(picture)) for name, picture in pictures.items()}


def _for_page(spec: dict[str, Any]) -> dict[str, Any]:
    """Let the page fill a chart: rows, colour, shape and opacity are columns that it adds, titles are its headings."""
    spec = {key: value for key, value in spec.items() if key not in ("title", "config", "$schema")}
    spec["datasets"] = spec["datasets"] | {"points": []}
    for layer in spec["layer"]:
        encoding = layer["encoding"]
        for line in encoding.get("tooltip", ()):
            if line["field"] == "value_text":
                line["title"] = "value"  # of the quantity that is chosen, which the heading names
        for channel, column in (("color", "colour"), ("shape", "shape")):
            if encoding.get(channel, {}).get("field") == "run":
                is_line = channel == "color" and layer["mark"]["type"] in ("line", "area")
                encoding[channel] = {"field": "line" if is_line else column, "type": "nominal", "scale": None}
                encoding["opacity"] = {"field": "opacity", "type": "quantitative", "scale": None}
    return spec
