"""Runs → one self-contained HTML page that needs no network.

The page is `report.html` with the style of `report.css`, the script of `report.js`, the charts of `ibtrack.charts` as
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

from ibtrack import charts, looks, rows
from ibtrack.keys import READINGS
from ibtrack.phases import Movement, Phases, find_phases, verdict
from ibtrack.trajectory import Trajectory

# results or circumstances of the run, not rules of the measurement: two model sizes or torch versions may share a page
_MAY_DIFFER = ("versions", "sites", "widths", "bottleneck_curve")


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
        >>> from ibtrack.trajectory import Point
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = write_report([Trajectory({}, {"name": "a"}, [Point(0)])], f"{folder}/report.html")
        ...     "<h1>" in path.read_text()
        True
    """
    if not runs:
        raise ValueError("runs must hold at least one run, got none")
    banners: list[str] = []
    loaded = [_load(run, banners) for run in runs]
    labels = rows.run_labels(loaded)
    differences = protocol_differences(dict(zip(labels, loaded, strict=True)))
    if differences and not allow_mixed:
        raise ValueError(
            "runs were measured under different protocols, so their numbers are not comparable: "
            + "; ".join(differences)
            + " (allow_mixed=True, or --allow-mixed, puts them on one page with a banner)"
        )
    if differences:
        banners.insert(0, "These runs were measured under different protocols. Compare shapes, never numbers. ")
        banners[0] += "They differ in " + "; ".join(differences)
    page = _page(loaded, labels, banners)
    path = Path(out)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page, encoding="utf-8")
    return path


def protocol_differences(runs: Mapping[str, Trajectory]) -> list[str]:
    """What makes the numbers of runs incomparable, one sentence part per entry of the protocol.

    Example:
        >>> runs = {name: Trajectory({"seed": seed}, {}, []) for name, seed in (("a", 0), ("b", 1))}
        >>> protocol_differences(runs)
        ["seed: 0 in 'a', 1 in 'b'"]
    """
    protocols = {
        name: flat({k: v for k, v in run.protocol.items() if k not in _MAY_DIFFER}) for name, run in runs.items()
    }
    differing = _differing(list(protocols.values()))
    if "probe.hash" in differing:  # another probe, so its other entries say nothing more
        differing = [key for key in differing if key == "probe.hash" or not key.startswith("probe.")]
    differences = []
    for key in differing:
        first: dict[str, str] = {}  # value → the first run that has it
        for name, protocol in protocols.items():
            first.setdefault(_text(protocol.get(key)), name)
        differences.append(f"{key}: " + ", ".join(f"{value} in {name!r}" for value, name in first.items()))
    return differences


def telling_settings(configs: Sequence[Mapping[str, Any]], names: Sequence[str]) -> list[str]:
    """Settings that differ between runs: of several with the same values only the one with the shortest key.

    A setting that is the run's name, or a path that no two runs share, says nothing of the run and is left out.

    Example:
        >>> runs = [{"seed": s, "data.seed": s, "lr": 0.1, "name": f"r{s}", "dir": f"out/{s}"} for s in (0, 1)]
        >>> telling_settings(runs, ["r0", "r1"])
        ['seed']
    """
    found: dict[tuple[str, ...], str] = {}
    for key in _differing(configs):
        values = tuple(_text(config.get(key)) for config in configs)
        own_path = len(set(values)) == len(values) and all("/" in value for value in values)
        if not own_path and values != tuple(names) and len(key) < len(found.get(values, key + " ")):
            found[values] = key
    return [key for key in _differing(configs) if key in found.values()]


def flat(nested: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """A nested mapping as one level with dotted keys.

    Example:
        >>> flat({"model": {"width": 64}, "seed": 0})
        {'model.width': 64, 'seed': 0}
    """
    result: dict[str, Any] = {}
    for key, value in nested.items():
        result |= flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return result


def _load(run: Trajectory | str | os.PathLike[str], banners: list[str]) -> Trajectory:
    if isinstance(run, Trajectory):
        return run
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trajectory = Trajectory.load(run)
    banners += [str(warning.message) for warning in caught]
    return trajectory


def _page(runs: Sequence[Trajectory], labels: Sequence[str], banners: Sequence[str]) -> str:
    payload = json.dumps(_payload(runs, labels), allow_nan=False).replace("<", "\\u003c")  # no </script> inside
    return Template(_asset("report.html")).substitute(
        title=html.escape(labels[0] if len(runs) == 1 else f"{len(runs)} runs"),
        probe=html.escape(_probe_sentence([run.protocol.get("probe", {}) for run in runs])),
        style=_asset("report.css"),
        banners="".join(f'<p class="banner" role="note">{html.escape(text)}</p>' for text in banners),
        protocol=_protocol_table(runs, labels),
        data=payload,
        vega=_vega(),
        script=_asset("report.js"),
    )


def _payload(runs: Sequence[Trajectory], labels: Sequence[str]) -> dict[str, Any]:
    orders = list(dict.fromkeys(order for run in runs for order in run.protocol.get("orders", ()))) or ["token"]
    phases = [{order: find_phases(run, order) for order in orders} for run in runs]
    configs = [flat(run.run.get("config") or {}) for run in runs]
    return {
        "runs": [_run(*parts) for parts in zip(runs, labels, configs, phases, strict=True)],
        "orders": orders,
        "sites": ["mean", *dict.fromkeys(site for run in runs for site in rows.sites_of(run))],
        "readings": READINGS,
        "quantities": {name: quantity._asdict() for name, quantity in rows.QUANTITIES.items()},
        "differing": telling_settings(configs, [run.name for run in runs]),
        "verdicts": {
            order: verdict({label: found[order] for label, found in zip(labels, phases, strict=True)})
            for order in orders
        },
        "palette": looks.PALETTE,
        "shapes": looks.SHAPES,
        "ramp": looks.RAMP,
        "specs": _specs(runs, orders[0]),
    }


def _run(run: Trajectory, label: str, config: Mapping[str, Any], phases: Mapping[str, Phases]) -> dict[str, Any]:
    keys = list(dict.fromkeys(key for point in run.points for key in point.readings))
    return {
        "label": label,
        "name": run.name,
        "path": str(run.path or ""),
        "config": {key: _text(value) for key, value in config.items()},
        "sites": rows.sites_of(run),
        "steps": run.steps,
        "tokens": [rows.tokens_of(point) for point in run.points],
        "losses": [
            point.loss if point.loss is not None and math.isfinite(point.loss) else None for point in run.points
        ],
        "keys": keys,
        "values": _packed([run.values(key) for key in keys]),
        "failures": {i: point.failure for i, point in enumerate(run.points) if point.failure},
        "notes": {i: dict(point.notes) for i, point in enumerate(run.points) if point.notes},
        "phases": {order: _found(found) for order, found in phases.items()},
    }


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
            f'<tr><th scope="row">{html.escape(key)}</th><td>{html.escape(_text(value))}</td></tr>'
            for key, value in flat(shown).items()
        )
        tables.setdefault(table, []).append(label)
    return "".join(
        f"<h3>{html.escape(', '.join(names))}</h3><div class='wide'><table class='plain'>{table}</table></div>"
        for table, names in tables.items()
    )


def _differing(mappings: Sequence[Mapping[str, Any]]) -> list[str]:
    keys = dict.fromkeys(key for mapping in mappings for key in mapping)
    return [key for key in keys if len({_text(mapping.get(key)) for mapping in mappings}) > 1]


def _probe_sentence(probes: Sequence[Mapping[str, Any]]) -> str:
    first = probes[0]
    if any(probe != first for probe in probes) or not first.keys() >= {"name", "blocks", "block_size", "positions"}:
        return ""
    size = f"{first['blocks']} blocks of {first['block_size']} tokens, {first['positions']:,} positions"
    return f"Measured on {size} ({first['name']})."


def _text(value: Any) -> str:
    if value is None:
        return "—"
    return value if isinstance(value, str) else json.dumps(value, default=str)


def _asset(name: str) -> str:
    return (files("ibtrack") / name).read_text(encoding="utf-8")


@cache
def _vega() -> str:
    import vl_convert

    # Vega, Vega-Lite and Vega-Embed: 0.9 MB, and a second or two to make
    return vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed")
