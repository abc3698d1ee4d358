"""Preference pairs to blocks, and the probe that is made of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import datasets
import pytest
import torch

from ibtrack import Probe
from ibtrack.probe.copies import REPLACED, Copies
from ibtrack.probe.preferences import PreferenceBlocks, preference_blocks


def letters(text: str) -> list[int]:
    """A token per character, below the 23 of the test models."""
    return [ord(character) % 23 for character in text]


def rows(number: int = 40, seed: int = 0) -> Iterator[dict[str, Any]]:
    """Whole dialogues that share their beginning, as in HH-RLHF: chosen answers of even letters, others of odd ones."""
    generator = torch.Generator().manual_seed(seed)

    def answer(letters: str) -> str:
        drawn = [letters[i] for i in torch.randint(len(letters), (18,), generator=generator).tolist()]
        return " ".join("".join(drawn[i : i + 3]) for i in range(0, 18, 3))

    for i in range(number):
        prompt = f"\n\nHuman: question {i}?\n\nAssistant: "
        yield {"chosen": prompt + answer("bdfhjlnpr"), "rejected": prompt + answer("acegikmoq")}


ROWS = list(rows())
OPTIONS: dict[str, Any] = {"chosen": "chosen", "rejected": "rejected", "block_size": 16}
MESSAGES = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yo"}]


def blocks(*pairs: dict[str, Any], **options: Any) -> PreferenceBlocks:
    return preference_blocks(pairs, letters, **{**OPTIONS, "num_pairs": 1, **options})


def test_positions_are_those_after_the_common_beginning() -> None:
    result = blocks({"chosen": "question: yes", "rejected": "question: no."}, block_size=24)
    padding = [0] * 11
    assert result.tokens.tolist() == [letters(text) + padding for text in ("question: yes", "question: no.")]
    assert result.preference.tolist() == [[-1] * 10 + [label] * 3 + [-1] * 11 for label in (1, 0)]
    assert result.pairs.tolist() == [0, 0]


def test_a_long_prompt_leaves_half_of_the_block_to_the_response() -> None:
    result = blocks({"chosen": "q" * 50 + "a" * 30, "rejected": "q" * 50 + "bb"})
    assert result.tokens[0].tolist() == letters("q" * 8 + "a" * 8)
    assert result.preference[1].tolist() == [-1] * 8 + [0] * 2 + [-1] * 6


def test_the_last_token_of_each_response_can_be_the_only_position() -> None:
    row = {"chosen": "question: yes", "rejected": "question: no"}
    result = blocks(row, block_size=24, positions="last")
    assert result.tokens.equal(blocks(row, block_size=24).tokens)
    assert result.preference.tolist() == [[-1] * 12 + [1] + [-1] * 11, [-1] * 11 + [0] + [-1] * 12]


def test_the_last_token_stands_at_the_end_of_what_fits_before_it() -> None:
    row = {"chosen": "q" * 50 + "abcde" * 6, "rejected": "q" * 50 + "bb"}
    result = blocks(row, positions="last")
    assert result.tokens.tolist() == [letters(("abcde" * 6)[-16:]), letters("q" * 14 + "bb")]
    assert result.preference.tolist() == [[-1] * 15 + [1], [-1] * 15 + [0]]


def test_copies_are_told_by_whole_responses_where_only_the_last_token_is_measured() -> None:
    again = {**ROWS[0], "chosen": ROWS[0]["chosen"] + "!"}
    result = blocks(ROWS[0], again, *ROWS[1:3], num_pairs=3, block_size=48, positions="last")
    assert result.copies == Copies(1, 4, REPLACED)
    assert (result.preference >= 0).sum(1).tolist() == [1] * 6


def test_there_are_no_other_positions_of_preferences() -> None:
    with pytest.raises(ValueError, match="positions must be one of 'all', 'last', got 'first'"):
        Probe.from_preferences(ROWS, letters, num_pairs=2, block_size=48, positions="first")


def test_a_probe_of_last_tokens_has_one_position_for_each_response() -> None:
    probe = Probe.from_preferences(ROWS, letters, num_pairs=7, block_size=48, positions="last")
    assert (probe.num_positions, probe.num_documents) == (14, 7)
    assert probe.label_sets["preference"].tolist() == [1, 0] * 7
    assert probe.documents.tolist() == [i // 2 for i in range(14)]
    tokens = probe.inputs.flatten()[probe.positions]
    ends = {(letters(row["chosen"])[-1], letters(row["rejected"])[-1]) for row in ROWS}
    assert set(map(tuple, tokens.view(7, 2).tolist())) <= ends


@pytest.mark.parametrize(
    ("row", "text"),
    [
        ({"prompt": "Why? ", "chosen": "So.", "rejected": "x"}, "Why? So."),
        ({"prompt": "Why? ", "chosen": "Why? So.", "rejected": "x"}, "Why? So."),
        ({"prompt": None, "chosen": "So.", "rejected": "x"}, "So."),
        ({"chosen": MESSAGES, "rejected": MESSAGES[:1]}, "user: Hi\n\nassistant: Yo"),
        ({"prompt": "Hi", "chosen": MESSAGES, "rejected": MESSAGES[:1]}, "user: Hi\n\nassistant: Yo"),
        ({"prompt": "Hi", "chosen": MESSAGES[1:], "rejected": "x"}, "user: Hi\n\nassistant: Yo"),
        ({"prompt": MESSAGES[:1], "chosen": MESSAGES[1:], "rejected": "x"}, "user: Hi\n\nassistant: Yo"),
        ({"prompt": MESSAGES[:1], "chosen": "Yo", "rejected": "x"}, "user: Hi\n\nassistant: Yo"),
    ],
)
def test_columns_of_several_kinds(row: dict[str, Any], text: str) -> None:
    texts: list[str] = []

    def encode(text: str) -> list[int]:
        texts.append(text)
        return letters(text)

    preference_blocks([row, *ROWS], encode, **{**OPTIONS, "num_pairs": 1})
    assert texts[0] == text


def test_a_response_without_a_token_of_its_own_is_skipped() -> None:
    same = {"chosen": "same", "rejected": "same"}
    longer = {"chosen": "same and more", "rejected": "same"}
    result = blocks(same, longer, {"chosen": "ab", "rejected": "ac"})
    assert result.tokens[:, :2].tolist() == [letters("ab"), letters("ac")]
    with pytest.raises(ValueError, match="needs 1 pairs of responses that differ, got 0 among 2"):
        blocks(same, longer)


@pytest.mark.parametrize("kind", ["rows", "dataset", "stream"])
def test_the_probe_from_a_local_file(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "pairs.jsonl"
    path.write_text("\n".join(map(json.dumps, ROWS)))
    data = datasets.load_dataset("json", data_files=str(path), split="train", cache_dir=str(tmp_path))
    source: Any = {"rows": ROWS, "dataset": data, "stream": data.to_iterable_dataset()}[kind]
    options: dict[str, Any] = {"num_pairs": 12, "block_size": 48}
    probe, again = (Probe.from_preferences(source, letters, seed=1, **options) for _ in range(2))
    assert probe.hash == again.hash != Probe.from_preferences(source, letters, seed=2, **options).hash
    assert probe.label_sets.keys() == {"preference"}
    assert probe.orders == ()
    assert probe.is_text
    assert (probe.num_blocks, probe.num_documents, probe.label_counts) == (24, 12, {"preference": 2})
    at = probe.inputs.flatten()[probe.positions]
    liked = {int(token) for token in at[probe.label_sets["preference"] == 1]}
    assert liked == set(letters("bdfhjlnpr "))
    probe.save(tmp_path / "probe.pt")
    assert Probe.load(tmp_path / "probe.pt").protocol() == probe.protocol()


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: Probe.from_preferences(ROWS, letters, num_pairs=41), "needs 41 pairs of responses .* got 40 among 40"),
        (
            lambda: Probe.from_preferences(ROWS, letters, chosen="best"),
            "rows must have a column 'best', got 'chosen', 're",
        ),
        (lambda: blocks({"chosen": 3, "rejected": "x"}), "column 'chosen' must hold a text or a list of mess.* got 3"),
        (lambda: blocks({"chosen": "a", "rejected": [{"text": "x"}]}), r"column 'rejected' must .* got \[\{'text'"),
        (lambda: blocks({"prompt": 7, "chosen": MESSAGES[1:], "rejected": "x"}), "column 'prompt' must hold a text"),
        (
            lambda: Probe.from_preferences(ROWS, letters, num_pairs=0),
            "num_pairs must be an integer of at least 1, got 0",
        ),
        (
            lambda: Probe(torch.zeros(2, 3), labels={"preference": torch.tensor([1, 2])}),
            r"preference must be 1 and 0, at some positions each, and negative elsewhere, got \[1, 2\]",
        ),
        (lambda: Probe(torch.zeros(2, 3), labels={"taste": torch.tensor([1, 0])}), "or be 'preference', got"),
    ],
)
def test_bad_input(make: Callable[[], object], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        make()
