"""How long training waits for wandb."""

import pytest
import typer

from experiments.benchmarks import wandb_server
from tests.wandb_server import FAULTS


def test_calls_and_work_become_shares() -> None:
    row = {
        "fault": "down",
        "wall": 200.0,
        "points": 9,
        "tables": 0,
        "in_calls": 1.0,
        "at_work": 0.5,
        "working": 4.0,
        "longest": 0.5,
        "end": 2,
    }
    waits, works = wandb_server._figures(row)
    assert (waits.reached, works.reached) == (0.5, 2.0)
    assert (waits.met, works.met) == (True, False)
    assert waits.note.startswith("0.25 % at work, the rest waiting; longest call 0.50 s")


def test_an_unknown_fault_is_refused() -> None:
    with pytest.raises(typer.BadParameter, match=f"--fault must be one of {', '.join(FAULTS)}, got 'odd'"):
        wandb_server.main(["odd"])


@pytest.mark.slow
def test_a_short_run_is_measured() -> None:
    row = wandb_server.measure_apart("none", 3.0)
    assert row["wall"] >= 3.0
    assert 0 < row["at_work"] <= row["in_calls"] < row["wall"]
