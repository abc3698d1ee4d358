"""Finished jobs: run once, kept apart from unfinished attempts and from other configurations."""

from __future__ import annotations

import fcntl
from pathlib import Path
from typing import Any

import pytest
from omegaconf import DictConfig, OmegaConf

from experiments import finished
from experiments.finished import once


def job(folder: Path, **values: Any) -> DictConfig:
    made = OmegaConf.create({"name": "job", "objective": "loss", "run_dir": str(folder), **values})
    OmegaConf.set_struct(made, True)  # as Hydra hands it over
    return made


def test_a_run_is_made_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    values = iter([0.25, 0.5])
    assert once(job(tmp_path), lambda cfg: next(values)) == 0.25
    assert once(job(tmp_path), lambda cfg: next(values)) == 0.25
    assert "job: has finished before, loss 0.25" in capsys.readouterr().out
    moved = tmp_path.rename(tmp_path.with_name("moved"))
    assert once(job(moved), lambda cfg: next(values)) == 0.25, "wherever the folder lies"


def test_a_finished_run_is_not_taken_for_another(tmp_path: Path) -> None:
    once(job(tmp_path, trainer={"max_steps": 8}), lambda cfg: 0.25)
    with pytest.raises(
        ValueError, match=r"another configuration \(trainer.max_steps: 8 before, 9 now\); give this sweep"
    ):
        once(job(tmp_path, trainer={"max_steps": 9}), lambda cfg: 0.5)


def test_attempts_that_did_not_finish_are_kept(tmp_path: Path) -> None:
    def die(cfg: DictConfig) -> float:
        (tmp_path / "trajectory.jsonl").write_text(attempt)
        raise RuntimeError(attempt)

    for attempt in ("first", "second"):
        with pytest.raises(RuntimeError, match=attempt):
            once(job(tmp_path), die)
    assert once(job(tmp_path), lambda cfg: 0.25) == 0.25
    assert [(tmp_path / f"attempt_{number}/trajectory.jsonl").read_text() for number in (1, 2)] == ["first", "second"]
    assert not (tmp_path / "trajectory.jsonl").exists(), "the last attempt began in an empty folder"


def test_a_run_that_another_process_is_at_is_left_alone(tmp_path: Path) -> None:
    with (tmp_path / finished.LOCK).open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(RuntimeError, match="is being written to by another process"):
            once(job(tmp_path), lambda cfg: 0.25)
    assert once(job(tmp_path), lambda cfg: 0.25) == 0.25


def test_a_file_system_without_locks_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(file: object, operation: int) -> None:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.warns(UserWarning, match=r"cannot be locked .*Function not implemented.*; launch this sweep from one"):
        assert once(job(tmp_path), lambda cfg: 0.25) == 0.25


def test_an_attempt_that_has_saved_its_state_is_gone_on_with(tmp_path: Path) -> None:
    def die(cfg: DictConfig) -> float:
        (tmp_path / "last" / "step-3").mkdir(parents=True, exist_ok=True)
        (tmp_path / "trajectory.jsonl").write_text("points")
        raise RuntimeError("cut")

    for _ in range(2):
        with pytest.raises(RuntimeError, match="cut"):
            once(job(tmp_path, resume="auto"), die)
    assert not (tmp_path / "attempt_1").exists()
    assert once(job(tmp_path, resume=False), lambda cfg: 0.25) == 0.25
    assert (tmp_path / "attempt_1" / "last" / "step-3").is_dir()
    assert once(job(tmp_path, resume=True), lambda cfg: 0.5) == 0.25, "however it was gone on with, it has finished"
