"""Texts to blocks of token ids: one window at random of each text that is long enough, or its beginning.

Letters: S blocks, T block length.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from ibtrack._checks import check_integer
from ibtrack.probe.copies import HEAD, Copies, copies_among, take_documents
from ibtrack.probe.sources import in_random_order
from ibtrack.probe.tokenizer import Encode


class TextBlocks(NamedTuple):
    """Windows of documents.

    Attributes:
        tokens: (S, T) token ids, int64; 0 after the end of a window.
        lengths: (S,) tokens of each window, T but where documents may be shorter.
        copies: What was found of copies among the documents; None where they cannot be told.
    """

    tokens: Tensor
    lengths: Tensor
    copies: Copies | None


class _Document(NamedTuple):
    """The beginning of a document, by which copies are told, and a window of it; the same where that is measured."""

    head: Tensor
    window: Tensor


def text_blocks(
    texts: Iterable[str],
    encode: Encode,
    *,
    num_blocks: int,
    block_size: int,
    min_length: int | None = None,
    seed: int = 0,
    keep_copies: bool = False,
) -> TextBlocks:
    """Cut one window at random out of each text that is long enough, or its beginning, until there are enough windows.

    A document that is a copy of another one, or whose window is, is skipped. Whole documents are compared (up to
    `ibtrack.probe.copies.HEAD` tokens), as two windows of one text may lie in different places. Of documents whose
    beginning is taken only this is compared, since copies begin alike.

    Args:
        texts: Documents; a sequence is taken in a random order, a stream in its own.
        encode: The function from a text to its token ids.
        num_blocks: Number of windows S.
        block_size: Tokens T of a window.
        min_length: Fewest tokens of a document. Each then gives its first ``block_size`` tokens, or all it has. By
            default a document has at least ``block_size`` tokens, and its window lies anywhere in it.
        seed: Seed of the order of the texts and of the windows.
        keep_copies: Whether copies are taken like other documents.

    Raises:
        ValueError: A single text was given, ``min_length`` is above ``block_size``, or fewer than ``num_blocks`` texts
            are long enough and no copies.

    Example:
        >>> encode = lambda text: [int(n) for n in text.split()]
        >>> text_blocks(["1 2", "3 4 5"], encode, num_blocks=1, block_size=3).tokens
        tensor([[3, 4, 5]])
        >>> text_blocks(iter(["1 2", "3 4 5 6"]), encode, num_blocks=2, block_size=3, min_length=1).tokens
        tensor([[1, 2, 0],
                [3, 4, 5]])
    """
    check_integer("num_blocks", num_blocks, minimum=1)
    check_integer("block_size", block_size, minimum=2)
    if isinstance(texts, str):
        raise ValueError(f"texts must be documents, one text each, got a single text of {len(texts)} letters")
    fewest = _fewest_tokens(block_size, min_length)
    generator = torch.Generator().manual_seed(seed)
    seen = 0

    def documents() -> Iterator[_Document]:
        nonlocal seen
        for text in in_random_order(texts, generator):
            seen += 1
            ids = torch.tensor(encode(text), dtype=torch.int64)
            if len(ids) < fewest:
                continue
            if min_length is None:
                start = int(torch.randint(len(ids) - block_size + 1, (), generator=generator))
                yield _Document(ids[:HEAD].clone(), ids[start : start + block_size].clone())
            else:
                beginning = ids[:block_size].clone()
                yield _Document(beginning, beginning)

    find = _copied if min_length is None else _copied_windows
    taken, copies = take_documents(documents(), num_blocks, find, keep_copies=keep_copies)
    if len(taken) < num_blocks:
        skipped = 0 if copies is None or keep_copies else copies.found
        raise ValueError(
            f"the probe needs {num_blocks} documents of at least {fewest} tokens, "
            f"got {len(taken)} among {seen}{f' and {skipped} copies of them' if skipped else ''}; "
            f"use fewer{' or shorter' if min_length is None else ''} blocks, or more text"
            f"{', or keep_copies=True' if skipped else ''}"
        )
    lengths = torch.tensor([len(document.window) for document in taken])
    tokens = torch.zeros(num_blocks, block_size, dtype=torch.int64)
    for block, document in zip(tokens, taken, strict=True):
        block[: len(document.window)] = document.window
    return TextBlocks(tokens, lengths, copies)


def _fewest_tokens(block_size: int, min_length: int | None) -> int:
    """Return how many tokens a document needs at least.

    Raises:
        ValueError: More are asked for than a block has, or less than one.
    """
    if min_length is None:
        return block_size
    if check_integer("min_length", min_length, minimum=1) > block_size:
        raise ValueError(f"min_length must be at most block_size, {block_size}, got {min_length}")
    return min_length


def _copied(documents: list[_Document]) -> Tensor | None:
    """Find the documents that are copies of others, as a whole or in their windows; None where that cannot be told."""
    as_wholes = copies_among([document.head for document in documents])
    if as_wholes is None:
        return _copied_windows(documents)
    stay = (~as_wholes).nonzero().flatten().tolist()
    in_windows = _copied_windows([documents[i] for i in stay])
    if in_windows is not None:
        as_wholes[stay] = in_windows
    return as_wholes


def _copied_windows(documents: list[_Document]) -> Tensor | None:
    """Find the documents whose windows are copies of those of others; None where that cannot be told."""
    return copies_among([document.window for document in documents])
