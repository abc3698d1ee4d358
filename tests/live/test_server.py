"""What the server answers, and to whom."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from ibtrack.live import server as module
from ibtrack.live.page import LivePage
from ibtrack.live.runs import FollowedRuns
from ibtrack.live.server import PageServer
from tests import trajectories
from tests.live.conftest import Watched

Ask = Callable[..., tuple[http.client.HTTPResponse, str]]


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """A server that follows one run."""
    served = Watched(tmp_path_factory.mktemp("runs"))
    trajectories.write(trajectories.make("a"), served.runs.folder / "a")
    served.look()
    yield served
    served.end()


@pytest.fixture
def ask(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> Ask:
    """Ask the server for something."""
    monkeypatch.setattr(module, "LONGEST_WAIT", 0.05)

    def asked(path: str, method: str = "GET", **headers: str) -> tuple[http.client.HTTPResponse, str]:
        with closing(http.client.HTTPConnection(module.ADDRESS, watched.server.server_port, timeout=300)) as line:
            line.request(method, path, headers=headers)
            answer = line.getresponse()
            return answer, answer.read().decode()

    return asked


def test_page_news_and_details_are_served(ask: Ask, watched: Watched) -> None:
    answer, text = ask("/")
    assert (answer.status, answer.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert "<h1>a</h1>" in text
    answer, text = ask("/news?after=")
    assert (answer.status, json.loads(text)["version"]) == (200, watched.page.version)
    answer, text = ask("/details/run000.js")
    assert (answer.status, answer.headers["Content-Type"]) == (200, "text/javascript; charset=utf-8")
    assert text.startswith("ibtrackDetails(0, ")


def test_without_news_the_answer_is_empty(ask: Ask, watched: Watched) -> None:
    answer, text = ask(f"/news?after={watched.page.version}")
    assert (answer.status, text) == (204, "")


@pytest.mark.parametrize(
    "path",
    [
        *("/trajectory.jsonl", "/a/trajectory.jsonl", "/details/run001.js", "/details/run0.js", "/index.html"),
        *("/details/../../etc/passwd", "/details/%2e%2e/%2e%2e/etc/passwd", "//etc/passwd", "/details/run000.js/x"),
    ],
)
def test_nothing_else_is_served(ask: Ask, path: str) -> None:
    answer, text = ask(path)
    assert answer.status == 404
    assert len(text.splitlines()) == 1


def test_a_run_that_has_gone_has_no_details(ask: Ask, watched: Watched) -> None:
    (run,) = watched.runs.shown
    run.path.rename(run.path.with_suffix(".away"))
    answer, text = ask("/details/run000.js")
    run.path.with_suffix(".away").rename(run.path)
    assert (answer.status, text) == (404, f"{run.path} cannot be used: No such file or directory\n")


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "", "localhost.evil:1"])
def test_a_name_that_was_bent_to_this_machine_is_refused(ask: Ask, host: str) -> None:
    for path in ("/", "/news?after=", "/details/run000.js"):
        answer, text = ask(path, Host=host)
        assert answer.status == 403
        assert "must name this machine" in text


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost:9000", "[::1]:9000"])
def test_this_machine_may_be_reached_by_a_forwarded_port(ask: Ask, host: str) -> None:
    assert ask("/", Host=host)[0].status == 200


def test_no_other_site_may_load_or_frame_an_answer(ask: Ask) -> None:
    for path in ("/", "/news?after=", "/details/run000.js", "/none"):
        headers = ask(path)[0].headers
        assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert headers["Content-Security-Policy"] == "frame-ancestors 'none'"
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Access-Control-Allow-Origin"] is None


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
def test_nothing_can_be_sent(ask: Ask, method: str) -> None:
    assert ask("/", method)[0].status == 501


def test_the_head_of_an_answer_can_be_asked_for(ask: Ask) -> None:
    answer, text = ask("/", "HEAD")
    assert (answer.status, text) == (200, "")
    assert int(answer.headers["Content-Length"]) > 1000


def test_only_this_machine_is_listened_to(watched: Watched) -> None:
    assert watched.server.server_address[0] == "127.0.0.1"
    assert watched.server.url == f"http://127.0.0.1:{watched.server.server_port}/"


def test_a_port_that_is_taken_is_named(tmp_path: Path, watched: Watched) -> None:
    with pytest.raises(OSError, match="in use") as caught:
        PageServer(LivePage(FollowedRuns(tmp_path)), port=watched.server.server_port)
    assert caught.value.filename == f"port {watched.server.server_port} of 127.0.0.1"


def test_a_browser_that_goes_away_is_no_fault(watched: Watched, capfd: pytest.CaptureFixture[str]) -> None:
    def fails(error: Exception) -> None:
        try:
            raise error
        except type(error):
            watched.server.handle_error(None, ("127.0.0.1", 1))

    fails(ConnectionResetError())
    assert capfd.readouterr().err == ""
    fails(ValueError("a fault"))
    assert "a fault" in capfd.readouterr().err


def test_what_is_no_request_is_answered(watched: Watched) -> None:
    with socket.create_connection((module.ADDRESS, watched.server.server_port), timeout=300) as line:
        line.sendall(b"hello\r\n\r\n")
        assert b"400" in line.recv(1000)
