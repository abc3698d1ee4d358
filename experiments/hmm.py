"""A hidden Markov model as a source of training data whose entropies and informations are known exactly.

A state emits a symbol and then moves to the next state. Letters: V symbols, k length of a string of symbols, S blocks,
T block length. All informations and entropies are in nats.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from experiments.blocks import Blocks
from experiments.data import BlockData

MOST_CELLS = 1 << 24  # largest table of probabilities: it takes 128 MB and about a second


@dataclass(frozen=True)
class HiddenMarkov:
    """A stationary hidden Markov model.

    Attributes:
        transition: Probabilities p(next state | state): float64, (num_states, num_states).
        emission: Probabilities p(symbol | state): float64, (num_states, V).

    Raises:
        ValueError: The shapes do not fit, or a row is not a distribution in float64.

    Example:
        >>> flip = torch.tensor([[0.9, 0.1], [0.1, 0.9]], dtype=torch.float64)
        >>> chain = HiddenMarkov(flip, torch.eye(2, dtype=torch.float64))  # each symbol shows its state
        >>> low, high = chain.entropy_rate()
        >>> round(low, 4), round(high, 4), round(chain.information(1, 1), 4)
        (0.3251, 0.3251, 0.3681)
    """

    transition: Tensor
    emission: Tensor

    def __post_init__(self) -> None:
        states = self.transition.shape[0]
        if self.transition.shape != (states, states) or self.emission.shape[:-1] != (states,):
            raise ValueError(
                "transition and emission must be of shape (num_states, num_states) and (num_states, V), "
                f"got {tuple(self.transition.shape)} and {tuple(self.emission.shape)}"
            )
        for name in ("transition", "emission"):
            rows = getattr(self, name)
            if rows.dtype != torch.float64 or not (rows >= 0).all() or not (rows.sum(1) - 1).abs().max() < 1e-9:
                raise ValueError(f"{name} must be float64 with rows that are distributions, got {rows}")

    @classmethod
    def draw(cls, num_states: int, vocab_size: int, *, sharpness: float = 3.0, seed: int = 0) -> HiddenMarkov:
        """Draw a random model, in which every string of symbols is possible.

        Args:
            num_states: Number of states.
            vocab_size: Number of symbols, V.
            sharpness: Factor of the normal numbers whose softmaxes are the rows of both tables; 0 makes them uniform.
            seed: Seed of the normal numbers.

        Returns:
            The model.
        """
        generator = torch.Generator().manual_seed(seed)

        def rows(columns: int) -> Tensor:
            noise = torch.randn(num_states, columns, generator=generator, dtype=torch.float64)
            return torch.softmax(sharpness * noise, dim=1)

        return cls(rows(num_states), rows(vocab_size))

    @property
    def vocab_size(self) -> int:
        """The number of symbols, V."""
        return self.emission.shape[1]

    @cached_property
    def stationary(self) -> Tensor:
        """Long-run share of each state, (num_states,)."""
        states = len(self.transition)
        system = torch.cat([self.transition.T - torch.eye(states), torch.ones(1, states)]).double()
        right = torch.zeros(states + 1, dtype=torch.float64)
        right[-1] = 1.0
        solution: Tensor = torch.linalg.lstsq(system, right.unsqueeze(1)).solution
        return solution[:, 0]

    def sample(self, num_blocks: int, length: int, *, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draw independent blocks, each of which begins in the stationary distribution.

        Args:
            num_blocks: Number of blocks, S.
            length: Number of symbols in a block, T.
            generator: Source of the random numbers.

        Returns:
            The symbols, (S, T), and the states that emitted them, (S, T).
        """
        state = torch.multinomial(self.stationary, num_blocks, replacement=True, generator=generator)
        symbols, states = [], []
        for _ in range(length):
            states.append(state)
            symbols.append(torch.multinomial(self.emission[state], 1, generator=generator)[:, 0])
            state = torch.multinomial(self.transition[state], 1, generator=generator)[:, 0]
        return torch.stack(symbols, 1), torch.stack(states, 1)

    def past(self, order: int) -> Tensor:
        """Return p(string of k symbols, state that emitted the last of them).

        Args:
            order: Length of the strings, k.

        Returns:
            A table (V^k, num_states); its rows are the strings in counting order, the last symbol changing fastest.
        """
        table = (self.stationary.unsqueeze(1) * self.emission).T
        for _ in range(order - 1):
            table = ((table @ self.transition).unsqueeze(1) * self.emission.T).flatten(0, 1)
        return table

    def future(self, order: int) -> Tensor:
        """Return p(the next k symbols | state that emitted the symbol before them).

        Args:
            order: Length of the strings, k.

        Returns:
            A table (V^k, num_states), its rows as in `past`.
        """
        table = torch.ones(1, len(self.transition), dtype=torch.float64)
        for _ in range(order):
            step = self.emission.T.unsqueeze(1) * table  # first symbol, the others, state of the first
            table = step.flatten(0, 1) @ self.transition.T
        return table

    def entropy(self, order: int) -> float:
        """Return the entropy of a string of ``order`` symbols."""
        return _entropy(self.past(order).sum(1))

    def information(self, past: int, future: int) -> float:
        """Return I(last symbols; next symbols), as a sum over all pairs of strings.

        Args:
            past: Number of last symbols.
            future: Number of next symbols.

        Returns:
            The information in nats.

        Raises:
            ValueError: There are more than `MOST_CELLS` pairs.
        """
        pairs = self.vocab_size ** (past + future)
        if pairs > MOST_CELLS:
            raise ValueError(f"there must be at most {MOST_CELLS} pairs of strings, got {pairs}; ask for shorter ones")
        joint = self.past(past) @ self.future(future).T
        return self.entropy(past) + self.entropy(future) - _entropy(joint)

    def entropy_rate(self, *, gap: float = 1e-6) -> tuple[float, float]:
        """Return bounds of the entropy rate.

        Source: Cover and Thomas, Elements of Information Theory, theorem 4.5.1. The entropy of the n-th symbol given
        all symbols before it is an upper bound; given the first state as well, it is a lower bound. The two close in on
        each other exponentially.

        Args:
            gap: Distance of the bounds at which n stops growing; it also stops where `MOST_CELLS` are too few.

        Returns:
            The lower and the upper bound.
        """
        cells = self.vocab_size * len(self.transition) ** 2
        table = torch.diag(self.stationary).unsqueeze(1) * self.emission.T.unsqueeze(0)  # first state, string, last
        with_state, without = _entropy(self.stationary), 0.0
        while True:
            longer_with_state, longer_without = _entropy(table.sum(2)), _entropy(table.sum((0, 2)))
            low, high = longer_with_state - with_state, longer_without - without
            cells *= self.vocab_size
            if high - low < gap or cells > MOST_CELLS:
                return low, high
            with_state, without = longer_with_state, longer_without
            table = ((table @ self.transition).unsqueeze(2) * self.emission.T).flatten(1, 2)

    def log_likelihood(self, tokens: Tensor) -> Tensor:
        """Return log p(token | the tokens before it in its block), by the forward algorithm; no model can do better.

        Args:
            tokens: Blocks of symbols, (S, T).

        Returns:
            One number for each symbol, (S, T).
        """
        belief = self.stationary.expand(len(tokens), -1)
        logs = []
        for token in tokens.T:
            joint = belief * self.emission.T[token]  # (S, num_states)
            total = joint.sum(1, keepdim=True)
            logs.append(total[:, 0].log())
            belief = (joint / total) @ self.transition
        return torch.stack(logs, 1)

    def truth(self, orders: Sequence[int] = (1, 2, 3, 4)) -> dict[str, Any]:
        """Return the exact numbers that a run can be compared with, in nats.

        Args:
            orders: Lengths of strings, k; those with more than `MOST_CELLS` pairs of strings are left out.

        Returns:
            Name of a number to the number, to its bounds, or to one number for each order.
        """
        rate, marginal = self.entropy_rate(), self.entropy(1)
        past = marginal - rate[1], marginal - rate[0]
        fitting = [k for k in orders if self.vocab_size ** (2 * k) <= MOST_CELLS]
        return {
            "entropy_rate": _bounds(*rate),  # the training loss stays above this
            "token_entropy": round(marginal, 9),
            "past_and_next_token": _bounds(*past),  # ib/variational_floor stays below this
            "input_and_next_token": {str(k): round(self.information(k, 1), 9) for k in fitting},
            "input_and_output": {str(k): round(self.information(k, k), 9) for k in fitting},
        }


def information_through(channel: Tensor, joint: Tensor) -> float:
    """Return I(label; J) in nats, where a hidden value is all that J has to do with the label: label - value - J.

    Args:
        channel: Probabilities p(j | value), (num_values, K), such as the soft assignments of the embeddings of tokens.
        joint: Probabilities p(value, label), (num_values, M).

    Example:
        >>> round(information_through(torch.eye(2), torch.eye(2) / 2), 4)  # one bit, and all of it
        0.6931
    """
    with_label = joint.double().T @ channel.double()  # (M, K)
    return _entropy(with_label.sum(0)) + _entropy(with_label.sum(1)) - _entropy(with_label)


class Symbols:
    """A tokenizer with one id per symbol, whose texts are ids with spaces between them.

    Args:
        vocab_size: Number of symbols, V.

    Example:
        >>> Symbols(8)("3 1 4")
        [3, 1, 4]
    """

    name_or_path = "symbols"

    def __init__(self, vocab_size: int) -> None:
        self.vocab_size = vocab_size

    def __call__(self, text: str) -> list[int]:
        """Return the ids in a text."""
        return [int(symbol) for symbol in text.split()]

    def get_vocab_size(self) -> int:
        """Return the number of symbols, as tokenizers of the tokenizers library do."""
        return self.vocab_size


class HmmData(BlockData):
    """Blocks of a random hidden Markov model, each a document of its own, and held-out texts for a probe.

    Args:
        num_states: Number of states of the model.
        vocab_size: Number of symbols, V.
        sharpness: How far the model's probabilities are from uniform, see `HiddenMarkov.draw`.
        source_seed: Seed of the model and of the blocks that it emits.
        block_size: Number of symbols in a block, T.
        batch_size: Number of blocks in a batch.
        num_blocks: Number of blocks to train on.
        num_held_out: Number of blocks to validate and to measure on.
        seed: Seed of the order of the training blocks.

    Attributes:
        source: The hidden Markov model.
        truth: The exact numbers of the source, `HiddenMarkov.truth`; `setup` sets it.

    Example:
        >>> data = HmmData(num_states=3, vocab_size=4, block_size=16, batch_size=8, num_blocks=64, num_held_out=8)
        >>> data.setup()
        >>> next(iter(data.train_dataloader())).shape, len(data.probe_texts)
        (torch.Size([8, 16]), 8)
    """

    truth: dict[str, Any]

    def __init__(
        self,
        *,
        num_states: int = 6,
        vocab_size: int = 8,
        sharpness: float = 3.0,
        source_seed: int = 3,
        block_size: int = 128,
        batch_size: int = 16,
        num_blocks: int = 20_000,
        num_held_out: int = 256,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.source = HiddenMarkov.draw(num_states, vocab_size, sharpness=sharpness, seed=source_seed)
        self.tokenizer = Symbols(vocab_size)
        self.source_seed, self.seed = source_seed, seed
        self.block_size, self.batch_size = block_size, batch_size
        self.num_blocks, self.num_held_out = num_blocks, num_held_out

    def setup(self, stage: str | None = None) -> None:
        """Draw the blocks, once, however often this is called.

        Sets ``train_blocks``, ``held_out_blocks``, ``probe_texts`` and ``truth``.

        Args:
            stage: The stage that Lightning sets up; all of them need the same.
        """
        if hasattr(self, "truth"):
            return
        generator = torch.Generator().manual_seed(self.source_seed)
        blocks, _ = self.source.sample(self.num_blocks + self.num_held_out, self.block_size, generator=generator)
        train, held_out = torch.split(blocks, [self.num_blocks, self.num_held_out])
        self.train_blocks, self.held_out_blocks = (
            Blocks(part.flatten().numpy().astype(np.uint16), self.block_size) for part in (train, held_out)
        )
        self.probe_texts = [" ".join(map(str, block)) for block in held_out.tolist()]
        self.end_id = None
        settings = [self.source.transition.tolist(), self.source.emission.tolist(), self.source_seed, blocks.shape]
        self.fingerprint = hashlib.sha256(repr(settings).encode()).hexdigest()
        self.truth = self.source.truth()


def _entropy(probabilities: Tensor) -> float:
    return float(torch.special.entr(probabilities).sum())


def _bounds(low: float, high: float) -> dict[str, float]:
    return {"low": round(low, 9), "high": round(high, 9)}
