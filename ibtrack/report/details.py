"""The details of a run: all of its points and layers, which the page loads when the run is chosen.

They are scripts in a folder beside the page. A page that was opened from a disk may load scripts, but no data: for a
browser each file is a site of its own.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ibtrack.record.trajectory import Trajectory
from ibtrack.report.sheet import numbers


def details_folder(page: Path) -> Path:
    """Name the folder of the details of a page, as browsers name that of a page which they save.

    Args:
        page: The page.

    Example:
        >>> print(details_folder(Path("out/report.html")).as_posix())
        out/report_files
    """
    return page.with_name(f"{page.stem}_files")


def details_name(number: int) -> str:
    """Name the file of a run.

    Args:
        number: Place of the run on the page, from 0.

    Example:
        >>> details_name(7)
        'run007.js'
    """
    return f"run{number:03}.js"


def write_details(run: Trajectory, number: int, page: Path) -> Path:
    """Write the details of a run.

    Args:
        run: Trajectory of the run, with its layers.
        number: Place of the run on the page, from 0.
        page: The page, beside which they are written.

    Returns:
        The file. What an earlier page of this name has left there is written over.
    """
    path = details_folder(page) / details_name(number)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(details_text(run, number), encoding="utf-8")
    return path


def details_text(run: Trajectory, number: int) -> str:
    """Write the details of a run as a script.

    Args:
        run: Trajectory of the run, with its layers.
        number: Place of the run on the page, from 0.
    """
    return f"ibtrackDetails({number}, {json.dumps(_of(run), allow_nan=False, separators=(',', ':'))});\n"


def _of(run: Trajectory) -> dict[str, Any]:
    """Take from a run what a page of it alone holds; its name and last step tell whose it is."""
    found = numbers(run)
    return {
        **found.data,
        "keys": found.keys,
        "failures": found.failures,
        "notes": found.notes,
        "name": run.name,
        "points": len(run.points),
        "last": run.steps[-1] if run.points else None,
    }
