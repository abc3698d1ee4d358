"""Texts to blocks of token ids: one window at random of each text that is long enough.

Letters: S blocks, T block length.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from ibtrack._checks import check_integer
from ibtrack.probe.sources import in_random_order
from ibtrack.probe.tokenizer import Encode


def text_blocks(texts: Iterable[str], encode: Encode, *, num_blocks: int, block_size: int, seed: int = 0) -> Tensor:
    """Cut one window at random out of each text that is long enough, until there are enough windows.

    Args:
        texts: Documents; a sequence is taken in a random order, a stream in its own.
        encode: The function from a text to its token ids.
        num_blocks: Number of windows S.
        block_size: Tokens T of a window.
        seed: Seed of the order of the texts and of the windows.

    Returns:
        (S, T) token ids, int64.

    Raises:
        ValueError: A single text was given, or fewer than ``num_blocks`` texts have ``block_size`` tokens.

    Example:
        >>> text_blocks(["1 2", "3 4 5"], lambda text: [int(n) for n in text.split()], num_blocks=1, block_size=3)
        tensor([[3, 4, 5]])
    """
    check_integer("num_blocks", num_blocks, minimum=1)
    check_integer("block_size", block_size, minimum=2)
    if isinstance(texts, str):
        raise ValueError(f"texts must be documents, one text each, got a single text of {len(texts)} letters")
    generator = torch.Generator().manual_seed(seed)
    blocks: list[Tensor] = []
    seen = 0
    for text in in_random_order(texts, generator):
        seen += 1
        ids = torch.tensor(encode(text), dtype=torch.int64)
        if len(ids) < block_size:
            continue
        start = int(torch.randint(len(ids) - block_size + 1, (), generator=generator))
        blocks.append(ids[start : start + block_size])
        if len(blocks) == num_blocks:
            return torch.stack(blocks)
    raise ValueError(
        f"the probe needs {num_blocks} documents of at least {block_size} tokens, "
        f"got {len(blocks)} among {seen}; use fewer or shorter blocks, or more text"
    )
