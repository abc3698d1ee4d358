"""Blocks: the list of modules that hand one stream on, told from branches, heads, embeddings and adapters."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ibtrack.capture.blocks import Candidate, UnclearBlocks, blocks_by_structure, candidates, choose_blocks, lists_of
from ibtrack.capture.flow import follow
from ibtrack.capture.names import named_modules
from tests.models import LENGTH, Model, tokens
from tests.structures import FOUND, REFUSED, Adapters, Heads, Keyed, LastPosition, Residual, Skips


def judged(model: nn.Module) -> list[Candidate]:
    modules, lists, block = named_modules(model), lists_of(named_modules(model)), tokens(1, seed=0)
    with torch.no_grad(), follow(modules, lists.values(), block, (1, LENGTH)) as flow:
        model.eval()(block)
    return candidates(flow, modules, lists)


@pytest.mark.parametrize("name", FOUND)
def test_blocks_of_known_projects(name: str) -> None:
    make, blocks, _ = FOUND[name]
    chosen = choose_blocks(judged(make()))
    assert chosen is not None
    assert list(chosen.members) == blocks


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_clear_is_refused_with_the_lists_that_there_are(name: str) -> None:
    make, sentence = REFUSED[name]
    found = judged(make())
    assert choose_blocks(found) is None
    with pytest.raises(UnclearBlocks, match=sentence):
        raise UnclearBlocks(found)


def test_a_candidate_says_what_it_is() -> None:
    (each,) = judged(Model(3))
    assert each.pattern == "blocks.*"
    assert each.words() == "3 of Block, shape (1, 16, 16), 1 calls per pass, 912 parameters, may be the blocks"
    assert (each.calls, each.parameters) == ((1, 1), 912)


class _Shuffled(Model):
    """Runs its blocks from the last to the first, and leaves one out."""

    def forward(self, ids: Tensor) -> Tensor:
        hidden = self.embed(ids)
        for block in list(self.blocks)[:0:-1]:
            hidden = block(hidden)
        return self.head(hidden)


def test_blocks_are_in_the_order_of_their_run_and_those_that_do_not_run_are_left_out() -> None:
    chosen = choose_blocks(judged(_Shuffled(4)))
    assert chosen is not None
    assert chosen.members == ("blocks.3", "blocks.2", "blocks.1")
    assert chosen.calls == (0, 1)


class _Bare(Model):
    def forward(self, ids: Tensor) -> Tensor:
        hidden = self.embed(ids)
        for block in self.blocks:
            hidden = block.forward(hidden)
        return self.head(hidden)


class _Nested(Model):
    """A block that runs the next one itself."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([_Running(), Residual()])

    def forward(self, ids: Tensor) -> Tensor:
        return self.head(self.blocks[0](self.embed(ids), self.blocks[1]))


class _Running(Residual):
    def forward(self, hidden: Tensor, *others: Any) -> Tensor:
        return others[0](super().forward(hidden))


class _Narrowing(Model):
    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([nn.Linear(16, 12), nn.Linear(12, 16)])


class _Pooling(Model):
    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([_Pool(), _Pool()])


class _Pool(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Linear(16, 16)

    def forward(self, hidden: Tensor) -> Tensor:
        return self.mix(hidden)[:, 1:]


@pytest.mark.parametrize(
    ("model", "why"),
    [
        (_Bare(), "are not called as modules"),
        (_Nested(), "run inside of each other"),
        (_Narrowing(), "do not all return what is as wide as what they take"),
        (_Pooling(), "do not all return one row per position"),
    ],
    ids=lambda each: type(each).__name__,
)
def test_why_a_list_is_not_the_blocks(model: nn.Module, why: str) -> None:
    assert {each.pattern: each.why_not for each in judged(model)}["blocks.*"] == why


def test_more_reasons() -> None:
    assert {each.pattern: each.why_not for each in judged(Skips())}["value_embeds.*"] == "do not all take activations"
    model = _Shuffled(4)
    model.blocks = nn.ModuleList([*model.blocks, *(Residual() for _ in range(9))])
    model.forward = Model.forward.__get__(_Few(model))  # type: ignore[method-assign]
    assert {each.pattern: each.why_not for each in judged(model)}["blocks.*"] == "11 of 13 are not called"


class _Few:
    """Two of a model's blocks."""

    def __init__(self, model: Model) -> None:
        self.embed, self.blocks, self.head = model.embed, list(model.blocks)[:2], model.head


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")
def test_scripted_blocks_take_no_hooks() -> None:
    model = Model()
    block = torch.jit.script(nn.Linear(16, 16))
    model.blocks = nn.ModuleList([block, torch.jit.script(nn.Linear(16, 16))])
    assert judged(model)[0].why_not == "are of torch.jit.script, which takes no hooks"


def test_structure_alone_leaves_embeddings_out_and_takes_blocks_of_several_classes() -> None:
    assert blocks_by_structure(named_modules(Keyed())) == ["layers.0", "layers.1", "layers.2"]
    assert blocks_by_structure(named_modules(Skips())) == [f"blocks.{i}" for i in range(4)]
    assert blocks_by_structure(named_modules(LastPosition())) == ["transformer.h.0", "transformer.h.1"]
    assert blocks_by_structure(named_modules(Adapters())) == ["layers.0", "layers.1", "layers.2"]
    assert blocks_by_structure(named_modules(Heads())) == [f"heads.{i}" for i in range(4)], "which only a pass can tell"
    assert blocks_by_structure(named_modules(nn.Linear(2, 2))) == []
