"""Small models put together like those of known projects, which the search for the blocks has to tell apart."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.models import LENGTH, VOCABULARY, WIDTH


class Residual(nn.Module):
    """A residual block that mixes positions: each sees the mean of those before it."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.mix, self.out = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)

    def branch(self, hidden: Tensor) -> Tensor:
        normed = self.norm(hidden)
        places = torch.arange(1, hidden.shape[1] + 1, device=hidden.device)[:, None]
        return self.out(torch.tanh(self.mix(normed) + normed.cumsum(1) / places))

    def forward(self, hidden: Tensor, *others: Tensor) -> Tensor:
        return hidden + self.branch(hidden)


class Branch(Residual):
    """What such a block adds to the stream."""

    def forward(self, hidden: Tensor, *others: Tensor) -> Tensor:
        return self.branch(hidden)


class _Start(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed, self.head = nn.Embedding(VOCABULARY, WIDTH), nn.Linear(WIDTH, VOCABULARY, bias=False)


class LastPosition(nn.Module):
    """As nanoGPT: modules in a ModuleDict, and logits of the last position only unless there are targets."""

    def __init__(self, blocks: int = 2) -> None:
        super().__init__()
        self.transformer: Any = nn.ModuleDict(
            {
                "wte": nn.Embedding(VOCABULARY, WIDTH),
                "wpe": nn.Embedding(LENGTH, WIDTH),
                "drop": nn.Dropout(0.1),
                "h": nn.ModuleList([Residual() for _ in range(blocks)]),
                "ln_f": nn.LayerNorm(WIDTH),
            }
        )
        self.lm_head = nn.Linear(WIDTH, VOCABULARY, bias=False)

    def forward(self, ids: Tensor, targets: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        parts = self.transformer
        hidden = parts.drop(parts.wte(ids) + parts.wpe(torch.arange(ids.shape[1], device=ids.device)))
        for block in parts.h:
            hidden = block(hidden)
        hidden = parts.ln_f(hidden)
        if targets is None:
            return self.lm_head(hidden[:, [-1]]), None
        logits = self.lm_head(hidden)
        return logits, functional.cross_entropy(logits.flatten(0, 1), targets.flatten())


class Skips(_Start):
    """As modded-nanoGPT: value embeddings, the first embedding again between blocks, and skips across the middle."""

    def __init__(self, blocks: int = 4) -> None:
        super().__init__()
        self.value_embeds = nn.ModuleList([nn.Embedding(VOCABULARY, 4 * WIDTH) for _ in range(3)])
        self.blocks = nn.ModuleList([Residual() for _ in range(blocks)])
        self.weights = nn.Parameter(torch.ones(blocks // 2))

    def forward(self, ids: Tensor) -> Tensor:
        values = [embed(ids) for embed in self.value_embeds]
        hidden = first = functional.rms_norm(self.embed(ids), (WIDTH,))
        half = len(self.blocks) // 2
        skips: list[Tensor] = []
        for index, block in enumerate(self.blocks):
            if index >= half:
                hidden = hidden + self.weights[index - half] * skips.pop()
            hidden = block(0.9 * hidden + 0.1 * first, values[index % 3])
            if index < half:
                skips.append(hidden)
        return self.head(functional.rms_norm(hidden, (WIDTH,)))


class Keyed(_Start):
    """As torchtitan: blocks in a ModuleDict, of two classes here."""

    def __init__(self) -> None:
        super().__init__()

        class Wide(Residual):
            pass

        kinds = [Residual, Wide, Residual]
        self.layers, self.norm = nn.ModuleDict({str(i): kind() for i, kind in enumerate(kinds)}), nn.RMSNorm(WIDTH)

    def forward(self, ids: Tensor) -> Tensor:
        hidden = self.embed(ids)
        for block in self.layers.values():
            hidden = block(hidden)
        return self.head(self.norm(hidden))


class Add(nn.Module):
    """Adds a branch to the stream."""

    def forward(self, branch: Tensor, stream: Tensor) -> Tensor:
        return branch + stream


class Triples(_Start):
    """As x-transformers: a list of lists of norms, a branch, and the module that adds it to the stream."""

    def __init__(self) -> None:
        super().__init__()
        parts = [[nn.ModuleList([nn.LayerNorm(WIDTH)]), nn.Linear(WIDTH, WIDTH), Add()] for _ in range(4)]
        self.layers = nn.ModuleList([nn.ModuleList(each) for each in parts])

    def forward(self, ids: Tensor) -> Tensor:
        hidden = self.embed(ids)
        layers: Any = self.layers  # lists of three, as they were made above
        for norms, branch, add in layers:
            hidden = add(branch(norms[0](hidden)), hidden)
        return self.head(hidden)


class Branches(_Start):
    """Blocks whose outputs are added to the stream outside of them."""

    def __init__(self, blocks: int = 3) -> None:
        super().__init__()
        self.branches = nn.ModuleList([Branch() for _ in range(blocks)])

    def forward(self, ids: Tensor) -> Tensor:
        hidden = self.embed(ids)
        for branch in self.branches:
            hidden = hidden + branch(hidden)
        return self.head(hidden)


class Heads(_Start):
    """One layer, and four large heads that predict four tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.body = Residual()
        self.heads = nn.ModuleList([nn.Sequential(Residual(), Residual()) for _ in range(4)])

    def forward(self, ids: Tensor) -> Tensor:
        hidden = self.body(self.embed(ids))
        return self.head(sum(head(hidden) for head in self.heads))


class Adapters(_Start):
    """A shared block, and large adapters of its own for each of its uses, which lie in a list inside of it."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([Residual() for _ in range(3)])
        self.layers[1].adapters = nn.ModuleList([nn.Linear(WIDTH, WIDTH) for _ in range(20)])

    def forward(self, ids: Tensor) -> Tensor:
        hidden = self.embed(ids)
        for block in self.layers:
            for adapter in getattr(block, "adapters", ()):
                hidden = hidden + adapter(hidden)
            hidden = block(hidden)
        return self.head(hidden)


class Stacks(_Start):
    """Two stacks of blocks as large as each other, one after another."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.ModuleList([Residual() for _ in range(2)])
        self.second = nn.ModuleList([Residual() for _ in range(2)])

    def forward(self, ids: Tensor) -> Tensor:
        hidden = self.embed(ids)
        for block in [*self.first, *self.second]:
            hidden = block(hidden)
        return self.head(hidden)


class Looped(_Start):
    """Blocks that run twice each."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([Residual() for _ in range(2)])

    def forward(self, ids: Tensor) -> Tensor:
        hidden = self.embed(ids)
        for block in [*self.layers, *self.layers]:
            hidden = block(hidden)
        return self.head(hidden)


class Towers(_Start):
    """Two readers of the same text, of which the smaller one ends in the logits: a vision tower that is fed tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.tower = nn.ModuleList([Residual() for _ in range(8)])  # is not run
        self.layers = nn.ModuleList([Residual() for _ in range(2)])

    def forward(self, ids: Tensor, image: Tensor | None = None) -> Tensor:
        hidden = self.embed(ids)
        for block in self.layers:
            hidden = block(hidden)
        return self.head(hidden)


class TimeFirst(nn.Module):
    """As the transformer of PyTorch's tutorial: it takes (T, B) tokens, and gives (T, B, V) logits."""

    def __init__(self, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.embed, self.head = nn.Embedding(VOCABULARY, WIDTH), nn.Linear(WIDTH, VOCABULARY)
        self.places = nn.Parameter(torch.randn(64, 1, WIDTH) / 4)
        layer = nn.TransformerEncoderLayer(WIDTH, 2, 32, dropout=0.1)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.to(dtype)

    def forward(self, ids: Tensor) -> Tensor:
        mask = nn.Transformer.generate_square_subsequent_mask(len(ids), dtype=self.places.dtype)
        return self.head(self.encoder(self.embed(ids) + self.places[: len(ids)], mask=mask))


class BatchStatistics(Towers):
    """A batch norm that keeps no running statistics, so that a block's activations depend on the others."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(WIDTH, track_running_stats=False)
        self.layers[1].norm = nn.Sequential(_Turned(), self.norm, _Turned())


class _Turned(nn.Module):
    def forward(self, hidden: Tensor) -> Tensor:
        return hidden.transpose(1, 2)


FOUND: dict[str, tuple[Callable[[], nn.Module], list[str], str | None]] = {
    # how it is made, its blocks, its final norm
    "nanoGPT": (LastPosition, ["transformer.h.0", "transformer.h.1"], "transformer.ln_f"),
    "modded nanoGPT": (Skips, [f"blocks.{i}" for i in range(4)], None),
    "torchtitan": (Keyed, ["layers.0", "layers.1", "layers.2"], "norm"),
    "x-transformers": (Triples, [f"layers.{i}.2" for i in range(4)], None),
    "adapters inside": (Adapters, ["layers.0", "layers.1", "layers.2"], None),
    "a tower that does not run": (Towers, ["layers.0", "layers.1"], None),
}
"""Models whose blocks are found."""

REFUSED: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "branches": (Branches, r"'branches\.\*' \(3 of Branch, .* return a branch that is added to the stream elsewhere"),
    "two branches": (lambda: Branches(2), "return a branch that is added to the stream elsewhere"),
    "heads": (Heads, r"'heads\.\*' \(4 of Sequential, .* do not take what the one before returns"),
    "two stacks": (Stacks, r"several lists .* 'first\.\*' .* may be the blocks\); 'second\.\*' .* may be the blocks"),
    "looped": (Looped, r"'layers\.\*' \(2 of Residual, .* 2 calls per pass, .* are called up to 2 times"),
}
"""Models whose blocks are not clear, and what is said."""
