"""Sites: the blocks of any decoder, names and globs, and wrappers that leave no trace in names."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ibtrack.capture.hooks import capture
from ibtrack.capture.sites import find_sites
from tests.models import Model, tokens


def _hugging_face(name: str) -> Any:
    import transformers as hf

    sizes: dict[str, Any] = {
        "hidden_size": 16,
        "num_hidden_layers": 3,
        "num_attention_heads": 2,
        "intermediate_size": 32,
    }
    configs = {
        "gpt2": hf.GPT2Config(n_embd=16, n_layer=3, n_head=2, vocab_size=23),
        "llama": hf.LlamaConfig(vocab_size=23, **sizes),
        "gpt_neox": hf.GPTNeoXConfig(vocab_size=23, **sizes),
        "olmo2": hf.Olmo2Config(vocab_size=23, num_key_value_heads=2, **sizes),
        "mixtral": hf.MixtralConfig(vocab_size=23, num_key_value_heads=2, num_local_experts=4, **sizes),
        "mamba": hf.MambaConfig(vocab_size=23, hidden_size=16, num_hidden_layers=3, state_size=4),
    }
    make: Any = hf.AutoModelForCausalLM
    return make.from_config(configs[name])


@pytest.mark.parametrize("name", ["gpt2", "llama", "gpt_neox", "olmo2", "mixtral", "mamba"])
@pytest.mark.filterwarnings("ignore:.*")  # transformers speaks of missing fast kernels
def test_auto_finds_the_blocks_of_any_decoder(name: str) -> None:
    model = _hugging_face(name).eval()
    sites = find_sites(model)
    assert list(sites) == ["embed", "L00", "L01", "L02"]
    seen: dict[str, Tensor] = {}
    with torch.no_grad(), capture(model, sites, seen.__setitem__) as check:
        output = model(tokens(2, seed=0), output_hidden_states=True)
        check()
    first, second = (0, 1) if name == "mamba" else (1, 2)  # mamba keeps no embedding; the last one is normed, not raw
    assert seen["L00"].equal(output.hidden_states[first])
    assert seen["L01"].equal(output.hidden_states[second])
    assert seen["embed"].shape == seen["L02"].shape == (2, 16, 16)


def test_globs_and_names() -> None:
    assert find_sites(Model(3), "blocks.*") == {"L00": "blocks.0", "L01": "blocks.1", "L02": "blocks.2"}
    assert find_sites(Model(3), ["head", "blocks.1"]) == {"L00": "blocks.1", "L01": "head"}


def test_words_beside_names() -> None:
    assert find_sites(Model(2), ["blocks.1", "embed"]) == {"embed": "embed", "L00": "blocks.1"}
    assert find_sites(Model(2), ["auto", "head"]) == {
        "embed": "embed",
        "L00": "blocks.0",
        "L01": "blocks.1",
        "L02": "head",
    }
    assert find_sites(Model(2), "embe[d]") == {"L00": "embed"}, "a module of that name, as any other"
    with pytest.raises(ValueError, match="'final' is the norm that runs after the last block, which takes a probe"):
        find_sites(Model(2), ["auto", "final"])


def test_unknown_name_shows_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"nothing fits 'block\.1'; nearest: \['blocks\.1'"):
        find_sites(Model(), "block.1")
    with pytest.raises(ValueError, match="layers must name at least one module, got none"):
        find_sites(Model(), [])


def test_a_name_like_no_other_shows_what_there_is() -> None:
    with pytest.raises(
        ValueError, match=r"nothing fits '#'; the model begins with: \['embed', 'blocks', 'blocks\.0'\]"
    ):
        find_sites(Model(), "#")
    with pytest.raises(ValueError, match=r"nothing fits 'head'; the model has no modules inside it"):
        find_sites(nn.Linear(2, 2), "head")


def test_a_model_without_blocks_is_refused() -> None:
    with pytest.raises(ValueError, match="found no list of repeated blocks"):
        find_sites(nn.Linear(2, 2))
