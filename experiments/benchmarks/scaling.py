"""Measure how the time and the memory of a measurement grow with the positions, layers, anchors and labels.

The slope of time against positions and two peaks of memory are compared with what is wanted.

python experiments/benchmarks/scaling.py
python experiments/benchmarks/scaling.py --most 262144    without the long ones
"""

# ruff: noqa: E402 (the packages of this checkout are put on the path first)
from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import linear_regression, median
from typing import Annotated, Any

import torch
import typer

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from experiments.benchmarks.figures import Figure, report
from experiments.benchmarks.options import JsonFile, Repetitions, Threads

POSITIONS = (16_384, 65_536, 262_144, 1_000_000, 5_000_000)
BASE = 65_536  # positions of the cases in which something else varies
AXES: dict[str, list[dict[str, int]]] = {
    "positions": [{"positions": number} for number in POSITIONS],
    "layers": [{"layers": number} for number in (1, 2, 4, 8)],
    "anchors": [{"anchors": number} for number in (25, 50, 100, 200, 400)],
    "labels": [{"labels": number} for number in (10, 100, 1000, 10_000, 40_000)],
}
LARGE = {"positions": 1_000_000, "layers": 12, "width": 768}
HUGE = {"positions": 5_000_000}
PEAKS = Path("/proc/self/clear_refs")
GIB = 1 << 30
HEAD = f"{'':28}{'positions':>10}{'measured':>11}{'of':>4}{'bare':>10}{'above':>11}{'peak':>11}"


def main(
    most: Annotated[int, typer.Option(min=1, help="Leave out cases of more positions.")] = POSITIONS[-1],
    base: Annotated[int, typer.Option(min=200, help="Positions of cases in which something else varies.")] = BASE,
    axes: Annotated[
        list[str] | None,
        typer.Option("--axis", help=f"What varies, of {', '.join(AXES)}; may be repeated; by default all of them."),
    ] = None,
    limit: Annotated[float, typer.Option(help="Memory in GiB that a process may take.")] = 8.0,
    repetitions: Repetitions = 7,
    seconds: Annotated[float, typer.Option(help="Seconds of a case after which no repetition begins.")] = 60.0,
    threads: Threads = None,
    file: JsonFile = None,
) -> None:
    """Measure models whose forward pass costs next to nothing, each case in a process of its own.

    Raises:
        typer.BadParameter: There is no such axis.
        typer.Exit: A case has failed for another reason than its memory; the exit status is 1.
    """
    axes = axes or list(AXES)
    for axis in axes:
        if axis not in AXES:
            raise typer.BadParameter(f"--axis must be one of {', '.join(AXES)}, got {axis!r}")
    common = {"repetitions": repetitions, "seconds": seconds, "limit": limit}
    common["threads"] = torch.get_num_threads() if threads is None else threads
    print(
        "seconds of a measurement and of the forward pass alone; GiB above model, probe and one batch, and in all",
        HEAD,
        sep="\n",
    )
    rows: list[dict[str, Any]] = []
    if not PEAKS.exists():
        print("not run: memory is read from Linux's /proc, which this system does not have")
        axes, most = [], 0
    for axis in axes:
        cases = [{"positions": base, **varied} for varied in AXES[axis]]
        rows += [_row(axis, case, common) for case in cases if case["positions"] <= most]
    if most >= LARGE["positions"]:
        rows.append(_row("large", LARGE, common))
    figures = _figures(rows)
    report("scaling", figures, rows, file, about={"limit_gib": limit})
    broken = [row["failure"] for row in rows if row.get("failure") and not out_of_memory(row["failure"])]
    if broken:
        print(f"a case must succeed or run out of memory, got: {broken[0]}", file=sys.stderr)
        raise typer.Exit(1)


def measure(case: dict[str, Any]) -> dict[str, Any]:
    """Measure a case by footprint.py.

    Args:
        case: Fields of `experiments.benchmarks.footprint.Case`.

    Returns:
        The numbers that footprint.py prints, or, as ``failure``, the last line of its error.
    """
    program = Path(__file__).with_name("footprint.py")
    command = [sys.executable, str(program), json.dumps(case)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    if done.returncode == 0:
        numbers: dict[str, Any] = json.loads(done.stdout)
        return numbers
    lines = done.stderr.strip().splitlines()
    return {**case, "failure": lines[-1] if lines else f"ended by status {done.returncode}"}


def out_of_memory(failure: str) -> bool:
    """Return whether a case has failed because of the limit of its memory.

    Example:
        >>> out_of_memory("MemoryError"), out_of_memory("RuntimeError: DefaultCPUAllocator: can't allocate memory")
        (True, True)
    """
    return any(word in failure.lower() for word in ("memory", "bad_alloc"))


def slope(rows: Sequence[dict[str, Any]], over: str = "num_positions") -> float | None:
    """Fit the exponent with which seconds grow, by least squares between logarithms.

    Args:
        rows: Measured cases; those that have failed are left out.
        over: Name of the number that the cases differ in.

    Returns:
        The exponent, or None for fewer than two cases.

    Example:
        >>> round(slope([{"num_positions": n, "measured": [n**2]} for n in (1, 10, 100)]), 6)
        2.0
    """
    points = [(math.log(row[over]), math.log(median(row["measured"]))) for row in rows if "measured" in row]
    return linear_regression(*zip(*points, strict=True)).slope if len(points) > 1 else None


def _row(axis: str, case: dict[str, int], common: dict[str, float]) -> dict[str, Any]:
    row = {"axis": axis, **measure({**case, **common})}
    words = ", ".join(f"{name} {number}" for name, number in case.items() if name != "positions" or axis == "positions")
    print(f"{f'{axis}: {words}' if axis == 'large' else words:28}{_numbers(row)}", flush=True)
    return row


def _numbers(row: dict[str, Any]) -> str:
    if "failure" in row:
        return f"{row['positions']:10}  did not finish within {row['limit']:g} GiB: {row['failure']}"
    taken = row["measured"]
    return (
        f"{row['num_positions']:10}{median(taken):11.3f}{len(taken):4}{row['bare']:10.3f}"
        f"{row['peak_above'] / GIB:11.3f}{row['peak'] / GIB:11.3f}"
    )


def _figures(rows: list[dict[str, Any]]) -> list[Figure]:
    along = [row for row in rows if row["axis"] == "positions"]
    reached = [row["num_positions"] for row in along if "measured" in row]
    span = f"{min(reached)} to {max(reached)} positions, 1 layer, 8 label sets" if reached else "no case was run"
    large = next((row for row in rows if row["axis"] == "large"), {})
    huge = next((row for row in along if row["positions"] == HUGE["positions"]), {})
    return [
        Figure("slope of time against positions", "≤", 1.05, slope(along), note=span),
        Figure(
            "peak memory above model and one batch, 1 million positions, width 768, 12 layers, 8 label sets",
            "≤",
            2,
            *_memory(large, "peak_above"),
        ),
        Figure("peak memory in all, 5 million positions, 1 layer, 8 label sets", "≤", 8, *_memory(huge, "peak")),
    ]


def _memory(row: dict[str, Any], name: str) -> tuple[float | None, str, str]:
    """Return the memory in GiB, its unit and a note; the memory is infinite where the limit was too low."""
    if not row:
        return None, " GiB", "left out"
    if "failure" in row:
        return (
            (math.inf if out_of_memory(row["failure"]) else None),
            " GiB",
            f"limit {row['limit']:g} GiB: {row['failure']}",
        )
    return row[name] / GIB, " GiB", f"{median(row['measured']):.0f} s a measurement"


if __name__ == "__main__":
    typer.run(main)
