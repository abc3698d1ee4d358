"""The network of a model: any causal language model of transformers, from its configuration and never from weights."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM, PretrainedConfig
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

# Matrices that end a branch of a block and write into the stream, by the end of their names: of Llama and OLMo 2, of
# GPT-NeoX, of GPT-2.
BRANCH_ENDS = (
    "self_attn.o_proj",
    "mlp.down_proj",
    "attention.dense",
    "mlp.dense_4h_to_h",
    "attn.c_proj",
    "mlp.c_proj",
)


@dataclass(frozen=True)
class ParameterCount:
    """How many parameters a model has; weights that are shared count once.

    Attributes:
        total: Number of all parameters.
        embedding: Number of those that embed tokens and learned positions, or turn the stream into logits.
    """

    total: int
    embedding: int

    @property
    def non_embedding(self) -> int:
        """Number of the other parameters, which scaling laws are about (arXiv 2001.08361)."""
        return self.total - self.embedding


def make_network(
    architecture: str,
    settings: Mapping[str, Any],
    *,
    vocab_size: int,
    attention: str = "sdpa",
    branch_end_std: float | None = None,
) -> Any:
    """Make the network of a configuration, with random weights.

    Args:
        architecture: Model type of transformers, such as ``llama``, ``gpt2``, ``gpt_neox`` or ``olmo2``.
        settings: Settings that differ from that architecture's default configuration. ``initializer_range`` is the
            standard deviation of the weights.
        vocab_size: Number of token ids, V.
        attention: Implementation of attention, by the name that transformers has for it.
        branch_end_std: Standard deviation of the matrices that end the branches of a block, see `BRANCH_ENDS`; None
            leaves them as the architecture draws them.

    Returns:
        The model of transformers.

    Raises:
        ValueError: There is no such architecture or setting, or no known matrix ends its branches.
    """
    make: Any = AutoModelForCausalLM.from_config
    network = make(configuration(architecture, settings, vocab_size), attn_implementation=attention)
    if branch_end_std is not None:
        ends = [module for name, module in network.named_modules() if name.endswith(BRANCH_ENDS)]
        if not ends:
            raise ValueError(
                f"branch_end_std must be null for {architecture}, as it is not known what ends its branches"
            )
        for module in ends:
            nn.init.normal_(module.weight, std=branch_end_std)
    return network


def count_parameters(
    architecture: str, settings: Mapping[str, Any], *, vocab_size: int, vocab_multiple: int = 1
) -> ParameterCount:
    """Count the parameters of a configuration without any memory for them.

    Args:
        architecture: Model type of transformers.
        settings: Settings that differ from that architecture's default configuration.
        vocab_size: Number of token ids, V.
        vocab_multiple: The embeddings have a number of rows that is a multiple of this, at least V.

    Returns:
        The numbers of parameters.

    Raises:
        ValueError: There is no such architecture or setting.

    Example:
        >>> pythia = {"hidden_size": 128, "intermediate_size": 512, "num_hidden_layers": 6, "num_attention_heads": 4}
        >>> found = count_parameters("gpt_neox", pythia, vocab_size=50277, vocab_multiple=128)  # Pythia 14M
        >>> found.total, found.non_embedding
        (14067712, 1189888)
    """
    with torch.device("meta"):
        network = make_network(architecture, settings, vocab_size=rounded_up(vocab_size, vocab_multiple))
    tables = [module.weight for module in network.modules() if isinstance(module, nn.Embedding)]
    tables.append(network.get_output_embeddings().weight)
    embedding = sum(weight.numel() for weight in set(tables))
    return ParameterCount(sum(parameter.numel() for parameter in network.parameters()), embedding)


def document_positions(token_ids: Tensor, document_end: int) -> Tensor:
    """Number the tokens of each document of packed blocks from 0.

    Networks of transformers take a position that does not follow the one before it for the beginning of a document,
    and attend to nothing before it.

    Args:
        token_ids: (B, T) token ids.
        document_end: Id of the token that ends a document, and is its last.

    Returns:
        (B, T) int64. A document whose beginning is in another block begins with the block.

    Example:
        >>> document_positions(torch.tensor([[5, 6, 0, 7, 0, 0, 8]]), document_end=0)
        tensor([[0, 1, 2, 0, 1, 0, 0]])
    """
    index = torch.arange(token_ids.shape[1], device=token_ids.device).expand_as(token_ids)
    begins = torch.zeros_like(index)
    begins[:, 1:] = torch.where(token_ids[:, :-1] == document_end, index[:, 1:], 0)
    return index - begins.cummax(dim=1).values


def rounded_up(vocab_size: int, multiple: int) -> int:
    """Return the smallest multiple that is at least the number of token ids.

    Args:
        vocab_size: Number of token ids, V.
        multiple: Number that divides the result.

    Raises:
        ValueError: The multiple is less than 1.

    Example:
        >>> rounded_up(50277, 128)
        50304
    """
    if multiple < 1:
        raise ValueError(f"vocab_multiple must be at least 1, got {multiple}")
    return -(-vocab_size // multiple) * multiple


def configuration(architecture: str, settings: Mapping[str, Any], vocab_size: int) -> PretrainedConfig:
    """Return the configuration of a network that trains on packed blocks.

    Args:
        architecture: Model type of transformers.
        settings: Settings that differ from that architecture's default configuration.
        vocab_size: Number of token ids, V.

    Raises:
        ValueError: There is no such architecture or setting.
    """
    if architecture not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        nearest = ", ".join(_nearest(architecture))
        raise ValueError(
            f"architecture must be a causal language model of transformers, such as {nearest}, got {architecture!r}"
        )
    default = AutoConfig.for_model(architecture)
    for name in settings:
        if not hasattr(default, name):
            raise ValueError(f"settings must be those of a {architecture} configuration, got {name!r}")
    # blocks are packed, so there is no padding; with an id for it, as in OLMo 2, its embedding would stay zero
    no_special = {"pad_token_id": None, "bos_token_id": None, "eos_token_id": None}
    return AutoConfig.for_model(architecture, **no_special, vocab_size=vocab_size, use_cache=False, **_plain(settings))


def _plain(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Turn mappings of any kind, such as Hydra's, into dictionaries, as transformers takes no others."""
    return {name: _plain(value) if isinstance(value, Mapping) else value for name, value in settings.items()}


def _nearest(architecture: str) -> list[str]:
    return difflib.get_close_matches(architecture, MODEL_FOR_CAUSAL_LM_MAPPING_NAMES) or ["llama", "gpt2", "olmo2"]
