"""Streams: what is trained on, how shares divide it, and going on with the very next block."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader

from experiments import documents, streaming
from experiments.corpus import Recipe, prepared
from experiments.streaming import StreamedBlocks, stream
from experiments.tokenizer import END, trained_tokenizer
from tests.experiments.stories import STORIES

pytestmark = pytest.mark.usefixtures("own_cache")
TEXTS = [f"{story.split('.')[0]} {number}." for number in range(12) for story in STORIES]
ENDING = trained_tokenizer(TEXTS, 300)


@pytest.fixture(params=["a function", "files"])
def recipe(request: pytest.FixtureRequest, tmp_path: Path) -> Recipe:
    """Texts of a function, which are read from the beginning, and of files, which know where they were."""
    if request.param == "a function":
        return Recipe(lambda: iter(TEXTS), tokenizer=ENDING, held_out=0.2)
    for number in range(8):
        rows = [json.dumps({"text": text}) for text in TEXTS[number::8]]
        (tmp_path / f"{number}.jsonl").write_text("\n".join(rows))
    return Recipe(partial(documents.hub, "json", data_files=f"{tmp_path}/*.jsonl"), tokenizer=ENDING, held_out=0.2)


def blocks_of(recipe: Recipe, **settings: Any) -> StreamedBlocks:
    return StreamedBlocks(recipe, ENDING, **{"block_size": 8, "window": 20, **settings})


def texts_in(blocks: list[torch.Tensor]) -> list[str]:
    text: str = ENDING.tokenizer.decode(torch.cat(blocks).tolist(), skip_special_tokens=False)
    return text.split(END)


def test_a_stream_trains_on_what_a_prepared_corpus_trains_on(recipe: Recipe) -> None:
    made = prepared(recipe)
    whole = Counter(texts_in([torch.from_numpy(made.train[:].astype("int64"))]))
    streamed = Counter(texts_in(list(blocks_of(recipe, block_size=1))))
    assert streamed == whole
    assert set(stream(recipe, block_size=8, seed=0).probe_texts) == set(made.held_out_texts())


def test_the_order_is_that_of_the_seed_and_the_epoch_within_windows(recipe: Recipe) -> None:
    first = texts_in(list(blocks_of(recipe, block_size=1)))[:-1]
    assert texts_in(list(blocks_of(recipe, block_size=1)))[:-1] == first
    another, later = blocks_of(recipe, block_size=1, seed=1), blocks_of(recipe, block_size=1)
    later.set_epoch(1)
    for blocks in (another, later):
        texts = texts_in(list(blocks))[:-1]
        assert texts != first
        assert [set(texts[i : i + 20]) for i in range(0, len(texts), 20)] == [
            set(first[i : i + 20]) for i in range(0, len(first), 20)
        ]


@pytest.mark.parametrize("taken", [0, 1, 17, 90, 171])
@pytest.mark.parametrize("share", [(1, 0), (3, 1)])
def test_another_stream_goes_on_with_the_very_next_block(recipe: Recipe, taken: int, share: tuple[int, int]) -> None:
    whole = list(blocks_of(recipe).sharded(*share))
    cut = blocks_of(recipe).sharded(*share)
    reading = iter(cut)
    taken = min(taken, len(whole))
    before = [next(reading) for _ in range(taken)]
    state = json.loads(json.dumps(cut.state_dict()))
    again = blocks_of(recipe).sharded(*share)
    again.load_state_dict(state)
    after = list(again)
    assert torch.equal(torch.stack([*before, *after]), torch.stack(whole))
    assert len(list(again)) == len(whole), "the next iteration begins anew"


@pytest.mark.parametrize("number", [2, 3, 16])
def test_shares_and_workers_divide_the_documents(recipe: Recipe, number: int) -> None:
    whole = Counter(texts_in(list(blocks_of(recipe, block_size=1))))
    shares = [texts_in(list(blocks_of(recipe, block_size=1).sharded(number, index)))[:-1] for index in range(number)]
    assert Counter(text for texts in shares for text in texts) + Counter([""]) == whole


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_workers_divide_a_share(tmp_path: Path) -> None:
    recipe = Recipe(lambda: iter(TEXTS), tokenizer=ENDING, held_out=0.2)
    loader = DataLoader(blocks_of(recipe, block_size=1).sharded(2, 1), batch_size=None, num_workers=2)
    of_workers = Counter(int(block) for block in loader)
    expected = [list(blocks_of(recipe, block_size=1).sharded(4, index)) for index in (2, 3)]
    assert of_workers == Counter(int(block) for blocks in expected for block in blocks)


def test_what_is_left_of_a_window_begins_the_next() -> None:
    recipe = Recipe(lambda: iter(TEXTS), tokenizer=ENDING, held_out=0.2)
    small, large = blocks_of(recipe, block_size=1), blocks_of(recipe, block_size=7)
    row = torch.cat(list(small))
    assert torch.equal(torch.cat(list(large)), row[: len(row) // 7 * 7])


def test_a_part_of_each_document_and_a_bound(recipe: Recipe) -> None:
    bounded = replace(recipe, max_documents=40, keep=str.upper)
    texts = texts_in(list(blocks_of(bounded, block_size=1).sharded(2, 0)))[:-1]
    assert 0 < len(texts) <= 20
    assert all(text.isupper() for text in texts)


def test_a_stream_reads_no_more_than_it_needs_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "HELD_OUT", 5)
    monkeypatch.setattr(streaming, "sample_bytes", lambda vocab_size: 2000)
    read: list[str] = []

    def endless() -> Any:
        while True:
            for number, text in enumerate(TEXTS):
                read.append(text)
                yield f"{text}{len(read)}" if number % 7 else " "

    made = stream(Recipe(endless, tokenizer=ENDING, held_out=0.2), block_size=8, seed=0)
    assert len(made.probe_texts) == 5
    assert len(read) < 100
    assert "of which 5 documents were read to measure on" in made.sentence()
    trained = stream(Recipe(endless, vocab_size=290, held_out=0.2), block_size=8, seed=0)
    assert trained.ending.tokenizer.get_vocab_size() == 290
    assert len(read) < 300


def test_a_stream_without_documents_on_a_side_is_refused() -> None:
    with pytest.raises(ValueError, match="some to train on and some to hold out, got 0 and 0"):
        stream(Recipe(lambda: [], tokenizer=ENDING, held_out=0.2), block_size=8, seed=0)


def test_a_share_that_there_is_not_is_refused(recipe: Recipe) -> None:
    with pytest.raises(ValueError, match="index must be from 0 to 1, got 2"):
        blocks_of(recipe).sharded(2, 2)
