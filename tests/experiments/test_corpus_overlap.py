"""The overlap of a probe with a corpus: found as in memory, once, and by pieces."""

from __future__ import annotations

from pathlib import Path

import pytest

from experiments import corpus_overlap
from experiments.data import TextData
from ibtrack import Probe
from ibtrack.probe import sequences


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TextData:
    monkeypatch.setenv("IBTRACK_CACHE", str(tmp_path))
    words = [f"w{i * i % 97}x{i}" for i in range(3000)]
    texts = [" ".join(words[start : start + 60]) for start in range(0, 2940, 60)]
    made = TextData(lambda: texts, vocab_size=300, block_size=32, batch_size=4, held_out=0.3)
    made.setup()
    return made


@pytest.fixture
def probe(data: TextData) -> Probe:
    trained = data.tokenizer.decode(data.train_blocks.stacked()[3:8].flatten().tolist())
    texts = [*data.probe_texts[:2], f"{trained} end"]
    return Probe.from_texts(texts, data.tokenizer, num_blocks=3, block_size=64, orders=(1, 2))


def test_what_is_found_by_pieces_is_what_is_found_in_memory(
    data: TextData, probe: Probe, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_memory = probe.find_in(data.train_blocks.stacked().flatten())
    monkeypatch.setattr(sequences, "CHUNK", 100)
    assert data.overlap(probe) == in_memory
    assert in_memory.documents


def test_a_corpus_is_searched_once_for_a_probe(data: TextData, probe: Probe, monkeypatch: pytest.MonkeyPatch) -> None:
    first = data.overlap(probe)
    monkeypatch.setattr(Probe, "find_in", None)  # would be called in vain
    probe.overlap = None
    assert data.overlap(probe) == first == probe.overlap
    assert [path.name for path in data.train_blocks.row.path.parent.glob("*.draft")] == []
    monkeypatch.undo()


def test_another_probe_or_another_length_is_searched_anew(data: TextData, probe: Probe) -> None:
    folder = data.train_blocks.row.path.parent
    data.overlap(probe)
    data.overlap(probe.without([0]))
    corpus_overlap.corpus_overlap(probe, data._corpus, 640, data.tokenizer)  # type: ignore[arg-type]
    assert len(list(folder.glob("overlap-*.json"))) == 3
