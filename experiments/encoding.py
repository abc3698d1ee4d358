"""Documents to token ids, by all cores, in the order of the documents, with a bounded number of them in memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer
from torch import Tensor

from experiments.blocks import Blocks

# The tokenizer encodes the texts of a chunk on all cores. Its own records of a text take some hundred bytes a token.
CHUNK_LETTERS = 1 << 20
CHUNK_TEXTS = 4096
LONGEST = 1 << 22  # letters of a document that is encoded in one piece
_AT_ONCE = 2  # chunks: while the ids of one are copied, which takes one core, the next is encoded

_Array: TypeAlias = npt.NDArray[Any]


def encoded(texts: Iterable[str], tokenizer: Tokenizer, end_id: int) -> Iterator[_Array]:
    """Yield the token ids of documents, each followed by the end-of-document token.

    A document of more than `LONGEST` letters is encoded in pieces that end at a line break, so that memory stays
    bounded. Where a tokenizer would have joined the break and the line after it, the ids differ there.

    Args:
        texts: The documents.
        tokenizer: The tokenizer; special tokens are not put around a text.
        end_id: Id of the end-of-document token.

    Yields:
        Ids of several documents one after the other, int64, (N,).

    Example:
        >>> from experiments.tokenizer import train_tokenizer
        >>> tokenizer = train_tokenizer(["abc"], vocab_size=257)
        >>> ids = np.concatenate(list(encoded(["abc", "de"], tokenizer, end_id=0)))
        >>> tokenizer.decode(ids.tolist(), skip_special_tokens=False)
        'abc<|endoftext|>de<|endoftext|>'
    """
    waiting: deque[Future[_Array]] = deque()
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        for chunk in _chunks(texts):
            waiting.append(threads.submit(_encode, chunk, tokenizer, end_id))
            if len(waiting) > _AT_ONCE:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def packed(texts: Iterable[str], tokenizer: Tokenizer, end_id: int, block_size: int) -> Tensor:
    """Join texts, each followed by the end-of-document token, and cut the row into blocks; all of it in memory.

    Args:
        texts: The documents.
        tokenizer: The tokenizer.
        end_id: Id of the end-of-document token.
        block_size: Number of tokens in a block, T.

    Returns:
        The token ids, int64, (S, T). Tokens at the end that do not fill a block are dropped.

    Example:
        >>> from experiments.tokenizer import train_tokenizer
        >>> tokenizer = train_tokenizer(["abc"], vocab_size=257)
        >>> tokenizer.decode_batch(packed(["abc", "de"], tokenizer, 0, 3).tolist(), skip_special_tokens=False)
        ['abc', '<|endoftext|>de']
    """
    return Blocks(np.concatenate(list(encoded(texts, tokenizer, end_id))), block_size).stacked()


def _encode(pieces: list[tuple[str, bool]], tokenizer: Tokenizer, end_id: int) -> _Array:
    """Return the ids of pieces of documents one after the other, with an end after each that is the last of its own."""
    end = np.array([end_id])
    ids: list[_Array] = []
    encodings = tokenizer.encode_batch_fast([text for text, _ in pieces], add_special_tokens=False)
    for encoding, (_, ends) in zip(encodings, pieces, strict=True):
        ids.append(np.array(encoding.ids, dtype=np.int64))
        if ends:
            ids.append(end)
    return np.concatenate(ids)


def _chunks(texts: Iterable[str]) -> Iterator[list[tuple[str, bool]]]:
    """Yield lists of pieces of text, and whether each is the last of its document."""
    chunk: list[tuple[str, bool]] = []
    letters = 0
    for text in texts:
        pieces = _pieces(text)
        for number, piece in enumerate(pieces, start=1):
            chunk.append((piece, number == len(pieces)))
            letters += len(piece)
            if letters >= CHUNK_LETTERS or len(chunk) >= CHUNK_TEXTS:
                yield chunk
                chunk, letters = [], 0
    if chunk:
        yield chunk


def _pieces(text: str) -> list[str]:
    """Cut a text that is longer than `LONGEST` behind line breaks, or anywhere where a line is longer than that."""
    pieces: list[str] = []
    start = 0
    while len(text) - start > LONGEST:
        stop = text.rfind("\n", start + 1, start + LONGEST) + 1 or start + LONGEST
        pieces.append(text[start:stop])
        start = stop
    return [*pieces, text[start:]]
