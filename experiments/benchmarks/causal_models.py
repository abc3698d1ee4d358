"""Which layers are measured in every causal language model of transformers, each built small from its configuration.

    python experiments/benchmarks/causal_models.py tests/capture/causal_models.csv

Each class of configuration is made with a few layers of a few heads, its model is built without weights from
anywhere, and `ibtrack.find_sites` runs one block of tokens through it. The file has one row per class: what was found,
or why nothing was, or why no small model could be built.
"""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import sys
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

VOCABULARY, LENGTH, LAYERS, WIDTH, HEADS = 320, 16, 4, 64, 4

# what a small model has in place of a large one, by the name of the setting
SMALL: dict[str, int] = {
    **dict.fromkeys(["vocab_size", "unpadded_vocab_size", "vocab_size_per_layer_input", "n_vocab"], VOCABULARY),
    **dict.fromkeys(["num_hidden_layers", "n_layer", "n_layers", "num_layers", "encoder_layers", "decoder_layers"], LAYERS),
    **dict.fromkeys(["hidden_size", "n_embd", "d_model", "dim", "embedding_size", "attention_hidden_size"], WIDTH),
    **dict.fromkeys(["num_attention_heads", "n_head", "n_heads", "num_heads", "num_key_value_heads"], HEADS),
    **dict.fromkeys(["encoder_attention_heads", "decoder_attention_heads", "linear_num_value_heads"], HEADS),
    **dict.fromkeys(["linear_num_key_heads", "linear_num_heads", "swa_num_attention_heads", "swa_num_key_value_heads"], HEADS),
    **dict.fromkeys(["head_dim", "attention_head_dim", "v_head_dim", "qk_nope_head_dim", "swa_head_dim", "kv_channels"], 16),
    **dict.fromkeys(["linear_key_head_dim", "linear_value_head_dim", "linear_head_dim", "index_head_dim"], 16),
    **dict.fromkeys(["rotary_dim", "qk_rope_head_dim"], 8),
    **dict.fromkeys(["kv_lora_rank", "q_lora_rank", "hidden_size_per_layer_input"], 32),
    **dict.fromkeys(["intermediate_size", "n_inner", "ffn_dim", "ffn_hidden_size", "dim_ff", "encoder_ffn_dim"], 96),
    **dict.fromkeys(["decoder_ffn_dim", "moe_intermediate_size", "shared_expert_intermediate_size"], 96),
    **dict.fromkeys(["shared_intermediate_size", "d_ff"], 96),
    **dict.fromkeys(["num_experts", "n_routed_experts", "num_local_experts", "moe_num_experts"], 4),
    **dict.fromkeys(["num_experts_per_tok", "num_experts_per_token", "moe_topk", "moe_top_k"], 2),
    **dict.fromkeys(["n_group", "topk_group", "num_expert_group", "index_n_heads"], 1),
    **dict.fromkeys(["mamba_d_state", "state_size"], 8),
    "qk_head_dim": 24,
    "index_topk": 8,
    "first_k_dense_replace": 1,
    "num_kv_shared_layers": 0,
}


def small_configuration(kind: Any, changes: Mapping[str, Any] | None = None) -> Any:
    """Make a configuration of a few layers.

    Args:
        kind: Class of the configuration.
        changes: Settings of this class that are other than usual.
    """
    usual = kind()
    settings: dict[str, Any] = {}
    for name, value in vars(usual).items():
        if hasattr(value, "to_dict") and hasattr(type(value), "model_type"):
            settings[name] = small_configuration(type(value)).to_dict()
        elif name in SMALL and isinstance(value, int) and not isinstance(value, bool):
            settings[name] = SMALL[name]
        elif name.endswith("_token_id") and isinstance(value, int):
            settings[name] = value if value < VOCABULARY else 1
    return kind(**{**settings, **(changes or {})})
