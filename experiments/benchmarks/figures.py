"""What a benchmark reached beside what is wanted, printed and as JSON."""

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
        name: what is measured, in words.
        relation: ``≤`` or ``≥``.
        bound: what is wanted.
        reached: what was found, or None if it was not run.
        unit: of both numbers.
        note: what the reader of the number has to know, or why it was not run.
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
        return f"{self.relation} {_number(self.bound)}{self.unit}"

    @property
    def reached_text(self) -> str:
        if self.reached is None:
            return "not run"
        return f"{_number(self.reached)}{self.unit}{'' if self.met else ', missed'}"


def table_lines(figures: Iterable[Figure]) -> list[str]:
    """A table in Markdown, followed by the notes.

    Example:
        >>> print(*table_lines([Figure("time", "≤", 2, 3.14159, " s", "of one")]), sep="\\n")
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
    """Print the figures, and write them to ``file`` with what they were made with and on.

    Args:
        program: name of the benchmark.
        figures: the lines of the table.
        rows: what they were worked out from.
        file: to write; its folder is made.
        packages: distributions that the numbers depend on, besides torch and ibtrack.
        about: whatever else describes the run.
    """
    print("", *table_lines(figures), sep="\n")
    if file is None:
        return
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
    """What `report` wrote, and its figures.

    Raises:
        ValueError: the file holds something else.
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
