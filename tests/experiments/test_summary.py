"""The summary of a run: its table and its files."""

from __future__ import annotations

from pathlib import Path

from experiments.summary import places, table
from ibtrack import Point, Trajectory

VALUES = {"ib/mean/entropy": 0.9123, "ib/mean/token/kept": 0.25, "ib/mean/token/optimality": -0.0004}


def test_the_table_shows_what_there_is_and_marks_what_there_is_not() -> None:
    points = [Point(0, VALUES), Point(8, VALUES, loss=2.5), Point(16, failure="L00 did not fire")]
    lines = table(Trajectory({"orders": ["token", "trigram"]}, {}, points)).splitlines()
    assert lines[1].split() == ["step", "loss", "H", "kept", "told", "optimality"]
    assert lines[2].split() == ["0", "–", ".912", ".250", "–", ".000"]
    assert lines[3].split()[:3] == ["8", "2.500", ".912"]
    assert lines[4].split(maxsplit=1) == ["16", "not measured: L00 did not fire"]


def test_only_files_that_exist_are_named(tmp_path: Path) -> None:
    (tmp_path / "trajectory.jsonl").touch()
    (tmp_path / "wandb" / "offline-run-1").mkdir(parents=True)
    named = places(tmp_path)
    assert "trajectory.jsonl" in named
    assert "plane.png" not in named
    assert f"wandb leet run {tmp_path / 'wandb' / 'offline-run-1'}" in named
