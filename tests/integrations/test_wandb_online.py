"""What wandb's own client sends to a server, also to one that is down, slow, silent, busy, goes away or comes back."""

import json
import re
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from ibtrack.integrations.wandb_workspace import make_dashboard
from ibtrack.record.trajectory import Trajectory
from tests.wandb_server import FAULTS, WandbServer

ROOT = Path(__file__).parents[2]
PAGE, PICTURE = "ib/information_plane", "ib/information_plane_picture"
MEDIA = {PAGE, PICTURE, "ib_more/points"}


Result = dict[str, Any]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Result]:
    """Train in a process of its own while the server has a fault, once for each fault."""

    @cache
    def of(fault: str) -> Result:
        command = [sys.executable, "-m", "tests.online_run", str(tmp_path_factory.mktemp("online")), *fault.split()]
        done = subprocess.run(command, capture_output=True, text=True, timeout=1500, cwd=ROOT, check=False)
        assert done.returncode == 0, done.stderr
        result: Result = json.loads(done.stdout.splitlines()[-1])
        return result

    return of


OTHERS = ("gone", "down", "half", "busy", "slow", "silent", "down 2 4", "silent 2 4")


@pytest.mark.parametrize(
    "fault", ["none", "gone 2 4", *(pytest.param(each, marks=pytest.mark.slow) for each in OTHERS)]
)
def test_every_number_reaches_wandb_once_and_training_waits_for_no_answer(
    run: Callable[[str], Result], fault: str
) -> None:
    result = run(fault)
    assert result["fault_at_end"] == ("none" if "2 4" in fault else fault)  # training and its end waited for no cure
    steps = [point["step"] for point in result["points"]]
    assert steps == [0, 1, 2, 3, 4, 5]
    rows = {row["trainer/global_step"]: row for row in result["history"] if "ib/mean/token/kept" in row}
    assert [*rows] == steps
    assert len(result["history"]) == len(steps) + 1  # a row at the end for what is drawn
    expected = {each["step"]: each["logged"] for each in result["points"]}
    logged = {*expected[0]}
    counts = Counter(key for row in result["history"] for key in row if key in logged)
    assert counts == dict.fromkeys(logged, len(steps))
    for step, numbers in expected.items():
        assert {key: rows[step][key] for key in numbers} == pytest.approx(numbers, rel=1e-12)
        assert {key for key in rows[step] if key.startswith("ib")} - MEDIA == numbers.keys()
    assert {key: result["summary"][key] for key in logged} == pytest.approx(expected[steps[-1]], rel=1e-12)
    defined = result["config"]["_wandb"]["value"]["m"]  # "5" is the place of the step metric, counted from 1
    names = [metric["1"] for metric in defined]
    assert {names[metric["5"] - 1] for metric in defined if metric["1"] in logged} == {"trainer/global_step"}
    assert logged <= {*names}
    assert isinstance(result["summary"]["ib/phases"], str)
    assert result["alerts"] == [["a phase", "has begun"]]
    assert {*result["waited"]} <= {"ibtrack"}  # threads of tables, never the training's own


@pytest.mark.parametrize("fault", ["none", pytest.param("gone 2 4", marks=pytest.mark.slow)])
def test_the_table_the_picture_and_the_page_reach_wandb(run: Callable[[str], Result], fault: str) -> None:
    result = run(fault)
    assert result["warnings"] == []
    last = result["history"][-1]
    assert last["ib_more/points"]["nrows"] == 12  # of six points and two label sets
    assert result["files"][last["ib_more/points"]["path"]] == last["ib_more/points"]["size"]
    for key, kind in ((PICTURE, "image-file"), (PAGE, "html-file")):
        assert last[key]["_type"] == kind
        assert result["files"][last[key]["path"]] == last[key]["size"]
    assert result["files"][last[PAGE]["path"]] < 1_000_000
    assert len(result["artifacts"]) == len(result["waited"]) >= 2
    assert len({*result["artifacts"]}) == 1  # versions of one table


def test_a_workspace_has_no_panel_of_a_key_that_no_run_has_sent(run: Callable[[str], Result]) -> None:
    result = run("none")
    sent = {key for row in result["history"] for key in row} | {*result["summary"]}
    view = make_dashboard(Trajectory.load(result["path"]), entity="tests", project="ibtrack").requests()["upsertView"]
    keys = {*re.findall(r'"(ib(?:_\w+)?/[\w/]+)"', json.dumps(view))}
    assert len(keys) > 20
    assert {key for key in keys - sent if not key.startswith("ib/phases/")} == set()  # six points have no phases


@pytest.mark.slow
def test_a_server_that_answers_nothing_costs_the_table_and_not_the_picture(run: Callable[[str], Result]) -> None:
    result = run("silent")
    assert any(PICTURE in row for row in result["history"])
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
            assert server.asked == ([] if fault == "gone" else ["/upload/a"] * 2)
            assert server.files == ({} if fault in ("gone", "down") else {"a": b"x"})
    failing = {"gone": [0, 0], "down": [0, 0], "half": [200, 500], "busy": [200, 429]}
    assert answers == {"none": [200, 200], **failing, "slow": [200, 200]}


def test_a_server_that_has_gone_comes_back_where_it_was() -> None:
    with WandbServer() as server:
        for fault, answer in (("gone", 0), ("gone", 0), ("none", 200)):
            server.fault = fault
            assert _ask(server) == answer
        assert server.asked == ["/upload/a"]


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
