"""A source whose entropies are known: a hidden Markov model, its exact numbers, and blocks of it to train on.

Letters: S states, V symbols, k length of a string of symbols. A state emits a symbol, then moves on. All informations
and entropies are in nats.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from experiments.data import BlockData

MOST_CELLS = 1 << 24  # of a table of probabilities: 128 MB, and a second or so


@dataclass(frozen=True)
class HiddenMarkov:
    """A stationary hidden Markov model.

    Attributes:
        transition: (S, S) float64, p(next state | state).
        emission: (S, V) float64, p(symbol | state).

    Example:
        >>> flip = torch.tensor([[0.9, 0.1], [0.1, 0.9]], dtype=torch.float64)
        >>> chain = HiddenMarkov(flip, torch.eye(2, dtype=torch.float64))  # the state is seen: a Markov chain
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
                "transition and emission must be of shape (S, S) and (S, V), "
                f"got {tuple(self.transition.shape)} and {tuple(self.emission.shape)}"
            )
        for name in ("transition", "emission"):
            rows = getattr(self, name)
            if rows.dtype != torch.float64 or not (rows >= 0).all() or not (rows.sum(1) - 1).abs().max() < 1e-9:
                raise ValueError(f"{name} must be float64 with rows that are distributions, got {rows}")

    @classmethod
    def draw(cls, num_states: int, vocab_size: int, *, sharpness: float = 3.0, seed: int = 0) -> HiddenMarkov:
        """A random model: rows are softmaxes of normal numbers times ``sharpness``, so every string is possible."""
        generator = torch.Generator().manual_seed(seed)

        def rows(columns: int) -> Tensor:
            noise = torch.randn(num_states, columns, generator=generator, dtype=torch.float64)
            return torch.softmax(sharpness * noise, dim=1)

        return cls(rows(num_states), rows(vocab_size))

    @property
    def vocab_size(self) -> int:
        return self.emission.shape[1]

    @cached_property
    def stationary(self) -> Tensor:
        """(S,) long-run share of each state."""
        states = len(self.transition)
        system = torch.cat([self.transition.T - torch.eye(states), torch.ones(1, states)]).double()
        right = torch.zeros(states + 1, dtype=torch.float64)
        right[-1] = 1.0
        return torch.linalg.lstsq(system, right.unsqueeze(1)).solution[:, 0]

    def sample(self, num_blocks: int, length: int, *, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Independent blocks, each begun in the long run.

        Returns:
            (num_blocks, length) symbols, and the states that emitted them.
        """
        state = torch.multinomial(self.stationary, num_blocks, replacement=True, generator=generator)
        symbols, states = [], []
        for _ in range(length):
            states.append(state)
            symbols.append(torch.multinomial(self.emission[state], 1, generator=generator)[:, 0])
            state = torch.multinomial(self.transition[state], 1, generator=generator)[:, 0]
        return torch.stack(symbols, 1), torch.stack(states, 1)

    def past(self, order: int) -> Tensor:
        """(V^k, S) p(string of k symbols, state that emitted the last); strings count up, the last symbol fastest."""
        table = (self.stationary.unsqueeze(1) * self.emission).T
        for _ in range(order - 1):
            table = ((table @ self.transition).unsqueeze(1) * self.emission.T).flatten(0, 1)
        return table

    def future(self, order: int) -> Tensor:
        """(V^k, S) p(the next k symbols | state that emitted the last)."""
        table = torch.ones(1, len(self.transition), dtype=torch.float64)
        for _ in range(order):
            step = self.emission.T.unsqueeze(1) * table  # (V, V^j, S): first symbol, the others, state of the first
            table = step.flatten(0, 1) @ self.transition.T
        return table

    def entropy(self, order: int) -> float:
        """H of a string of k symbols."""
        return _entropy(self.past(order).sum(1))

    def information(self, past: int, future: int) -> float:
        """I(the last ``past`` symbols; the next ``future`` symbols), the sum over all pairs of strings.

        Raises:
            ValueError: there are more than `MOST_CELLS` pairs.
        """
        pairs = self.vocab_size ** (past + future)
        if pairs > MOST_CELLS:
            raise ValueError(f"there must be at most {MOST_CELLS} pairs of strings, got {pairs}; ask for shorter ones")
        joint = self.past(past) @ self.future(future).T
        return self.entropy(past) + self.entropy(future) - _entropy(joint)

    def entropy_rate(self, *, gap: float = 1e-6) -> tuple[float, float]:
        """Bounds of the entropy rate: H(X_n | X_1 … X_n-1, S_1) from below, H(X_n | X_1 … X_n-1) from above.

        Source: Cover and Thomas, Elements of Information Theory, theorem 4.5.1. They close in on each other
        exponentially; n grows until they are ``gap`` apart, or as far as `MOST_CELLS` allow.
        """
        cells = self.vocab_size * len(self.transition) ** 2
        table = torch.diag(self.stationary).unsqueeze(1) * self.emission.T.unsqueeze(
            0
        )  # (S, V, S): first, string, last
        known, blind = _entropy(self.stationary), 0.0
        while True:
            more_known, more_blind = _entropy(table.sum(2)), _entropy(table.sum((0, 2)))
            low, high = more_known - known, more_blind - blind
            cells *= self.vocab_size
            if high - low < gap or cells > MOST_CELLS:
                return low, high
            known, blind = more_known, more_blind
            table = ((table @ self.transition).unsqueeze(2) * self.emission.T).flatten(1, 2)

    def log_likelihood(self, tokens: Tensor) -> Tensor:
        """(B, T) log p(token | the tokens before it in its block) by the forward algorithm: what no model beats."""
        belief = self.stationary.expand(len(tokens), -1)
        logs = []
        for token in tokens.T:
            joint = belief * self.emission.T[token]  # (B, S)
            total = joint.sum(1, keepdim=True)
            logs.append(total[:, 0].log())
            belief = (joint / total) @ self.transition
        return torch.stack(logs, 1)

    def known(self, orders: Sequence[int] = (1, 2, 3, 4)) -> dict[str, Any]:
        """The exact numbers that a run can be compared with, in nats; of the orders that are not too long to sum."""
        rate, marginal = self.entropy_rate(), self.entropy(1)
        past = marginal - rate[1], marginal - rate[0]
        fitting = [k for k in orders if self.vocab_size ** (2 * k) <= MOST_CELLS]
        return {
            "entropy_rate": _bounds(*rate),  # the training loss ends above
            "token_entropy": round(marginal, 9),
            "past_and_next_token": _bounds(*past),  # ib/variational_floor ends below
            "input_and_next_token": {str(k): round(self.information(k, 1), 9) for k in fitting},
            "input_and_output": {str(k): round(self.information(k, k), 9) for k in fitting},
        }


def information_through(channel: Tensor, joint: Tensor) -> float:
    """I(label; J) where J is drawn from the row of a channel that goes with a hidden value: label - value - J.

    Args:
        channel: (Z, K) p(j | value), such as the soft assignments of the embeddings of Z tokens.
        joint: (Z, M) p(value, label).

    Example:
        >>> round(information_through(torch.eye(2), torch.eye(2) / 2), 4)  # all of one bit
        0.6931
    """
    with_label = joint.double().T @ channel.double()  # (M, K)
    return _entropy(with_label.sum(0)) + _entropy(with_label.sum(1)) - _entropy(with_label)


class Symbols:
    """A tokenizer with one id per symbol: texts are ids with spaces between them.

    Example:
        >>> Symbols(8)("3 1 4")
        [3, 1, 4]
    """

    name_or_path = "symbols"

    def __init__(self, vocab_size: int) -> None:
        self.vocab_size = vocab_size

    def __call__(self, text: str) -> list[int]:
        return [int(symbol) for symbol in text.split()]

    def get_vocab_size(self) -> int:
        return self.vocab_size


class HmmData(BlockData):
    """Blocks of a random hidden Markov model, each a document of its own, and held-out texts for a probe.

    Args:
        num_states: S.
        vocab_size: V.
        sharpness: of its rows, see `HiddenMarkov.draw`.
        source_seed: which model it is.
        block_size: symbols in a block.
        batch_size: blocks in a batch.
        num_blocks: blocks to train on.
        num_held_out: blocks to validate and to measure on.
        seed: of the order of the training blocks.

    Example:
        >>> data = HmmData(num_states=3, vocab_size=4, block_size=16, batch_size=8, num_blocks=64, num_held_out=8)
        >>> data.setup()
        >>> next(iter(data.train_dataloader())).shape, len(data.probe_texts)
        (torch.Size([8, 16]), 8)
    """

    known: dict[str, Any]

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
        """Draw the blocks; done once, however often it is called.

        Sets ``train_blocks`` and ``held_out_blocks`` (int64, (S, T)), ``probe_texts``, and ``known``, what
        `HiddenMarkov.known` says of the source.
        """
        if hasattr(self, "known"):
            return
        generator = torch.Generator().manual_seed(self.source_seed)
        blocks, _ = self.source.sample(self.num_blocks + self.num_held_out, self.block_size, generator=generator)
        self.train_blocks, self.held_out_blocks = blocks.split([self.num_blocks, self.num_held_out])
        self.probe_texts = [" ".join(map(str, block)) for block in self.held_out_blocks.tolist()]
        self.known = self.source.known()


def _entropy(probabilities: Tensor) -> float:
    return float(torch.special.entr(probabilities).sum())


def _bounds(low: float, high: float) -> dict[str, float]:
    return {"low": round(low, 9), "high": round(high, 9)}
