"""A prepared corpus: what it holds, when it is found again, and what is refused."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from experiments import corpus, hash_order, parts
from experiments.corpus import Corpus, Recipe, corpus_folder, prepared
from experiments.documents import local
from experiments.tokenizer import END, EndingTokenizer, cache_folder, train_tokenizer
from tests.experiments.stories import STORIES

WORDS = 'A story of "{0}". ' * 20


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("IBTRACK_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def stories(tmp_path: Path) -> Recipe:
    rows = [json.dumps({"text": story}) for story in [*STORIES, "", STORIES[0]]]
    (tmp_path / "stories.jsonl").write_text("\n".join(rows))
    return Recipe(partial(local, f"{tmp_path}/stories.jsonl"), vocab_size=300, held_out=0.3)


def trained_on(made: Corpus) -> list[str]:
    text = made.tokenizer().decode(made.train[:].tolist(), skip_special_tokens=False)
    return text.removesuffix(END).split(END)


def test_each_document_is_trained_on_or_held_out_once_by_the_hash_of_its_text(stories: Recipe) -> None:
    made = prepared(stories)
    held_out = made.held_out_texts()
    assert sorted(trained_on(made) + held_out) == sorted(STORIES)
    assert (made.facts.train_documents, made.facts.held_out_documents) == (len(STORIES) - len(held_out), len(held_out))
    more = prepared(replace(stories, documents=lambda: [*STORIES[::-1], *map(WORDS.format, range(40))]))
    assert set(held_out) <= set(more.held_out_texts()), "others change nothing"
    assert made.facts.dtype == "<u2"
    text = made.tokenizer().decode(made.held_out[:].tolist(), skip_special_tokens=False)
    assert text == "".join(text + END for text in held_out)


def test_a_corpus_sorted_through_files_is_the_same(stories: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    in_memory = prepared(stories)
    monkeypatch.setattr(hash_order.in_hash_order, "__kwdefaults__", {"sorted_bytes": 2000, "_byte": 0})
    monkeypatch.setenv("IBTRACK_CACHE", str(in_memory.folder.parent / "other"))
    through_files = prepared(stories)
    assert through_files.folder != in_memory.folder
    assert through_files.facts == in_memory.facts
    assert sorted(path.name for path in through_files.folder.iterdir()) == sorted(
        ["corpus.json", "held_out.bin", "held_out.json", "tokenizer.json", "train.bin"]
    )


def test_a_corpus_is_prepared_once(stories: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    first = prepared(stories)
    monkeypatch.setattr(corpus, "in_hash_order", None)  # would be called in vain
    assert prepared(stories).facts == first.facts


@pytest.mark.parametrize(
    "change",
    [{"vocab_size": 280}, {"held_out": 0.4}, {"max_documents": 20}, {"max_bytes": 5000}, {"keep": parts.prose}],
)
def test_another_recipe_is_another_corpus(stories: Recipe, change: dict[str, object]) -> None:
    assert corpus_folder(replace(stories, **change)) != corpus_folder(stories)  # type: ignore[arg-type]


def test_another_tokenizer_or_end_is_another_corpus(stories: Recipe) -> None:
    tokenizer = train_tokenizer(STORIES, 300)
    folders = [
        corpus_folder(replace(stories, tokenizer=EndingTokenizer(each, end)))
        for each, end in ((tokenizer, 0), (tokenizer, 1), (train_tokenizer(STORIES, 270), 0))
    ]
    assert len({*folders, corpus_folder(stories)}) == 4


def test_held_out_texts_are_bounded_and_the_others_are_not_trained_on(
    stories: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    all_of_them = prepared(stories).held_out_texts()
    monkeypatch.setattr(corpus, "HELD_OUT_BYTES", 1000)
    monkeypatch.setenv("IBTRACK_CACHE", str(cache_folder() / "other"))
    made = prepared(stories)
    assert made.held_out_texts() == all_of_them[:2]
    assert made.facts.held_out_documents == len(all_of_them)
    assert len(trained_on(made)) == len(STORIES) - len(all_of_them)


@pytest.mark.parametrize(
    ("damage", "fault"),
    [
        (lambda folder: (folder / "tokenizer.json").unlink(), "must be a whole corpus, and has no tokenizer.json"),
        (lambda folder: (folder / "train.bin").write_bytes(b"12"), r"must have \d+ ids of 2 bytes, got 2 bytes"),
        (lambda folder: (folder / "corpus.json").write_text('{"version": 0}'), "corpus of version 1, got 0"),
        (lambda folder: (folder / "corpus.json").write_text('{"vers'), "prepared anew: Unterminated string"),
        (lambda folder: (folder / "corpus.json").write_text('{"version": 1}'), r"missing \d+ required"),
    ],
    ids=["a file is gone", "a file was cut", "another version", "cut facts", "other facts"],
)
def test_a_corpus_that_is_not_whole_is_prepared_anew(
    stories: Recipe, damage: object, fault: str, capsys: pytest.CaptureFixture[str]
) -> None:
    made = prepared(stories)
    assert callable(damage)
    damage(made.folder)
    again = prepared(stories)
    assert again.facts == made.facts
    assert len(trained_on(again)) == made.facts.train_documents
    assert re.search(fault, capsys.readouterr().err)


@pytest.mark.parametrize("texts", [["one large document"], []])
def test_a_side_without_documents_is_refused(texts: list[str], cache: Path) -> None:
    with pytest.raises(ValueError, match=r"some to train on and some to hold out, got .*a document is the unit"):
        prepared(Recipe(lambda: texts, held_out=0.5))
    assert not [path for path in (cache / "corpora").iterdir() if path.suffix != ".lock"]


@pytest.mark.parametrize("held_out", [0, 1, -0.5, 2])
def test_a_share_out_of_range_is_refused(held_out: float) -> None:
    with pytest.raises(ValueError, match=f"held_out must be above 0 and below 1, got {held_out}"):
        Recipe(lambda: [], held_out=held_out)


def test_a_column_that_is_missing_leaves_nothing(stories: Recipe, tmp_path: Path, cache: Path) -> None:
    recipe = replace(stories, documents=partial(local, f"{tmp_path}/stories.jsonl", column="body"))
    with pytest.raises(ValueError, match="column must be one of 'text', got 'body'"):
        prepared(recipe)
    assert not [path for path in (cache / "corpora").iterdir() if path.suffix != ".lock"]


def test_a_large_vocabulary_takes_four_bytes(stories: Recipe) -> None:
    tokenizer = train_tokenizer(STORIES, 300)
    tokenizer.add_tokens([f"never {number} seen" for number in range(1 << 16)])
    made = prepared(replace(stories, tokenizer=EndingTokenizer(tokenizer, 0)))
    assert made.facts.dtype == "<u4"
    assert sorted(trained_on(made)) == sorted(trained_on(prepared(stories)))


def test_an_end_that_a_text_spells_is_no_end(stories: Recipe) -> None:
    texts = [f"{story} {END} and more" for story in STORIES]
    made = prepared(replace(stories, documents=lambda: texts))
    ends = np.count_nonzero(made.train[:] == made.facts.end_id)
    assert ends == made.facts.train_documents


def test_the_same_corpus_is_found_from_another_process(stories: Recipe, tmp_path: Path) -> None:
    folder = prepared(stories).folder
    code = f"""
from functools import partial
from experiments.corpus import Recipe, prepared
from experiments.documents import local
print(prepared(Recipe(partial(local, {str(tmp_path / "stories.jsonl")!r}), vocab_size=300, held_out=0.3)).sentence())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith(f"in {folder}\n")
    assert len(list(folder.parent.glob("*/corpus.json"))) == 1
