"""Copies of a probe in training text: planted, looked for in sources, and timed."""

from __future__ import annotations

from pathlib import Path

import pytest

from experiments.benchmarks import overlap
from tests.experiments.benchmarks.written import written


@pytest.mark.usefixtures("own_cache")
def test_copies_are_planted_searched_and_timed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sources = tmp_path / "sources"
    sources.mkdir()
    for i in range(40):
        lines = [f"value_{i}_{j} = {(i + 3) * j * 7919 % 1009} + {i * j % 97}" for j in range(60)]
        (sources / f"m{i}.py").write_text("\n".join(lines))
    overlap.main(repetitions=1, tokens=20_000, folder=str(sources), blocks=4, show=True, file=tmp_path / "o.json")
    rows, reached = written(tmp_path / "o.json")
    assert reached["exact copies that are found in training text"] == 1
    assert reached["documents found that are not there"] == 0
    planted = [row for row in rows if "exchanged" in row]
    assert [row["exchanged"] for row in planted] == [*overlap.EXCHANGED, *overlap.EXCHANGED]
    assert all(row["copies"] == 2 for row in planted)
    searched = [row for row in rows if "contained" in row]
    assert [row["length"] for row in searched] == list(overlap.LENGTHS)
    assert all(len(row["shares"]) == 4 for row in searched)
    assert len([row for row in rows if "seconds" in row]) == 4
    assert "million tokens a second" in capsys.readouterr().out
