"""What a replay takes beside loading and forward passes, measured as it is reported."""

from __future__ import annotations

from pathlib import Path

import pytest

from experiments.benchmarks import replay
from tests.experiments.benchmarks.written import written

pytestmark = pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")


def test_all_three_are_timed_in_turn(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replay, "DOCUMENTS", 4)
    replay.main(
        width=8, layers=1, vocabulary=2048, checkpoints=2, repetitions=2, threads=None, file=tmp_path / "a.json"
    )
    rows, figures = written(tmp_path / "a.json")
    assert [row["task"] for row in rows] == ["load and forward", "replay", "replay, loading in turn"]
    assert all(len(row["seconds"]) == len(row["processor_seconds"]) == 2 for row in rows)
    assert all(seconds > 0 for row in rows for seconds in row["seconds"])
    assert len(figures) == 2
    assert "2 checkpoints, 4 documents of 128 tokens" in capsys.readouterr().out


def test_the_ratio_is_the_median_of_those_of_the_rounds() -> None:
    seconds = {replay.ALONE: [1.0, 2.0, 4.0], replay.BESIDE: [1.5, 2.0, 12.0]}
    assert replay.ratio(seconds, replay.BESIDE) == 1.5
