"""The made-up text of the benchmarks."""

from __future__ import annotations

import pytest

from experiments.benchmarks import text
from ibtrack import Probe


def test_made_up_text_repeats_itself_as_sources_do() -> None:
    """128 blocks of the standard library: 1.1k tokens, 6k bigrams, 9k trigrams and 11k quadgrams."""
    counts = Probe(text.made_up_text(128)).label_counts
    expected = {"token": 1150, "bigram": 6070, "trigram": 9040, "quadgram": 10_820}
    for order, number in expected.items():
        assert counts[f"input/{order}"] == pytest.approx(number, rel=0.2)
