"""Documents of a probe in training text: which are found, how much of each, and what is said of them."""

from __future__ import annotations

import math
import tracemalloc
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from ibtrack import InformationPlaneTracker, Probe
from ibtrack.probe import prints, sequences
from ibtrack.probe.overlap import LENGTH, Overlap, overlap
from tests.models import Model
from tests.probe.test_copies import changed, noise
from tests.references import standing_in

END = 499  # what stands between two documents


def probe(blocks: int = 8, block_size: int = 128) -> Probe:
    return Probe(noise(blocks, block_size, seed=1234) % END, orders=(1, 2))


def packed(documents: list[Tensor], block_size: int) -> Tensor:
    """Join documents, each followed by the end, and cut the stream into blocks."""
    end = torch.tensor([END])
    stream = torch.cat([part for document in documents for part in (document, end)])
    return stream[: len(stream) // block_size * block_size].view(-1, block_size)


def planted(held_out: Probe, which: list[int], seed: int = 0) -> list[Tensor]:
    """Documents of many lengths, and between them some of the probe."""
    documents = [noise(40 + 13 * i, seed=100 * seed + i) % END for i in range(40)]
    for number, document in enumerate(which):
        documents.insert(5 + 11 * number, held_out.inputs[document])
    return documents


@pytest.mark.parametrize("seed", range(3))
def test_planted_documents_are_found_wherever_blocks_are_cut(seed: int) -> None:
    held_out, which = probe(), [1, 4, 6]
    documents = planted(held_out, which, seed)
    blocks = packed(documents, block_size=128)
    assert held_out.find_in(documents).shares == [float(i in which) for i in range(8)]
    assert held_out.find_in(blocks.flatten()).shares == [float(i in which) for i in range(8)]
    cut = held_out.find_in(blocks[torch.randperm(len(blocks), generator=torch.Generator().manual_seed(seed))])
    assert cut.documents == which
    for document, share in enumerate(cut.shares):
        assert share == 0 if document not in which else (97 - 31) / 97 <= share <= 1
    assert cut.tokens == blocks.numel()


def test_a_passage_at_a_known_place_is_counted_exactly() -> None:
    held_out = probe()
    found = held_out.find_in([torch.cat([noise(50), held_out.inputs[3, 20:70], noise(9, seed=1)])])
    assert (found.passages, found.found) == ((97,) * 8, (0, 0, 0, 50 - 31, 0, 0, 0, 0))
    assert found.documents == [], "19 of 97 are less than a fifth"
    found = held_out.find_in([held_out.inputs[3, 20:71]])
    assert (found.found[3], found.documents) == (20, [3])


def test_parts_in_several_places_of_the_training_text_add_up_and_count_once() -> None:
    held_out = probe()
    text = held_out.inputs[2]
    found = held_out.find_in([text[:60], text[60:], text[30:60], text[26:62], text[26:62]])
    assert found.found[2] == 29 + 37 + 2


def test_tokens_that_were_exchanged_cost_the_passages_that_hold_them() -> None:
    held_out = probe()
    text = held_out.inputs[0].clone()
    text[[40, 90]] = END
    assert held_out.find_in([text]).found[0] == 97 - 64
    assert held_out.find_in([changed(held_out.inputs[0], 0.5, seed=3)]).found[0] == 0


KINDS = ["int64", "int32", "int16", "uint16", "list", "numpy", "mapping", "pair"]


@pytest.mark.parametrize("kind", KINDS)
def test_batches_of_every_kind_say_the_same(kind: str) -> None:
    held_out = probe()
    blocks = packed(planted(held_out, [0, 7]), block_size=64)
    expected = held_out.find_in(blocks)
    made: dict[str, Any] = {
        "list": blocks.tolist,
        "numpy": lambda: blocks.numpy().astype(np.uint16),
        "mapping": lambda: [{"input_ids": batch, "labels": batch.float()} for batch in blocks.split(16)],
        "pair": lambda: ((batch,) for batch in blocks.split(5)),
    }
    training = made[kind]() if kind in made else blocks.to(getattr(torch, kind)).split(7)
    assert held_out.find_in(training) == expected
    assert expected.documents == [0, 7]


def test_padding_is_neither_looked_for_nor_found() -> None:
    tokens = probe().inputs.clone()
    tokens[:, 60:] = 0
    padded = Probe(tokens, orders=(1,), keep_copies=True)
    assert padded.find_in([torch.zeros(500, dtype=torch.int64)]).found == (0,) * 8
    assert padded.find_in([torch.full((4, 64), -100), torch.zeros(64, dtype=torch.int64)]).passages == (60,) * 8


def test_documents_that_blocks_hold_several_of_are_told_apart() -> None:
    tokens = noise(2, 120, seed=3)
    documents = torch.arange(6).view(2, 3).repeat_interleave(40, dim=1)
    documents[1, 80:] = -1
    held_out = Probe(tokens, orders=(1,), documents=documents)
    found = held_out.find_in([tokens.flatten()], length=32)
    assert (found.passages, found.found) == ((9,) * 5, (9,) * 5), (
        "none across two documents, and none of what is left out"
    )
    assert held_out.find_in([tokens[0, 20:100]], length=32).found == (0, 9, 0, 0, 0)


def test_blocks_of_one_document_are_not_taken_for_one_text() -> None:
    tokens = noise(3, 50, seed=4)
    held_out = Probe(tokens, orders=(1,), documents=torch.tensor([0, 0, 1]))
    assert held_out.find_in([tokens[:2].flatten()]).passages == (2 * 19, 19)
    assert held_out.find_in([tokens[:2].flatten()]).found == (2 * 19, 0)


def test_all_tokens_that_labels_are_made_of_are_looked_for_and_no_others() -> None:
    tokens = noise(3, 50, seed=5)
    assert Probe(tokens, orders=(1, 4)).find_in([tokens]).passages == (19,) * 3, "the whole block"
    assert Probe(tokens, orders=(1, 2), skip=10).find_in([tokens]).passages == (50 - 9 - 31,) * 3
    preference = torch.arange(3).remainder(2).view(3, 1).expand(3, 50).clone()
    preference[:, :8] = -1
    pairs = Probe(tokens, labels={"preference": preference}, is_text=True)
    assert pairs.find_in([tokens]).passages == (42 - 31,) * 3
    whole = Probe(tokens, labels={"preference": preference[:, -1]}, is_text=True)
    assert whole.find_in([tokens]).found == (19,) * 3


@given(st.data())
def test_what_is_found_agrees_with_sets_of_tuples(data: st.DataObject) -> None:
    """Few symbols and short passages, so that many recur; sequences are cut up and joined to chunks of any size."""
    symbols = st.integers(0, 2)
    tokens = data.draw(st.lists(st.lists(symbols, min_size=12, max_size=12), min_size=1, max_size=4))
    documents = data.draw(
        st.lists(st.lists(st.integers(-1, 2), min_size=12, max_size=12), min_size=len(tokens), max_size=len(tokens))
    )
    documents = [sorted(row) for row in documents]
    documents[0][-1] = 2
    length = data.draw(st.integers(2, 6))
    training = [*data.draw(st.lists(st.lists(symbols, max_size=40), max_size=6)), [0] * length]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sequences, "CHUNK", data.draw(st.integers(1, 30)))
        found = overlap(
            torch.tensor(tokens), torch.tensor(documents), map(np.array, filter(None, training)), length=length
        )
    assert list(zip(found.found, found.passages, strict=True)) == standing_in(tokens, documents, training, length)


def test_equal_prints_of_different_passages_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """With prints of 20 bits some forty passages of the training text have the print of one that is looked for."""
    held_out = probe(blocks=1)
    real = prints.kgram_prints
    monkeypatch.setattr(
        "ibtrack.probe.overlap.kgram_prints",
        lambda tokens, length: real(tokens, length) % np.uint64(1 << 20),
    )
    found = held_out.find_in([noise(400_000, seed=11)])
    assert found.found == (0,)
    assert held_out.find_in([noise(400_000, seed=11), held_out.inputs[0]]).found == (97,)


def test_short_documents_cannot_be_looked_for_and_it_is_said() -> None:
    tokens = noise(2, 64, seed=3)
    documents = torch.zeros(2, 64, dtype=torch.int64)
    documents[0, 20:], documents[1] = 1, 2
    held_out = Probe(tokens, orders=(1,), documents=documents)
    found = held_out.find_in([tokens[1]])
    assert found.passages == (0, 13, 33)
    assert math.isnan(found.shares[0])
    assert (found.shares[1:], found.documents) == ([0, 1], [2])
    assert found.sentence().endswith("passages of 32 tokens; 1 is too short to be looked for")
    none = Probe(tokens[:, :20], orders=(1,)).find_in([tokens])
    assert none.documents == []
    assert none.sentence() == "no document of the probe can be looked for in the training text: none has 32 tokens"


def test_texts_are_encoded_by_the_tokenizer_of_the_probe() -> None:
    letters = lambda text: [ord(letter) for letter in text]  # noqa: E731
    texts = [" ".join(f"{(i * j) % 97}" for j in range(60)) for i in (3, 5, 7)]
    held_out = Probe.from_texts(texts, letters, num_blocks=3, block_size=64, orders=(1,), keep_copies=True)
    (which,) = held_out.find_in(iter(["x" * 50, f"before {texts[1]} after"]), tokenizer=letters).documents
    assert "".join(map(chr, held_out.inputs[which].tolist())) in texts[1]


class Tokenizer:
    """One that says what it is."""

    def __init__(self, definition: str) -> None:
        self.name_or_path = definition

    def to_str(self) -> str:
        return f'{{"model": {{"vocab": "{self.name_or_path}"}}}}'

    def __call__(self, text: str) -> list[int]:
        return [ord(letter) for letter in text]


def test_a_tokenizer_that_is_known_to_differ_is_refused() -> None:
    texts = ["".join(chr(i) for i in range(start, start + 60)) for start in (40, 140)]
    held_out = Probe.from_texts(texts, Tokenizer("a"), num_blocks=2, block_size=50, orders=(1,))
    assert held_out.find_in(texts, tokenizer=Tokenizer("a")).documents == [0, 1]
    with pytest.raises(
        ValueError, match=r"tokenizer must be that of the probe, 'a', .* got 'b', whose definition differs"
    ):
        held_out.find_in(texts, tokenizer=Tokenizer("b"))
    with pytest.raises(ValueError, match="tokenizer must be that of the probe"):
        held_out.find_in(held_out.inputs, tokenizer=Tokenizer("b"))
    assert held_out.find_in(texts, tokenizer=lambda text: list(map(ord, text))).documents == [0, 1], "it is not known"


@pytest.mark.parametrize(
    ("training", "options", "message"),
    [
        ([], {}, "training must have a sequence of 32 tokens, got at most 0 in a row"),
        ([torch.empty(0, 64, dtype=torch.int64)], {}, "got at most 0 in a row"),
        ([noise(9, 31)], {}, "got at most 31 in a row; give longer sequences"),
        ([noise(9, 64)], {"length": 1}, "length must be an integer of at least 2, got 1"),
        ([noise(9, 64)], {"share": 0.0}, "share must be above 0 and at most 1, got 0.0"),
        ([noise(9, 64)], {"share": 1.5}, "share must be above 0 and at most 1, got 1.5"),
    ],
)
def test_what_would_be_called_clean_without_a_look_is_refused(
    training: Any, options: dict[str, Any], message: str
) -> None:
    held_out = probe()
    with pytest.raises(ValueError, match=message):
        held_out.find_in(training, **options)
    assert held_out.overlap is None


def test_a_probe_of_other_inputs_is_refused() -> None:
    labels = {"input": torch.arange(4) % 2, "output": torch.arange(4) % 2}
    with pytest.raises(ValueError, match="find_in needs a probe of text"):
        Probe(torch.randn(4, 3), labels=labels).find_in([noise(64)])


def test_memory_depends_on_the_probe_alone() -> None:
    held_out = probe()
    held_out.find_in(noise(10, 128))
    tracemalloc.start()
    try:
        found = held_out.find_in(noise(64, 128, seed=seed) for seed in range(400))
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert found.tokens == 400 * 64 * 128
    assert most < found.tokens, "bytes; all token ids take 8 times as many"


def test_blocks_that_are_hardly_longer_than_a_passage_are_said_to_hide_most() -> None:
    held_out = probe()
    blocks = packed(planted(held_out, [2]), block_size=33)
    found = held_out.find_in(blocks)
    assert found.cut == pytest.approx(31 / 33)
    assert found.sentence().endswith("sequences of the training text are so short that 94 % of it was not searched")
    found = held_out.find_in(blocks.flatten())
    assert found.cut == pytest.approx(31 / blocks.numel())
    assert found.sentence().endswith("passages of 32 tokens")
    mixed = held_out.find_in([blocks, blocks.flatten(), [1, 2]])
    assert mixed.cut == pytest.approx((len(blocks) * 31 + 31 + 2) / (2 * blocks.numel() + 2))


def test_sentences_and_numbers() -> None:
    found = Overlap(LENGTH, (97, 97, 97, 97), (97, 30, 3, 0), 5000)
    assert found.documents == [0, 1]
    assert found.sentence() == (
        "2 of 4 documents of the probe stand in the training text, by 20 % or more of their passages of 32 tokens"
    )
    assert found.of([2, 3]) == Overlap(LENGTH, (97, 97), (3, 0), 5000)
    assert found.of([2, 3]).sentence().endswith("its passages of 32 tokens; the largest share is 3.1 %")
    assert found.protocol() == {
        "documents": [0, 1],
        "of": 4,
        "length": 32,
        "share": 0.2,
        "cut": 0.0,
        "tokens": 5000,
        "sentence": found.sentence(),
    }


def test_documents_that_were_found_can_be_left_out() -> None:
    held_out = probe()
    found = held_out.find_in(planted(held_out, [2, 5]))
    clean = held_out.without(found.documents)
    assert clean.num_documents == 6
    assert clean.overlap is not None
    assert clean.overlap.shares == [0.0] * 6
    assert clean.find_in(planted(held_out, [2, 5])) == clean.overlap
    assert held_out.overlap is found


def test_the_header_of_a_run_says_what_was_found_and_the_hash_does_not_change() -> None:
    held_out = Probe(noise(12, 48) % 23, orders=(1,))
    before = held_out.hash
    without_a_look = InformationPlaneTracker(held_out)
    without_a_look.measure(Model())
    assert "overlap" not in without_a_look.protocol
    found = held_out.find_in([held_out.inputs[4]])
    tracker = InformationPlaneTracker(held_out)
    assert tracker.measure(Model()).failure is None
    assert tracker.protocol["overlap"] == found.protocol()
    assert tracker.protocol["overlap"]["documents"] == [4]
    assert held_out.hash == before


def test_looking_through_a_loader_leaves_the_random_state_of_the_training_alone() -> None:
    blocks = noise(8, 64, seed=5)
    before = torch.get_rng_state()
    loader = DataLoader(TensorDataset(blocks), batch_size=2, shuffle=True)
    assert Probe(blocks[:2]).find_in(loader).documents == [0, 1]
    assert torch.equal(before, torch.get_rng_state())
