"""The comparison of two checkouts: the numbers that it reads, those that it finds moved, and its exit status."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest
import typer

from experiments.benchmarks import unmoved
from tests.runs import ROOT

# stands for experiments/train.py: writes the trajectory of its checkout to the folder of the run
SCRIPT = """
import pathlib, shutil, sys
options = dict(argument.split("=", 1) for argument in sys.argv[1:])
folder = pathlib.Path(options["hydra.run.dir"])
folder.mkdir(parents=True)
shutil.copy("trajectory.jsonl", folder)
"""
VALUES: dict[str, float | None] = {"ib/mean/entropy": 0.5, "ib/L00/entropy": None, "ib/overhead_fraction": 0.25}


def trajectory(file: Path, name: str = "values", values: Mapping[str, float | None] = VALUES) -> Path:
    """Write two points, with their numbers under the name that a format has for them."""
    points = [{"step": step, "loss": loss, name: values} for step, loss in ((0, None), (8, 2.5))]
    file.write_text("\n".join(map(json.dumps, [{"format": "header"}, *points])) + "\n")
    return file


def in_columns(file: Path) -> Path:
    """Write the same points as format 3 does, under columns that are named once."""
    points = [{"step": step, "loss": loss, "values": list(VALUES.values())} for step, loss in ((0, None), (8, 2.5))]
    file.write_text("\n".join(map(json.dumps, [{"format": "header"}, list(VALUES), *points])) + "\n")
    return file


def checkout(folder: Path, values: Mapping[str, float | None] = VALUES) -> Path:
    """Make a folder whose training script writes a trajectory with these values."""
    (folder / "experiments").mkdir(parents=True)
    (folder / "experiments" / "train.py").write_text(SCRIPT)
    trajectory(folder / "trajectory.jsonl", values=values)
    return folder


def exit_status(before: Path, override: list[str] | None = None) -> int:
    with pytest.raises(typer.Exit) as ended:
        unmoved.main(before, override)
    return ended.value.exit_code


@pytest.mark.parametrize("name", ["values", "readings"])
def test_numbers_of_both_formats_are_read_without_those_of_the_clock(name: str, tmp_path: Path) -> None:
    assert unmoved.numbers(trajectory(tmp_path / "trajectory.jsonl", name)) == {
        (0, "ib/mean/entropy"): 0.5,
        (0, "ib/L00/entropy"): None,
        (0, "loss"): None,
        (8, "ib/mean/entropy"): 0.5,
        (8, "ib/L00/entropy"): None,
        (8, "loss"): 2.5,
    }


def test_formats_are_compared_with_each_other(tmp_path: Path) -> None:
    old = unmoved.numbers(trajectory(tmp_path / "old.jsonl", "readings"))
    new = unmoved.numbers(trajectory(tmp_path / "new.jsonl", "values"))
    assert unmoved.differences(old, new) == []
    assert unmoved.numbers(in_columns(tmp_path / "newest.jsonl")) == new


def test_a_difference_in_the_last_digit_is_seen() -> None:
    assert unmoved.differences({(8, "loss"): 0.1 + 0.2}, {(8, "loss"): 0.3}) == [
        "step 8, loss: 0.30000000000000004 before, 0.3 after"
    ]


def test_numbers_that_are_missing_are_told_from_those_that_are_null() -> None:
    assert unmoved.differences({(0, "a"): None, (0, "b"): 1.0}, {(0, "b"): None, (8, "b"): None}) == [
        "step 0, a: None before, absent after",
        "step 0, b: 1.0 before, None after",
        "step 8, b: absent before, None after",
    ]


def test_equal_numbers_exit_with_0(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(unmoved, "HERE", checkout(tmp_path / "after", {**VALUES, "ib/overhead_fraction": 0.5}))
    assert exit_status(checkout(tmp_path / "before")) == 0
    assert capsys.readouterr().out == "0 of 6 numbers differ\n"


def test_a_moved_number_exits_with_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        unmoved, "HERE", checkout(tmp_path / "after", {**VALUES, "ib/mean/entropy": 0.5000000000000001})
    )
    assert exit_status(checkout(tmp_path / "before")) == 1
    assert capsys.readouterr().out.splitlines() == [
        "step 0, ib/mean/entropy: 0.5 before, 0.5000000000000001 after",
        "step 8, ib/mean/entropy: 0.5 before, 0.5000000000000001 after",
        "2 of 6 numbers differ",
    ]


def test_a_trajectory_without_points_proves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    empty = checkout(tmp_path / "checkout")
    (empty / "trajectory.jsonl").write_text('{"format": "header"}\n')
    monkeypatch.setattr(unmoved, "HERE", empty)
    assert exit_status(empty) == 1


def test_a_run_that_fails_is_told_with_its_error(tmp_path: Path) -> None:
    broken = checkout(tmp_path / "checkout")
    (broken / "experiments" / "train.py").write_text("raise SystemExit('no such experiment')")
    with pytest.raises(typer.BadParameter, match=r"the run in .*checkout failed:\nno such experiment"):
        unmoved.main(broken)


@pytest.mark.slow
def test_a_checkout_is_equal_to_itself_and_another_seed_is_not(tmp_path: Path) -> None:
    other = tmp_path / "checkout"
    for name in ("conf", "experiments", "ibtrack"):
        shutil.copytree(ROOT / name, other / name, ignore=shutil.ignore_patterns("__pycache__"))
    assert exit_status(other) == 0
    config = (other / "conf" / "config.yaml").read_text()
    (other / "conf" / "config.yaml").write_text(config.replace("\nseed: 0", "\nseed: 1"))
    assert exit_status(other) == 1
    assert exit_status(other, ["seed=2"]) == 0, "an override holds for both"
