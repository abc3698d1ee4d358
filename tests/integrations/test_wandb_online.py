"""What wandb's own client sends to a server, also to one that is down, slow, silent or fails half of the time."""

import json
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.wandb_server import FAULTS, WandbServer

ROOT = Path(__file__).parents[2]


def run(folder: Path, fault: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "tests.online_run", str(folder), fault]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1500, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


@pytest.mark.parametrize(
    "fault", ["none", "half", *(pytest.param(each, marks=pytest.mark.slow) for each in ("down", "slow", "silent"))]
)
def test_every_number_reaches_wandb_once_and_training_waits_for_no_answer(tmp_path: Path, fault: str) -> None:
    result = run(tmp_path, fault)
    steps = [point["step"] for point in result["points"]]
    assert steps == [0, 1, 2, 3, 4, 5]
    rows = {row["trainer/global_step"]: row for row in result["history"] if "ib/mean/entropy" in row}
    assert [*rows] == steps
    logged = {key for row in rows.values() for key in row if key.startswith("ib/")} - {"ib/points", "ib/plane"}
    counts = Counter(key for row in result["history"] for key in row if key in logged)
    assert {*counts.values()} == {len(steps)}
    for point in result["points"]:
        for key in logged & point["values"].keys():
            assert rows[point["step"]][key] == pytest.approx(point["values"][key], rel=1e-12)
    defined = result["config"]["_wandb"]["value"]["m"]  # "5" is the place of the step metric, counted from 1
    names = [metric["1"] for metric in defined]
    assert {names[metric["5"] - 1] for metric in defined if metric["1"] in logged} == {"trainer/global_step"}
    assert logged <= {*names}
    assert isinstance(result["summary"]["ib/phases"], str)
    assert result["alerts"] == [["a phase", "has begun"]]
    assert {*result["waited"]} <= {"ibtrack"}  # threads of tables, never the training's own


def test_the_table_and_the_picture_reach_wandb(tmp_path: Path) -> None:
    result = run(tmp_path, "none")
    assert result["warnings"] == []
    last = result["history"][-1]
    assert last["ib/points"]["nrows"] == 12  # of six points and two label sets
    assert result["files"][last["ib/points"]["path"]] == last["ib/points"]["size"]
    assert result["files"][last["ib/plane"]["path"]] == last["ib/plane"]["size"]
    assert len(result["artifacts"]) == len(result["waited"]) >= 2
    assert len({*result["artifacts"]}) == 1  # versions of one table


@pytest.mark.slow
def test_a_server_that_answers_nothing_costs_the_table_and_not_the_picture(tmp_path: Path) -> None:
    result = run(tmp_path, "silent")
    assert any("ib/plane" in row for row in result["history"])
    (sentence,) = {text for text in result["warnings"] if "did not take the end of the run" in text}
    assert "only this is missing there: the table of all points (TimeoutError: given up after 5 s)" in sentence


def _ask(server: WandbServer) -> int:
    request = urllib.request.Request(f"{server.url}/upload/a", data=b"x", method="PUT")
    try:
        return int(urllib.request.urlopen(request, timeout=300).status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


def test_the_server_fails_as_it_is_asked_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.wandb_server.DELAYS", (0.1,))
    answers = {}
    for fault in [*FAULTS][:-1]:
        with WandbServer(fault) as server:
            answers[fault] = [_ask(server), _ask(server)]
            assert server.asked == ["/upload/a"] * 2
            assert server.files == ({} if fault == "down" else {"a": b"x"})
    assert answers == {"none": [200, 200], "down": [0, 0], "half": [200, 500], "slow": [200, 200]}


def test_a_silent_server_lets_go_once_it_recovers() -> None:
    with WandbServer("silent") as server:
        answers: list[int] = []
        asking = threading.Thread(target=lambda: answers.append(_ask(server)), daemon=True)
        asking.start()
        while not server.asked:
            threading.Event().wait(0.01)
        assert answers == []
        server.fault = "none"
        asking.join(300)
        assert answers == [0]
        assert _ask(server) == 200
