"""Small documents for tests of the data."""

from __future__ import annotations

STORIES = [f"Once there was a {animal} called {name}. " * 20 for animal in ("cat", "dog", "fox") for name in "ABCDEFGH"]
