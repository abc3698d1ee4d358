"""Training text of every form to sequences of token ids, and to chunks in which no passage gets lost."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader, TensorDataset

from ibtrack.probe import sequences
from ibtrack.probe.sequences import in_chunks, token_sequences

BLOCKS = torch.arange(12).view(3, 4)


def letters(text: str) -> list[int]:
    return [ord(letter) for letter in text]


def listed(training: Any) -> list[Any]:
    return [each.tolist() for each in token_sequences(training, letters)]


def a_stream() -> Iterator[torch.Tensor]:
    yield from BLOCKS


@pytest.mark.parametrize(
    ("training", "expected"),
    [
        (BLOCKS, [BLOCKS.tolist()]),
        (BLOCKS[0], [[0, 1, 2, 3]]),
        (BLOCKS.numpy().astype(np.uint16), [BLOCKS.tolist()]),
        ([BLOCKS[:2], BLOCKS[2:]], [BLOCKS[:2].tolist(), BLOCKS[2:].tolist()]),
        (a_stream(), BLOCKS.tolist()),
        ([[0, 1], [2]], [[0, 1], [2]]),
        ([(0, 1), [np.int32(2)]], [[0, 1], [2]]),
        ({"input_ids": BLOCKS, "attention_mask": BLOCKS > 0}, [BLOCKS.tolist()]),
        ([{"input_ids": [[0, 1], [2]]}], [[0, 1], [2]]),
        (DataLoader(TensorDataset(BLOCKS), batch_size=2), [BLOCKS[:2].tolist(), BLOCKS[2:].tolist()]),
        (["ab", "c"], [[97, 98], [99]]),
        ([["ab", "c"]], [[97, 98], [99]]),
        ([], []),
        ([[]], []),
        ([""], [[]]),
    ],
)
def test_token_ids_and_texts_come_in_many_forms(training: Any, expected: list[Any]) -> None:
    assert listed(training) == expected


class RowOnDisk:
    """What h5py and zarr have of an array: its form, and parts of it that are read."""

    def __init__(self, values: np.ndarray[Any, Any]) -> None:
        self._values = values
        self.dtype, self.shape, self.size = values.dtype, values.shape, values.size
        self.most = 0

    def __getitem__(self, part: slice) -> np.ndarray[Any, Any]:
        read = self._values[part]
        self.most = max(self.most, len(read))
        return read

    def __iter__(self) -> Iterator[int]:
        raise AssertionError("token by token would take for ever")


@pytest.mark.parametrize("size", [0, 40, 250, 1000])
def test_a_row_on_disk_is_one_sequence_that_is_read_a_chunk_at_a_time(
    size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sequences, "CHUNK", 100)
    values = np.arange(size, dtype=np.uint16)
    row = RowOnDisk(values)
    chunks = list(in_chunks(token_sequences(row, None), length=7))
    expected = list(in_chunks([values], length=7))
    assert [(c.tokens.tolist(), c.start, c.ends.tolist()) for c in chunks] == [
        (c.tokens.tolist(), c.start, c.ends.tolist()) for c in expected
    ]
    assert row.most <= 106


@pytest.mark.parametrize(
    ("training", "got"),
    [
        ("a text", "a single text of 6 letters"),
        ([BLOCKS.float()], r"float32 of shape \(3, 4\)"),
        ([BLOCKS > 1], "bool of shape"),
        (torch.tensor(3), r"int64 of shape \(\)"),
        ([{"tokens": BLOCKS}], "got dict"),
        ([None], "got NoneType"),
        (7, "got int"),
        ([[1, "a"]], "got <U"),
    ],
)
def test_what_holds_no_token_ids_is_refused(training: Any, got: str) -> None:
    with pytest.raises(ValueError, match=f"training must be texts or batches of token ids.*{got}"):
        listed(training)


def test_texts_without_a_tokenizer_are_refused() -> None:
    with pytest.raises(ValueError, match="training texts must come with tokenizer="):
        list(token_sequences(["a text"], None))


@given(st.lists(st.lists(st.integers(1, 60), min_size=1, max_size=3), max_size=12), st.integers(2, 7), st.data())
def test_every_passage_is_in_one_chunk_and_in_the_sequence_it_came_from(
    shapes: list[list[int]], length: int, data: st.DataObject
) -> None:
    shapes = [shape if np.prod(shape) < 400 else shape[:1] for shape in shapes]
    given_sequences, begin = [], 0
    for shape in shapes:
        size = int(np.prod(shape))
        given_sequences.append(np.arange(begin, begin + size).reshape(shape))
        begin += size
    expected = [
        tuple(row[i : i + length].tolist())
        for each in given_sequences
        for row in each.reshape(-1, each.shape[-1])
        for i in range(len(row) - length + 1)
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sequences, "CHUNK", data.draw(st.integers(1, 50)))
        found = []
        for chunk in in_chunks(given_sequences, length):
            places = np.arange(max(0, len(chunk.tokens) - length + 1))
            whole = chunk.sequence_of(places) == chunk.sequence_of(places + length - 1)
            found += [tuple(chunk.tokens[i : i + length].tolist()) for i in places[whole]]
    assert sorted(found) == sorted(expected), "each once, and none across two sequences"


def test_an_array_on_disk_is_read_in_chunks(tmp_path: Path) -> None:
    written = np.memmap(tmp_path / "tokens.bin", dtype=np.uint16, mode="w+", shape=(3 * sequences.CHUNK,))
    written[:] = np.arange(len(written)) % 1000
    (tokens,) = token_sequences(np.memmap(tmp_path / "tokens.bin", dtype=np.uint16, mode="r"), None)
    assert isinstance(tokens, np.memmap)
    sizes = [len(chunk.tokens) for chunk in in_chunks([tokens], 32)]
    assert sizes == [sequences.CHUNK + 31, sequences.CHUNK + 31, sequences.CHUNK]
