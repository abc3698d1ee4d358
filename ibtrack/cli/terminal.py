"""What the terminal shows: the plane in letters, and tables in plain text."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from string import ascii_letters
from typing import Any

import typer

from ibtrack.analysis.effects import Effects
from ibtrack.analysis.phase_words import Phases
from ibtrack.analysis.ranking import Place
from ibtrack.analysis.scores import Relations
from ibtrack.record.quantities import QUANTITIES, TELLING_Z, Z95
from ibtrack.record.texts import printable
from ibtrack.record.trajectory import Trajectory
from ibtrack.report.effect_rows import contrast_rows, group_rows
from ibtrack.report.relation_rows import relation_table
from ibtrack.report.tables import plane_rows

LIST_HEAD = ("run", "points", "last step", "loss", "I(X;Z)", "I(Y;Z)", "behind", "phase", "folder")
WHAT_THEY_ARE = (
    "I(X;Z): how much is kept of the tokens just read; I(Y;Z): how much is told of those to come.\n"
    "A share of the ceiling is a part of all that a position tells through K anchors, fixed random directions;\n"
    "a fraction of log K is a part of the most that K anchors could tell. More: The plane in ten minutes, in the docs."
)
UNIT_WORDS = {"share": "shares of the ceiling", "log_k": "fractions of log K"}
_POINTS_HEAD = ("", "step", "loss", "I(X;Z)", "I(Y;Z)")
_NOISE = "~"  # marks a value whose labels cannot be told from noise
_NOISE_WORDS = f"{_NOISE}  the spread between labels cannot be told from noise (z below {TELLING_Z:.0f})"
_LONGEST_CODE = len("\\U0001f600")  # letters that stand for one that is not shown
_NO_LETTER = "×"  # stands for a point that has no place in the plane


def say(text: str, *, err: bool = False, nl: bool = True) -> None:
    """Print text of which others have written parts, such as names: no terminal finds an order to obey in it.

    Args:
        text: One line, or several.
        err: Whether it goes to stderr.
        nl: Whether a line break follows.
    """
    shown = "\n".join(map(_shown, text.split("\n")))
    try:
        typer.echo(shown, err=err, nl=nl)
    except UnicodeEncodeError:  # the terminal has fewer letters than the text
        typer.echo(shown.encode("ascii", "backslashreplace").decode("ascii"), err=err, nl=nl)


def one_line(text: str) -> str:
    r"""Write a text of any length as one printable line.

    Args:
        text: Text that others have written, in part.

    Example:
        >>> one_line("no \x1b[1mfile\n")
        'no \\x1b[1mfile'
    """
    return printable(text, longest=_LONGEST_CODE * len(text) + 1)


def _shown(line: str) -> str:
    """Make a line printable, but for the spaces that it begins with."""
    rest = line.lstrip(" ")
    return " " * (len(line) - len(rest)) + one_line(rest)


def text_table(rows: Sequence[Sequence[str]]) -> str:
    """Align rows of cells to columns.

    Args:
        rows: Rows of equal length, at least one; the first is the head.

    Example:
        >>> print(text_table([("run", "loss"), ("a", "2.5"), ("longer", "")]))
        run     loss
        a       2.5
        longer
    """
    rows = [[one_line(cell) for cell in row] for row in rows]
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def points_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Write the points of a run as a table, each with its letter in `terminal_plane`.

    Args:
        rows: Rows of one run, as `ibtrack.report.tables.plane_rows` makes them.
    """
    lines = [(letter, *_point_cells(row)) for letter, row in zip(_letters(rows), rows, strict=True)]
    table = text_table([_POINTS_HEAD, *lines])
    return f"{table}\n\n{_NOISE_WORDS}" if any(_NOISE in cell for line in lines for cell in line) else table


def stages_line(run: Trajectory) -> str:
    """Say where the stages of training of a run begin.

    Args:
        run: Trajectory of a run whose points name stages.

    Example:
        >>> from ibtrack.record.trajectory import Point
        >>> points = [Point(0, stage="sft"), Point(8, stage="sft"), Point(9, stage="dpo")]
        >>> print(stages_line(Trajectory({}, {}, points)))
        Stages: sft from step 0, dpo from step 8.
    """
    return f"Stages: {', '.join(f'{stage} from step {step}' for stage, step in run.stages.items())}."


def geometry_table(curves: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """Write effective ranks and exponents of a run as a table; what half of the documents read stands in brackets.

    Args:
        curves: Quantity to the rows of one run, as `ibtrack.report.tables.curve_rows` makes them.

    Example:
        >>> row = {"step": 8, "value": 40.2, "se": 0.5, "half": 38.0, "why": None}
        >>> print(geometry_table({"rankme": [row]}))
        step  RankMe
        8     40.200 ± 0.980 (38.000)
    """
    lines = [(str(rows[0]["step"]), *map(_geometry_cell, rows)) for rows in zip(*curves.values(), strict=True)]
    return text_table([("step", *(QUANTITIES[quantity].title for quantity in curves)), *lines])


def groups_table(effects: Effects) -> str:
    """Write the mean of each group of runs in each quantity, with the standard deviation between its runs.

    Args:
        effects: Effects of settings.
    """
    rows = [(row["group"], str(row["runs"]), *row["cells"]) for row in group_rows(effects)]
    return text_table([("group", "runs", *(each.title for each in effects.effects)), *rows])


def contrasts_table(effects: Effects) -> str:
    """Write the difference between each two groups in each quantity, with both of its errors.

    Args:
        effects: Effects of settings.
    """
    columns = ("quantity", "pair", "difference_text", "interval_text", "probe_text")
    rows = [tuple(row[column] for column in columns) for each in effects.effects for row in contrast_rows(each)]
    head = ("", "groups", "difference", "95 % interval, between runs", f"{Z95} se of the probe alone")
    return text_table([head, *rows])


def relations_table(relations: Relations) -> str:
    """Write rank correlations of readings with scores, the strongest first, each with the intervals of its own.

    Args:
        relations: Readings and scores.
    """
    head, rows, notes = relation_table(relations)
    return "\n".join([text_table([head, *rows]), "", *notes])


def list_row(
    name: str, folder: str, run: Trajectory | str, order: str, unit: str, phases: Phases | None, place: Place | None
) -> tuple[str, ...]:
    """Make the row of a run in a list of runs, whose columns are `LIST_HEAD`.

    Args:
        name: Name that the row begins with.
        folder: Folder that it ends with.
        run: Trajectory of the run, or the reason why its file cannot be read.
        order: Label set, such as ``token``.
        unit: Unit of I(X;Z) and I(Y;Z), ``share`` or ``log_k``.
        phases: Phases of the run, or None if its file cannot be read.
        place: Place of the run among the others, or None if it has none.
    """
    if isinstance(run, str) or phases is None:
        return (name, "", "", "", "", "", "", f"not readable: {run}", folder)
    if not run.points:
        return (name, "0", "", "", "", "", "", "no points yet", folder)
    (last,) = plane_rows([replace(run, points=run.points[-1:])], order=order, unit=unit)
    num_failed = sum(point.failure is not None for point in run.points)
    points = f"{len(run.points)} ({num_failed} failed)" if num_failed else str(len(run.points))
    return (name, points, *_point_cells(last), _behind(place), phases.short(), folder)


def terminal_plane(rows: Sequence[Mapping[str, Any]], *, width: int = 60, height: int = 20) -> str:
    """Draw the plane in letters: the first point is ``a``, the next ``b``; after ``z`` comes ``A``, after ``Z`` ``+``.

    Each axis reaches from the least to the greatest of its numbers, so that the path fills the plane; where equal
    numbers of both lie in it, dots mark them.

    Args:
        rows: Rows of one run, as `ibtrack.report.tables.plane_rows` makes them.
        width: Number of letters from left to right.
        height: Number of lines from bottom to top.

    Example:
        >>> rows = [
        ...     {"step": 0, "complexity": 0.1, "expressivity": 0.0, "complexity_se": None, "expressivity_se": None},
        ...     {"step": 9, "complexity": 0.4, "expressivity": 0.3, "complexity_se": None, "expressivity_se": None},
        ... ]
        >>> print(terminal_plane(rows, width=20, height=5))
        I(Y;Z)
         0.30 |           ..      b
              |      .....
              | .....
              |.
         0.00 |a
              +--------------------
               0.10            0.40  I(X;Z)
    """
    left, right = _ends(rows, "complexity")
    bottom, top = _ends(rows, "expressivity")
    canvas = [[" "] * width for _ in range(height)]

    def cell(x: float, y: float) -> tuple[int, int]:
        line, column = (y - bottom) / (top - bottom), (x - left) / (right - left)
        return height - 1 - round(line * (height - 1)), round(column * (width - 1))

    for column in range(width):
        at = left + (right - left) * column / (width - 1)
        if bottom <= at <= top:
            line, _ = cell(at, at)
            canvas[line][column] = "."
    for letter, row in zip(_letters(rows), rows, strict=True):
        if letter != _NO_LETTER:
            line, column = cell(row["complexity"], row["expressivity"])
            canvas[line][column] = letter
    lines = ["".join(line).rstrip() for line in canvas]
    marks = [f"{top:5.2f}", *["     "] * (height - 2), f"{bottom:5.2f}"]
    axis = f"{left:<{width // 2}.2f}{right:{width - width // 2}.2f}"
    body = [f"{mark} |{line}" for mark, line in zip(marks, lines, strict=True)]
    return "\n".join(["I(Y;Z)", *body, f"      +{'-' * width}", f"       {axis}  I(X;Z)"])


def _ends(rows: Sequence[Mapping[str, Any]], name: str) -> tuple[float, float]:
    """Choose the ends of an axis, multiples of .05 between which its numbers lie; 0 and 1 where there are none."""
    values = [row[name] for row in rows if row["complexity"] is not None and row["expressivity"] is not None]
    if not values:
        return 0.0, 1.0
    low, high = math.floor(round(min(values) * 20, 9)), math.ceil(round(max(values) * 20, 9))
    return low / 20, max(high, low + 1) / 20


def _letters(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Give a letter to each point that has a place in the plane, and a cross to the others."""
    letters = iter(ascii_letters)
    has_place = [row["complexity"] is not None and row["expressivity"] is not None for row in rows]
    return [next(letters, "+") if each else _NO_LETTER for each in has_place]


def _point_cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    """Write step, loss, complexity and expressivity; the reason takes the place of the first that is missing."""
    loss = "" if row["loss"] is None else f"{row['loss']:.3f}"
    reason = f"no value: {row['why']}"
    if row["complexity"] is None:
        return (str(row["step"]), loss, reason, "")
    complexity = _with_error(row["complexity"], row["complexity_se"], row["complexity_z"])
    if row["expressivity"] is None:
        return (str(row["step"]), loss, complexity, reason)
    expressivity = _with_error(row["expressivity"], row["expressivity_se"], row["expressivity_z"])
    return (str(row["step"]), loss, complexity, expressivity)


def _geometry_cell(row: Mapping[str, Any]) -> str:
    if row["value"] is None:
        return f"no value: {row['why']}"
    return _with_error(row["value"], row["se"]) + ("" if row["half"] is None else f" ({row['half']:.3f})")


def _with_error(value: float, se: float | None, z: float | None = None) -> str:
    mark = f" {_NOISE}" if z is not None and z < TELLING_Z else ""
    return f"{value:.3f}" + (f" ± {Z95 * se:.3f}" if se else "") + mark


def _behind(place: Place | None) -> str:
    if place is None or place.fall is None:
        return ""
    return "first" if place.behind == 0 else f"{place.behind:.1f} se" + (", tied" if place.tied else "")
