"""Fixtures of the tests that ask a hub."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ibtrack.replay import hub_client
from tests.hub_server import Hub


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub that is asked again without waiting; nothing else is asked."""
    monkeypatch.setattr(hub_client, "_FIRST_WAIT", 0.001)
    with Hub() as hub:
        yield hub
    assert hub.strays == []
