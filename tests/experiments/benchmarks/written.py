"""What a benchmark has written, for the tests of all of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from experiments.benchmarks import figures


def written(file: Path) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Return the rows that a benchmark wrote, and what it reached by the name of the figure."""
    content, reached = figures.load(file)
    assert {"python", "torch", "ibtrack"} <= content["versions"].keys()
    assert content["machine"]["cores"] >= 1
    assert content["date"]
    return content["rows"], {figure.name: figure.reached for figure in reached}
