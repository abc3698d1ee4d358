"""The commands on files that nobody should trust: an answer or one line, no traceback, no order to the terminal.

Not the test of a module: it holds all commands against the same files.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from typer.testing import CliRunner

from ibtrack.cli import app
from ibtrack.cli.terminal import say
from ibtrack.record.trajectory import Trajectory
from tests import damage, trajectories

ORDERS_TO_TERMINALS = "\x1b\x00\x07\x9b\u202e"
Arguments = list[Any]


def commands(path: Path, folder: Path) -> list[Arguments]:
    """The commands that read files and draw nothing, for a file in a folder that also holds a sound run."""
    return [
        ["show", path, "--unit", "log_k"],
        ["show", path, "--site", "L00", "--order", "bigram", "--reading", "plugin"],
        ["list", folder],
        ["compare", path, folder / "sound"],
        ["export", path, "--parquet", folder / "points.parquet"],
    ]


def drawing_commands(path: Path, folder: Path) -> list[Arguments]:
    return [
        ["plane", path, folder / "sound", "--allow-mixed", "-o", folder / "plane.png"],
        ["report", path, folder / "sound", "--allow-mixed", "-o", folder / "report.html"],
    ]


def check(arguments: Arguments, name: str) -> None:
    """Call a command; it must end with an answer or with one line."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    told = f"{name}, {arguments}: {result.output[:2000]} {result.exception!r}"
    assert result.exit_code in (0, 2), told
    assert not set(ORDERS_TO_TERMINALS) & set(result.output), told
    if result.exit_code == 2:
        assert [line[:7] for line in result.stderr.splitlines() if not line.startswith("note: ")] == ["error: "], told


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a sound run, for all files of this module."""
    folder = tmp_path_factory.mktemp("files")
    trajectories.write(trajectories.make("good", num_points=3, config={"lr": 0.2}), folder / "sound")
    (folder / "damaged").mkdir()
    return folder


def test_list_shows_the_sound_runs_and_a_line_for_each_damaged_one(tmp_path: Path) -> None:
    good = trajectories.write(trajectories.make("good"), tmp_path / "good")
    alone = CliRunner().invoke(app, ["list", str(tmp_path)]).stdout.splitlines()[1]
    content = {f"bad{number:03}": each for number, (_, each) in enumerate(damage.hostile()) if number % 12 == 0}
    for name, each in content.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "trajectory.jsonl").write_bytes(each)
    result = CliRunner().invoke(app, ["list", str(tmp_path)])
    assert result.exit_code == 0, result.output
    rows = result.stdout.split("\n\n")[0].splitlines()[1:]
    assert [row.split()[-1] for row in rows] == [*sorted(content), good.name]  # the folders
    assert alone.split()[1:6] == rows[-1].split()[1:6]
    damaged = [row for row in rows if "not readable" in row]
    assert len(damaged) > 25
    for row in damaged:
        assert row.count("trajectory.jsonl") == 1


@pytest.mark.parametrize("part", range(6))
def test_hostile_files_end_in_an_answer_or_one_line(folder: Path, part: int) -> None:
    """Of all files every fifth, each through one of the commands; the others are the slow test's."""
    path = folder / "damaged" / "trajectory.jsonl"
    for number, (name, content) in enumerate(damage.hostile()):
        if number % 30 == 5 * part:
            path.write_bytes(content)
            check(commands(path, folder)[number % 7 % 5], name)


@settings(max_examples=60, deadline=None, derandomize=True, database=None, phases=[Phase.generate])
@given(content=damage.fuzzed())
def test_fuzzed_files_end_in_an_answer_or_one_line(folder: Path, content: bytes) -> None:
    path = folder / "damaged" / "trajectory.jsonl"
    path.write_bytes(content)
    for arguments in commands(path, folder)[:3]:
        check(arguments, "fuzzed")


@pytest.mark.slow
def test_every_hostile_file_through_every_command(folder: Path) -> None:
    path = folder / "damaged" / "trajectory.jsonl"
    for number, (name, content) in enumerate(damage.hostile()):
        path.write_bytes(content)
        for arguments in commands(path, folder):
            check(arguments, name)
        if number % 5 == 0 or _is_read(path):
            check(drawing_commands(path, folder)[number % 2], name)


@pytest.mark.slow
@settings(max_examples=2000, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
@given(content=damage.fuzzed())
def test_two_thousand_fuzzed_files_through_every_command(folder: Path, content: bytes) -> None:
    path = folder / "damaged" / "trajectory.jsonl"
    path.write_bytes(content)
    for arguments in commands(path, folder):
        check(arguments, "fuzzed")
    if len(content) % 40 == 0:
        for arguments in drawing_commands(path, folder):
            check(arguments, "fuzzed")


def _is_read(path: Path) -> bool:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            Trajectory.load(path)
        except ValueError:
            return False
    return True


def test_escapes_in_names_failures_and_settings_are_shown_as_letters(tmp_path: Path) -> None:
    escape = "\x1b]0;owned\x07\x1b[31m"
    for seed in (0, 1):
        run = trajectories.make(
            f"{escape}{seed}", num_points=3, config={"model": f"{escape}{seed}", escape: 1, "lr": seed}
        )
        trajectories.write(run, tmp_path / f"{escape}{seed}")
    trajectories.write(trajectories.damaged(first=4, failure=escape), tmp_path / "failed")
    runs = [tmp_path / f"{escape}{seed}" for seed in (0, 1)]
    said = ""
    for arguments in (["list", tmp_path], ["show", runs[0]], ["show", tmp_path / "failed"], ["compare", *runs]):
        result = CliRunner().invoke(app, list(map(str, arguments)))
        assert result.exit_code == 0, result.output
        said += result.output
    result = CliRunner().invoke(app, ["show", str(tmp_path / escape)])
    said += result.output
    assert not set(ORDERS_TO_TERMINALS) & set(said)
    assert said.count(r"\x1b]0;owned\x07\x1b[31m") >= 5


def test_a_line_that_the_terminal_has_no_letters_for_is_written_as_codes(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = []

    def echo(text: str, *, err: bool, nl: bool) -> None:
        lines.append(text.encode("ascii"))

    monkeypatch.setattr("typer.echo", echo)
    say("  I(X;Z) ± 0.1\n\tsecond")
    assert lines == [b"  I(X;Z) \\xb1 0.1\nsecond"]
