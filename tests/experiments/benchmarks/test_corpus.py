"""The benchmark of corpora: text of this machine, measured in processes of its own."""

from __future__ import annotations

import time
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from experiments.benchmarks import corpus
from tests.experiments.benchmarks.written import written


@pytest.fixture
def texts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "texts").mkdir()
    for number in range(60):
        paragraphs = [f"Text {number}, paragraph {part}: {number * part % 89} of {part}." for part in range(90)]
        (tmp_path / "texts" / f"{number}.txt").write_text("\n\n".join(paragraphs))
    (tmp_path / "texts" / "no_text.txt").write_bytes(b"\xff" * 999)
    monkeypatch.setattr(corpus, "ROOTS", [str(tmp_path / "texts")])


def in_this_process(place: Path, vocab_size: int) -> dict[str, Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("IBTRACK_CACHE", str(place / "cache"))
        return corpus.prepare_and_train(place, vocab_size, time.time())


@pytest.mark.filterwarnings("ignore:.*share.* 20 % or more")
@pytest.mark.usefixtures("texts")
def test_a_corpus_is_made_prepared_and_found_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The processes of its own are this one, where everything is imported already."""
    monkeypatch.setenv("IBTRACK_CACHE", str(tmp_path))  # which the program sets for each part, and which is undone
    monkeypatch.setattr(corpus, "PART_BYTES", 300_000)
    monkeypatch.setattr(corpus, "STEPS", 2)
    monkeypatch.setattr(corpus, "in_own_process", in_this_process)
    corpus.main([0.001], repetitions=2, vocab_size=300, folder=tmp_path, file=tmp_path / "c.json")
    rows, reached = written(tmp_path / "c.json")
    first, second = (row for row in rows if "run" in row)
    assert first["tokens"] == second["tokens"] > 100_000
    assert second["seconds_to_prepare"] < first["seconds_to_prepare"]
    assert reached["memory above imports and model, 0.001 GB prepared and trained on"] >= 0
    assert len(rows[-1]["ratios"]) == 2
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("tmp")] == []


@pytest.mark.usefixtures("texts")
def test_texts_come_again_with_changes() -> None:
    made = list(islice(corpus.texts_of_this_machine(), 180))
    assert len(set(made)) == 180
    assert sorted(made[0].split("\n\n")) == sorted(made[60].split("\n\n")[:-1])


def test_no_texts_are_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(corpus, "ROOTS", [str(tmp_path)])
    with pytest.raises(FileNotFoundError, match="must hold files of text, found none"):
        next(corpus.texts_of_this_machine())
