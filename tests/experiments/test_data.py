"""Text data: what its blocks hold, in which order they come, and how text becomes blocks."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from experiments import tokenizer
from experiments.data import TextData
from tests.experiments.stories import STORIES

pytestmark = pytest.mark.usefixtures("own_cache")


def stories(**settings: Any) -> TextData:
    settings = {"vocab_size": 300, "block_size": 16, "batch_size": 4, "held_out": 0.3, **settings}
    data = TextData(lambda: iter(STORIES), **settings)
    data.setup()
    return data


def test_blocks_hold_the_training_documents_and_probe_texts_the_others() -> None:
    data = stories(block_size=1)
    text = data.tokenizer.decode(data.train_blocks.stacked().flatten().tolist(), skip_special_tokens=False)
    trained_on = text.removesuffix(tokenizer.END).split(tokenizer.END)
    assert sorted([*trained_on, *data.probe_texts]) == sorted(STORIES)
    held_out = data.tokenizer.decode(data.held_out_blocks.stacked().flatten().tolist(), skip_special_tokens=False)
    assert held_out == "".join(text + tokenizer.END for text in data.probe_texts)


def test_the_order_of_batches_neither_reads_nor_moves_the_global_random_state() -> None:
    data = stories()
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first = torch.cat(list(data.train_dataloader()))
    assert torch.equal(torch.get_rng_state(), state)
    list(data.val_dataloader())
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    assert torch.equal(torch.cat(list(data.train_dataloader())), first)
    assert not torch.equal(torch.cat(list(stories(seed=1).train_dataloader())), first)


def test_an_epoch_differs_from_the_one_before() -> None:
    loader = stories().train_dataloader()
    assert not torch.equal(torch.cat(list(loader)), torch.cat(list(loader)))


def test_set_up_twice_reads_once() -> None:
    read: list[int] = []

    def documents() -> list[str]:
        read.append(1)
        return STORIES

    data = TextData(documents, vocab_size=300, block_size=16, held_out=0.3)
    data.setup("fit")
    data.setup("validate")
    assert len(read) == 1


def test_a_tokenizer_of_ones_own(tmp_path: Path) -> None:
    tokenizer.train_tokenizer(STORIES, 260).save(str(tmp_path / "tokenizer.json"))
    assert stories(tokenizer=str(tmp_path / "tokenizer.json")).tokenizer.get_vocab_size() == 260


def test_too_little_text_for_a_batch_is_refused() -> None:
    with pytest.raises(ValueError, match=r"documents must fill one batch of 4 blocks of 9999 tokens, got 0 blocks"):
        stories(block_size=9999)


def test_each_process_trains_on_its_own_documents_of_a_stream() -> None:
    def batches(rank: int, world_size: int) -> list[tuple[int, ...]]:
        data = stories(streaming=True, batch_size=1)
        data.trainer = SimpleNamespace(  # type: ignore[assignment]
            global_rank=rank, world_size=world_size, max_steps=len(STORIES), accumulate_grad_batches=1
        )
        loader = iter(data.train_dataloader())
        return [tuple(next(loader).flatten().tolist()) for _ in range(3)]

    first, second = batches(0, 2), batches(1, 2)
    assert not set(first) & set(second)
    assert first != batches(0, 1)
