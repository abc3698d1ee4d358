"""Small models of several families in folders, as ``save_pretrained`` writes them, and texts to measure them on."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, pre_tokenizers
from tokenizers.models import WordLevel
from transformers import (
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    StableLmConfig,
    StableLmForCausalLM,
)

from tests.post_training import WORDS, pairs, sentence

FAMILIES = ("llama", "neox", "stablelm")


def tokenizer(*, backwards: bool = False) -> PreTrainedTokenizerFast:
    """A tokenizer of words; the other one gives them other ids."""
    words = [*reversed(WORDS)] if backwards else WORDS
    made = Tokenizer(WordLevel({word: i for i, word in enumerate(["<unk>", *words])}, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=made, unk_token="<unk>")  # type: ignore[no-untyped-call]


def model(family: str, width: int, seed: int = 0, *, context: int = 64) -> PreTrainedModel:
    """A model of two layers."""
    torch.manual_seed(seed)
    sizes: Any = {
        "vocab_size": len(WORDS) + 1,
        "hidden_size": width,
        "intermediate_size": 2 * width,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "max_position_embeddings": context,
    }
    if family == "llama":
        return LlamaForCausalLM(LlamaConfig(**sizes))
    if family == "neox":
        return GPTNeoXForCausalLM(GPTNeoXConfig(**sizes))
    return StableLmForCausalLM(StableLmConfig(**sizes, num_key_value_heads=2))


def save(folder: Path, family: str, width: int, seed: int = 0, *, context: int = 64) -> PreTrainedModel:
    """Write a model with its tokenizer, which that of the family stablelm shares with nobody."""
    made = model(family, width, seed, context=context)
    made.save_pretrained(folder)
    tokenizer(backwards=family == "stablelm").save_pretrained(folder)
    return made


def write_texts(path: Path, number: int = 48, *, length: int = 40) -> Path:
    """Write documents as JSON lines."""
    draw = random.Random(5)
    path.write_text("".join(json.dumps({"text": sentence(draw, length)}) + "\n" for _ in range(number)))
    return path


def write_list(folder: Path) -> Path:
    """Write two models, texts, ``models.yaml``, which lists them, and ``scores.csv``."""
    save(folder / "llama-16", "llama", 16)
    save(folder / "neox-16", "neox", 16)
    write_texts(folder / "held_out.jsonl")
    path = folder / "models.yaml"
    path.write_text(
        "texts: held_out.jsonl\nprobe: {num_blocks: 16, block_size: 16, orders: [1, 2]}\n"
        "models: [{source: llama-16, name: mine, family: mine}, {source: neox-16, name: pythia-70m, family: Pythia}]\n"
    )
    (folder / "scores.csv").write_text("run,arc\nmine,0.3\npythia-70m,0.4\n")
    return path


def write_pairs(path: Path, number: int = 32) -> Path:
    """Write pairs of preferences as JSON lines."""
    path.write_text("".join(json.dumps(row) + "\n" for row in pairs(number, seed=9)))
    return path
