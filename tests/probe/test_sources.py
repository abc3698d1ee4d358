"""Sequences, streams and datasets, and the order in which they are taken."""

from __future__ import annotations

import datasets
import pytest
import torch

from ibtrack.probe.sources import column_texts, in_random_order, shuffled_rows

TEXTS = [f"text {i}" for i in range(30)]
ROWS = [{"text": text, "id": i} for i, text in enumerate(TEXTS)]


def test_a_sequence_is_shuffled_and_a_stream_is_not() -> None:
    shuffled = list(in_random_order(TEXTS, torch.Generator().manual_seed(0)))
    assert shuffled != TEXTS
    assert sorted(shuffled) == sorted(TEXTS)
    assert list(in_random_order(iter(TEXTS), torch.Generator().manual_seed(0))) == TEXTS


def test_the_order_is_drawn_at_once() -> None:
    """What is drawn from the generator later does not depend on how many items were taken."""
    generator = torch.Generator().manual_seed(0)
    items = in_random_order(TEXTS, generator)
    state = generator.get_state()
    list(items)
    assert generator.get_state().equal(state)


@pytest.mark.parametrize("streaming", [False, True])
def test_the_column_of_a_dataset(streaming: bool) -> None:
    dataset = datasets.Dataset.from_list(ROWS)
    dataset = dataset.to_iterable_dataset() if streaming else dataset
    first, again, other = (list(column_texts(dataset, "text", seed)) for seed in (1, 1, 2))
    assert first == again != other
    assert sorted(first) == sorted(TEXTS)


def test_a_column_that_is_not_there() -> None:
    with pytest.raises(ValueError, match=r"column must be one of \['text', 'id'\], got 'content'"):
        column_texts(datasets.Dataset.from_list(ROWS), "content", seed=0)


def test_rows_of_a_dataset_and_of_a_list_are_shuffled_and_those_of_a_stream_are_not() -> None:
    for rows in (ROWS, datasets.Dataset.from_list(ROWS)):
        shuffled = list(shuffled_rows(rows, seed=0))
        assert shuffled != ROWS
        assert sorted(row["id"] for row in shuffled) == list(range(30))
    assert list(shuffled_rows(iter(ROWS), seed=0)) == ROWS
