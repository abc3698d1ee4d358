"""A small Llama, its tokenizer, texts and pairs on the disk, and the trainers of TRL that learn from them."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, pre_tokenizers
from tokenizers.models import WordLevel
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast, TrainerCallback

from ibtrack import Probe

WORDS = [
    "the",
    "a",
    "one",
    "cat",
    "dog",
    "bird",
    "tree",
    "sat",
    "ran",
    "flew",
    "on",
    "under",
    "over",
    "mat",
    "house",
    "hill",
    "and",
    "then",
    "it",
    "was",
    "good",
    "bad",
    "quiet",
]
LENGTH = 24


def tokenizer() -> PreTrainedTokenizerFast:
    """A tokenizer whose tokens are a few words."""
    special = ["<pad>", "<eos>", "<unk>"]
    words = Tokenizer(WordLevel({word: index for index, word in enumerate([*special, *WORDS])}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    names: Any = dict(zip(("pad_token", "eos_token", "unk_token"), special, strict=True))
    return PreTrainedTokenizerFast(tokenizer_object=words, **names)  # type: ignore[no-untyped-call]


def sentence(draw: random.Random, length: int = LENGTH) -> str:
    """A sentence in which a word tells something of the next one."""
    numbers = [draw.randrange(len(WORDS))]
    while len(numbers) < length:
        numbers.append((2 * numbers[-1] + 1) % len(WORDS) if draw.random() < 0.7 else draw.randrange(len(WORDS)))
    return " ".join(WORDS[number] for number in numbers)


def pairs(number: int, *, seed: int) -> list[dict[str, str]]:
    """Pairs of answers of which the chosen one is good and the rejected one bad."""
    draw = random.Random(seed)
    return [
        {
            "prompt": sentence(draw, 6),
            "chosen": " good " + sentence(draw, 8),
            "rejected": " bad " + sentence(draw, 8),
        }
        for _ in range(number)
    ]


def write(folder: Path) -> tuple[Path, Path]:
    """Write texts and pairs to train on as JSON lines."""
    folder.mkdir(parents=True, exist_ok=True)
    draw = random.Random(0)
    texts, preferences = folder / "texts.jsonl", folder / "pairs.jsonl"
    texts.write_text("".join(json.dumps({"text": sentence(draw)}) + "\n" for _ in range(64)))
    preferences.write_text("".join(json.dumps(row) + "\n" for row in pairs(64, seed=1)))
    return texts, preferences


def text_probe() -> Probe:
    """Texts held out from training."""
    draw = random.Random(2)
    texts = [sentence(draw, 40) for _ in range(64)]
    return Probe.from_texts(texts, tokenizer(), num_blocks=24, block_size=16, orders=(1, 2), name="held out")


def preference_probe() -> Probe:
    """Pairs held out from training."""
    return Probe.from_preferences(pairs(48, seed=3), tokenizer(), num_pairs=24, block_size=32)


def model() -> LlamaForCausalLM:
    """A model of two layers, always the same."""
    torch.manual_seed(0)
    sizes: Any = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    tokens: Any = {"vocab_size": len(tokenizer()), "pad_token_id": 0, "eos_token_id": 1, "bos_token_id": 1}
    return LlamaForCausalLM(LlamaConfig(max_position_embeddings=64, **sizes, **tokens))


def _arguments(folder: Path, **options: Any) -> dict[str, Any]:
    usual = {
        "max_steps": 6,
        "per_device_train_batch_size": 4,
        "learning_rate": 1e-2,
        "logging_steps": 1,
        "include_num_input_tokens_seen": "all",
        "report_to": [],
        "use_cpu": True,
        "bf16": False,
        "disable_tqdm": True,
        "save_strategy": "no",
    }
    return {"output_dir": str(folder), **usual, **options}


def sft(folder: Path, callbacks: list[TrainerCallback], trained: Any = None, **options: Any) -> Any:
    """The trainer of supervised fine-tuning, of `model` unless another is given."""
    from datasets import load_dataset
    from trl import SFTConfig, SFTTrainer  # type: ignore[attr-defined]

    texts, _ = write(folder)
    rows = load_dataset("json", data_files=str(texts), split="train", cache_dir=str(folder / "cache"))
    arguments = SFTConfig(**_arguments(folder, max_length=32, **options))
    trained = model() if trained is None else trained
    return SFTTrainer(trained, arguments, train_dataset=rows, processing_class=tokenizer(), callbacks=callbacks)


def dpo(
    folder: Path, callbacks: list[TrainerCallback], trained: str, *, peft_config: Any = None, **options: Any
) -> Any:
    """The trainer of direct preference optimisation, of the model in a folder."""
    from datasets import load_dataset
    from trl import DPOConfig, DPOTrainer  # type: ignore[attr-defined]

    _, preferences = write(folder)
    rows = load_dataset("json", data_files=str(preferences), split="train", cache_dir=str(folder / "cache"))
    arguments = DPOConfig(**_arguments(folder, max_length=32, **options))
    return DPOTrainer(
        trained,
        args=arguments,
        train_dataset=rows,
        processing_class=tokenizer(),
        callbacks=callbacks,
        peft_config=peft_config,
    )
