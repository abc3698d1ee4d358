"""Writes the tables that follow from the code into their pages: the quantities, and the options of the commands.

    python docs/tables.py

The tables are kept in the pages, so that a checkout can be read without building the site; a test says when they are
out of date.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import typer

from ibtrack.cli import app
from ibtrack.record.quantities import QUANTITIES, Quantity, quantity_key

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


TABLES = {"quantities": quantities, "commands": commands}

if __name__ == "__main__":
    for path in sorted(Path(__file__).parent.rglob("*.md")):
        text = path.read_text(encoding="utf-8")
        if filled(text) != text:
            path.write_text(filled(text), encoding="utf-8")
            print(f"wrote {path}")
