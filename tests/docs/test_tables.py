"""The tables that stand in the pages are those that the code makes now."""

from __future__ import annotations

import dataclasses
import importlib.util
import re

import pytest

from ibtrack import SoftOptions
from tests.docs.pages import DOCS

_spec = importlib.util.spec_from_file_location("tables", DOCS / "tables.py")
assert _spec is not None
assert _spec.loader is not None
tables = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(tables)


@pytest.mark.parametrize(
    ("page", "rows"), [("keys.md", "| `ib/"), ("command_line.md", "## `ibtrack "), ("howto/layers.md", "| `")]
)
def test_the_tables_of_a_page_are_current(page: str, rows: str) -> None:
    text = (DOCS / page).read_text("utf-8")
    assert text == tables.filled(text), "run: python docs/tables.py"
    assert text.count(f"\n{rows}") > 5


def test_tables_that_are_out_of_date_are_written_anew() -> None:
    old = "above\n\n<!-- quantities -->\nold\n<!-- end of quantities -->\n\nbelow\n"
    new = tables.filled(old)
    assert new == f"above\n\n<!-- quantities -->\n\n{tables.quantities()}\n\n<!-- end of quantities -->\n\nbelow\n"
    assert tables.filled(new) == new


def test_every_option_of_the_estimator_is_in_the_table() -> None:
    text = (DOCS / "howto" / "lightning.md").read_text("utf-8")
    rows = dict(re.findall(r"^\| `(\w+)` \| `(.*?)` \|", text, flags=re.MULTILINE))
    defaults = {field.name: str(field.default) for field in dataclasses.fields(SoftOptions)}
    assert {name: value.strip('"') for name, value in rows.items()} == defaults
