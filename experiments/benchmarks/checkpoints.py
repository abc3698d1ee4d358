"""Weights of a small model at several steps of its training, and held-out text to read them on."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, nn

from experiments.benchmarks.runs import configuration, fit
from experiments.data import TextData
from experiments.encoding import packed
from ibtrack.probe.copies import copies_in_blocks


class KeepWeights(Callback):
    """Keep a copy of the weights before training and after some of its steps.

    Args:
        steps: Numbers of optimizer steps after which the weights are kept; 0 means before the first.

    Attributes:
        weights: Step to a copy of the model's state.
    """

    def __init__(self, steps: Iterable[int]) -> None:
        self.steps = frozenset(steps)
        self.weights: dict[int, dict[str, Tensor]] = {}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keep the weights of step 0."""
        self._keep(trainer.global_step, pl_module)

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        """Keep the weights of the step that is done."""
        self._keep(trainer.global_step, pl_module)

    def _keep(self, step: int, module: LightningModule) -> None:
        if step in self.steps:
            self.weights[step] = {name: tensor.clone() for name, tensor in module.state_dict().items()}


@dataclass(frozen=True)
class Checkpoints:
    """A model with its weights at several steps.

    Attributes:
        data: The data that it was trained on.
        model: The model.
        weights: Step to the weights.
    """

    data: TextData
    model: nn.Module
    weights: Mapping[int, Mapping[str, Tensor]]

    def at(self, step: int) -> nn.Module:
        """Return the model with the weights of a step, ready to be run."""
        self.model.load_state_dict(self.weights[step])
        return self.model.eval()


def train_with_checkpoints(overrides: Sequence[str], steps: Iterable[int]) -> Checkpoints:
    """Train as ``experiments/train.py`` does, without a monitor, and keep the weights of some steps.

    Args:
        overrides: Overrides of the configuration.
        steps: The steps.

    Raises:
        ValueError: Training ended before one of the steps.
    """
    keep = KeepWeights(steps)
    with tempfile.TemporaryDirectory() as folder:
        done = fit(configuration(Path(folder), "logger=none", *overrides), watched=False, callbacks=[keep])
    if missing := sorted(keep.steps - keep.weights.keys()):
        raise ValueError(f"training must reach all steps, got none of {missing}")
    return Checkpoints(done.data, done.model, keep.weights)


def held_out_windows(data: TextData, *, seed: int = 0, most: int | None = None) -> Tensor:
    """Cut the held-out documents into windows of the length of a block, leave out copies, and shuffle.

    A window lies in one document. All windows are one population: some of them, drawn at random, are a sample whose
    windows are independent.

    Args:
        data: The data.
        seed: Seed of the order.
        most: Number of windows to return at most; None returns all.

    Returns:
        Token ids, (S, T).
    """
    windows = torch.cat([packed([text], data.tokenizer, data.end_id, data.block_size) for text in data.probe_texts])
    numbers = torch.arange(len(windows)).unsqueeze(1).expand_as(windows)
    copies = copies_in_blocks(windows, numbers, torch.ones_like(windows, dtype=torch.bool))
    if copies is not None:
        windows = windows[~copies.mask.all(1)]
    order = torch.randperm(len(windows), generator=torch.Generator().manual_seed(seed))
    return windows[order[:most]]
