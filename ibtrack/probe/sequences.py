"""Training text to sequences of token ids, and sequences to chunks that are searched at once.

A sequence is text that was trained on in one piece: a document, a block of packed documents, or a whole stream.

Letters: N tokens, T tokens of a sequence, k tokens of a passage.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
from torch import Tensor

from ibtrack.probe.tokenizer import Encode

CHUNK = 1 << 15  # tokens: 64-bit numbers for so many fit the cache; with 2^20 tokens prints take twice the time
_Array: TypeAlias = npt.NDArray[Any]


class Chunk(NamedTuple):
    """Several sequences, one after the other, or a part of long ones.

    Attributes:
        tokens: (N,) uint64 token ids.
        start: Place of the first of them, counted from where the first sequence begins.
        ends: Places behind the last token of each sequence, ascending, counted likewise.
    """

    tokens: _Array
    start: int
    ends: _Array

    def sequence_of(self, places: _Array) -> _Array:
        """Return the number of the sequence that each of some tokens of the chunk is in."""
        numbers: _Array = np.searchsorted(self.ends, places + self.start, side="right")
        return numbers


def token_sequences(training: Any, encode: Encode | None) -> Iterator[_Array]:
    """Yield what a model is trained on as arrays of token ids.

    Args:
        training: One tensor or array, or any iterable: batches of a loader, blocks, lists of token ids, texts. Of a
            mapping its ``input_ids`` are taken; of a tuple or a list, all that it holds. A row on disk, which has one
            dimension, ``dtype``, ``shape``, ``size`` and slices that are arrays, as in h5py and zarr, is one sequence.
        encode: The function from a text to its token ids; None if there is no text.

    Yields:
        Arrays of integers: (T,), one sequence, or (..., T), many; and rows on disk, (T,), as they are.

    Raises:
        ValueError: A part of it is neither token ids nor text, or is text and there is no tokenizer.

    Example:
        >>> encode = lambda text: [ord(letter) for letter in text]
        >>> [ids.tolist() for ids in token_sequences([np.arange(3), {"input_ids": [[3, 4], [5]]}, "ab"], encode)]
        [[0, 1, 2], [3, 4], [5], [97, 98]]
    """
    if isinstance(training, str):
        raise ValueError(
            f"training must be texts or batches of token ids, got a single text of {len(training)} letters"
        )
    if isinstance(training, Tensor | np.ndarray | Mapping) or not isinstance(training, Iterable) or _is_row(training):
        training = [training]
    for item in training:
        yield from _sequences(item, encode)


def in_chunks(sequences: Iterable[_Array], length: int) -> Iterator[Chunk]:
    """Join short sequences, and cut long ones, to chunks that are searched at once.

    Args:
        sequences: Arrays of integers, (T,) or (..., T), and rows on disk, (T,), which are read a chunk at a time.
        length: Number of tokens k. Any k tokens in a row of one sequence are in a row in one chunk.

    Yields:
        The chunks.

    Example:
        >>> chunks = in_chunks([np.array([[1, 2], [3, 4]]), np.array([5])], length=2)
        >>> [(chunk.tokens.tolist(), chunk.ends.tolist()) for chunk in chunks]
        [([1, 2, 3, 4, 5], [2, 4, 5])]
    """
    parts: list[_Array] = []
    ends: list[_Array] = []
    size = 0
    for each in sequences:
        if not each.size:
            continue
        flat = each.reshape(-1) if isinstance(each, np.ndarray) else each
        own_ends = np.arange(each.shape[-1], each.size + 1, each.shape[-1])
        if each.size >= CHUNK:
            for start in range(0, each.size, CHUNK):
                yield Chunk(flat[start : start + CHUNK + length - 1].astype(np.uint64), start, own_ends)
            continue
        parts.append(flat[:].astype(np.uint64))  # before they are joined, as integers of different types become floats
        ends.append(own_ends + size)
        size += each.size
        if size >= CHUNK:
            yield Chunk(np.concatenate(parts), 0, np.concatenate(ends))
            parts, ends, size = [], [], 0
    if size:
        yield Chunk(np.concatenate(parts), 0, np.concatenate(ends))


def _sequences(item: Any, encode: Encode | None) -> Iterator[_Array]:
    """Yield the sequences of one part of the training text.

    Raises:
        ValueError: It is neither token ids nor text, or is text and there is no tokenizer.
    """
    if isinstance(item, str):
        if encode is None:
            raise ValueError("training texts must come with tokenizer=, which turns them into token ids, got none")
        yield np.array(encode(item), dtype=np.int64)
    elif isinstance(item, Mapping) and "input_ids" in item:
        yield from _sequences(item["input_ids"], encode)
    elif isinstance(item, list | tuple) and not (item and isinstance(item[0], int | np.integer)):
        for each in item:
            yield from _sequences(each, encode)
    else:
        yield _token_ids(item)


def _token_ids(item: Any) -> _Array:
    """Return a tensor, an array or a list of token ids as an array.

    Raises:
        ValueError: It is something else.
    """
    if isinstance(item, Tensor):
        item = item.detach().cpu().numpy()
    elif isinstance(item, list | tuple):
        item = np.array(item)
    if ((isinstance(item, np.ndarray) and item.ndim) or _is_row(item)) and item.dtype.kind in "iu":
        return item
    got = f"{item.dtype} of shape {item.shape}" if isinstance(item, np.ndarray) else type(item).__name__
    raise ValueError(
        f"training must be texts or batches of token ids, with input_ids where they are mappings, got {got}; "
        "take the token ids out of each batch, as in (batch[0] for batch in loader)"
    )


def _is_row(item: Any) -> bool:
    """Whether this is a row on disk: no array, but with the form of one of one dimension."""
    known = all(hasattr(item, name) for name in ("dtype", "shape", "size", "__getitem__"))
    return known and not isinstance(item, Tensor | np.ndarray) and len(item.shape) == 1
