"""What the package promises, and that it needs nothing heavy until something is drawn."""

from __future__ import annotations

import subprocess
import sys

import pytest

from ibtrack import report


@pytest.mark.parametrize("module", ["ibtrack.report", "ibtrack.report.tables", "ibtrack.cli"])
def test_nothing_that_draws_is_imported_before_it_is_used(module: str) -> None:
    code = f"import {module}, sys; print([m for m in ('altair', 'vl_convert', 'torch') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_what_is_promised_is_there() -> None:
    assert report.__all__ == ["charts", "write_report"]
    assert report.charts.plane.__name__ == "plane"
    assert callable(report.write_report)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match=r"module 'ibtrack.report' has no attribute 'beauty'"):
        _ = report.beauty


def test_without_altair_the_install_line_is_named() -> None:
    code = "import sys; sys.modules['altair'] = None\nfrom ibtrack.report import write_report"
    error = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False).stderr
    sentence = "the report needs altair, which is not installed: pip install 'ibtrack[report]'"
    assert error.splitlines()[-1] == f"ModuleNotFoundError: {sentence}"
