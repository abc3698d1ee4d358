"""The examples in the docstrings of all modules of the experiments."""

from __future__ import annotations

import doctest
import importlib

import pytest

from tests.runs import ROOT

MODULES = [
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for path in sorted((ROOT / "experiments").rglob("*.py"))
    if ">>> " in path.read_text()
]


@pytest.mark.usefixtures("own_cache")
@pytest.mark.parametrize("name", MODULES)
def test_examples_hold(name: str) -> None:
    results = doctest.testmod(importlib.import_module(name))
    assert results.attempted > 0
    assert results.failed == 0
