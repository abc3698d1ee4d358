"""Outlines that commands keep go to a folder of the tests."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def cache_of_tests(own_cache: None) -> None:
    """Keep nothing in the folder of whoever runs the tests."""
