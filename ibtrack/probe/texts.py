"""Texts to blocks of token ids, with whatever tokenizer there is.

Letters: S blocks, T block length.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor

Encode = Callable[[str], list[int]]
Item = TypeVar("Item")


def encoder(tokenizer: Any) -> Encode:
    """The function from text to token ids, without special tokens.

    Args:
        tokenizer: a Hugging Face tokenizer, a ``tokenizers.Tokenizer``, or a callable from text to token ids.

    Raises:
        ValueError: it is none of these.
    """
    if hasattr(tokenizer, "encode_batch"):  # tokenizers.Tokenizer
        return lambda text: tokenizer.encode(text, add_special_tokens=False).ids
    if hasattr(tokenizer, "convert_ids_to_tokens"):  # a Hugging Face tokenizer, which warns of texts beyond its length
        return lambda text: tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
    if callable(tokenizer):
        return lambda text: list(tokenizer(text))
    kind = type(tokenizer).__name__
    raise ValueError(f"tokenizer must be a tokenizer or a callable from text to token ids, got {kind}")


def tokenizer_name(tokenizer: Any) -> str:
    return str(getattr(tokenizer, "name_or_path", "") or type(tokenizer).__name__)


def in_random_order(items: Iterable[Item], generator: torch.Generator) -> Iterable[Item]:
    """A sequence in a random order; a stream as it comes."""
    if not isinstance(items, Sequence):
        return items
    return (items[i] for i in torch.randperm(len(items), generator=generator).tolist())


def cut_windows(
    texts: Iterable[str], encode: Encode, num_blocks: int, block_size: int, generator: torch.Generator
) -> Tensor:
    """(S, T) one window at random of each text that is long enough, until there are S.

    Raises:
        ValueError: fewer than ``num_blocks`` texts are long enough.
    """
    blocks: list[Tensor] = []
    seen = 0
    for text in texts:
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
