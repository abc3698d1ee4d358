"""Runs become one self-contained HTML page that needs no network.

The page is `page/page.html` with its style, one script out of several files, the numbers of `ibtrack.report.payload`,
and Vega, which draws the charts.
"""

from __future__ import annotations

import html
import json
import os
import warnings
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

from ibtrack._checks import needs
from ibtrack.analysis.comparison import refusal, why_not_comparable
from ibtrack.analysis.scores import Relations
from ibtrack.record.protocol import as_text, flat
from ibtrack.record.trajectory import Trajectory
from ibtrack.report.run_labels import run_labels, shared_words

with needs("the report", extra="report"):
    from ibtrack.report.details import details_folder, write_details
    from ibtrack.report.payload import payload
    from ibtrack.report.score_section import score_section
    from ibtrack.report.sheet import Sheet, has_room_for_layers, leaves_out, sheet, size_sentence

SCRIPT = (
    *("notes.js", "rows.js", "groups.js", "charts.js", "multiples.js", "tables.js", "summary.js", "effects.js"),
    *("scores.js", "details.js"),
    "controls.js",  # which starts the page
)
ALONE = "This file is complete: it loads nothing."
BESIDE = "It loads nothing but the details of a run that is highlighted, from the folder {} beside it."


def write_report(
    runs: Sequence[Trajectory | str | os.PathLike[str]],
    out: str | os.PathLike[str],
    *,
    allow_mixed: bool = False,
    scores: Relations | None = None,
    single_file: bool = False,
) -> Path:
    """Write runs into one HTML page.

    A page of many runs has no room for all points and layers. What it leaves out of a run is written beside it, into
    the folder ``<page>_files``, and loaded when the run is chosen; without the folder the page shows the rest.

    Args:
        runs: Trajectories, trajectory files, or folders of runs.
        out: File to write; its folder is made.
        allow_mixed: Whether runs of different protocols may share the page, under a banner that says so.
        scores: Readings beside scores, as from `ibtrack.analysis.scores.relate`, for a section of their own.
        single_file: Whether nothing is written beside the page.

    Returns:
        The path of the page.

    Raises:
        ValueError: There is no run, a file is not a trajectory, or protocols differ and ``allow_mixed`` is not set.
        FileNotFoundError: A file does not exist.
        ModuleNotFoundError: Vega, from the extra ``report``, is not installed.

    Example:
        >>> import tempfile
        >>> from ibtrack.record.trajectory import Point
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = write_report([Trajectory({}, {"name": "a"}, [Point(0)])], f"{folder}/report.html")
        ...     "<h1>" in path.read_text()
        True
    """
    path = Path(out)
    numbers = page_numbers(runs, beside=None if single_file else path, allow_mixed=allow_mixed)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page_text(numbers, scores=scores), encoding="utf-8")
    return path


def page_numbers(
    runs: Sequence[Trajectory | str | os.PathLike[str]], *, beside: Path | None = None, allow_mixed: bool = False
) -> dict[str, Any]:
    """Read runs and put together what a page shows of them, as JSON has it.

    It is what the function ``render`` of the page's script takes, at the start and again as runs go on.

    Args:
        runs: Trajectories, trajectory files, or folders of runs.
        beside: The page, if what it leaves out of a run is written beside it.
        allow_mixed: Whether runs of different protocols may share the page, under a banner that says so.

    Raises:
        ValueError: There is no run, a file is not a trajectory, or protocols differ and ``allow_mixed`` is not set.
        FileNotFoundError: A file does not exist.

    Example:
        >>> page_numbers([Trajectory({}, {"name": "a"}, [])])["title"]
        'a'
    """
    if not runs:
        raise ValueError("runs must hold at least one run, got none")
    sheets, banners = _sheets(runs, beside)
    labels = run_labels([each.run for each in sheets])
    differences = why_not_comparable({label: each.run for label, each in zip(labels, sheets, strict=True)})
    if differences and not allow_mixed:
        way_out = "allow_mixed=True, or --allow-mixed, puts them on one page with a banner"
        raise ValueError(refusal(differences, way_out))
    if differences:
        warning = "These runs were measured under different protocols. Compare shapes, never numbers. They differ in "
        banners = [warning + "; ".join(differences), *banners]
    folder = "" if beside is None or not any(leaves_out(each.data) for each in sheets) else details_folder(beside).name
    if left_out := size_sentence(sheets, folder):
        banners = [*banners, left_out]
    read = [each.run for each in sheets]
    return {
        **payload(sheets, labels, comparable=not differences),
        "title": _title(read),
        "probe": _probe_sentence([run.protocol for run in read]),
        "banners": banners,
        "protocols": _protocols(read, labels),
        "folder": folder,
    }


def page_text(numbers: Mapping[str, Any], *, scores: Relations | None = None) -> str:
    """Write the page.

    Args:
        numbers: What it shows, from `page_numbers`.
        scores: Readings beside scores, for a section of their own.

    Raises:
        ModuleNotFoundError: Vega, from the extra ``report``, is not installed.

    Example:
        >>> "<h1>a</h1>" in page_text(page_numbers([Trajectory({}, {"name": "a"}, [])]))
        True
    """
    folder = numbers["folder"]
    data = json.dumps(numbers, allow_nan=False, separators=(",", ":"))
    return Template(_asset("page.html")).substitute(
        title=html.escape(numbers["title"]),
        probe=html.escape(numbers["probe"]),
        style=_asset("page.css"),
        scripts=" 'self' file:" if folder else "",
        complete=BESIDE.format(html.escape(folder)) if folder else ALONE,
        banners="".join(f'<p class="banner" role="note">{html.escape(text)}</p>' for text in numbers["banners"]),
        scores=score_section(scores),
        protocol="".join(map(_protocol_table, numbers["protocols"])),
        data=data.replace("<", "\\u003c"),  # what a user wrote cannot end the script element
        vega=_vega(),
        script="".join(map(_asset, SCRIPT)),
    )


def _sheets(runs: Sequence[Trajectory | str | os.PathLike[str]], page: Path | None) -> tuple[list[Sheet], list[str]]:
    """Read the runs one after the other and keep their sheets; say what files lack, those that lack the same in one.

    What a sheet leaves out is written beside the page, if one is given.
    """
    sheets: list[Sheet] = []
    paths: dict[str, list[str]] = {}
    for number, run in enumerate(runs):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            whole = _loaded(run, len(runs), with_layers=page is not None)
            sheets.append(sheet(whole, len(runs)))
        if page is not None and leaves_out(sheets[-1].data):
            write_details(whole, number, page)
        path = str(sheets[-1].run.path)
        for message in dict.fromkeys(str(warning.message) for warning in caught):
            paths.setdefault(message.removeprefix(f"{path}: "), []).append(path)
    return sheets, [f"{', '.join(names)}: {sentence}" for sentence, names in paths.items()]


def _loaded(run: Trajectory | str | os.PathLike[str], num_runs: int, *, with_layers: bool) -> Trajectory:
    """Read a run, with its layers only where they are asked for or the page has room: they take most of the time."""
    if isinstance(run, Trajectory):
        return run
    if with_layers:
        return Trajectory.load(run)
    of_mean = Trajectory.load(run, sites=("mean",))
    return Trajectory.load(run) if has_room_for_layers(of_mean, num_runs) else of_mean


def _title(runs: Sequence[Trajectory]) -> str:
    """Name the run, or say how many there are, and the words that the names of all begin or end with."""
    if len(runs) == 1:
        return runs[0].name
    shared = shared_words(runs)
    return f"{len(runs)} runs" + (f" of {shared}" if shared else "")


def _protocols(runs: Sequence[Trajectory], labels: Sequence[str]) -> list[dict[str, Any]]:
    """List the protocols, each once for all runs that share it."""
    owners: dict[tuple[tuple[str, str], ...], list[str]] = {}
    for run, label in zip(runs, labels, strict=True):
        entries = flat({key: value for key, value in run.protocol.items() if key != "bottleneck_curve"})
        owners.setdefault(tuple((key, as_text(value)) for key, value in entries.items()), []).append(label)
    return [{"runs": names, "entries": entries} for entries, names in owners.items()]


def _protocol_table(protocol: Mapping[str, Any]) -> str:
    rows = "".join(
        f'<tr><th scope="row">{html.escape(key)}</th><td>{html.escape(value)}</td></tr>'
        for key, value in protocol["entries"]
    )
    names = html.escape(", ".join(protocol["runs"]))
    return f"<h3>{names}</h3><div class='wide'><table class='plain'>{rows}</table></div>"


def _probe_sentence(protocols: Sequence[Mapping[str, Any]]) -> str:
    """Say on what the runs were measured; nothing if the probes differ or do not tell."""
    probes = [protocol.get("probe", {}) for protocol in protocols]
    first = probes[0]
    if any(probe != first for probe in probes) or not first.keys() >= {"name", "blocks", "block_size", "positions"}:
        return ""
    size = f"{first['blocks']} blocks of {first['block_size']} tokens, {first['positions']:,} positions"
    found = ((protocol.get(key) or {}).get("sentence") for key in ("copies", "overlap") for protocol in protocols)
    return " ".join([f"Measured on {size} ({first['name']}).", *(f"{each}." for each in dict.fromkeys(found) if each)])


def _asset(name: str) -> str:
    return (files("ibtrack.report") / "page" / name).read_text(encoding="utf-8")


@cache
def _vega() -> str:
    """Bundle Vega, Vega-Lite and Vega-Embed: 0.9 MB, and a second or two to make."""
    with needs("the report", extra="report"):
        import vl_convert

    return vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed")
