"""Small models and training pieces that several tests use."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch import LightningModule
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from ibtrack import Probe

VOCABULARY, LENGTH, WIDTH = 23, 16, 16


def tokens(blocks: int, *, seed: int, vocabulary: int = VOCABULARY, length: int = LENGTH) -> torch.Tensor:
    """(blocks, length) ids in which the next token depends on the last."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(0, vocabulary, (blocks, length), generator=generator)
    for i in range(1, length):
        keep = torch.rand(blocks, generator=generator) < 0.7
        ids[:, i] = torch.where(keep, (3 * ids[:, i - 1] + 1) % vocabulary, ids[:, i])
    return ids


def probe(blocks: int = 24, **options: Any) -> Probe:
    """A probe of such tokens with labels of one and of two tokens."""
    return Probe(tokens(blocks, seed=99), **{"orders": (1, 2), **options})


class Block(nn.Module):
    """A residual layer with dropout and batch norm: everything that a careless measurement would disturb."""

    def __init__(self) -> None:
        super().__init__()
        self.mix, self.norm, self.drop = nn.Linear(WIDTH, WIDTH), nn.BatchNorm1d(WIDTH), nn.Dropout(0.2)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        normed = self.norm(hidden.transpose(1, 2)).transpose(1, 2)
        dropped: torch.Tensor = self.drop(torch.tanh(self.mix(normed)))
        return hidden + dropped


class Model(nn.Module):
    """A decoder without attention: embedding, blocks, head."""

    def __init__(self, blocks: int = 2) -> None:
        super().__init__()
        self.embed = nn.Embedding(VOCABULARY, WIDTH)
        self.blocks = nn.ModuleList([Block() for _ in range(blocks)])
        self.head = nn.Linear(WIDTH, VOCABULARY)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        hidden = self.embed(ids)
        for block in self.blocks:
            hidden = block(hidden)
        logits: torch.Tensor = self.head(hidden)
        return logits


class Module(LightningModule):
    """The model with its training and validation steps."""

    def __init__(self, model: nn.Module | None = None) -> None:
        super().__init__()
        self.model = model or Model()

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.model(ids)
        return logits

    def _loss(self, batch: list[torch.Tensor]) -> torch.Tensor:
        (ids,) = batch
        return nn.functional.cross_entropy(self(ids)[:, :-1].flatten(0, 1), ids[:, 1:].flatten())

    def training_step(self, batch: list[torch.Tensor], index: int) -> torch.Tensor:
        loss = self._loss(batch)
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch: list[torch.Tensor], index: int) -> None:
        self.log("val_loss", self._loss(batch))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), 1e-2)


def free_port() -> int:
    """A port of this machine for processes to meet at."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        port: int = server.getsockname()[1]
        return port


def loader(*, blocks: int = 64, seed: int = 0, workers: int = 0, shuffle: bool = True) -> DataLoader[Any]:
    """Batches of eight blocks of such tokens."""
    return DataLoader(TensorDataset(tokens(blocks, seed=seed)), batch_size=8, shuffle=shuffle, num_workers=workers)


def trainer(folder: str | Path, **options: Any) -> lightning.Trainer:
    """A trainer that writes nothing but into its folder and stops after 12 steps, unless told otherwise."""
    quiet = {
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "logger": False,
        "enable_checkpointing": False,
    }
    return lightning.Trainer(**{"accelerator": "cpu", "default_root_dir": folder, "max_steps": 12, **quiet, **options})
