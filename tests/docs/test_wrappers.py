"""The page on wrappers lists what the tests run, in their order and with their outcome."""

from __future__ import annotations

import re

from tests.capture import wrappers
from tests.docs.pages import DOCS
from tests.integrations import test_averages


def test_the_table_is_what_the_tests_run() -> None:
    text = (DOCS / "howto" / "wrappers.md").read_text("utf-8")
    rows = re.findall(r"^\| (.+) \| (equal|refused at the start) \|$", text, flags=re.MULTILINE)
    plain = [(name, "equal" if way.refusal is None else "refused at the start") for name, way in wrappers.WAYS.items()]
    assert rows == [*plain, *((name, "equal") for name in [*test_averages.WAYS, test_averages.IN_TRANSFORMERS])]
    assert len(rows) > 50
