"""Prints of k-grams: equal exactly where k-grams are."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ibtrack.probe.prints import joined_prints, kgram_prints, token_prints


@given(st.lists(st.integers(0, 2), max_size=40), st.integers(1, 9))
def test_prints_are_equal_exactly_where_kgrams_are(tokens: list[int], length: int) -> None:
    prints = kgram_prints(np.array(tokens, dtype=np.int64), length).tolist()
    kgrams = [tuple(tokens[i : i + length]) for i in range(len(tokens) - length + 1)]
    assert len(prints) == len(kgrams)
    assert len(set(prints)) == len(set(kgrams)) == len(set(zip(prints, kgrams, strict=True)))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.int64, np.uint64])
def test_the_type_of_the_tokens_does_not_matter(dtype: type) -> None:
    tokens = np.arange(50) % 11
    others: npt.NDArray[Any] = tokens.astype(dtype)
    assert kgram_prints(others, 6).tolist() == kgram_prints(tokens, 6).tolist()
    assert others.tolist() == tokens.tolist(), "the tokens stay as they were"


def test_parts_that_overlap_are_told_by_their_order() -> None:
    prints = token_prints(np.array([1, 2]))
    assert joined_prints(prints[:1], prints[1:]).tolist() != joined_prints(prints[1:], prints[:1]).tolist()


def test_all_of_many_kgrams_have_prints_of_their_own() -> None:
    tokens = np.arange(1 << 18)
    assert len(np.unique(kgram_prints(tokens, 32))) == (1 << 18) - 31
