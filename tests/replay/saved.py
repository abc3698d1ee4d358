"""Small checkpoints on the disk, as libraries write them."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict_saver import save as save_parts
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.utils import logging

from ibtrack.replay.checkpoint import DISTRIBUTED, LIGHTNING, Checkpoint, File

VOCABULARY, LENGTH = 64, 16


def llama(seed: int = 0, **settings: Any) -> LlamaForCausalLM:
    """A Llama of two layers."""
    torch.manual_seed(seed)
    size = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    whole = {**size, "vocab_size": VOCABULARY, "max_position_embeddings": LENGTH, "use_cache": False, **settings}
    return LlamaForCausalLM(LlamaConfig(num_key_value_heads=2, **whole))


def save(model: Any, folder: Path, **options: Any) -> Path:
    """Save a model of transformers without a progress bar."""
    log: Any = logging
    log.disable_progress_bar()
    model.save_pretrained(folder, **options)
    log.enable_progress_bar()
    return folder


def save_trainer_state(folder: Path, step: int, tokens: int = 0) -> None:
    """Write what ``transformers.Trainer`` writes last."""
    (folder / "trainer_state.json").write_text(json.dumps({"global_step": step, "num_input_tokens_seen": tokens}))


class Network(nn.Module):
    """Two linear layers in a list, an embedding and a buffer that is not saved."""

    frequencies: Tensor

    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.embed = nn.Embedding(VOCABULARY, width)
        self.blocks = nn.ModuleList([nn.Linear(width, width), nn.Linear(width, width)])
        self.register_buffer("frequencies", torch.arange(width) / 3, persistent=False)

    def forward(self, tokens: Tensor) -> Tensor:
        hidden: Tensor = self.embed(tokens) * self.frequencies
        for block in self.blocks:
            hidden = torch.tanh(block(hidden))
        return hidden


class Module(LightningModule):
    """The network in Lightning, with a hyper-parameter that the model needs and one that it does not."""

    def __init__(self, width: int = 4, optimizer: Any = None) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.model = Network(width)

    def forward(self, tokens: Tensor) -> Tensor:
        hidden: Tensor = self.model(tokens)
        return hidden


def save_lightning(module: LightningModule, path: Path, step: int, **more: Any) -> Path:
    """Write a file with what Lightning puts into one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"global_step": step, "state_dict": module.state_dict(), "hyper_parameters": dict(module.hparams)}
    torch.save({**content, "epoch": 0, "callbacks": {}, "optimizer_states": [], **more}, path)
    return path


def save_distributed(content: dict[str, Any], folder: Path) -> Path:
    """Write a folder of DCP from one process, which PyTorch warns of."""
    folder.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        save_parts(content, checkpoint_id=folder, no_dist=True)
    return folder


def lightning_checkpoint(path: Path) -> Checkpoint:
    """What a source says of such a file."""
    return Checkpoint(path.name, str(path.parent), 5, files=(File(path.name, 1),), layout=LIGHTNING)


def distributed_checkpoint(folder: Path) -> Checkpoint:
    """What a source says of a folder of DCP."""
    return Checkpoint(folder.name, str(folder), 5, layout=DISTRIBUTED)
