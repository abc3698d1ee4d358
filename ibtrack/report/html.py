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
from dataclasses import dataclass
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
    from ibtrack.report.sheet import MORE_BESIDE, Sheet, has_room_for_layers, leaves_out, sheet, size_sentence

SCRIPT = (
    *("notes.js", "rows.js", "groups.js", "charts.js", "multiples.js", "tables.js", "summary.js", "effects.js"),
    "scores.js",
    "details.js",
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
    if not runs:
        raise ValueError("runs must hold at least one run, got none")
    path = Path(out)
    path.parent.mkdir(parents=True, exist_ok=True)
    sheets, banners = _sheets(runs, None if single_file else path)
    folder = "" if single_file or not any(leaves_out(each.data) for each in sheets) else details_folder(path).name
    page = page_of(sheets, banners, allow_mixed=allow_mixed, folder=folder, scores=scores)
    beside = {"scripts": " 'self' file:", "complete": BESIDE.format(html.escape(folder))} if folder else {}
    _put(page_html(page, **beside), path)
    return path


@dataclass(frozen=True)
class Page:
    """A page in its parts.

    Attributes:
        data: The numbers, as its script gets them.
        parts: What stands in its text, as HTML: ``title``, ``probe``, ``banners``, ``scores``, ``protocol``.
    """

    data: dict[str, Any]
    parts: dict[str, str]


def page_of(
    sheets: Sequence[Sheet],
    said: Sequence[str],
    *,
    allow_mixed: bool = False,
    folder: str = "",
    more: str = MORE_BESIDE,
    scores: Relations | None = None,
    claims_of_layers: bool = True,
    specs: Mapping[str, Any] | None = None,
) -> Page:
    """Put together the page of several runs.

    Args:
        sheets: What it holds of each run, at least one.
        said: What is to be said above them, such as what their files lack.
        allow_mixed: Whether runs of different protocols may share the page.
        folder: Name of the folder that holds their details; empty without one.
        more: Where the details are, with ``{}`` for the folder.
        scores: Readings beside scores, for a section of their own.
        claims_of_layers: Whether what is said of the mean is said of each layer as well, which takes some seconds.
        specs: The charts of an earlier page of these runs, see `ibtrack.report.payload.payload`.

    Raises:
        ValueError: Protocols differ and ``allow_mixed`` is not set.
    """
    runs = [each.run for each in sheets]
    labels = run_labels(runs)
    differences = why_not_comparable(dict(zip(labels, runs, strict=True)))
    if differences and not allow_mixed:
        way_out = "allow_mixed=True, or --allow-mixed, puts them on one page with a banner"
        raise ValueError(refusal(differences, way_out))
    mixed = "These runs were measured under different protocols. Compare shapes, never numbers. They differ in "
    banners = [
        *([mixed + "; ".join(differences)] if differences else []),
        *said,
        size_sentence(sheets, folder, more=more),
    ]
    return Page(
        data={
            **payload(sheets, labels, comparable=not differences, claims_of_layers=claims_of_layers, specs=specs),
            "folder": folder,
        },
        parts={
            "title": html.escape(_title(runs)),
            "probe": html.escape(_probe_sentence([run.protocol for run in runs])),
            "banners": "".join(map(_banner, filter(None, banners))),
            "scores": score_section(scores),
            "protocol": _protocol_tables(runs, labels),
        },
    )


def page_html(
    page: Page,
    *,
    data: str | None = None,
    script: Sequence[str] = SCRIPT,
    scripts: str = "",
    complete: str = ALONE,
) -> str:
    """Write a page as one HTML file.

    Args:
        page: The page.
        data: Its numbers as JSON, where somebody has written them already.
        script: Names of the files that its script is made of.
        scripts: What else its security policy allows.
        complete: Sentence at its end on what it loads, as HTML.
    """
    numbers = json_of(page.data) if data is None else data
    return Template(_asset("page.html")).substitute(
        **page.parts,
        style=_asset("page.css"),
        scripts=scripts,
        complete=complete,
        data=numbers.replace("<", "\\u003c"),  # what a user wrote cannot end the script element
        vega=_vega(),
        script="".join(map(_asset, script)),
    )


def json_of(data: Any) -> str:
    """Write numbers of a page as JSON.

    Args:
        data: What the script gets, or a part of it.
    """
    return json.dumps(data, allow_nan=False, separators=(",", ":"))


def in_one(said: Mapping[str, Sequence[str]]) -> list[str]:
    """Say what files lack, those that lack the same in one sentence.

    Args:
        said: Path of each file to the warnings of its reading.

    Example:
        >>> in_one({"a.jsonl": ["a.jsonl: it is old"], "b.jsonl": ["b.jsonl: it is old"]})
        ['a.jsonl, b.jsonl: it is old']
    """
    paths: dict[str, list[str]] = {}
    for path, messages in said.items():
        for message in dict.fromkeys(messages):
            paths.setdefault(message.removeprefix(f"{path}: "), []).append(path)
    return [f"{', '.join(names)}: {sentence}" for sentence, names in paths.items()]


def _banner(text: str) -> str:
    return f'<p class="banner" role="note">{html.escape(text)}</p>'


def _put(page: str, path: Path) -> None:
    """Write a page where another may lie, so that who opens it meanwhile sees one of the two as a whole."""
    if path.exists() and not path.is_file():  # such as /dev/stdout
        path.write_text(page, encoding="utf-8")
        return
    place = path.resolve()  # of a link the file that it leads to
    draft = place.with_name(f".{place.name}.{os.getpid()}")
    try:
        draft.write_text(page, encoding="utf-8")
        draft.replace(place)
    finally:
        draft.unlink(missing_ok=True)


def _sheets(runs: Sequence[Trajectory | str | os.PathLike[str]], page: Path | None) -> tuple[list[Sheet], list[str]]:
    """Read the runs one after the other and keep their sheets; say what files lack, those that lack the same in one.

    What a sheet leaves out is written beside the page, if one is given.
    """
    sheets: list[Sheet] = []
    said: dict[str, list[str]] = {}
    for number, run in enumerate(runs):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            whole = loaded(run, len(runs), with_layers=page is not None)
            sheets.append(sheet(whole, len(runs)))
        if page is not None and leaves_out(sheets[-1].data):
            write_details(whole, number, page)
        said.setdefault(str(sheets[-1].run.path), []).extend(str(warning.message) for warning in caught)
    return sheets, in_one(said)


def loaded(run: Trajectory | str | os.PathLike[str], num_runs: int, *, with_layers: bool) -> Trajectory:
    """Read a run, with its layers only where they are asked for or the page has room: they take most of the time.

    Args:
        run: Trajectory, trajectory file, or folder of a run.
        num_runs: Number of runs of the page.
        with_layers: Whether the layers are asked for.
    """
    if isinstance(run, Trajectory):
        return run
    if with_layers:
        return Trajectory.load(run)
    of_mean = Trajectory.load(run, sites=("mean",))
    return Trajectory.load(run) if has_room_for_layers(of_mean, num_runs) else of_mean


def _protocol_tables(runs: Sequence[Trajectory], labels: Sequence[str]) -> str:
    """Write each protocol as a table, once for all runs that share it."""
    owners: dict[str, list[str]] = {}
    for run, label in zip(runs, labels, strict=True):
        entries = flat({key: value for key, value in run.protocol.items() if key != "bottleneck_curve"})
        rows = "".join(
            f'<tr><th scope="row">{html.escape(key)}</th><td>{html.escape(as_text(value))}</td></tr>'
            for key, value in entries.items()
        )
        owners.setdefault(rows, []).append(label)
    return "".join(
        f"<h3>{html.escape(', '.join(names))}</h3><div class='wide'><table class='plain'>{rows}</table></div>"
        for rows, names in owners.items()
    )


def _title(runs: Sequence[Trajectory]) -> str:
    """Name the run, or say how many there are, and the words that the names of all begin or end with."""
    if len(runs) == 1:
        return runs[0].name
    shared = shared_words(runs)
    return f"{len(runs)} runs" + (f" of {shared}" if shared else "")


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
