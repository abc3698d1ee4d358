"""Which layers are measured in every causal language model of transformers, each built small from its configuration.

    python experiments/benchmarks/causal_models.py tests/capture/causal_models.csv

Each class of configuration is made with a few layers of a few heads, its model is built without weights from
anywhere, and `ibtrack.find_sites` runs one block of tokens through it. The file has one row per class: what was found,
or why nothing was, or why no small model could be built.
"""

from __future__ import annotations

import contextlib
import csv
import sys
import warnings
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from logging import CRITICAL
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ibtrack import Probe, find_sites
from ibtrack.capture.blocks import UnclearBlocks
from ibtrack.capture.forward import default_forward
from ibtrack.record.texts import reason

LONGEST = 160  # letters of a remark
VOCABULARY, LENGTH, LAYERS, WIDTH, HEADS = 320, 16, 4, 64, 4

# what a small model has in place of a large one, by the name of the setting
SMALL: dict[str, int] = {
    **dict.fromkeys(["vocab_size", "unpadded_vocab_size", "vocab_size_per_layer_input", "n_vocab"], VOCABULARY),
    **dict.fromkeys(
        ["num_hidden_layers", "n_layer", "n_layers", "num_layers", "encoder_layers", "decoder_layers"], LAYERS
    ),
    **dict.fromkeys(["hidden_size", "n_embd", "d_model", "dim", "embedding_size", "attention_hidden_size"], WIDTH),
    **dict.fromkeys(["num_attention_heads", "n_head", "n_heads", "num_heads", "num_key_value_heads"], HEADS),
    **dict.fromkeys(["encoder_attention_heads", "decoder_attention_heads", "linear_num_value_heads"], HEADS),
    **dict.fromkeys(
        ["linear_num_key_heads", "linear_num_heads", "swa_num_attention_heads", "swa_num_key_value_heads"], HEADS
    ),
    **dict.fromkeys(
        ["head_dim", "attention_head_dim", "v_head_dim", "qk_nope_head_dim", "swa_head_dim", "kv_channels"], 16
    ),
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
    "emb_dim": WIDTH,
    "encoder_hash_byte_group_vocab": 500,
    "index_topk": 8,
    "first_k_dense_replace": 1,
    "num_kv_shared_layers": 0,
    "moe_k": 2,
}

EARLY = ("hidden_size_per_layer_input",)  # settings without which the class of a configuration refuses itself
HYBRID = ["linear_attention", "full_attention", "linear_attention", "full_attention"]
# settings that a class needs beside these, or which show what is special about it
CHANGES: dict[str, dict[str, Any]] = {
    "BambaConfig": {"attn_layer_indices": [1, 3]},
    "BltLocalEncoderConfig": {"hidden_size_global": WIDTH},
    "BltLocalDecoderConfig": {"hidden_size_global": WIDTH},
    "CohereCompassTextConfig": {"rope_parameters": None},
    "DbrxConfig": {"attn_config": {"rope_theta": 10000.0, "kv_n_heads": 1, "clip_qkv": 8.0}},
    "DeepseekV2Config": {"num_experts_per_tok": 2, "n_group": 1, "topk_group": 1},
    "Dots1Config": {"n_routed_experts": 4, "n_shared_experts": 1, "num_experts_per_tok": 2},
    "Ernie4_5_MoeConfig": {"moe_layer_end_index": 3},
    "GPTNeoConfig": {"attention_types": [[["global", "local"], 2]]},
    "Gemma4AssistantConfig": {"hidden_size_per_layer_input": 0},
    "GraniteMoeHybridConfig": {"layer_types": HYBRID, "mamba_n_heads": 8, "mamba_d_head": 16},
    "HunYuanDenseV1Config": {"head_dim": 16},
    "HunYuanMoEV1Config": {"head_dim": 16},
    "JambaConfig": {"attn_layer_period": 2, "attn_layer_offset": 1},
    "Lfm2MoeConfig": {"layer_types": ["conv", "full_attention"] * 2},
    "LongcatFlashConfig": {"zero_expert_num": 2, "expert_ffn_hidden_size": 96},
    "Mamba2Config": {"num_heads": 8, "head_dim": 16, "n_groups": 1},
    "MiMoV2FlashConfig": {"num_key_value_heads": 2},
    "MinistralConfig": {"head_dim": 16},
    "MllamaTextConfig": {"cross_attention_layers": [1]},
    "NemotronConfig": {"num_key_value_heads": 4},
    "OlmoHybridConfig": {"layer_types": HYBRID},
    "Qwen4ExpTextConfig": {
        "ngram_vocab_size_base": 100,
        "split_ngram_parts": 2,
        "indexer_n_heads": 1,
        "indexer_kv_heads": 1,
        "indexer_head_dim": 16,
        "indexer_budget": 8,
        "indexer_compress_ratio": 2,
    },
    "ReformerConfig": {"is_decoder": True, "axial_pos_embds_dim": [16, 48], "axial_pos_shape": [4, 4]},
    "XmodConfig": {"is_decoder": True, "default_language": "en_XX"},
    "ZambaConfig": {
        "num_hidden_layers": 8,
        "attn_layer_period": 3,
        "attn_layer_offset": 2,
        "attention_hidden_size": 128,
        "attention_head_dim": 32,
    },
    "Zamba2Config": {
        "layers_block_type": ["mamba", "hybrid"] * 2,
        "attention_hidden_size": 128,
        "attention_head_dim": 32,
        "use_shared_attention_adapter": True,
        "adapter_rank": 8,
        "mamba_headdim": 16,
        "n_mamba_heads": 8,
    },
    "ZayaConfig": {"num_experts_per_tok": 1},
}


@dataclass(frozen=True)
class Row:
    """What was found in the model of one class of configurations.

    Attributes:
        configuration: Name of the class.
        blocks: Glob that fits the blocks; empty if none were found.
        number: How many blocks there are.
        classes: Classes of the blocks.
        embed: The token embedding.
        final: The final norm.
        remark: Why nothing was found, or no model was built.
    """

    configuration: str
    blocks: str = ""
    number: int = 0
    classes: str = ""
    embed: str = ""
    final: str = ""
    remark: str = ""


def small_configuration(kind: Any) -> Any:
    """Make a configuration of a few layers.

    Args:
        kind: Class of the configuration.
    """
    usual = kind(**{name: value for name, value in CHANGES.get(kind.__name__, {}).items() if name in EARLY})
    settings: dict[str, Any] = {}
    for name, value in vars(usual).items():
        if hasattr(value, "to_dict") and hasattr(type(value), "model_type"):
            settings[name] = small_configuration(type(value)).to_dict()
        elif name in SMALL and isinstance(value, int) and not isinstance(value, bool):
            settings[name] = SMALL[name]
        elif name.endswith("_token_id") and isinstance(value, int):
            settings[name] = value if value < VOCABULARY else 1
    if "qk_rope_head_dim" in settings and "head_dim" in settings:
        settings["head_dim"] = settings["qk_rope_head_dim"]
    return kind(**{**settings, **CHANGES.get(kind.__name__, {})})


def small_model(kind: Any) -> nn.Module:
    """Build a model of a few layers with random weights, in evaluation mode.

    Args:
        kind: Class of the configuration.
    """
    import transformers

    torch.manual_seed(0)
    make: Any = transformers.AutoModelForCausalLM
    model: nn.Module = make.from_config(small_configuration(kind)).eval()
    return model


def found_in(kind: Any) -> Row:
    """Build a small model, and find its sites.

    Args:
        kind: Class of the configuration.
    """
    name = kind.__name__
    tokens = torch.arange(LENGTH)[None] * 7 % (VOCABULARY - 20) + 10
    try:
        with quiet():
            model = small_model(kind)
            with torch.no_grad():
                default_forward(model, tokens)
    except Exception as error:  # whatever a class of transformers raises for sizes that it was not made for
        return Row(name, remark=f"no small model: {reason(error)}"[:LONGEST])
    probe = Probe(tokens, orders=(1,), skip=0)
    try:
        with quiet():
            found = find_sites(model, probe)
    except UnclearBlocks as error:
        lists = "; ".join(f"{each.pattern}: {each.why_not or 'may be the blocks'}" for each in error.found[:2])
        return Row(name, remark=f"refused: {lists}")
    except ValueError as error:
        return Row(name, remark=f"refused: {reason(error)}"[:LONGEST])
    sites = found.sites
    blocks = next(each for each in found.candidates if each.members[0] == sites["L00"] and each.why_not is None)
    try:
        with quiet():
            final = find_sites(model, probe, ["final"]).sites["final"]
    except ValueError:
        final = ""
    return Row(name, blocks.pattern, len(blocks.members), " ".join(blocks.classes), sites.get("embed", ""), final)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep still about settings that do not fit a small model, missing kernels and the like."""
    from transformers.utils import logging

    level = logging.get_verbosity()
    logging.set_verbosity(CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(level)


def configurations() -> list[Any]:
    """List the classes of configurations that transformers has a causal language model for, by name."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING

    return sorted(MODEL_FOR_CAUSAL_LM_MAPPING.keys(), key=lambda kind: str(kind.__name__))


def read_rows(path: Path) -> dict[str, Row]:
    """Read a file of rows.

    Args:
        path: The file, as this program writes it.

    Returns:
        Name of the configuration to its row.
    """
    with path.open(encoding="utf-8", newline="") as file:
        read: list[dict[str, Any]] = list(csv.DictReader(file))
    rows = [Row(**{**row, "number": int(row["number"])}) for row in read]
    return {row.configuration: row for row in rows}


def main(path: str) -> None:
    """Write a file with one row for every class of configurations.

    Args:
        path: The file to write.
    """
    rows = [found_in(kind) for kind in configurations()]
    with Path(path).open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, [each.name for each in fields(Row)], lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(row) for row in rows)
    found = [row for row in rows if row.blocks]
    refused = [row for row in rows if row.remark.startswith("refused")]
    print(f"{len(rows)} classes, blocks found in {len(found)}, final norm in {sum(bool(row.final) for row in found)}")
    print(f"{len(refused)} refused: {', '.join(row.configuration for row in refused)}")
    print("not built:", ", ".join(row.configuration for row in rows if not row.blocks and row not in refused))


if __name__ == "__main__":
    main(*sys.argv[1:])
