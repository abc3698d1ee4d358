from __future__ import annotations

import errno
from typing import Any

import pytest

from ibtrack.replay.hub_errors import HubError, explained, is_transient, status_of


class _Answer:
    def __init__(self, status: int) -> None:
        self.status_code = status


class _Refused(OSError):
    """What a client raises for an answer."""

    def __init__(self, status: Any) -> None:
        super().__init__(f"status {status}")
        self.response = _Answer(status)


class ReadTimeout(Exception):
    """Named as in requests and httpx, below a class of theirs."""


class TimeoutException(ReadTimeout):
    pass


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_a_busy_or_failing_hub_is_asked_again(status: int) -> None:
    assert is_transient(_Refused(status))
    assert explained(_Refused(status), "owner/name", "http://hub").transient


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 416])
def test_a_refusal_is_final(status: int) -> None:
    assert not is_transient(_Refused(status))
    assert not explained(_Refused(status), "owner/name", "http://hub").transient


@pytest.mark.parametrize(
    "error",
    [
        ConnectionResetError("reset"),
        TimeoutError("no answer"),
        TimeoutException("no answer"),
        OSError("Consistency check failed: file should be of size 3 but has size 2"),
        caused(FileNotFoundError("no such file in the cache"), _Refused(503)),
        caused(ValueError("odd"), ConnectionRefusedError("refused")),
    ],
)
def test_a_network_that_fails_is_asked_again(error: Exception) -> None:
    assert is_transient(error)
    said = explained(error, "owner/name", "http://hub")
    assert said.transient
    assert str(said).startswith("http://hub ")


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "No space left"), FileNotFoundError("config.json"), ValueError("x"), HubError("no")]
)
def test_a_fault_of_this_machine_is_final(error: Exception) -> None:
    assert not is_transient(error)


def test_errors_that_name_each_other_end() -> None:
    first, second = ValueError("a"), ValueError("b")
    first.__cause__, second.__cause__ = second, first
    assert not is_transient(first)


def test_each_error_is_one_sentence() -> None:
    said = [
        str(explained(error, "owner/name", "http://hub", revision="step1"))
        for error in (_Refused(429), _Refused(500), _Refused(401), ConnectionResetError("cut"), OSError("odd\nerror"))
    ]
    assert said == [
        "http://hub allows no more requests for now (429); with a token it allows more",
        "http://hub answered a request for owner/name with the error 500",
        "there is no repository owner/name at http://hub, or it is private and no token was given",
        "http://hub cannot be reached, or the connection was cut: ConnectionResetError: cut",
        "a request for owner/name failed: OSError: odd error",
    ]


def test_an_error_that_is_explained_stays_as_it_is() -> None:
    error = HubError("said")
    assert explained(error, "owner/name", "http://hub") is error


def test_a_fault_of_the_program_is_not_blamed_on_the_hub() -> None:
    with pytest.raises(AttributeError, match="no such thing"):
        explained(AttributeError("no such thing"), "owner/name", "http://hub")


def test_a_status_is_a_number() -> None:
    assert [status_of(each) for each in (_Refused(404), _Refused("404"), ValueError(), None)] == [404, None, None, None]
