"""Labelled positions: which positions have every label, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from ibtrack.probe.labels import check_tokens, label_as_given, label_kgrams

NO_TENSOR: Any = [0, 1]
TOKENS = torch.arange(20).view(2, 10)


def pair(given: Tensor, told: Tensor) -> dict[str, Tensor]:
    return {"input": given, "output": told}


def test_padding_and_packed_documents_are_respected() -> None:
    documents = torch.tensor([[0] * 5 + [1] * 5, [2] * 8 + [-1] * 2])
    labelled = label_kgrams(TOKENS, (1, 2), documents, skip=0)
    assert labelled.positions.tolist() == [1, 2, 6, 7, 11, 12, 13, 14, 15]
    assert labelled.documents.tolist() == [0, 0, 1, 1, 2, 2, 2, 2, 2]
    assert labelled.grid == (2, 10)


def test_orders_have_names_and_are_sorted() -> None:
    labelled = label_kgrams(TOKENS, (2, 1, 2), None, skip=0)
    assert labelled.orders == ("token", "bigram")
    assert list(labelled.label_sets) == ["input/token", "output/token", "input/bigram", "output/bigram"]


def test_labels_are_taken_where_all_are_there() -> None:
    labelled = label_as_given(6, pair(torch.arange(6), torch.tensor([0, 1, 0, 1, -1, 7])), None, skip=0)
    assert labelled.positions.tolist() == [0, 1, 2, 3, 5]
    assert labelled.orders == ("label",)
    assert labelled.label_sets["input/label"].tolist() == [0, 1, 2, 3, 4]
    assert labelled.label_sets["output/label"].tolist() == [0, 1, 0, 1, 2]


def test_a_position_of_a_negative_document_is_left_out() -> None:
    labelled = label_as_given(3, pair(torch.arange(3), torch.arange(3)), torch.tensor([4, -1, 4]), skip=0)
    assert labelled.positions.tolist() == [0, 2]
    assert labelled.documents.tolist() == [0, 0]


def test_the_first_positions_can_be_skipped() -> None:
    assert label_kgrams(TOKENS, (1,), None, skip=3).positions.tolist() == [*range(3, 9), *range(13, 19)]
    assert label_as_given(2, pair(TOKENS % 3, TOKENS % 2), None, skip=9).positions.tolist() == [9, 19]


def test_several_pairs_beside_a_preference() -> None:
    labels = {"input/a": TOKENS, "output/a": TOKENS, "input/b": TOKENS, "output/b": TOKENS, "preference": TOKENS % 2}
    assert label_as_given(2, labels, None, skip=0).orders == ("a", "b")


def zeros(*shape: int) -> Tensor:
    return torch.zeros(*shape, dtype=torch.int64)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: check_tokens(torch.zeros(2, 8)), "tokens must be a tensor of integers"),
        (lambda: check_tokens(zeros(8)), r"tokens must have 2 dimensions, got shape \(8,\)"),
        (lambda: check_tokens(zeros(2, 8) - 1), "tokens must be at least 0, got -1; mark padding"),
        (lambda: label_kgrams(zeros(2, 7), (4,), None, 0), "orders up to 4 and skip=0 leave no position in blocks of"),
        (lambda: label_kgrams(zeros(2, 8), (1,), None, 7), "orders up to 1 and skip=7 leave no position in blocks of"),
        (lambda: label_kgrams(zeros(2, 8), (), None, 0), "orders must name at least one k"),
        (lambda: label_kgrams(zeros(2, 8), (0,), None, 0), "orders must be an integer of at least 1"),
        (
            lambda: label_kgrams(zeros(2, 8), (1,), zeros(3), 0),
            r"documents must have shape \(2,\) or \(2, 8\), got \(3,\)",
        ),
        (lambda: label_kgrams(zeros(2, 8), (1,), NO_TENSOR, 0), "documents must be a tensor of integers, got list"),
        (lambda: label_as_given(2, pair(zeros(2), zeros(2)), None, 1), "skip must be 0 where inputs have one label"),
        (lambda: label_as_given(2, {"input": zeros(2)}, None, 0), "labels must pair an 'input' with an 'output'"),
        (lambda: label_as_given(2, {}, None, 0), r"labels must pair an 'input' .* got \[\]"),
        (lambda: label_as_given(2, {"taste": zeros(2)}, None, 0), "or be 'preference', got"),
        (lambda: label_as_given(2, pair(NO_TENSOR, zeros(2)), None, 0), "input must be a tensor of integers, got list"),
        (
            lambda: label_as_given(2, pair(zeros(2), zeros(3)), None, 0),
            r"all labels must have one shape, \(2,\) or \(2, T\)",
        ),
        (
            lambda: label_as_given(2, pair(torch.tensor([0, -1]), torch.tensor([-1, 0])), None, 0),
            "the probe is empty: no position has all of its labels",
        ),
        (
            lambda: label_as_given(2, pair(zeros(2), zeros(2)), zeros(2) - 1, 0),
            "the probe is empty: no position has all of its labels and a document",
        ),
        (
            lambda: label_as_given(2, {"preference": torch.tensor([1, 2])}, None, 0),
            r"preference must be 1 and 0, at some positions each, and negative elsewhere, got \[1, 2\]",
        ),
    ],
)
def test_bad_input(make: Callable[[], object], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        make()
