"""The probe: frozen inputs that a run is measured on, with their labels and a hash that says which they were.

Letters: S blocks, T block length, N kept positions, M distinct labels.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from ibtrack._checks import check_integer, check_integers
from ibtrack.information.bottleneck import bottleneck_curve
from ibtrack.information.document_design import DocumentDesign
from ibtrack.information.label_design import LabelDesign
from ibtrack.probe.kgrams import LONE_LABELS, kept_positions, kgram_labels
from ibtrack.probe.preferences import preference_blocks
from ibtrack.probe.texts import cut_windows, encoder, in_random_order, tokenizer_name
from ibtrack.record.keys import order_name


class Probe:
    """Frozen evaluation blocks with the labels of every kept position.

    Give token blocks, and k-gram labels are made for them; or give any inputs with labels of your own.

    Args:
        inputs: (S, T) token ids; with ``labels``, any tensor whose first dimension is S.
        orders: k of the k-grams, by default token to quadgram.
        documents: (S,) or (S, T) document of each block or token, negative for padding. No k-gram crosses documents,
            and standard errors are taken over them. By default each block is a document of its own.
        labels: instead of k-grams: ``{"input": …, "output": …}``, or ``{"input/<name>": …, "output/<name>": …}`` for
            several, integer tensors of shape (S,) or (S, T); negative where there is no label. ``preference`` stands
            alone or beside them. All label sets are restricted to the positions that have every label.
        skip: leave out the first positions of every block: at position 0 many models keep an attention sink, whose
            activations are like no others. Without ``labels``, k - 1 positions for the largest k are left out anyway.
        tokenizer: name of the tokenizer, for the protocol.
        name: name of the probe, for the protocol.

    Attributes:
        inputs: as given, on the CPU.
        positions: (N,) kept positions, as indices into the flattened S x T (or S) grid.
        grid: (S, T) or (S,): what activations are flattened over.
        label_sets: ``input/token`` … to (N,) labels in [0, M).
        orders: names of the label orders, such as ``("token", "bigram")``.
        documents: (N,) dense document index of every kept position.
        hash: sha256 of all of the above.

    Raises:
        ValueError: no block, no kept position, or a tensor of the wrong shape or type.

    Example:
        >>> probe = Probe(torch.arange(64).view(4, 16) % 7, orders=(1, 2))
        >>> probe.num_positions, sorted(probe.label_sets)
        (52, ['input/bigram', 'input/token', 'output/bigram', 'output/token'])
        >>> probe.hash == Probe(probe.inputs, orders=(1, 2)).hash
        True
    """

    def __init__(
        self,
        inputs: Tensor,
        orders: Sequence[int] = (1, 2, 3, 4),
        *,
        documents: Tensor | None = None,
        labels: Mapping[str, Tensor] | None = None,
        skip: int = 0,
        tokenizer: str = "",
        name: str = "probe",
    ) -> None:
        self.name, self.tokenizer = name, tokenizer
        if not isinstance(inputs, Tensor) or inputs.ndim == 0 or not inputs.numel():
            raise ValueError(f"the probe is empty: inputs must be a tensor of S blocks, got {_describe(inputs)}")
        check_integer("skip", skip, minimum=0)
        self.is_text = labels is None
        if labels is None:
            self._label_kgrams(check_integers("tokens", inputs.cpu(), ndim=2), _check_orders(orders), documents, skip)
        else:
            self._take_labels(inputs.cpu(), labels, documents, skip)
        self.hash = self._hash()

    def _label_kgrams(self, tokens: Tensor, orders: tuple[int, ...], documents: Tensor | None, skip: int) -> None:
        if int(tokens.min()) < 0:
            raise ValueError(f"tokens must be at least 0, got {int(tokens.min())}; mark padding by a negative document")
        document_of = _documents(documents, tuple(tokens.shape))
        kept = kept_positions(document_of, max(orders))
        kept[:, :skip] = False
        if not kept.any():
            raise ValueError(
                f"orders up to {max(orders)} and skip={skip} leave no position in blocks of length {tokens.shape[1]}; "
                f"orders need {2 * max(orders)} tokens of one document, so use longer blocks, fewer orders or skip less"
            )
        self.inputs, self.grid, self.positions = tokens, tuple(tokens.shape), kept.flatten().nonzero().flatten()
        self.orders = tuple(order_name(k) for k in orders)
        found = kgram_labels(tokens, kept, orders)
        self.label_sets = {f"{side}/{order_name(k)}": ids for (side, k), ids in found.items()}
        self.documents = _dense(document_of.flatten()[self.positions])

    def _take_labels(self, inputs: Tensor, labels: Mapping[str, Tensor], documents: Tensor | None, skip: int) -> None:
        sets = {
            name if "/" in name or name in LONE_LABELS else f"{name}/label": check_integers(name, ids.cpu())
            for name, ids in labels.items()
        }
        orders = tuple(dict.fromkeys(name.partition("/")[2] for name in sets if name not in LONE_LABELS))
        wanted = {f"{side}/{order}" for order in orders for side in ("input", "output")}
        if set(sets) - set(LONE_LABELS) != wanted or not sets:
            raise ValueError(
                f"labels must pair an 'input' with an 'output' for each name, or be 'preference', got {sorted(labels)}"
            )
        shapes = {tuple(ids.shape) for ids in sets.values()}
        self.grid = shapes.pop()
        if shapes or len(self.grid) not in (1, 2) or self.grid[0] != len(inputs):
            raise ValueError(
                f"all labels must have one shape, ({len(inputs)},) or ({len(inputs)}, T), "
                f"got {sorted({self.grid, *shapes})}"
            )
        if skip and len(self.grid) == 1:
            raise ValueError(f"skip must be 0 where inputs have one label each, got {skip}")
        for name in sets.keys() & set(LONE_LABELS):
            if sorted(set(sets[name].clamp(min=-1).unique().tolist()) - {-1}) != [0, 1]:
                raise ValueError(
                    f"{name} must be 1 and 0, at some positions each, and negative elsewhere, "
                    f"got {sets[name].unique().tolist()[:9]}"
                )
        kept = torch.stack([ids >= 0 for ids in sets.values()]).all(0)
        if skip:
            kept[:, :skip] = False
        if not kept.any():
            raise ValueError("the probe is empty: no position has all of its labels")
        document_of = _documents(documents, self.grid)
        self.inputs, self.positions = inputs, (kept & (document_of >= 0)).flatten().nonzero().flatten()
        self.orders = orders
        self.label_sets = {name: _dense(ids.flatten()[self.positions]) for name, ids in sets.items()}
        self.documents = _dense(document_of.flatten()[self.positions])

    def _hash(self) -> str:
        digest = hashlib.sha256()
        parts = {"inputs": self.inputs, "positions": self.positions, "documents": self.documents, **self.label_sets}
        for name, tensor in parts.items():
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)};".encode())
            digest.update(tensor.contiguous().view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()

    @property
    def num_blocks(self) -> int:
        return len(self.inputs)

    @property
    def num_positions(self) -> int:
        return len(self.positions)

    @property
    def num_documents(self) -> int:
        return int(self.documents.max()) + 1

    @property
    def label_counts(self) -> dict[str, int]:
        """Distinct labels M of every label set."""
        return {name: int(ids.max()) + 1 for name, ids in self.label_sets.items()}

    @cached_property
    def document_design(self) -> DocumentDesign:
        """The positions by document, as the readings need them."""
        return DocumentDesign.from_index(self.documents)

    @cached_property
    def label_designs(self) -> dict[str, LabelDesign]:
        """The positions by label, for each label set."""
        return {name: LabelDesign.from_labels(labels, self.document_design) for name, labels in self.label_sets.items()}

    def protocol(self) -> dict[str, Any]:
        """What must be equal for two readings to be of the same probe."""
        return {
            "hash": self.hash,
            "name": self.name,
            "tokenizer": self.tokenizer,
            "blocks": self.num_blocks,
            "block_size": self.grid[1] if len(self.grid) == 2 else 1,
            "positions": self.num_positions,
            "documents": self.num_documents,
            "label_counts": self.label_counts,
        }

    def bottleneck_curve(self, num_anchors: int = 100) -> dict[str, list[float]] | None:
        """The curve of token and next token, see `ibtrack.information.bottleneck.bottleneck_curve`.

        Args:
            num_anchors: K.

        Returns:
            ``complexity`` I(X; T) and ``expressivity`` I(T; Y) of its points, as fractions of log K to four decimals;
            None if the probe is not text, or has no labels of order 1.
        """
        names = ("input/token", "output/token")
        if not self.is_text or not self.label_sets.keys() >= set(names):
            return None
        points = bottleneck_curve(*(self.label_sets[name] for name in names))
        kept, told = (
            [round(nats / math.log(num_anchors), 4) for nats in column] for column in zip(*points, strict=True)
        )
        return {"complexity": kept, "expressivity": told}

    @classmethod
    def from_texts(
        cls,
        texts: Iterable[str],
        tokenizer: Any,
        *,
        num_blocks: int = 64,
        block_size: int = 128,
        orders: Sequence[int] = (1, 2, 3, 4),
        skip: int = 0,
        seed: int = 0,
        name: str = "probe",
    ) -> Probe:
        """Cut one window at random out of each of ``num_blocks`` documents.

        Use documents that are held out from training. Documents of fewer than ``block_size`` tokens are skipped. A
        sequence of texts is taken in a random order, a stream in its own.

        Args:
            texts: one document each.
            tokenizer: a Hugging Face tokenizer, a ``tokenizers.Tokenizer``, or a callable from text to token ids. No
                special tokens are added.
            num_blocks: S.
            block_size: T.
            orders: k of the k-grams.
            skip: first positions of every block to leave out.
            seed: of the order and the windows.
            name: name of the probe, for the protocol.

        Raises:
            ValueError: fewer than ``num_blocks`` documents are long enough.
        """
        check_integer("num_blocks", num_blocks, minimum=1)
        check_integer("block_size", block_size, minimum=2)
        generator = torch.Generator().manual_seed(seed)
        shuffled = in_random_order(texts, generator)
        blocks = cut_windows(shuffled, encoder(tokenizer), num_blocks, block_size, generator)
        return cls(blocks, orders, skip=skip, tokenizer=tokenizer_name(tokenizer), name=name)

    @classmethod
    def from_dataset(
        cls, dataset: Any, tokenizer: Any, *, column: str = "text", seed: int = 0, **options: Any
    ) -> Probe:
        """`from_texts` over a column of a ``datasets.Dataset`` or ``IterableDataset`` (a stream, shuffled by its
        buffer).

        Args:
            dataset: rows are documents.
            tokenizer: see `from_texts`.
            column: the column that holds the text.
            seed: of the order and the windows.
            **options: further arguments of `from_texts`.

        Raises:
            ValueError: there is no such column.
        """
        columns = dataset.column_names
        if columns is not None and column not in columns:
            raise ValueError(f"column must be one of {columns}, got {column!r}")
        texts = (row[column] for row in dataset.shuffle(seed=seed))
        return cls.from_texts(texts, tokenizer, seed=seed, **options)

    @classmethod
    def from_preferences(
        cls,
        rows: Any,
        tokenizer: Any,
        *,
        chosen: str = "chosen",
        rejected: str = "rejected",
        num_pairs: int = 64,
        block_size: int = 128,
        seed: int = 0,
        name: str = "preferences",
    ) -> Probe:
        """Pairs of responses, of which people chose one: for the preference information I(pref; Z).

        The label of a position is whether its response was chosen. Positions are the tokens after the common beginning
        of both, which is the prompt and what the responses have in common; padding is none. Standard errors are over
        pairs. A block holds at most ``block_size // 2`` tokens of the common beginning and is padded on the right,
        which causal attention does not see. Pairs in which a response has no token of its own are skipped.

        Positions of one response are alike, so bias and null are those of exchanging the labels of whole pairs, see
        `ibtrack.information.permutation`.

        Args:
            rows: a ``datasets.Dataset`` or ``IterableDataset`` (shuffled), a sequence of mappings (in a random order),
                or a stream of them. The columns hold texts, or lists of messages with ``role`` and ``content``; a
                column ``prompt``, text or messages, is put before responses that do not begin with it.
            tokenizer: see `from_texts`.
            chosen: column of the chosen response.
            rejected: column of the other.
            num_pairs: two blocks each.
            block_size: T.
            seed: of the order.
            name: name of the probe, for the protocol.

        Raises:
            ValueError: fewer than ``num_pairs`` pairs differ, or a column is missing or holds something else.
        """
        check_integer("num_pairs", num_pairs, minimum=1)
        check_integer("block_size", block_size, minimum=2)
        generator = torch.Generator().manual_seed(seed)
        shuffled = rows.shuffle(seed=seed) if hasattr(rows, "column_names") else in_random_order(rows, generator)
        blocks = preference_blocks(
            shuffled,
            encoder(tokenizer),
            num_pairs=num_pairs,
            block_size=block_size,
            chosen=chosen,
            rejected=rejected,
        )
        probe = cls(
            blocks.tokens,
            labels={"preference": blocks.preference},
            documents=blocks.pairs,
            tokenizer=tokenizer_name(tokenizer),
            name=name,
        )
        probe.is_text = True
        return probe

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the probe to a file that `load` reads, also on another machine."""
        state = {key: getattr(self, key) for key in _STATE}
        torch.save(state, path)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Probe:
        """Read a probe that `save` wrote.

        Raises:
            ValueError: the content does not have the hash it was saved with.
        """
        state = torch.load(path, weights_only=True)
        probe = cls.__new__(cls)
        for key in _STATE:
            setattr(probe, key, state[key])
        if probe.hash != probe._hash():
            raise ValueError(f"{os.fspath(path)} is damaged: its content does not have the hash it was saved with")
        return probe


_STATE = ("name", "tokenizer", "is_text", "inputs", "grid", "positions", "orders", "label_sets", "documents", "hash")


def _check_orders(orders: Sequence[int]) -> tuple[int, ...]:
    if not orders:
        raise ValueError("orders must name at least one k, such as (1, 2, 3, 4), got none")
    return tuple(sorted({check_integer("orders", int(k), minimum=1) for k in orders}))


def _documents(documents: Tensor | None, grid: tuple[int, ...]) -> Tensor:
    """Spread documents of blocks over their positions."""
    if documents is None:
        documents = torch.arange(grid[0])
    documents = check_integers("documents", documents.cpu())
    if tuple(documents.shape) not in (grid, grid[:1]):
        raise ValueError(f"documents must have shape {grid[:1]} or {grid}, got {tuple(documents.shape)}")
    return documents.reshape(*documents.shape, *[1] * (len(grid) - documents.ndim)).expand(grid)


def _dense(ids: Tensor) -> Tensor:
    return torch.unique(ids, return_inverse=True)[1]


def _describe(value: object) -> str:
    return f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
