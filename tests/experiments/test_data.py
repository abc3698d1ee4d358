"""Text data: what its blocks hold, in which order they come, and how text becomes blocks."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader

from experiments import tokenizer
from experiments.data import TextData
from ibtrack import Probe
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
    number = len(read)  # once to see whether it is prepared, and once more to prepare it
    data.setup("validate")
    assert len(read) == number <= 2


def test_a_tokenizer_of_ones_own(tmp_path: Path) -> None:
    tokenizer.train_tokenizer(STORIES, 260).save(str(tmp_path / "tokenizer.json"))
    assert stories(tokenizer=str(tmp_path / "tokenizer.json")).tokenizer.get_vocab_size() == 260


def test_blocks_do_not_depend_on_whether_they_were_prepared_before() -> None:
    first, second = stories(), stories()
    assert torch.equal(first.train_blocks.stacked(), second.train_blocks.stacked())
    assert torch.equal(first.held_out_blocks.stacked(), second.held_out_blocks.stacked())
    assert (first.probe_texts, first.fingerprint) == (second.probe_texts, second.fingerprint)


@pytest.mark.parametrize(
    "change",
    [{"block_size": 8}, {"attention": "within_documents"}, {"held_out": 0.2}, {"vocab_size": 270}, {"keep": str.upper}],
)
def test_other_blocks_have_another_fingerprint(change: dict[str, Any]) -> None:
    assert stories(**change).fingerprint != stories().fingerprint


def test_another_seed_or_batch_size_has_the_same_blocks() -> None:
    assert stories(seed=3, batch_size=2).fingerprint == stories().fingerprint


def test_one_corpus_serves_every_block_size() -> None:
    data = [stories(block_size=block_size) for block_size in (16, 4)]
    assert data[0].train_blocks.row.path == data[1].train_blocks.row.path


@pytest.mark.parametrize(("attention", "end"), [("across_documents", None), ("within_documents", 0)])
def test_the_model_hears_of_ends_that_attention_is_not_to_cross(attention: str, end: int | None) -> None:
    data = stories(attention=attention)
    assert data.model_settings == {
        "vocab_size": data.tokenizer.get_vocab_size(),
        "block_size": 16,
        "document_end": end,
    }
    assert data.end_id == 0


def test_another_attention_is_refused() -> None:
    with pytest.raises(ValueError, match="attention must be one of across_documents, within_documents, got 'none'"):
        stories(attention="none")


def test_workers_read_the_same_blocks() -> None:
    data = stories()
    loader = DataLoader(data.train_blocks, 4, num_workers=2, multiprocessing_context="forkserver")
    assert torch.equal(torch.cat(list(loader)), data.train_blocks.stacked())


def test_what_is_prepared_and_where_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    data = stories()
    folder = data.train_blocks.row.path.parent
    assert capsys.readouterr().err.endswith(f"{len(data.probe_texts)} documents held out, in {folder}\n")
    assert data.outlook().folder == folder


def test_a_stream_has_the_same_texts_to_measure_on_and_no_length() -> None:
    prepared, streamed = stories(), stories(streaming=True)
    assert streamed.probe_texts == prepared.probe_texts
    assert torch.equal(streamed.held_out_blocks.stacked(), prepared.held_out_blocks.stacked())
    assert not hasattr(streamed.train_blocks, "__len__")
    assert streamed.overlap(Probe(torch.arange(64).view(2, 32))) is None
    assert streamed.fingerprint not in (prepared.fingerprint, stories(streaming=True, held_out=0.2).fingerprint)
    number = len(list(prepared.train_dataloader()))
    batches = list(islice(streamed.train_dataloader(), number + 1))  # it begins again
    assert all(batch.shape == (4, 16) for batch in batches)
    assert len(batches) == number + 1


@pytest.mark.parametrize("streaming", [False, True])
def test_too_little_text_for_a_batch_is_refused_in_a_stream_too(streaming: bool) -> None:
    with pytest.raises(ValueError, match=r"documents must fill one batch of 4 blocks of 9999 tokens, got 0 blocks"):
        stories(block_size=9999, streaming=streaming)


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


def test_too_little_text_for_a_probe_is_refused() -> None:
    data = stories()
    with pytest.raises(ValueError, match="the probe needs 64 documents of at least 16 tokens, got"):
        Probe.from_texts(*data.probe_source, num_blocks=64, block_size=16, keep_copies=True)
