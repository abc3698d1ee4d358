"""``ibtrack watch`` as a user sees it in the terminal."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
import webbrowser
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ibtrack.cli import app
from ibtrack.cli import watch as module
from ibtrack.live.page import LivePage
from ibtrack.live.runs import FollowedRuns
from tests import trajectories
from tests.live.conftest import GrowingRun


class Command:
    """``ibtrack watch`` in a process of its own."""

    def __init__(self, folder: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "ibtrack", "watch", str(folder), "--port", "0"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # it may be ignored here
        )
        self.lines = iter(self.process.stdout or ())

    def until(self, end: str) -> str:
        """Read lines up to one with a text, and return that."""
        return next(line for line in self.lines if end in line).rstrip("\n")


@pytest.fixture
def command(tmp_path: Path) -> Iterator[Command]:
    """The command, which follows the folder of the test."""
    started = Command(tmp_path)
    yield started
    started.process.kill()
    started.process.communicate()


def test_runs_are_told_as_they_come_and_end(command: Command, tmp_path: Path) -> None:
    url = command.until("follows").split()[0]
    assert command.until("no runs yet") == "no runs yet; it waits for the first trajectory file"
    with urllib.request.urlopen(url, timeout=300) as answer:
        assert "No runs yet" in answer.read().decode()
    growing = GrowingRun(trajectories.make("a"), tmp_path / "a", 1)
    assert command.until("a: ").startswith("a: new, running, ")
    growing.grow(2)
    growing.writer.close()
    assert command.until("a: finished") == "a: finished, 3 points"
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "trajectory.jsonl").write_text("hello\n")
    assert "is not a trajectory file" in command.until("b is left out: ")
    with urllib.request.urlopen(url, timeout=300) as answer:
        assert "<h1>a</h1>" in answer.read().decode()
    shutil.rmtree(tmp_path / "a")
    assert command.until("a: gone") == "a: gone"
    command.process.send_signal(signal.SIGINT)
    assert command.until("ended") == "ended; the runs go on"
    _, complaints = command.process.communicate()
    assert (command.process.returncode, complaints) == (0, "")


def test_mistakes_are_one_sentence(tmp_path: Path) -> None:
    def refused(*arguments: str) -> str:
        result = CliRunner().invoke(app, ["watch", *arguments])
        assert result.exit_code == 2
        (line,) = result.output.splitlines()
        return line

    assert refused(str(tmp_path / "none")) == f"error: {tmp_path / 'none'} is not a folder"
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert refused(str(tmp_path), "--port", str(port)) == (
            f"error: port {port} of 127.0.0.1 cannot be used: Address already in use; choose another one by --port, or "
            "one that is free by --port 0"
        )


class Over(Exception):
    """Ends the loop of a test."""


def looks(monkeypatch: pytest.MonkeyPatch, number: int) -> list[float]:
    """Let the loop look so often at the files, and list how long it waits after each look."""
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == number:
            raise Over

    monkeypatch.setattr(time, "sleep", pause)
    return pauses


def test_many_runs_at_once_are_counted_and_the_page_is_there_before_all_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in "abc":
        trajectories.write(trajectories.make(name, num_points=2), tmp_path / name)
    monkeypatch.setattr(module, "LEAST_READING", 0.0)
    pauses = looks(monkeypatch, 3)
    runs = FollowedRuns(tmp_path)
    page = LivePage(runs)
    seen: list[tuple[int, int]] = []
    update = page.update

    def counted(**options: object) -> None:
        update(**options)  # type: ignore[arg-type]  # as the loop gave them
        seen.append((len(runs.shown), runs.num_unread))
        page.took = 0.0  # so that each look reads one run

    monkeypatch.setattr(page, "update", counted)
    with pytest.raises(Over):
        module._follow(runs, page)
    assert seen == [(1, 2), (2, 1), (3, 0)]
    assert pauses[:2] == [0.0, 0.0]
    assert pauses[2] >= module.PAUSE
    assert capsys.readouterr().out == "3 runs: 3 finished\n"


def test_a_third_of_a_core_is_left_where_there_is_much_to_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trajectories.write(trajectories.make("a", num_points=2), tmp_path / "a")
    pauses = looks(monkeypatch, 2)
    times = iter([0.0, 9.0, 9.0, 20.0])  # of the loop alone
    monkeypatch.setattr(time, "monotonic", lambda: next(times))
    runs = FollowedRuns(tmp_path)
    page = LivePage(runs)
    monkeypatch.setattr(runs, "look", lambda seconds: ([], [], [], []))
    runs.by_path = {tmp_path: None}  # type: ignore[dict-item]  # which nobody looks at
    monkeypatch.setattr(FollowedRuns, "num_unread", 0)
    with pytest.raises(Over):
        module._follow(runs, page)
    assert pauses == [4.5, 5.5]


def test_the_page_is_opened_where_that_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    opened: list[str] = []
    monkeypatch.setattr(webbrowser, "open", opened.append)

    def stopped(runs: FollowedRuns, page: LivePage) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "_follow", stopped)
    module.watch(tmp_path, port=0, open_page=True)
    assert [url.partition("127")[0] for url in opened] == ["http://"]
    assert capsys.readouterr().out.endswith("ended; the runs go on\n")
