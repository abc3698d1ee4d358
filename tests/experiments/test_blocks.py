"""Blocks of a row of tokens: which tokens each holds, and how loaders get them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from experiments.blocks import Blocks

ROW = np.arange(11, dtype=np.uint16)


def test_a_block_holds_the_tokens_after_those_of_the_block_before() -> None:
    blocks = Blocks(ROW, 4)
    assert [block.tolist() for block in blocks] == [[0, 1, 2, 3], [4, 5, 6, 7]]  # type: ignore[attr-defined]
    assert (len(blocks), blocks.num_tokens, blocks[-1].tolist()) == (2, 8, [4, 5, 6, 7])
    assert blocks[0].dtype == blocks.stacked().dtype == torch.int64


def test_a_loader_gets_the_blocks_of_a_batch_at_once() -> None:
    blocks = Blocks(ROW, 2)
    assert [block.tolist() for block in blocks.__getitems__([3, 0])] == [[6, 7], [0, 1]]
    (batch,) = DataLoader(blocks, batch_size=5)
    assert torch.equal(batch, blocks.stacked())


@pytest.mark.parametrize("index", [2, -3])
def test_a_block_that_there_is_not_is_refused(index: int) -> None:
    with pytest.raises(IndexError, match=f"block must be one of 2, got {index}"):
        Blocks(ROW, 4)[index]


def test_a_block_without_tokens_is_refused() -> None:
    with pytest.raises(ValueError, match="block_size must be at least 1, got 0"):
        Blocks(ROW, 0)
