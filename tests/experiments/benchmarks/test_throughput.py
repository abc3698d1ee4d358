"""Throughput: both loops do the same, step by step, and the table says how fast."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
import typer
from transformers import get_scheduler

from experiments.benchmarks import throughput
from tests.runs import TRAINING

pytestmark = TRAINING

SMALL = ["data.block_size=16", "data.batch_size=4", "model.settings.num_hidden_layers=1", "monitor.schedule.steps=4"]


def test_the_trainer_and_the_bare_loop_end_with_the_same_weights() -> None:
    cfg = throughput.configuration("model=llama_0.3M", "monitor=dense", "logger=csv", *SMALL)
    rows = [
        throughput.trainer_row(cfg, 50, steps=6, turn=2, clock=time.process_time, watched=watched)
        for watched in (False, True)
    ]
    assert [row["same_weights"] for row in rows] == [True, True]
    assert [len(row["ratios"]) for row in rows] == [3, 3]
    assert [row["points"] for row in rows] == [0, 3], "at step 0, at 4 and at the last one"


def test_a_bare_loop_that_does_something_else_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    cfg = throughput.configuration("model=llama_0.3M", "logger=csv", *SMALL[:3])
    schedule = get_scheduler
    monkeypatch.setattr(throughput, "get_scheduler", lambda name, *rest: schedule("constant", rest[0]))
    row = throughput.trainer_row(cfg, 50, steps=4, turn=2, clock=time.process_time, watched=False)
    assert row["same_weights"] is False


def test_the_program_writes_a_row_for_each_loop(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "throughput.json"
    throughput.main(["llama_0.3M"], vocab=50, steps=2, turn=1, clock="cpu", overrides=SMALL[:3], file=file)
    content = json.loads(file.read_text())
    assert [row["loop"] for row in content["rows"]] == ["train.py", "train.py with the monitor", "loader alone"]
    assert content["figures"][0]["bound"] == 0.95
    printed = capsys.readouterr().out
    assert "llama_0.3M, train.py: " in printed
    assert "; the same weights)" in printed


def test_a_device_or_a_clock_that_there_is_none_of_is_refused() -> None:
    with pytest.raises(typer.BadParameter, match="--device must be cpu, or cuda where there is one, got 'tpu'"):
        throughput.main(device="tpu")
    with pytest.raises(typer.BadParameter, match="--clock must be one of wall, cpu, got 'sun'"):
        throughput.main(clock="sun")
