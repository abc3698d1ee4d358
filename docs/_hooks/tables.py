"""Tables that are made from the code when the site is built: the quantities, and the options of the commands."""

from __future__ import annotations

from collections.abc import Iterator

import typer
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import Files
from mkdocs.structure.pages import Page

from ibtrack.cli import app
from ibtrack.record.quantities import QUANTITIES, Quantity, quantity_key

_SCOPES = {"order": "of a site and a label set", "site": "of a site", "run": "of the whole run"}


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Put the tables where a page has ``<!-- quantities -->`` or ``<!-- commands -->``."""
    for mark, table in (("<!-- quantities -->", quantities), ("<!-- commands -->", commands)):
        if mark in markdown:
            markdown = markdown.replace(mark, table())
    return markdown


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
