"""Runs → one self-contained HTML page that needs no network.

The page is `page/page.html` with its style, one script out of four files, the charts of `ibtrack.report.charts` as
specs, and the numbers of every run as packed float32. The script only picks rows; what a number means is decided here.
"""

from __future__ import annotations

import base64
import html
import json
import math
import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import cache
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

import numpy as np

from ibtrack._checks import needs
from ibtrack.analysis.comparison import most_telling, telling_settings, why_not_comparable
from ibtrack.analysis.phases import Movement, Phases, find_phases
from ibtrack.analysis.ranking import ranking, verdict
from ibtrack.record.keys import READINGS
from ibtrack.record.protocol import as_text, flat
from ibtrack.record.quantities import QUANTITIES
from ibtrack.record.trajectory import Trajectory
from ibtrack.report import tables

with needs("the report", extra="report"):
    from ibtrack.report import charts, plane_layers, style

SCRIPT = ("rows.js", "charts.js", "tables.js", "controls.js")
LEFT_OUT = ("/variation", "/variation_se")  # entropy less complexity: pages of many runs stay small without it
NOT_RANKED = "These runs are not ranked, as they were measured under different protocols. Each has its phases below."


def write_report(
    runs: Sequence[Trajectory | str | os.PathLike[str]], out: str | os.PathLike[str], *, allow_mixed: bool = False
) -> Path:
    """Write runs into one HTML page.

    Args:
        runs: trajectories, trajectory files, or folders of runs.
        out: the file to write; its folder is made.
        allow_mixed: put runs of different protocols on one page, under a banner that says so.

    Returns:
        The path of the page.

    Raises:
        ValueError: there is no run, a file is not a trajectory, or protocols differ and ``allow_mixed`` is not set.
        FileNotFoundError: a file does not exist.

    Example:
        >>> import tempfile
        >>> from ibtrack.record.trajectory import Point
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = write_report([Trajectory({}, {"name": "a"}, [Point(0)])], f"{folder}/report.html")
        ...     "<h1>" in path.read_text()
        True
    """
    if not runs:
        raise ValueError("runs must hold at least one run, got none")
    banners: list[str] = []
    loaded = [_load(run, banners) for run in runs]
    labels = tables.run_labels(loaded)
    differences = why_not_comparable(dict(zip(labels, loaded, strict=True)))
    if differences and not allow_mixed:
        raise ValueError(
            "runs were measured under different protocols, so their numbers are not comparable: "
            + "; ".join(differences)
            + " (allow_mixed=True, or --allow-mixed, puts them on one page with a banner)"
        )
    if differences:
        banners.insert(0, "These runs were measured under different protocols. Compare shapes, never numbers. ")
        banners[0] += "They differ in " + "; ".join(differences)
    page = _page(loaded, labels, banners, mixed=bool(differences))
    path = Path(out)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page, encoding="utf-8")
    return path


def _load(run: Trajectory | str | os.PathLike[str], banners: list[str]) -> Trajectory:
    if isinstance(run, Trajectory):
        return run
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trajectory = Trajectory.load(run)
    banners += [str(warning.message) for warning in caught]
    return trajectory


def _page(runs: Sequence[Trajectory], labels: Sequence[str], banners: Sequence[str], *, mixed: bool) -> str:
    payload = json.dumps(_payload(runs, labels, mixed=mixed), allow_nan=False).replace(
        "<", "\\u003c"
    )  # no </script> inside
    return Template(_asset("page.html")).substitute(
        title=html.escape(labels[0] if len(runs) == 1 else f"{len(runs)} runs"),
        probe=html.escape(_probe_sentence([run.protocol.get("probe", {}) for run in runs])),
        style=_asset("page.css"),
        banners="".join(f'<p class="banner" role="note">{html.escape(text)}</p>' for text in banners),
        protocol=_protocol_table(runs, labels),
        data=payload,
        vega=_vega(),
        script="".join(map(_asset, SCRIPT)),
    )


def _payload(runs: Sequence[Trajectory], labels: Sequence[str], *, mixed: bool) -> dict[str, Any]:
    orders = list(dict.fromkeys(order for run in runs for order in run.protocol.get("orders", ()))) or ["token"]
    phases = [{order: find_phases(run, order) for order in orders} for run in runs]
    configs = [flat(run.run.get("config") or {}) for run in runs]
    differing = telling_settings(configs, [run.name for run in runs])
    found = {order: dict(zip(labels, (of[order] for of in phases), strict=True)) for order in orders}
    return {
        "runs": [_run(*parts) for parts in zip(runs, labels, configs, phases, strict=True)],
        "orders": orders,
        "sites": ["mean", *dict.fromkeys(site for run in runs for site in tables.sites_of(run))],
        "readings": READINGS,
        "quantities": {name: quantity._asdict() for name, quantity in QUANTITIES.items()},
        "differing": differing,
        "colour": _first_colour(runs, configs, differing, list(found[orders[0]].values())),
        "verdicts": {order: NOT_RANKED if mixed else verdict(of) for order, of in found.items()},
        "rankings": {order: _places(of, mixed=mixed) for order, of in found.items()},
        "palette": style.PALETTE,
        "shapes": style.SHAPES,
        "ramp": style.RAMP,
        "bottleneck": plane_layers.BOTTLENECK_WORDS if plane_layers.bottleneck(runs) else "",
        "specs": _specs(runs, orders[0]),
    }


def _run(run: Trajectory, label: str, config: Mapping[str, Any], phases: Mapping[str, Phases]) -> dict[str, Any]:
    keys = list(dict.fromkeys(key for point in run.points for key in point.values if not key.endswith(LEFT_OUT)))
    return {
        "label": label,
        "name": run.name,
        "path": str(run.path or ""),
        "config": {key: as_text(value) for key, value in config.items()},
        "sites": tables.sites_of(run),
        "steps": run.steps,
        "tokens": [tables.tokens_of(point) for point in run.points],
        "losses": [
            point.loss if point.loss is not None and math.isfinite(point.loss) else None for point in run.points
        ],
        "keys": keys,
        "values": _packed([run.values(key) for key in keys]),
        "failures": {i: point.failure for i, point in enumerate(run.points) if point.failure},
        "notes": {i: dict(point.notes) for i, point in enumerate(run.points) if point.notes},
        "phases": {order: _found(found) for order, found in phases.items()},
    }


def _first_colour(
    runs: Sequence[Trajectory], configs: Sequence[Mapping[str, Any]], differing: Sequence[str], found: Sequence[Phases]
) -> str:
    """By what the page colours at first: more runs than colours are told apart by the setting that parts them best."""
    if len(runs) == 1:
        return "step"
    falls = [-of.compression.change if of.compression else 0.0 for of in found]
    return (most_telling(differing, configs, falls) if len(runs) > len(style.PALETTE) else None) or "run"


def _places(found: Mapping[str, Phases], *, mixed: bool) -> list[dict[str, Any]]:
    """The ranking, runs by their number on the page; of mixed protocols only their order."""
    numbers = {label: number for number, label in enumerate(found)}
    return [
        {"run": numbers[place.run], "behind": place.behind if place.fall and not mixed else None, "tied": place.tied}
        for place in ranking(found)
    ]


def _packed(table: Sequence[Sequence[float]]) -> str:
    """Numbers (keys, points) as upper three bytes of float32: relative error 2^-16, a quarter less to load."""
    bits = np.array(table, dtype="<f4").reshape(-1).view("<u4") + np.uint32(0x80)  # to the nearest; nan stays nan
    return base64.b64encode(bits.view(np.uint8).reshape(-1, 4)[:, 1:].tobytes()).decode("ascii")


def _found(phases: Phases) -> dict[str, Any]:
    def movement(of: Movement | None) -> dict[str, Any] | None:
        return None if of is None else asdict(of) | {"num_se": of.num_se}

    return {
        "sentence": phases.sentence(),
        "known": phases.why_not is None,
        "fitting": movement(phases.fitting),
        "compression": movement(phases.compression),
        "threshold": phases.threshold if math.isfinite(phases.threshold) else None,
    }


def _specs(runs: Sequence[Trajectory], order: str) -> dict[str, Any]:
    made = {
        "plane": charts.plane(runs, order=order, colour="run"),
        "curves_step": charts.curves(runs, order=order, x="step"),
        "curves_tokens": charts.curves(runs, order=order, x="tokens"),
        "heatmap": charts.heatmap(runs[0], order=order),
    }
    return {name: _for_page(charts.to_spec(chart)) for name, chart in made.items()}


def _for_page(spec: dict[str, Any]) -> dict[str, Any]:
    """The same chart, but colour, shape and opacity are columns that the page fills; its headings are the titles."""
    spec = {key: value for key, value in spec.items() if key not in ("title", "config", "$schema")}
    spec["datasets"] = spec["datasets"] | {"points": []}
    for layer in spec["layer"]:
        encoding = layer["encoding"]
        for channel, column in (("color", "colour"), ("shape", "shape")):
            if encoding.get(channel, {}).get("field") == "run":
                line = channel == "color" and layer["mark"]["type"] in ("line", "area")
                encoding[channel] = {"field": "line" if line else column, "type": "nominal", "scale": None}
                encoding["opacity"] = {"field": "opacity", "type": "quantitative", "scale": None}
    return spec


def _protocol_table(runs: Sequence[Trajectory], labels: Sequence[str]) -> str:
    tables: dict[str, list[str]] = {}  # the same protocol is shown once
    for run, label in zip(runs, labels, strict=True):
        shown = {key: value for key, value in run.protocol.items() if key != "bottleneck_curve"}
        table = "".join(
            f'<tr><th scope="row">{html.escape(key)}</th><td>{html.escape(as_text(value))}</td></tr>'
            for key, value in flat(shown).items()
        )
        tables.setdefault(table, []).append(label)
    return "".join(
        f"<h3>{html.escape(', '.join(names))}</h3><div class='wide'><table class='plain'>{table}</table></div>"
        for table, names in tables.items()
    )


def _probe_sentence(probes: Sequence[Mapping[str, Any]]) -> str:
    first = probes[0]
    if any(probe != first for probe in probes) or not first.keys() >= {"name", "blocks", "block_size", "positions"}:
        return ""
    size = f"{first['blocks']} blocks of {first['block_size']} tokens, {first['positions']:,} positions"
    return f"Measured on {size} ({first['name']})."


def _asset(name: str) -> str:
    return (files("ibtrack.report") / "page" / name).read_text(encoding="utf-8")


@cache
def _vega() -> str:
    with needs("the report", extra="report"):
        import vl_convert

    # Vega, Vega-Lite and Vega-Embed: 0.9 MB, and a second or two to make
    return vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed")
