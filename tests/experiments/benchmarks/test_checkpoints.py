"""Weights at several steps, and the windows of held-out text."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from experiments.benchmarks.checkpoints import held_out_windows, train_with_checkpoints
from experiments.encoding import packed
from experiments.tokenizer import train_tokenizer


def test_weights_are_those_of_the_steps() -> None:
    short, whole = (train_with_checkpoints(["experiment=tiny", f"trainer.max_steps={n}"], [0, n]) for n in (3, 8))
    again = train_with_checkpoints(["experiment=tiny"], [8])
    assert list(whole.weights) == [0, 8]
    for name, tensor in whole.weights[8].items():
        assert torch.equal(tensor, again.weights[8][name])
        assert torch.equal(short.weights[0][name], whole.weights[0][name])
    moved = [name for name, tensor in whole.weights[8].items() if not torch.equal(tensor, whole.weights[0][name])]
    assert moved
    model = whole.at(0)
    assert not model.training
    assert all(torch.equal(tensor, whole.weights[0][name]) for name, tensor in model.state_dict().items())


def test_a_step_beyond_the_end_of_training_is_refused() -> None:
    with pytest.raises(ValueError, match=r"training must reach all steps, got none of \[9\]"):
        train_with_checkpoints(["experiment=tiny"], [8, 9])


def test_windows_lie_in_one_document_and_are_no_copies() -> None:
    texts = [" ".join(f"{name}{i * step}" for i in range(300)) for name, step in (("a", 3), ("b", 7))]
    tokenizer = train_tokenizer(texts, vocab_size=300)
    texts.append(texts[0])
    data: Any = SimpleNamespace(probe_texts=texts, tokenizer=tokenizer, end_id=0, block_size=64)
    windows = held_out_windows(data)
    both = torch.cat([packed([text], tokenizer, 0, 64) for text in texts[:2]])
    assert sorted(windows.tolist()) == sorted(both.tolist())
    assert torch.equal(held_out_windows(data, most=3), windows[:3])
    assert not torch.equal(held_out_windows(data, seed=1), windows)
