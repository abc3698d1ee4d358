"""The numbers of the page: what its script gets as JSON.

The script only picks rows and fills them into charts; what a number means is decided here. What the page holds of a
single run is its `ibtrack.report.sheet`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import chain, pairwise
from typing import Any

from scipy.special import stdtrit

from ibtrack.analysis.comparison import most_telling, telling_settings
from ibtrack.analysis.groups import group_runs
from ibtrack.analysis.phase_words import Phases
from ibtrack.analysis.phases import find_phases, in_one_unit, phases_of_runs
from ibtrack.record.keys import READINGS
from ibtrack.record.quantities import PLANE_UNITS, QUANTITIES, SMALLEST_CEILING, TELLING_Z, Z95
from ibtrack.record.trajectory import Point, Trajectory
from ibtrack.report import charts
from ibtrack.report.claims import claims
from ibtrack.report.plane_layers import BOTTLENECK_WORDS, bottleneck
from ibtrack.report.sheet import MOST_DRAWN, Sheet
from ibtrack.report.style import INK, PALETTE, RAMP, SHAPES
from ibtrack.report.tables import sites_of, tokens_of

MOST_FREE = 100  # degrees of freedom, beyond which half of a 95 % interval is 2 standard errors to 1 %
MOST_LETTERS = 3_000_000  # of what is said of layers, in the 15 MB of a page
MOST_SEEDS = 4  # that are named one by one


def payload(
    sheets: Sequence[Sheet],
    labels: Sequence[str],
    *,
    comparable: bool,
    claims_of_layers: bool = True,
    specs: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Put together all that the page's script needs, as JSON has it.

    Args:
        sheets: What the page holds of each run, at least one, as `ibtrack.report.sheet.sheet` takes it.
        labels: Short name of each run, as `ibtrack.report.run_labels.run_labels` gives them.
        comparable: Whether the runs were measured under one protocol; else they are not ranked.
        claims_of_layers: Whether what is said of the mean is said of each layer as well, which takes some seconds.
        specs: The charts of an earlier page of these runs, whose axes may have other ticks; they take half a second.
    """
    runs = [each.run for each in sheets]
    orders = list(dict.fromkeys(order for each in sheets for order in each.orders))
    by_label = dict(zip(labels, runs, strict=True))
    of_label = dict(zip(labels, sheets, strict=True))
    phases = {order: _phases_of(of_label, order) for order in orders}
    of_mean = {order: claims(by_label, each, order=order, comparable=comparable) for order, each in phases.items()}
    key_lists = list(dict.fromkeys(each.keys for each in sheets))  # runs of one protocol have the same, so once
    names_of = {each.keys: each.band_names for each in sheets}
    configs = [each.config for each in sheets]
    differing = telling_settings(configs, [run.name for run in runs])
    texts: dict[str, int] = {}
    return {
        "runs": [
            {
                **each.data,
                **_reasons(each, texts),
                "label": label,
                "keys": key_lists.index(each.keys),
            }
            for each, label in zip(sheets, labels, strict=True)
        ],
        "texts": list(texts),
        "keys": key_lists,
        "bandNames": [names_of[keys] for keys in key_lists],
        "orders": orders,
        "sites": ["mean", *dict.fromkeys(site for each in sheets for site in each.data["sites"])],
        "mostDrawn": MOST_DRAWN,
        "readings": READINGS,
        "quantities": {name: quantity._asdict() for name, quantity in QUANTITIES.items()},
        "units": {name: unit[:2] for name, unit in PLANE_UNITS.items()},
        "smallestCeiling": SMALLEST_CEILING,
        "differing": differing,
        "colour": _first_colour(configs, differing, list(phases[orders[0]].values())),
        "claims": {
            "mean": of_mean,
            **(_claims_of_layers(of_label, orders, comparable=comparable) if claims_of_layers else {}),
        },
        "groups": _groups(by_label),
        "palette": PALETTE,
        "shapes": SHAPES,
        "ramp": RAMP,
        "ink": INK,
        "z95": Z95,
        "t95": [round(float(stdtrit(free, 0.975)), 4) for free in range(1, MOST_FREE + 1)],
        "tellingZ": TELLING_Z,
        "bottleneck": BOTTLENECK_WORDS if bottleneck(runs) else "",
        "specs": specs or _specs(runs, orders[0]),
    }


def _phases_of(sheets: Mapping[str, Sheet], order: str) -> dict[str, Phases]:
    """Bring the phases of all runs to one unit; a run without the order says so."""
    runs = {label: each.run for label, each in sheets.items()}
    found = {label: each.phases.get(order) or find_phases(each.run, order) for label, each in sheets.items()}
    return in_one_unit(found, runs, order)


def _claims_of_layers(
    sheets: Mapping[str, Sheet], orders: Sequence[str], *, comparable: bool
) -> dict[str, dict[str, Any]]:
    """Say of each layer what is said of the mean, where the sheets have what that takes and the page has room."""
    runs = {label: each.whole for label, each in sheets.items() if each.whole is not None}
    if len(runs) < len(sheets):
        return {}
    sites: dict[str, dict[str, Any]] = {}
    size = 0
    for site in dict.fromkeys(site for run in runs.values() for site in sites_of(run)):
        sites[site] = {}
        for order in orders:
            phases = phases_of_runs(runs, order, site=site)
            sites[site][order] = claims(runs, phases, order=order, site=site, comparable=comparable)
        size += len(json.dumps(sites[site]))
        if size > MOST_LETTERS:  # as of many groups, whose pairs take most of it
            return {}
    return sites


def _reasons(each: Sheet, texts: dict[str, int]) -> dict[str, Any]:
    """Write failures and notes by point, as numbers in a list of texts: thousands of points have few reasons."""

    def number(text: str) -> int:
        return texts.setdefault(text, len(texts))

    sets: dict[tuple[int, ...], int] = {}  # a name and a reason in turn; points of equal notes share them
    noted = {
        i: sets.setdefault(tuple(map(number, chain.from_iterable(notes.items()))), len(sets))
        for i, notes in each.notes.items()
    }
    return {"failures": {i: number(why) for i, why in each.failures.items()}, "notes": list(sets), "noted": noted}


def _groups(runs: Mapping[str, Trajectory]) -> dict[str, Any] | None:
    """Group runs that differ in their seeds alone; None where no two do, or nothing else differs."""
    try:
        groups = group_runs(runs)
    except ValueError:  # runs need not be a sweep; the section on settings says why there are no groups
        return None
    if all(len(members) == 1 for members in groups.members.values()):
        return None
    numbers = {label: number for number, label in enumerate(runs)}
    members = [
        {
            "name": name,
            "runs": [numbers[label] for label in own],
            "seeds": _seeds([groups.seeds[label] for label in own]),
        }
        for name, own in groups.members.items()
    ]
    return {"by": ", ".join(groups.by), "members": members}


def _seeds(seeds: Sequence[str]) -> str:
    """Name the seeds of a group, where they are few enough for a cell of a table; equal ones of a run stand once."""
    values = [dict.fromkeys(part.partition("=")[2] for part in each.split(" ")) for each in seeds]
    texts = ["/".join(each) for each in values]
    return f"seed {', '.join(texts)}" if all(seeds) and len(seeds) <= MOST_SEEDS else ""


def _first_colour(configs: Sequence[Mapping[str, Any]], differing: Sequence[str], phases: Sequence[Phases]) -> str:
    """Choose what the page colours by at first; more runs than colours are told apart by the most telling setting."""
    if len(configs) == 1:
        return "step"
    if len(configs) <= len(PALETTE):
        return "run"
    falls = [-each.compression.change if each.compression else 0.0 for each in phases]
    return most_telling(differing, configs, falls) or "run"


def _specs(runs: Sequence[Trajectory], order: str) -> dict[str, Any]:
    runs = [replace(run, points=_ends(run.points)) for run in runs]  # the rows are the script's, axes need their ends
    pictures = {
        **{f"plane_{unit}": charts.plane(runs, order=order, unit=unit, colour="run") for unit in PLANE_UNITS},
        "curves_step": charts.curves(runs, order=order, x="step"),
        "curves_tokens": charts.curves(runs, order=order, x="tokens"),
        "heatmap": charts.heatmap(runs[0], order=order),
    }
    return {name: _for_page(charts.to_spec(picture)) for name, picture in pictures.items()}


def _ends(points: Sequence[Point]) -> list[Point]:
    """Keep the points that the ends of an axis, and its first place after 0, are taken from."""
    after_0 = (next((p for p in points if p.step), None), next((p for p in points if tokens_of(p)), None))
    changes = [both for both in pairwise(points) if both[0].stage != both[1].stage]  # where a stage begins
    ends = {point.step: point for point in (*points[:1], *filter(None, after_0), *chain(*changes), *points[-1:])}
    return [ends[step] for step in sorted(ends)]


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
