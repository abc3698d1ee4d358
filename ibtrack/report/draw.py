"""A chart becomes a PNG, an SVG or a page, in a process of its own.

The program that draws is not Python: what it cannot bear ends its process, and no exception is left to catch. So it has
its own, which knows nothing of the caller's ``__main__``, and a training loop that asked for a picture goes on.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict, replace
from importlib.util import find_spec
from typing import Any

from ibtrack._checks import check_option, needs
from ibtrack.record.texts import printable, reason
from ibtrack.record.trajectory import Point, Trajectory

LONGEST_DRAWING = 120.0  # seconds; a chart of ten thousand points takes two


def png(spec: Mapping[str, Any], *, scale: float = 2, timeout: float = LONGEST_DRAWING) -> bytes:
    """Draw a spec as a PNG, in half a second or more.

    Args:
        spec: Vega-Lite spec with its data.
        scale: Pixels per unit of the chart.
        timeout: Seconds after which the drawing is given up.

    Raises:
        ModuleNotFoundError: A package of the extra ``report`` is not installed.
        RuntimeError: The spec could not be drawn, was not drawn in time, or ended the process that draws.
    """
    return _drawn({"spec": spec, "scale": scale}, timeout)


def text(spec: Mapping[str, Any], kind: str, *, timeout: float = LONGEST_DRAWING) -> str:
    """Write a spec as a picture in SVG, or as a page that opens without a network.

    Args:
        spec: Vega-Lite spec with its data.
        kind: ``svg`` or ``html``.
        timeout: Seconds after which the drawing is given up.

    Raises:
        ValueError: There is no such kind.
        ModuleNotFoundError: A package of the extra ``report`` is not installed.
        RuntimeError: The spec could not be drawn, was not drawn in time, or ended the process that draws.
    """
    check_option("kind", kind, ("svg", "html"))
    return _drawn({"spec": spec, "kind": kind}, timeout).decode()


def plane_png(
    trajectory: Trajectory, *, order: str = "token", scale: float = 2, timeout: float = LONGEST_DRAWING
) -> bytes:
    """Draw the plane of a run as a PNG, as `ibtrack.report.charts.plane` does, in a second or more.

    The chart too is made in the other process. So this may be called in any thread: altair, which takes what another
    thread is just importing for finished, is not imported here.

    Args:
        trajectory: Run to show.
        order: Label set, such as ``token``.
        scale: Pixels per unit of the chart.
        timeout: Seconds after which the drawing is given up.

    Raises:
        ModuleNotFoundError: A package of the extra ``report`` is not installed.
        RuntimeError: The plane could not be drawn, was not drawn in time, or ended the process that draws.
    """
    return _drawn({"plane": _plain(trajectory), "order": order, "scale": scale}, timeout)


def plane_page(trajectory: Trajectory, *, timeout: float = LONGEST_DRAWING) -> str:
    """Write the plane of a run as a page, as `ibtrack.report.plane_page.plane_page` does, in a second or more.

    Args:
        trajectory: Run to show.
        timeout: Seconds after which the writing is given up.

    Raises:
        ModuleNotFoundError: A package of the extra ``report`` is not installed.
        RuntimeError: The page could not be made, was not made in time, or ended the process that makes it.
    """
    return _drawn({"plane": _plain(trajectory), "kind": "page"}, timeout).decode()


def _plain(trajectory: Trajectory) -> dict[str, Any]:
    """Write what the plane shows of a run in plain values."""
    points = [asdict(replace(point, values=_of_the_mean(point), influences=None)) for point in trajectory.points]
    return {"protocol": dict(trajectory.protocol), "name": trajectory.name, "points": points}


def _of_the_mean(point: Point) -> dict[str, float]:
    """Take what belongs to the mean over the layers or to the whole run: the rest may be a hundred times as much."""
    return {key: value for key, value in point.values.items() if "/mean/" in key or key.count("/") == 1}


def _drawn(task: Mapping[str, Any], timeout: float) -> bytes:
    """Hand a task to a process of its own; return the picture that it makes.

    Raises:
        ModuleNotFoundError: A package of the extra ``report`` is not installed.
        RuntimeError: There is no picture.
    """
    with needs("a PNG of a chart", extra="report"):
        for package in ("altair", "vl_convert"):
            if find_spec(package) is None:
                raise ModuleNotFoundError(name=package)
    folders = os.pathsep.join(map(os.path.abspath, sys.path))  # where this process finds its packages
    try:
        done = subprocess.run(
            [sys.executable, "-m", "ibtrack.report.draw"],
            input=json.dumps(task).encode(),
            capture_output=True,
            timeout=timeout,
            env={**os.environ, "PYTHONPATH": folders, "PYTHONSAFEPATH": "1"},  # not what lies in the current folder
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise RuntimeError(f"the chart was not drawn within {timeout:g} s") from error
    if done.returncode != 0:
        raise RuntimeError(f"the chart could not be drawn: {_last_words(done)}")
    return done.stdout


def _last_words(done: subprocess.CompletedProcess[bytes]) -> str:
    """Say how a process ended, and the last line that it wrote about that."""
    lines = done.stderr.decode(errors="replace").strip().splitlines()
    line = printable(lines[-1], longest=300) if lines else "it left no message"
    if done.returncode > 0:
        return line
    return f"the process that draws was ended by signal {signal.Signals(-done.returncode).name} ({line})"


def _draw() -> None:
    """Read a task, write its picture: what the other process does."""
    task = json.load(sys.stdin.buffer)
    try:
        import vl_convert

        kind = task.get("kind", "png")
        if kind == "page":
            picture = _page(**task["plane"]).encode()
        else:
            spec = task["spec"] if "spec" in task else _plane(**task["plane"], order=task["order"])
            if kind == "svg":
                picture = vl_convert.vegalite_to_svg(spec).encode()
            elif kind == "html":
                picture = vl_convert.vegalite_to_html(spec, bundle=True).encode()
            else:
                picture = vl_convert.vegalite_to_png(spec, scale=task["scale"])
    except Exception as error:
        sys.exit(reason(error))  # the last line that the caller reads
    sys.stdout.buffer.write(picture)


def _plane(*, order: str, **plain: Any) -> dict[str, Any]:
    from ibtrack.report import charts

    return charts.to_spec(charts.plane(_run_of(**plain), order=order))


def _page(**plain: Any) -> str:
    from ibtrack.report import plane_page

    return plane_page.plane_page(_run_of(**plain))


def _run_of(protocol: dict[str, Any], name: str, points: list[dict[str, Any]]) -> Trajectory:
    return Trajectory(protocol, {"name": name}, [Point(**point) for point in points])


if __name__ == "__main__":
    _draw()
