"""Networks: how many parameters they have, how these are drawn, and where documents begin in a block."""

from __future__ import annotations

from math import sqrt
from typing import Any

import pytest
import torch
from hydra.utils import instantiate

from experiments.network import count_parameters, document_positions, make_network
from tests.runs import TRAINING, config, options

pytestmark = TRAINING

# ids of the tokenizers of gpt-neox-20b, GPT-2 and OLMo 2; parameters in all and besides embeddings, as published
PUBLISHED = {
    "pythia_14M": (50277, 14_067_712, 1_189_888),
    "pythia_31M": (50277, 30_494_720, 4_739_072),
    "pythia_70M": (50277, 70_426_624, 18_915_328),
    "pythia_160M": (50277, 162_322_944, 85_056_000),
    "gpt2_124M": (50257, 124_439_808, 85_056_000),
    "olmo2_190M": (100278, 267_424_512, 190_354_176 - 100_352 * 768),  # the smaller number counts the head
}
TINY = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "max_position_embeddings": 16}


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_model_has_the_parameters_that_were_published(name: str) -> None:
    vocab_size, total, non_embedding = PUBLISHED[name]
    model = config(f"model={name}").model
    found = count_parameters(
        model.architecture, model.settings, vocab_size=vocab_size, vocab_multiple=model.vocab_multiple
    )
    assert (found.total, found.non_embedding) == (total, non_embedding)


@pytest.mark.parametrize("name", [name for name in options("model") if "llama_" in name])
def test_a_size_has_the_parameters_its_name_says(name: str) -> None:
    millions = float(name[6:-1])
    model = config(f"model={name}").model
    found = count_parameters(model.architecture, model.settings, vocab_size=2048 if millions < 100 else 50257)
    assert found.total / 1e6 == pytest.approx(millions, rel=0.15)


@pytest.mark.parametrize("name", [*PUBLISHED, "gpt2", "olmo2", "gpt_neox", "llama_4M"])
def test_parameters_are_counted_as_they_are_made_on_the_data_of_the_run(name: str) -> None:
    cfg = config(f"model={name}", "data.block_size=16", "model.settings.num_hidden_layers=1").model
    with torch.device("meta"):
        model: Any = instantiate(cfg, vocab_size=300, block_size=16)
    found = count_parameters(cfg.architecture, cfg.settings, vocab_size=300, vocab_multiple=cfg.vocab_multiple)
    assert found.total == sum(parameter.numel() for parameter in model.parameters())
    rows = -(-300 // cfg.vocab_multiple) * cfg.vocab_multiple
    assert model.network.get_input_embeddings().weight.shape[0] == rows


def test_embeddings_of_positions_are_embeddings() -> None:
    found = count_parameters("gpt2", TINY, vocab_size=64)
    assert found.embedding == 64 * 32 + 16 * 32, "the head is the embedding of tokens"


def test_a_number_of_ids_cannot_be_a_multiple_of_nothing() -> None:
    with pytest.raises(ValueError, match="vocab_multiple must be at least 1, got 0"):
        count_parameters("gpt2", TINY, vocab_size=64, vocab_multiple=0)


@pytest.mark.parametrize("name", ["pythia_14M", "pythia_31M", "pythia_70M", "pythia_160M"])
def test_pythia_is_drawn_as_gpt_neox_draws_it(name: str) -> None:
    model = config(f"model={name}").model
    width, layers = model.settings.hidden_size, model.settings.num_hidden_layers
    assert model.settings.initializer_range == pytest.approx(sqrt(2 / (5 * width)), rel=1e-3)
    assert model.branch_end_std == pytest.approx(2 / (layers * sqrt(width)), rel=1e-3)


@pytest.mark.parametrize(
    ("architecture", "ends"),
    [
        ("gpt_neox", ["attention.dense", "mlp.dense_4h_to_h"]),
        ("llama", ["self_attn.o_proj", "mlp.down_proj"]),
        ("olmo2", ["self_attn.o_proj", "mlp.down_proj"]),
        ("gpt2", ["attn.c_proj", "mlp.c_proj"]),
    ],
)
def test_the_ends_of_branches_have_a_deviation_of_their_own(architecture: str, ends: list[str]) -> None:
    torch.manual_seed(0)
    settings = {**TINY, "initializer_range": 0.1, **({} if architecture == "gpt2" else {"intermediate_size": 64})}
    network = make_network(architecture, settings, vocab_size=64, branch_end_std=0.01)
    deviations = {name: float(weight.detach().std()) for name, weight in network.named_parameters() if weight.ndim == 2}
    small = {name for name, deviation in deviations.items() if deviation < 0.03}
    assert small == {name for name in deviations if any(f"{end}.weight" in name for end in ends)}
    assert len(small) == 4
    assert [deviations[name] for name in sorted(small)] == pytest.approx([0.01] * 4, rel=0.1)  # of 1000 weights each


def test_branches_that_are_not_known_are_refused() -> None:
    with pytest.raises(ValueError, match="branch_end_std must be null for opt, as it is not known what ends"):
        make_network(
            "opt",
            {
                "hidden_size": 32,
                "num_hidden_layers": 1,
                "num_attention_heads": 4,
                "ffn_dim": 32,
                "word_embed_proj_dim": 32,
            },
            vocab_size=64,
            branch_end_std=0.1,
        )


def test_positions_begin_anew_after_the_end_of_a_document() -> None:
    blocks = torch.tensor([[0, 0, 3, 4, 0, 5], [3, 4, 5, 6, 7, 8], [3, 4, 5, 6, 7, 0]], dtype=torch.int32)
    expected = [[0, 0, 0, 1, 2, 0], [0, 1, 2, 3, 4, 5], [0, 1, 2, 3, 4, 5]]
    assert document_positions(blocks, document_end=0).tolist() == expected


def test_an_unknown_architecture_is_answered_with_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"architecture must be a causal .* such as .*llama.*, got 'lama'"):
        make_network("lama", {}, vocab_size=64)
    with pytest.raises(ValueError, match=r"such as llama, gpt2, olmo2, got '\?'"):
        make_network("?", {}, vocab_size=64)


def test_an_unknown_setting_is_refused() -> None:
    with pytest.raises(ValueError, match="settings must be those of a llama configuration, got 'num_layerz'"):
        make_network("llama", {"num_layerz": 3}, vocab_size=64)
