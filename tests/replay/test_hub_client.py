from __future__ import annotations

import logging
import sys
import threading
import time

import pytest

from ibtrack.replay import hub_client
from ibtrack.replay.hub_client import TRIES, HubClient
from ibtrack.replay.hub_errors import HubError
from tests.hub_server import Hub, made_up


def client(hub: Hub, repository: str = "owner/name", token: str | bool | None = None) -> HubClient:
    return HubClient(repository, endpoint=hub.url, token=token)


def test_a_list_is_read_over_all_of_its_pages(hub: Hub) -> None:
    hub.add("owner/name", {"main": {f"file{number}": b"x" for number in range(7)}})
    hub.page = 3
    commit = hub.commit("owner/name", "main")
    entries = [*client(hub).listed(f"tree/{commit}", recursive="true", expand="false")]
    assert sorted(entry["path"] for entry in entries) == [f"file{number}" for number in range(7)]
    assert hub.count("GET /api/models/owner/name/tree") == 3


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_request_is_made_again_where_that_helps(hub: Hub, status: int) -> None:
    hub.add("owner/name", {"main": made_up(1)})
    [*client(hub).listed("refs")]
    hub.fail("refs", status, times=TRIES - 1)
    assert next(client(hub).listed("refs"))["branches"][0]["name"] == "main"
    assert hub.count("refs") == 1 + TRIES


def test_a_hub_that_goes_on_failing_is_given_up(hub: Hub) -> None:
    hub.add("owner/name", {"main": made_up(1)})
    hub.fail("refs", 503, times=None)
    with pytest.raises(
        HubError, match=r"^http://127.* answered a request for owner/name with the error 503$"
    ) as caught:
        [*client(hub).listed("refs")]
    assert caught.value.transient
    assert hub.count("refs") == TRIES


def test_a_refusal_is_not_asked_again(hub: Hub) -> None:
    with pytest.raises(HubError, match=r"^there is no repository owner/none at http.*, or it is private and no token"):
        [*client(hub, "owner/none").listed("refs")]
    with pytest.raises(HubError, match=r"^there is no repository owner/none at http.*, or the token may not see it$"):
        [*client(hub, "owner/none", token="hf_x").listed("refs")]
    assert len(hub.asked) == 2
    assert [each.token for each in hub.asked] == [None, "hf_x"]


def test_without_a_network_it_is_said_soon() -> None:
    with pytest.raises(
        HubError, match=r"^http://127\.0\.0\.1:9 cannot be reached, or the connection was cut: ConnectError"
    ):
        [*HubClient("owner/name", endpoint="http://127.0.0.1:9/", token=False).listed("refs")]


def test_a_cut_answer_is_asked_for_again(hub: Hub) -> None:
    hub.add("owner/name", {"main": made_up(1)})
    hub.cut("refs", 3)
    assert len([*client(hub).listed("refs")]) == 1
    assert hub.count("refs") == 2


def test_what_is_no_hub_is_one_sentence(hub: Hub) -> None:
    hub.fail("refs", 200, body=b"<html>Please log in.</html>", content_type="text/html")
    with pytest.raises(HubError, match=r"^http://127.* does not answer as a hub does: JSONDecodeError"):
        [*client(hub).listed("refs")]


def test_a_gated_repository_is_told_apart(hub: Hub) -> None:
    hub.add("owner/name", {"main": made_up(1)}, gated="hf_right")
    with pytest.raises(HubError, match=r"^owner/name is gated: ask for access on its page, and give a token"):
        client(hub).check_access()
    with pytest.raises(HubError, match=r"^owner/name is gated and the token may not read it"):
        client(hub, token="hf_wrong").check_access()
    client(hub, token="hf_right").check_access()


def test_a_mirror_that_knows_no_access_tells_nothing(hub: Hub) -> None:
    hub.add("owner/name", {"main": made_up(1)})
    for status in (401, 403, 404):
        hub.fail("auth-check", status)
        client(hub).check_access()
    hub.fail("auth-check", 503, times=None)
    with pytest.raises(HubError, match=r"with the error 503$"):
        client(hub).check_access()


def test_a_file_is_read_as_it_is(hub: Hub) -> None:
    hub.add("owner/name", {"main": {"a b/c.json": b"{}"}})
    assert client(hub).text("a b/c.json", hub.commit("owner/name", "main")) == b"{}"


def test_a_token_that_must_be_saved_and_is_not(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.utils._headers.get_token", lambda: None)
    with pytest.raises(HubError, match=r"^token=True needs a token that is saved on this machine: "):
        client(hub, token=True)
    assert not client(hub, token=False).has_token
    assert client(hub, token="hf_x").has_token


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, 8.0),
        ({"Retry-After": "7"}, 7.0),
        ({"retry-after": "Fri, 27 Nov 2026 00:00:00 GMT"}, 8.0),
        ({"RateLimit": '"api";r=0;t=55', "Retry-After": "7"}, 55.0),
        ({"ratelimit": '"api";r=3;t=55'}, 8.0),
        ({"Retry-After": "86400"}, 310.0),
    ],
)
def test_it_waits_as_long_as_the_hub_says(headers: dict[str, str], seconds: float) -> None:
    assert hub_client._wait(headers, 4) == seconds


def test_a_long_wait_is_said_once_and_ends_when_it_is_stopped(hub: Hub, caplog: pytest.LogCaptureFixture) -> None:
    hub.add("owner/name", {"main": made_up(1)})
    found = client(hub)
    [*found.listed("refs")]
    hub.fail("refs", 429, times=None, retry_after="300")
    errors: list[BaseException] = []

    def ask() -> None:
        try:
            [*found.listed("refs")]
        except HubError as error:
            errors.append(error)

    threads = [threading.Thread(target=ask) for _ in range(3)]
    with caplog.at_level(logging.WARNING, logger="ibtrack"):
        for thread in threads:
            thread.start()
        while hub.count("refs") < 4:
            time.sleep(0.01)
        found.stopped.set()
        for thread in threads:
            thread.join()
    assert [str(error) for error in errors] == [
        f"{hub.url} allows no more requests for now (429); with a token it allows more"
    ] * 3
    said = [record.getMessage() for record in caplog.records if record.name.startswith("ibtrack")]
    assert said == [f"{hub.url} asks to wait 300 s before the next request for owner/name"]


def test_without_the_package_of_the_hub_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    words = r"^a repository of the hub needs huggingface_hub, which is not installed: pip install 'ibtrack\[hub\]'$"
    with pytest.raises(ModuleNotFoundError, match=words):
        HubClient("owner/name")
