"""The figures of a benchmark: what it reached beside what is wanted, as a table and as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

from experiments.benchmarks.machine import machine, versions

_HOLDS = {"≤": lambda reached, bound: reached <= bound, "≥": lambda reached, bound: reached >= bound}


@dataclass(frozen=True)
class Figure:
    """One line of the table.

    Attributes:
        name: What is measured, in words.
        relation: Relation that is wanted between what is reached and the bound, ``≤`` or ``≥``.
        bound: The number that is wanted.
        reached: The number that is reached, or None if it was not measured.
        unit: Unit of both numbers, with the space before it.
        note: What a reader of the number has to know, or why it was not measured.

    Raises:
        ValueError: There is no such relation.
    """

    name: str
    relation: str
    bound: float
    reached: float | None
    unit: str = ""
    note: str = ""

    def __post_init__(self) -> None:
        if self.relation not in _HOLDS:
            raise ValueError(f"relation must be ≤ or ≥, got {self.relation!r}")

    @property
    def met(self) -> bool:
        """Whether what was reached is what is wanted."""
        return self.reached is not None and bool(_HOLDS[self.relation](self.reached, self.bound))

    @property
    def wanted_text(self) -> str:
        """What is wanted, as the table has it."""
        return f"{self.relation} {_number(self.bound)}{self.unit}"

    @property
    def reached_text(self) -> str:
        """What is reached, as the table has it, and whether that misses the bound."""
        if self.reached is None:
            return "not run"
        return f"{_number(self.reached)}{self.unit}{'' if self.met else ', missed'}"


def table_lines(figures: Iterable[Figure]) -> list[str]:
    r"""Write figures as a table in Markdown, followed by their notes.

    Example:
        >>> print(*table_lines([Figure("time", "≤", 2, 3.14159, " s", "of one")]), sep="\n")
        | figure | wanted | reached |
        |---|---|---|
        | time | ≤ 2 s | 3.142 s, missed |
        <BLANKLINE>
        time: of one
    """
    figures = list(figures)
    rows = [f"| {figure.name} | {figure.wanted_text} | {figure.reached_text} |" for figure in figures]
    notes = [f"{figure.name}: {figure.note}" for figure in figures if figure.note]
    return ["| figure | wanted | reached |", "|---|---|---|", *rows, *([""] if notes else []), *notes]


def report(
    program: str,
    figures: Sequence[Figure],
    rows: Sequence[Mapping[str, Any]],
    file: Path | None,
    *,
    packages: Sequence[str] = (),
    about: Mapping[str, Any] | None = None,
) -> None:
    """Print the figures, and write them to a file together with versions and machine.

    Args:
        program: Name of the benchmark.
        figures: The lines of the table.
        rows: The measurements that the figures were computed from.
        file: File to write, whose folder is made; None writes none.
        packages: Distributions that the numbers depend on, besides torch and ibtrack.
        about: Further entries that describe the run.
    """
    print("", *table_lines(figures), sep="\n")
    if file is not None:
        save(program, figures, rows, file, packages=packages, about=about)


def save(
    program: str,
    figures: Sequence[Figure],
    rows: Sequence[Mapping[str, Any]],
    file: Path,
    *,
    packages: Sequence[str] = (),
    about: Mapping[str, Any] | None = None,
) -> None:
    """Write figures to a file, as `report` does."""
    content = {
        "program": program,
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        **(about or {}),
        "versions": {**versions(), **{name: version(name) for name in packages}},
        "machine": machine(),
        "figures": [{**asdict(figure), "met": figure.met} for figure in figures],
        "rows": list(rows),
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content) + "\n")


def load(file: Path) -> tuple[dict[str, Any], list[Figure]]:
    """Read a file that `report` wrote.

    Returns:
        Everything in the file, and its figures.

    Raises:
        ValueError: The file holds something else.
    """
    try:
        content = json.loads(file.read_text())
        names = Figure.__dataclass_fields__
        figures = [Figure(**{name: each[name] for name in names}) for each in content["figures"]]
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise ValueError(
            f"{file} must be what a benchmark wrote with --json, got {type(error).__name__}: {error}"
        ) from error
    return content, figures


def _number(value: float) -> str:
    return f"{value:.4g}"
