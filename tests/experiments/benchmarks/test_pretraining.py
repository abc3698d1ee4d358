"""The run that is killed and gone on with: the whole program on a few MB, and what it says of runs that differ."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import typer

from experiments.benchmarks import pretraining
from experiments.benchmarks.pretraining import Ending
from tests.experiments.benchmarks.written import written

SMALL = ["model=llama_0.3M", "data.block_size=32", "data.batch_size=2", "data.vocab_size=400", "probe.num_blocks=8"]
SMALL += ["model.settings.hidden_size=16", "model.settings.intermediate_size=32", "model.settings.num_hidden_layers=2"]
SMALL += ["contained=warn", "data.held_out=0.2"]


@pytest.mark.slow
@pytest.mark.usefixtures("own_cache")
def test_a_small_run_is_killed_and_ends_alike(tmp_path: Path) -> None:
    pretraining.main(
        gigabytes=0.003,
        steps=24,
        every=4,
        processes=2,
        workers=2,
        cuts=1,
        overrides=SMALL,
        folder=tmp_path,
        file=tmp_path / "found.json",
    )
    (row,), reached = written(tmp_path / "found.json")
    assert row["text_bytes"] >= 3_000_000
    assert row["killed_after_step"][0] in range(12, 24)
    assert row["uncut"] == row["cut"]
    assert row["uncut"]["points"] >= 7
    assert reached == {
        "times that all processes were killed": 1,
        "tensors of model and optimizer that end equal bit for bit": row["uncut"]["tensors"],
        "points with equal numbers and influences": row["uncut"]["points"],
    }


def test_what_differs_is_missed() -> None:
    uncut, cut = Ending({"a": "1", "b": "2"}, {0: "x", 8: "y"}), Ending({"a": "1", "b": "3"}, {0: "x", 4: "z", 8: "w"})
    found = pretraining.figures(uncut, cut, [20], 1, "")
    assert [(figure.reached, figure.bound, figure.met) for figure in found] == [
        (1, 1, True),
        (1, 2, False),
        (1, 2, False),
    ]
    assert found[2].note == "1 further points"


def test_runs_are_cut_at_states_over_their_length() -> None:
    assert pretraining.places_of_cuts(1, 24, 4) == [12]
    assert pretraining.places_of_cuts(3, 100, 10) == [20, 50, 70]
    assert pretraining.places_of_cuts(2, 10, 9) == [9, 9]


def test_a_run_that_ends_before_it_is_killed_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ended = subprocess.Popen([sys.executable, "-c", "pass"], start_new_session=True)
    ended.wait()
    monkeypatch.setattr(pretraining, "_started", lambda *_: ended)
    (tmp_path / "c" / "last" / "step-4").mkdir(parents=True)
    with pytest.raises(typer.BadParameter, match="must be killed before it ends, and has ended; take more than 4"):
        pretraining.cut([], tmp_path, "c", 4)


def test_a_run_that_fails_is_said(tmp_path: Path) -> None:
    failing = [sys.executable, "-c", "raise SystemExit('no such model')"]
    with pytest.raises(typer.BadParameter, match="the run failed: no such model"):
        pretraining.finish(failing, tmp_path, "a")
    with pytest.raises(typer.BadParameter, match="the run must get to step 4, got to 0: no such model"):
        pretraining.cut(failing, tmp_path, "b", 4)
    with pytest.raises(typer.BadParameter, match="d must hold the last state of a run, and holds none"):
        pretraining.ending(tmp_path / "d")
