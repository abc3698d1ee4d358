"""Made-up text for benchmarks without a corpus: its tokens repeat about as often as those of a real text."""

from __future__ import annotations

import torch
from torch import Tensor

FOLLOWS = 0.8  # share of tokens that are one of the usual successors of the token before
SUCCESSORS = 64  # number of usual successors of a token
STEEPNESS = 1.8  # the share of the r-th usual successor falls as r^-1.8


def made_up_text(num_blocks: int, block_size: int = 128, *, vocabulary: int = 2048, seed: int = 0) -> Tensor:
    """Draw blocks from a chain of tokens with Zipf's law.

    Its three constants are chosen so that 128 blocks of 128 tokens hold about as many distinct k-grams as the standard
    library's sources do under a vocabulary of 2048: 1.1k tokens, 6k bigrams, 9k trigrams, 11k quadgrams.

    Args:
        num_blocks: Number of blocks, S.
        block_size: Number of tokens in a block, T.
        vocabulary: Number of token ids.
        seed: Seed of the random numbers.

    Returns:
        Token ids, int64, (S, T).

    Example:
        >>> made_up_text(2, 5, vocabulary=10).shape
        torch.Size([2, 5])
    """
    generator = torch.Generator().manual_seed(seed)
    ranks = torch.arange(1, vocabulary + 1, dtype=torch.float64)
    successors = torch.multinomial(ranks.pow(-1), vocabulary * SUCCESSORS, replacement=True, generator=generator)
    successors = successors.view(vocabulary, SUCCESSORS)
    usual = ranks.new_tensor(range(1, SUCCESSORS + 1)).pow(-STEEPNESS)
    common = torch.multinomial(ranks.pow(-1), num_blocks * block_size, replacement=True, generator=generator)
    common = common.view(block_size, num_blocks)
    choices = torch.multinomial(usual, num_blocks * block_size, replacement=True, generator=generator)
    choices = choices.view(block_size, num_blocks)
    follows = torch.rand(block_size, num_blocks, generator=generator) < FOLLOWS
    tokens = [common[0]]
    for offset in range(1, block_size):
        tokens.append(torch.where(follows[offset], successors[tokens[-1], choices[offset]], common[offset]))
    return torch.stack(tokens, 1)
