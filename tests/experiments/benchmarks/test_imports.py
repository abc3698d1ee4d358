"""The time of the imports."""

from __future__ import annotations

from pathlib import Path

import pytest

from experiments.benchmarks import imports
from tests.experiments.benchmarks.written import written


def test_imports_are_timed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before, after = imports.import_seconds()
    assert before > after > 0
    seconds = iter([(9.0, 9.0), (2.0, 0.2), (3.0, 0.1), (4.0, 0.3)])  # the first only warms up
    monkeypatch.setattr(imports, "import_seconds", lambda: next(seconds))
    imports.main(repetitions=3, file=tmp_path / "i.json")
    assert written(tmp_path / "i.json")[1] == {"import of ibtrack above torch and lightning": 0.2}
