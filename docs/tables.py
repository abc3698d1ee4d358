"""Writes the tables that follow from the code into their pages: quantities, options of the commands, models,
loops.

    python docs/tables.py

The tables are kept in the pages, so that a checkout can be read without building the site; a test says when they are
out of date.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from pathlib import Path

import typer

from ibtrack.cli import app
from ibtrack.record.logged import FEW, logged_key
from ibtrack.record.quantities import QUANTITIES, Quantity, quantity_key

TESTS = Path(__file__).parent.parent / "tests"
MODELS = TESTS / "capture" / "causal_models.csv"
LOOPS = TESTS / "integrations" / "loops.csv"
_SCOPES = {"order": "of a site and a label set", "site": "of a site", "run": "of the whole run"}


def filled(page: str) -> str:
    """Put fresh tables between the marks of a page, such as ``<!-- quantities -->`` and ``<!-- end of quantities -->``.

    Args:
        page: Text of the page.
    """
    for name, table in TABLES.items():
        begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
        parts = re.compile(f"{begin}.*?{end}", flags=re.DOTALL)
        if parts.search(page):
            fresh = f"{begin}\n\n{table()}\n\n{end}"
            page = parts.sub(lambda _, fresh=fresh: fresh, page)
    return page


def quantities() -> str:
    """Write `ibtrack.record.quantities.QUANTITIES` as one table for each scope."""
    parts = []
    for scope, words in _SCOPES.items():
        rows = [
            _row(f"`{quantity_key(name, '<site>', '<order>', 'debiased')}`", _words(of))
            for name, of in QUANTITIES.items()
            if of.scope == scope
        ]
        head = f"### Numbers {words}\n\n| key | what it is |\n|---|---|"
        parts.append("\n".join([head, *rows]))
    return "\n\n".join(parts)


def logged() -> str:
    """Write which numbers loggers get unless they get all, by the section of their key."""
    sites = {"mean": "mean", "layer": "<layer>", "run": None}
    orders = {"first order": "<order>", "other orders": "<other order>"}
    sections: dict[str, list[str]] = {}
    for scope, names in FEW.items():
        where, _, of = scope.partition(", ")
        for name in names:
            key = logged_key(name, site=sites[where], order=orders.get(of), first_order="<order>")
            section, _, rest = key.partition("/")
            sections.setdefault(section, []).append(f"`{rest}`")
    rows = [_row(f"`{section}/`", ", ".join(names)) for section, names in sorted(sections.items())]
    return "\n".join(["| section | keys after it |", "|---|---|", *rows])


def _words(of: Quantity) -> str:
    """Put title, unit and meaning into one cell."""
    return f"**{of.title}**, {of.unit or 'a ratio'}. {of.meaning}"


def _row(*cells: str) -> str:
    """Write one row of a table; a bar inside of a cell would end it."""
    return f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |"


def commands() -> str:
    """Write every command of ``ibtrack`` with its arguments and options."""
    group = typer.main.get_command(app)
    return "\n\n".join(_command(name, command) for name, command in group.commands.items())  # type: ignore[attr-defined]


def _command(name: str, command: typer.core.TyperCommand) -> str:
    rows = ["| argument or option | default | what it is |", "|---|---|---|", *_rows(command)]
    return f"## `ibtrack {name}`\n\n{command.help}\n\n" + "\n".join(rows)


def _rows(command: typer.core.TyperCommand) -> Iterator[str]:
    for parameter in command.params:
        is_option = parameter.param_type_name == "option"
        options = parameter.opts if is_option else [str(parameter.metavar or parameter.name).upper()]
        default = "" if parameter.required or parameter.default in (None, False) else f"`{parameter.default}`"
        if "--help" not in options:
            yield _row(", ".join(f"`{option}`" for option in options), default, parameter.help)  # type: ignore[attr-defined]


def models() -> str:
    """Write what is found in the causal language models of transformers, as a file of the tests has it."""
    with MODELS.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    found = [row for row in rows if row["blocks"]]
    others = [row for row in rows if not row["blocks"]]
    by_pattern: dict[str, list[str]] = {}
    for row in found:
        by_pattern.setdefault(row["blocks"], []).append(_model(row))
    finals = sum(bool(row["final"]) for row in found)
    refused = sum(row["remark"].startswith("refused") for row in others)
    summary = (
        f"Of {len(rows)} classes blocks are found in {len(found)}, and a final norm in {finals} of these; {refused} "
        f"are refused, and of {len(others) - refused} no small model could be built."
    )
    return "\n".join(
        [
            summary,
            "",
            "| blocks | found in |",
            "|---|---|",
            *(_row(f"`{pattern}`", ", ".join(names)) for pattern, names in by_pattern.items()),
            "",
            "| not found | why |",
            "|---|---|",
            *(_row(_model(row), row["remark"]) for row in others),
        ]
    )


def _model(row: dict[str, str]) -> str:
    return row["configuration"].removesuffix("Config")


def loops() -> str:
    """Write which loggers were seen to get the points in which loops, as a file of the tests has it."""
    with LOOPS.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    head = "| loop | logger | what a user does | points | seen with |\n|---|---|---|---|---|"
    columns = ("loop", "logger", "how", "points")
    return "\n".join(
        [head, *(_row(*(row[name] for name in columns), row["remark"] or row["packages"]) for row in rows)]
    )


TABLES = {"quantities": quantities, "logged": logged, "commands": commands, "models": models, "loops": loops}

if __name__ == "__main__":
    for path in sorted(Path(__file__).parent.rglob("*.md")):
        text = path.read_text(encoding="utf-8")
        if filled(text) != text:
            path.write_text(filled(text), encoding="utf-8")
            print(f"wrote {path}")
