"""The token embedding and the final norm."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ibtrack.capture.blocks import lists_of
from ibtrack.capture.ends import find_embedding, find_final
from ibtrack.capture.flow import Flow, follow
from ibtrack.capture.names import named_modules
from tests.models import LENGTH, WIDTH, Model, tokens
from tests.structures import FOUND, Residual


def flow_of(model: nn.Module) -> Flow:
    modules, block = named_modules(model), tokens(1, seed=0)
    with torch.no_grad(), follow(modules, lists_of(modules).values(), block, (1, LENGTH)) as flow:
        model.eval()(block)
    return flow


@pytest.mark.parametrize("name", FOUND)
def test_the_final_norm_of_known_projects(name: str) -> None:
    make, blocks, final = FOUND[name]
    model = make()
    assert find_final(blocks, named_modules(model), flow_of(model)) == final


class _Ending(Model):
    """Something between the last block and the head."""

    def __init__(self, *between: nn.Module) -> None:
        super().__init__()
        self.between = nn.Sequential(*between)

    def forward(self, ids: Tensor) -> Tensor:
        hidden = self.embed(ids)
        for block in self.blocks:
            hidden = block(hidden)
        return self.head(self.between(hidden))


class PlainNorm(nn.Module):
    """A norm without parameters."""

    def forward(self, hidden: Tensor) -> Tensor:
        return hidden / hidden.norm(dim=-1, keepdim=True)


@pytest.mark.parametrize(
    ("between", "final"),
    [
        ([nn.LayerNorm(WIDTH)], "between"),
        ([nn.Dropout(), nn.RMSNorm(WIDTH), nn.Linear(WIDTH, WIDTH)], "between.1"),
        ([PlainNorm(), nn.Linear(WIDTH, WIDTH)], "between.0"),
        ([nn.Linear(WIDTH, WIDTH), nn.LayerNorm(WIDTH)], None),  # the transform of a head, as BERT has it
        ([nn.Dropout()], None),
        ([], None),
    ],
)
def test_a_norm_is_the_final_one_before_any_matrix(between: list[nn.Module], final: str | None) -> None:
    model = _Ending(*between)
    assert find_final(["blocks.0", "blocks.1"], named_modules(model), flow_of(model)) == final


def test_the_final_norm_is_what_hugging_face_calls_the_last_hidden_state() -> None:
    import transformers as hf

    sizes: dict[str, Any] = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    model: Any = hf.LlamaForCausalLM(hf.LlamaConfig(vocab_size=23, intermediate_size=32, **sizes))
    model.eval()
    name = find_final(["model.layers.0", "model.layers.1"], named_modules(model), flow_of(model))
    assert name == "model.norm"
    seen = []
    handle = model.model.norm.register_forward_hook(lambda module, args, output: seen.append(output))
    states = model(tokens(1, seed=0), output_hidden_states=True).hidden_states
    handle.remove()
    torch.testing.assert_close(seen[0], states[-1], rtol=0, atol=0)


def test_without_a_block_that_ran_there_is_no_final_norm() -> None:
    model = Model()
    assert find_final(["head.none"], named_modules(model), flow_of(model)) is None


class _TwoEmbeddings(nn.Module):
    """The first embedding is of places, and runs on no tokens; the declared one does not run."""

    def __init__(self) -> None:
        super().__init__()
        self.places, self.declared = nn.Embedding(LENGTH, WIDTH), nn.Embedding(23, 4)
        self.words = nn.Embedding(23, WIDTH)
        self.blocks = nn.ModuleList([Residual()])

    def get_input_embeddings(self) -> nn.Module:
        return self.declared

    def forward(self, ids: Tensor) -> Tensor:
        places = self.places(torch.arange(ids.shape[1])[None])
        return self.blocks[0](self.words(ids) + places)


def test_an_embedding_that_does_not_run_gives_way_to_that_of_the_tokens() -> None:
    model = _TwoEmbeddings()
    assert find_embedding(named_modules(model)) == "declared"
    assert find_embedding(named_modules(model), flow_of(model)) == "words"


def test_a_model_without_embedding_has_none() -> None:
    class Silent(nn.Linear):
        def get_input_embeddings(self) -> nn.Module:
            raise NotImplementedError

    assert find_embedding(named_modules(Silent(2, 2))) is None
    model = nn.Sequential(nn.Linear(4, 4))
    with torch.no_grad(), follow(named_modules(model), [], torch.ones(1, 4), (1,)) as flow:
        model(torch.ones(1, 4))
    assert find_embedding(named_modules(model), flow) is None
