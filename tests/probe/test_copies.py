"""Copies of documents: which are found, what a probe does with them, and what would be read of them."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from experiments.hmm import HiddenMarkov
from ibtrack import InformationPlaneTracker, Probe
from ibtrack.metrics import InformationPlane
from ibtrack.probe.copies import HEAD, KEPT, LEFT_OUT, REPLACED, Copies, copies_among, copies_in_blocks, take_documents
from tests.models import Model

VOCABULARY = 500


def noise(*shape: int, seed: int = 0) -> Tensor:
    """Tokens without any repetition to speak of."""
    return torch.randint(VOCABULARY, shape, generator=torch.Generator().manual_seed(seed))


def changed(tokens: Tensor, share: float, seed: int) -> Tensor:
    """The same tokens, some of them exchanged."""
    generator = torch.Generator().manual_seed(seed)
    others = torch.randint(VOCABULARY, tokens.shape, generator=generator)
    return torch.where(torch.rand(tokens.shape, generator=generator) < share, others, tokens)


def among(*texts: Tensor) -> list[bool]:
    found = copies_among(texts)
    assert found is not None
    return found.tolist()


def kgrams(text: Tensor, k: int = 8) -> set[tuple[int, ...]]:
    return {tuple(text[i : i + k].tolist()) for i in range(len(text) - k + 1)}


def alike(smaller: set[tuple[int, ...]], larger: set[tuple[int, ...]]) -> bool:
    shared = len(smaller & larger)
    return bool(smaller) and shared >= max(0.2 * len(smaller), min(16, len(smaller)))


def test_exact_copies_and_copies_with_changes_are_found_and_the_first_stays() -> None:
    text, other = noise(128), noise(128, seed=1)
    assert among(text, other, text, changed(text, 0.05, seed=2)) == [False, False, True, True]
    assert among(text, other, changed(text, 0.5, seed=2)) == [False, False, False]


def test_the_longer_of_two_stays_and_an_excerpt_goes() -> None:
    text = noise(200)
    assert among(text[50:100], text, noise(200, seed=1)) == [True, False, False]
    assert among(text[:12], text) == [True, False], "a short text goes if all of it stands in another"
    assert among(torch.cat([text[:20], noise(8, seed=1)]), text) == [False, False], "a phrase makes no copy"


def test_of_documents_that_are_each_like_a_third_one_stays() -> None:
    text = noise(128)
    begin, end = torch.cat([text[:64], noise(64, seed=1)]), torch.cat([noise(64, seed=2), text[64:]])
    assert among(begin, end) == [False, False]
    assert among(begin, end, text) == [False, True, True]
    assert among(begin, text, end) == [False, True, True]


def test_a_header_makes_neither_long_documents_alike_nor_does_a_short_one_that_is_mostly_header() -> None:
    header = noise(40)
    long = [torch.cat([header, noise(300, seed=seed)]) for seed in range(1, 40)]
    assert among(torch.cat([header, noise(10, seed=99)]), *long) == [True, *[False] * 39]


@pytest.mark.parametrize("seed", range(4))
def test_what_is_found_agrees_with_all_pairs(seed: int) -> None:
    """Documents of many lengths that share pieces: those that stay are not alike, those that go are like another."""
    generator = torch.Generator().manual_seed(seed)

    def draw(low: int, high: int) -> int:
        return int(torch.randint(low, high, (), generator=generator))

    pool = noise(40, 100, seed=seed)
    texts = []
    for number in range(120):
        pieces = [pool[draw(0, 40)][: draw(5, 60)] for _ in range(draw(0, 3))]
        texts.append(torch.cat([*pieces, noise(draw(10, 120), seed=1000 * (seed + 1) + number)]))
    goes = among(*texts)
    assert 10 < sum(goes) < 110
    sets = [kgrams(text) for text in texts]
    by_size = sorted(range(120), key=lambda i: len(sets[i]))
    pairs = [(a, b) for at, a in enumerate(by_size) for b in by_size[at + 1 :] if alike(sets[a], sets[b])]
    assert all(goes[a] or goes[b] for a, b in pairs)
    assert all(any(i in pair for pair in pairs) for i in range(120) if goes[i])
    assert not any(goes[i] for i in set(range(120)) - {i for pair in pairs for i in pair})


def test_thousands_that_are_alike_leave_one() -> None:
    texts = noise(3000, 64)
    texts[1:, :40] = texts[0, :40]
    documents = torch.arange(3000).unsqueeze(1).expand_as(texts)
    found = copies_in_blocks(texts, documents, torch.ones_like(texts, dtype=torch.bool))
    assert found is not None
    assert (found.found, found.documents) == (2999, 3000)
    assert not found.mask[0].any()


def test_long_texts_are_compared_by_their_beginning() -> None:
    begin = noise(HEAD)
    assert among(torch.cat([begin, noise(500, seed=1)]), torch.cat([begin, noise(400, seed=2)])) == [False, True]
    assert among(torch.cat([noise(HEAD, seed=1), begin]), torch.cat([noise(HEAD, seed=2), begin])) == [False, False]


def test_where_equal_kgrams_say_nothing_copies_cannot_be_told() -> None:
    assert copies_among([torch.arange(64) % 7] * 3) is None
    assert copies_among([noise(7), noise(7)]) is None
    assert copies_among([noise(7), noise(9, seed=1), noise(7)]) is not None


@pytest.mark.parametrize(("states", "symbols", "sharpness"), [(6, 8, 3.0), (3, 4, 3.0), (12, 8, 2.0)])
def test_sources_of_few_symbols_have_no_copies_unless_there_are_some(
    states: int, symbols: int, sharpness: float
) -> None:
    source = HiddenMarkov.draw(states, symbols, sharpness=sharpness)
    blocks, _ = source.sample(64, 128, generator=torch.Generator().manual_seed(0))
    assert sum(among(*blocks)) == 0
    assert sum(among(*blocks, blocks[3])) == 1


def test_bytes_of_few_words_have_no_copies() -> None:
    words = ["red", "green", "blue", "house", "tree", "runs", "sees", "the", "a", "and"]
    chosen = torch.randint(10, (80, 60), generator=torch.Generator().manual_seed(0)).tolist()
    texts = [torch.tensor(list(" ".join(words[i] for i in each).encode())[:128]) for each in chosen]
    assert sum(among(*texts)) == 0


def test_documents_of_several_blocks_and_blocks_of_several_documents() -> None:
    tokens = noise(6, 30)
    tokens[3] = tokens[1]  # a document that is one block of another
    tokens[4, :18] = tokens[0, 5:23]  # and one that is a part of one block
    documents = torch.tensor([8, 8, 8, 3, 5, 2]).unsqueeze(1).repeat(1, 30)
    documents[4, 18:] = 0
    documents[5, 20:] = -1
    found = copies_in_blocks(tokens, documents, documents >= 0)
    assert found is not None
    assert (found.found, found.documents) == (2, 5)
    assert found.mask.equal((documents == 3) | (documents == 5))


def test_kgrams_do_not_cross_blocks_documents_or_gaps() -> None:
    """The same 14 tokens, 7 of them on either side of a border, are no 8-gram."""
    phrase, tokens = noise(14), noise(6, 40, seed=1)
    tokens[:, 13:27] = phrase
    documents = torch.arange(6).unsqueeze(1).expand_as(tokens)
    everywhere = torch.ones_like(tokens, dtype=torch.bool)
    halves = torch.where(torch.arange(40) < 20, documents, documents + 6)
    gap = everywhere.clone()
    gap[:, 20] = False
    short = kgrams(phrase)
    assert len(short) == 7
    for of, measured in ((halves, everywhere), (documents, gap)):
        found = copies_in_blocks(tokens, of, measured)
        assert found is not None
        assert found.found == 0
    only = copies_in_blocks(tokens[:, 13:27].contiguous(), documents[:, :14], everywhere[:, :14])
    assert only is not None
    assert only.found == 5


def test_documents_are_taken_until_there_are_enough() -> None:
    def repeats(letters: list[str]) -> Tensor:
        return torch.tensor([letter in letters[:i] for i, letter in enumerate(letters)])

    assert take_documents(iter("aabacdef"), 4, repeats) == (list("abcd"), Copies(2, 6, REPLACED))
    assert take_documents(iter("aabacdef"), 4, repeats, keep_copies=True) == (list("aaba"), Copies(2, 4, KEPT))
    assert take_documents(iter("aab"), 4, repeats) == (list("ab"), Copies(1, 3, REPLACED))
    assert take_documents(iter("aab"), 2, lambda letters: None) == (list("aa"), None)
    source = iter("abcdef")
    assert take_documents(source, 3, repeats)[0] == list("abc")
    assert next(source) == "d"
    assert take_documents(iter(""), 3, repeats) == ([], None)


def test_the_sentence_is_in_the_singular_where_it_should_be() -> None:
    assert Copies(1, 5, LEFT_OUT).sentence() == (
        "1 of 5 documents shares 20 % or more of its text with another one: not measured"
    )
    assert Copies(0, 5, LEFT_OUT).sentence() == ""
    assert Copies(0, 5, LEFT_OUT).protocol() == {"found": 0, "documents": 5}


def with_copies(share: float = 0.3, blocks: int = 64, *, seed: int = 0) -> Tensor:
    """Blocks of noise; a share of them are copies of others, half of them exact and half with changes."""
    generator = torch.Generator().manual_seed(seed)
    tokens, number = noise(blocks, 128, seed=seed), round(share * blocks)
    tokens[:number] = tokens[torch.randint(number, blocks, (number,), generator=generator)]
    tokens[1:number:2] = changed(tokens[1:number:2], 0.05, seed + 100)
    return tokens[torch.randperm(blocks, generator=generator)]


def test_given_blocks_stay_where_they_are_and_copies_are_not_measured(tmp_path: Path) -> None:
    tokens = with_copies()
    with pytest.warns(UserWarning, match="ibtrack: 19 of 64 documents share 20 % or more of .*: not measured; keep_c"):
        probe = Probe(tokens, orders=(1, 2))
    assert probe.copies == Copies(19, 64, LEFT_OUT)
    assert probe.inputs.equal(tokens)
    assert (probe.num_blocks, probe.num_documents, probe.num_positions) == (64, 45, 45 * 125)
    assert "19 copies left out" in repr(probe)
    measured = probe.positions.div(128, rounding_mode="floor").unique()
    assert sum(among(*tokens[measured])) == 0
    fewer = Probe(tokens[measured], orders=(1, 2))
    assert all(fewer.label_sets[name].equal(ids) for name, ids in probe.label_sets.items())
    probe.save(tmp_path / "probe.pt")
    assert Probe.load(tmp_path / "probe.pt").copies == probe.copies


def test_copies_are_kept_on_demand_without_a_warning() -> None:
    tokens = with_copies()
    probe = Probe(tokens, orders=(1, 2), keep_copies=True)
    assert probe.copies == Copies(19, 64, KEPT)
    assert probe.num_documents == 64
    assert "left out" not in repr(probe)


def test_a_probe_without_copies_says_so() -> None:
    assert Probe(noise(8, 32), orders=(1,)).copies == Copies(0, 8, LEFT_OUT)
    assert "left out" not in repr(Probe(noise(8, 32), orders=(1,)))


def test_inputs_that_are_no_text_are_not_looked_at() -> None:
    inputs = torch.zeros(6, 40, dtype=torch.long)
    assert Probe(inputs, labels={"input": torch.arange(6) % 2, "output": torch.arange(6) % 3}).copies is None


def test_a_file_from_before_copies_were_looked_for_is_read(tmp_path: Path) -> None:
    probe = Probe(noise(8, 32), orders=(1,))
    probe.save(tmp_path / "probe.pt")
    state = torch.load(tmp_path / "probe.pt", weights_only=True)
    del state["copies"]
    torch.save(state, tmp_path / "old.pt")
    old = Probe.load(tmp_path / "old.pt")
    assert old.copies is None
    assert old.protocol() == probe.protocol()


def preference_probe(tokens: Tensor, labels: Tensor, **options: Any) -> Probe:
    pairs = torch.arange(len(tokens) // 2).repeat_interleave(2)
    return Probe(tokens, labels={"preference": labels}, documents=pairs, is_text=True, **options)


def test_pairs_may_share_a_prompt_but_not_their_responses() -> None:
    """The responses of a pair are one document, and what is not measured is not compared."""
    tokens = noise(40, 60)
    tokens[:, :30] = tokens[0, :30]
    labels = torch.tensor([1, 0] * 20).unsqueeze(1).repeat(1, 60)
    labels[:, :30] = -1
    assert preference_probe(tokens, labels).copies == Copies(0, 20, LEFT_OUT)
    tokens[1, 30:] = tokens[0, 30:]
    assert preference_probe(tokens, labels).copies == Copies(0, 20, LEFT_OUT)
    tokens[6] = tokens[2]
    with pytest.warns(UserWarning, match="1 of 20 documents shares"):
        probe = preference_probe(tokens, labels)
    assert not torch.isin(torch.tensor([6, 7]), probe.positions.div(60, rounding_mode="floor")).any()
    assert (probe.num_documents, probe.label_counts) == (19, {"preference": 2})


def test_preferences_with_one_label_for_each_block() -> None:
    tokens, labels = noise(40, 60), torch.tensor([1, 0] * 20)
    tokens[6] = tokens[2]
    with pytest.warns(UserWarning, match="1 of 20 documents shares"):
        probe = preference_probe(tokens, labels)
    assert probe.positions.tolist() == [i for i in range(40) if i not in (6, 7)]


def ids(text: str) -> list[int]:
    return [int(word) for word in text.split()]


def as_text(tokens: Tensor) -> str:
    return " ".join(map(str, tokens.tolist()))


def test_other_documents_are_taken_in_place_of_copies() -> None:
    texts = [as_text(block) for block in with_copies(0.4, 60)]
    with pytest.warns(UserWarning, match=r"ibtrack: \d+ of \d+ documents share .*: others taken in their place; keep_"):
        probe = Probe.from_texts(iter(texts), ids, num_blocks=30, block_size=100)
    assert (probe.num_blocks, probe.num_documents) == (30, 30)
    assert sum(among(*probe.inputs)) == 0
    assert probe.copies is not None
    assert probe.copies.found > 5
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        again = Probe.from_texts(iter(texts), ids, num_blocks=30, block_size=100)
    assert again.hash == probe.hash
    kept = Probe.from_texts(iter(texts), ids, num_blocks=30, block_size=100, keep_copies=True)
    assert kept.num_documents == 30
    assert kept.copies is not None
    assert (kept.copies.done, kept.copies.documents) == (KEPT, 30)
    assert kept.copies.found > 5


def test_two_windows_of_one_text_are_copies_wherever_they_lie() -> None:
    long, other = as_text(noise(3000)), as_text(noise(3000, seed=1))
    with pytest.warns(UserWarning, match="1 of 3 documents shares"):
        probe = Probe.from_texts(iter([long, long, other]), ids, num_blocks=2, block_size=16)
    assert {as_text(block) in long for block in probe.inputs} == {True, False}


def test_windows_of_different_texts_may_be_copies_too() -> None:
    header = noise(40)
    texts = [as_text(torch.cat([header, noise(170, seed=seed)])) for seed in range(1, 60)]
    found = copies_among([torch.tensor(ids(text)) for text in texts])
    assert found is not None
    assert not found.any()
    with pytest.warns(UserWarning, match="share 20 % or more"):
        probe = Probe.from_texts(texts, ids, num_blocks=20, block_size=100)
    assert sum(among(*probe.inputs)) == 0


def test_pairs_are_taken_in_place_of_copies() -> None:
    answers = [(as_text(noise(30, seed=2 * i)), as_text(noise(30, seed=2 * i + 1))) for i in range(1, 9)]
    rows = [{"prompt": "7 7 7 ", "chosen": good, "rejected": bad} for good, bad in [*answers[:4], *answers]]
    with pytest.warns(UserWarning, match="4 of 1[02] documents share"):
        probe = Probe.from_preferences(iter(rows), ids, num_pairs=6, block_size=40)
    assert probe.num_documents == 6
    kept = Probe.from_preferences(iter(rows), ids, num_pairs=6, block_size=40, keep_copies=True)
    assert kept.copies == Copies(2, 6, KEPT)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (
            lambda: Probe(noise(1, 40).expand(5, 40), orders=(1,)),
            "the documents of a probe must not all be copies of one, got 5 that are; take other text, or keep_copies",
        ),
        (
            lambda: Probe.from_texts([as_text(noise(60))] * 9, ids, num_blocks=4, block_size=40),
            "needs 4 documents of at least 40 tokens, got 1 among 9 and 8 copies of them; .* or keep_copies=True",
        ),
        (
            lambda: Probe.from_preferences(
                [{"chosen": as_text(noise(30)), "rejected": as_text(noise(30, seed=1))}] * 9,
                ids,
                num_pairs=4,
                block_size=40,
            ),
            "needs 4 pairs of responses that differ, got 1 among 9 and 8 copies of them; keep_copies=True takes those",
        ),
    ],
)
def test_copies_alone_are_refused(make: Callable[[], Probe], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        make()


def informations(tokens: Tensor, **options: Any) -> tuple[Probe, list[float]]:
    """Read token labels from activations that depend on the tokens ten to thirteen places back, and so on no label."""
    generator = torch.Generator().manual_seed(1)
    tables = torch.randn(4, VOCABULARY, 32, generator=generator)
    rows = torch.stack([table[tokens.roll(10 + i, 1)] for i, table in enumerate(tables)]).sum(0)
    rows = rows + 0.3 * torch.randn(rows.shape, generator=generator)
    probe = Probe(tokens, orders=(1,), **options)
    plane = InformationPlane(probe, {"L00": 32}, readings=("debiased",))
    plane.update("L00", rows.flatten(0, 1), torch.arange(probe.num_positions), rows=probe.positions)
    values = plane.compute()
    return probe, [float(values[f"ib/L00/token/{quantity}"]) for quantity in ("complexity", "expressivity")]


@pytest.mark.filterwarnings("ignore:ibtrack:UserWarning")
@pytest.mark.parametrize("seed", range(3))
def test_labels_that_tell_nothing_read_nothing(seed: int) -> None:
    tokens = with_copies(0.3, seed=seed)
    with_them, kept = informations(tokens, keep_copies=True)
    without, left_out = informations(tokens)
    assert with_them.num_documents - without.num_documents == 19
    assert min(kept) > 0.05  # .09 to .11
    assert max(left_out) <= 0.01


def test_the_tracker_measures_such_a_probe_and_says_so_in_the_protocol() -> None:
    tokens = noise(12, 16) % 23
    tokens[5] = tokens[2]
    with pytest.warns(UserWarning, match="1 of 12 documents shares"):
        probe = Probe(tokens, orders=(1,))
    tracker = InformationPlaneTracker(probe)
    point = tracker.measure(Model())
    assert point.failure is None
    assert tracker.protocol["copies"] == {
        "found": 1,
        "documents": 12,
        "sentence": "1 of 12 documents shares 20 % or more of its text with another one: not measured",
    }
