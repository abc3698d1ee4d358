"""The probe: frozen inputs that a run is measured on, with their labels and a hash that tells which they were.

Letters: S blocks, T block length, N positions, M labels, K anchors.
"""

from __future__ import annotations

import hashlib
import math
import os
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from functools import cached_property
from itertools import count
from typing import Any, BinaryIO

import torch
from torch import Tensor

from ibtrack._checks import check_integer
from ibtrack.information.bottleneck import bottleneck_curve
from ibtrack.information.brackets import BracketDesign
from ibtrack.information.document_design import DocumentDesign
from ibtrack.information.label_design import LabelDesign, designs_of
from ibtrack.probe.copies import KEPT, LEFT_OUT, Copies
from ibtrack.probe.kgrams import SIDES
from ibtrack.probe.labels import (
    UNPAIRED_LABEL_SETS,
    LabelledPositions,
    check_orders,
    check_tokens,
    dense,
    label_as_given,
    label_kgrams,
)
from ibtrack.probe.overlap import LENGTH, SHARE, Overlap, overlap
from ibtrack.probe.preferences import preference_blocks
from ibtrack.probe.sequences import token_sequences
from ibtrack.probe.sources import column_texts, shuffled_rows
from ibtrack.probe.texts import text_blocks
from ibtrack.probe.tokenizer import encoder, is_of_tokenizer, tokenizer_hash, tokenizer_name
from ibtrack.record.keys import order_name


class Probe:
    """Frozen evaluation blocks with the labels of every measured position.

    Give token blocks, and k-gram labels are made for them; or give any inputs with labels of your own.

    Copies of documents have equal activations at equal labels, whatever the labels are, so they read as information.
    A document of text counts as a copy if 20 % or more of its 8-grams stand in another one (of 16-grams, 32-grams and
    so on where text has so few symbols that shorter ones recur by chance, as with bytes). A warning says how many were
    found, and so does ``copies``. Blocks that are given stay where they are, since activations and your own tensors
    follow their order: the positions of copies are not measured, and the longest of several copies, or the first of
    equally long ones, stays. `from_texts`, `from_dataset` and `from_preferences` take other documents in place of
    copies. Copies are not looked for in inputs that are not known to be text, which are those with ``labels``; there,
    give copies one document by ``documents``, or better, leave them out.

    Args:
        inputs: (S, T) token ids; with ``labels``, any tensor whose first dimension is S.
        orders: Lengths k of the k-grams, by default those from token to quadgram.
        documents: (S,) or (S, T) document of each block or token, negative for padding. No k-gram crosses documents,
            and standard errors are taken over them. By default each block is a document of its own.
        labels: Labels to take instead of k-grams: ``{"input": ids, "output": ids}``, or ``{"input/<name>": ids,
            "output/<name>": ids}`` for several, integer tensors of shape (S,) or (S, T), negative where there is no
            label. A label set ``preference`` may stand beside them or be the only one. Positions are those that have
            every label.
        skip: Number of positions to leave out at the beginning of every block: at position 0 many models keep an
            attention sink, whose activations are unlike all others. K-grams leave out the first k - 1 positions for
            the largest k anyway.
        keep_copies: Whether copies of documents are measured like other documents.
        is_text: Whether inputs that come with ``preference`` labels are token ids, which must fit the vocabulary and
            the context of the model. Inputs without ``labels`` always are.
        tokenizer: Name of the tokenizer, for the protocol.
        tokenizer_hash: Hash of the tokenizer's definition, for the protocol; `from_texts` works it out.
        name: Name of the probe, for the protocol.

    Attributes:
        inputs: The inputs as given, on the CPU.
        positions: (N,) measured positions, as indices into the flattened (S, T) or (S,) grid.
        grid: (S, T) or (S,), the shape that activations are flattened over.
        label_sets: Name, such as ``input/token``, to (N,) labels in [0, M).
        orders: Names of the label orders, such as ``("token", "bigram")``.
        documents: (N,) document of every measured position, numbered from 0 without gaps.
        is_text: Whether the inputs are token ids. All label sets but ``preference`` then are of k-grams.
        copies: How many documents were copies and what was done with them; None where they were not looked for (inputs
            that are not text, a file of an earlier version) or cannot be told (no document has 8 tokens, or all repeat
            themselves so much that equal k-grams say nothing).
        overlap: What the last `find_in` has found of the probe in training text; None before that. The protocol of a
            run has it.
        hash: sha256 of the content: inputs, positions, their documents and label sets. Name, tokenizer and ``is_text``
            change none of the numbers that two probes of one content share, so the hash does not cover them.

    Raises:
        ValueError: There is no block or no position to measure, a tensor has the wrong shape or type, or all documents
            are copies of one.

    Example:
        >>> tokens = torch.randint(7, (4, 16), generator=torch.Generator().manual_seed(0))
        >>> probe = Probe(tokens, orders=(1, 2))
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
        keep_copies: bool = False,
        is_text: bool = False,
        tokenizer: str = "",
        tokenizer_hash: str = "",
        name: str = "probe",
    ) -> None:
        if not isinstance(inputs, Tensor) or inputs.ndim == 0 or not inputs.numel():
            raise ValueError(f"the probe is empty: inputs must be a tensor of S blocks, got {_describe(inputs)}")
        check_integer("skip", skip, minimum=0)
        if labels is not None and is_text and not labels.keys() <= set(UNPAIRED_LABEL_SETS):
            raise ValueError(f"is_text must be left out unless labels are 'preference', got {sorted(labels)}")
        is_text = is_text or labels is None
        inputs = check_tokens(inputs.cpu()) if is_text else inputs.cpu()
        if labels is None:
            labelled = label_kgrams(inputs, orders, documents, skip, keep_copies=keep_copies)
        else:
            text = inputs if is_text else None
            labelled = label_as_given(len(inputs), labels, documents, skip, tokens=text, keep_copies=keep_copies)
        self._fill(inputs, labelled, is_text=is_text, names=(name, tokenizer, tokenizer_hash))
        _warn_of_copies(self.copies, keep_copies)

    def _fill(self, inputs: Tensor, labelled: LabelledPositions, *, is_text: bool, names: tuple[str, str, str]) -> None:
        """Take everything that a probe holds; names are its own, the tokenizer's, and the hash of that."""
        self.inputs, self.is_text = inputs, is_text
        self.name, self.tokenizer, self.tokenizer_hash = names
        self.grid, self.positions, self.documents, self.orders, self.label_sets, self.copies = labelled
        self.overlap: Overlap | None = None
        self.hash = self._content_hash()

    @classmethod
    def _of_documents(
        cls, tokens: Tensor, labelled: LabelledPositions, copies: Copies | None, tokenizer: Any, name: str
    ) -> Probe:
        """Make a probe of documents among which copies have been looked for already."""
        names = (name, tokenizer_name(tokenizer), tokenizer_hash(tokenizer))
        probe = cls.__new__(cls)
        probe._fill(tokens, labelled._replace(copies=copies), is_text=True, names=names)
        return probe

    def _content_hash(self) -> str:
        digest = hashlib.sha256()
        parts = {"inputs": self.inputs, "positions": self.positions, "documents": self.documents, **self.label_sets}
        for name, tensor in parts.items():
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)};".encode())
            digest.update(tensor.contiguous().view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()

    def __repr__(self) -> str:
        length = f" × {self.grid[1]}" if len(self.grid) == 2 else ""
        left_out = self.copies.found if self.copies is not None and self.copies.done == LEFT_OUT else 0
        copies = f", {left_out} copies left out" if left_out else ""
        return (
            f"Probe({self.name!r}: {self.num_blocks} blocks{length}, {self.num_documents} documents, "
            f"{self.num_positions} positions{copies}, hash {self.hash[:8]})"
        )

    @property
    def num_blocks(self) -> int:
        """Number of blocks S."""
        return len(self.inputs)

    @property
    def num_positions(self) -> int:
        """Number of measured positions N."""
        return len(self.positions)

    @property
    def num_documents(self) -> int:
        """Number of documents that the measured positions are from."""
        return int(self.documents.max()) + 1

    @property
    def label_counts(self) -> dict[str, int]:
        """Number of distinct labels M of every label set."""
        return {name: int(ids.max()) + 1 for name, ids in self.label_sets.items()}

    @cached_property
    def document_design(self) -> DocumentDesign:
        """The positions by document, as the readings need them."""
        return DocumentDesign.from_index(self.documents)

    @cached_property
    def label_designs(self) -> dict[str, LabelDesign]:
        """The positions by label, for each label set."""
        return designs_of(self.label_sets, self.document_design)

    @cached_property
    def bracket_design(self) -> BracketDesign:
        """The positions as the lower ends of input and output need them: a k-gram tells those that are shorter."""
        if self.is_text:
            chains = [[f"{side}/{order}" for order in self.orders] for side in SIDES if self.orders]
        else:
            chains = [[f"{side}/{order}"] for order in self.orders for side in SIDES]
        label_sets = [{name: self.label_sets[name] for name in chain} for chain in chains]
        return BracketDesign.from_chains(label_sets, self.document_design)

    @property
    def num_copies(self) -> int:
        """Number of documents that are measured although they are copies, as far as that is known."""
        return self.copies.found if self.copies is not None and self.copies.done == KEPT else 0

    def protocol(self) -> dict[str, Any]:
        """Return what must be equal for two readings to be of the same probe."""
        return {
            "hash": self.hash,
            "name": self.name,
            "tokenizer": self.tokenizer,
            "tokenizer_hash": self.tokenizer_hash,
            "blocks": self.num_blocks,
            "block_size": self.grid[1] if len(self.grid) == 2 else 1,
            "positions": self.num_positions,
            "documents": self.num_documents,
            "label_counts": self.label_counts,
        }

    def bottleneck_curve(self, num_anchors: int = 100) -> dict[str, list[float]] | None:
        """Return the bottleneck curve of token and next token, `ibtrack.information.bottleneck.bottleneck_curve`.

        Args:
            num_anchors: Number of anchors K, whose logarithm is the unit.

        Returns:
            ``complexity`` and ``expressivity`` of the curve's points, as fractions of log K to four decimals; None if
            the probe is not text, or has no labels of order 1.
        """
        names = ("input/token", "output/token")
        if not self.is_text or not self.label_sets.keys() >= set(names):
            return None
        points = bottleneck_curve(*(self.label_sets[name] for name in names))
        complexity, expressivity = (
            [round(nats / math.log(num_anchors), 4) for nats in column] for column in zip(*points, strict=True)
        )
        return {"complexity": complexity, "expressivity": expressivity}

    @classmethod
    def from_texts(
        cls,
        texts: Iterable[str],
        tokenizer: Any,
        *,
        num_blocks: int = 64,
        block_size: int = 128,
        min_length: int | None = None,
        orders: Sequence[int] = (1, 2, 3, 4),
        skip: int = 0,
        seed: int = 0,
        keep_copies: bool = False,
        name: str = "probe",
    ) -> Probe:
        """Cut one window at random out of each of ``num_blocks`` documents, or take their beginnings.

        Use documents that are held out from training. Documents of fewer than ``block_size`` tokens are skipped, and
        so are copies: documents of which 20 % or more, as a whole or in their window, stand in another one. Others are
        taken in their place, with a warning. A sequence of texts is taken in a random order, a stream in its own.

        With ``min_length`` shorter documents are taken as well, and each gives its first ``block_size`` tokens. Blocks
        of short documents are padded on the right with token 0. Padding is not measured, and causal attention at
        positions that are measured does not see it, whatever the positional encoding. What looks at all tokens of a
        batch does: attention in both directions, batch norm in training mode, experts of a bounded capacity.

        Args:
            texts: Documents, one text each.
            tokenizer: A Hugging Face tokenizer, a ``tokenizers.Tokenizer``, or a callable from a text to its token
                ids. No special tokens are added.
            num_blocks: Number of blocks S.
            block_size: Tokens T of a block.
            min_length: Fewest tokens of a document, of which each then gives its beginning: at least as many as one
                position needs, which are 2 k for the largest k. By default ``block_size``, with a window at random.
            orders: Lengths k of the k-grams.
            skip: Number of positions to leave out at the beginning of every block.
            seed: Seed of the order of the texts and of the windows.
            keep_copies: Whether copies are taken like other documents.
            name: Name of the probe, for the protocol.

        Raises:
            ValueError: A single text was given, fewer than ``num_blocks`` documents are long enough and no copies,
                ``min_length`` leaves documents without a position or is above ``block_size``, or the tokenizer returns
                something else than integers.
        """
        check_integer("skip", skip, minimum=0)
        if min_length is not None:
            _check_min_length(min_length, max(check_orders(orders)), skip)
        blocks, lengths, copies = text_blocks(
            texts,
            encoder(tokenizer),
            num_blocks=num_blocks,
            block_size=block_size,
            min_length=min_length,
            seed=seed,
            keep_copies=keep_copies,
        )
        padded = torch.arange(block_size) >= lengths.unsqueeze(1)
        documents = torch.arange(num_blocks).unsqueeze(1).masked_fill(padded, PADDING)
        labelled = label_kgrams(check_tokens(blocks), orders, documents, skip, find_copies=False)
        probe = cls._of_documents(blocks, labelled, copies, tokenizer, name)
        _warn_of_copies(copies, keep_copies)
        return probe

    @classmethod
    def from_dataset(
        cls, dataset: Any, tokenizer: Any, *, column: str = "text", seed: int = 0, **options: Any
    ) -> Probe:
        """Cut one window out of each of some documents of a Hugging Face dataset, as `from_texts` does.

        Args:
            dataset: A ``datasets.Dataset``, or an ``IterableDataset``, which is shuffled by its buffer. Its rows are
                documents.
            tokenizer: A tokenizer that `from_texts` takes.
            column: Name of the column that holds the text.
            seed: Seed of the order of the rows and of the windows.
            **options: Further arguments of `from_texts`.

        Raises:
            ValueError: There is no such column, or too few documents are long enough and no copies.
        """
        return cls.from_texts(column_texts(dataset, column, seed), tokenizer, seed=seed, **options)

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
        positions: str = "all",
        seed: int = 0,
        keep_copies: bool = False,
        name: str = "preferences",
    ) -> Probe:
        """Take pairs of responses, of which people chose one, for the preference information I(pref; Z).

        The label of a position is whether its response was chosen. Positions are the tokens after the beginning that
        both texts share, which is the prompt and what the responses have in common; padding is not measured. Standard
        errors are over pairs. A block holds at most ``block_size // 2`` tokens of the common beginning and is padded
        on the right, which causal attention does not see. With ``positions="last"`` the last token of each response is
        the one position of its block, which holds the ``block_size`` tokens up to it. Pairs in which a response has no
        token of its own are skipped, and so are pairs whose responses are copies of those of another pair, with a
        warning; two pairs may have the same prompt.

        Positions of one response resemble each other, so bias and null are those of exchanging the labels of whole
        pairs, see `ibtrack.information.permutation`.

        Args:
            rows: A ``datasets.Dataset`` or ``IterableDataset`` (shuffled), a sequence of mappings (in a random order),
                or a stream of them. The columns hold texts, or lists of messages with ``role`` and ``content``; a
                column ``prompt``, text or messages, is put before responses that do not begin with it.
            tokenizer: A tokenizer that `from_texts` takes.
            chosen: Column of the chosen response.
            rejected: Column of the rejected response.
            num_pairs: Number of pairs, of two blocks each.
            block_size: Tokens T of a block.
            positions: Which tokens of a response are measured, ``all`` that are its own or the ``last``.
            seed: Seed of the order of the rows.
            keep_copies: Whether copies are taken like other pairs.
            name: Name of the probe, for the protocol.

        Raises:
            ValueError: Fewer than ``num_pairs`` pairs differ and are no copies, a column is missing or holds something
                else, or there are no such positions.
        """
        tokens, preference, pairs, copies = preference_blocks(
            shuffled_rows(rows, seed),
            encoder(tokenizer),
            num_pairs=num_pairs,
            block_size=block_size,
            positions=positions,
            chosen=chosen,
            rejected=rejected,
            keep_copies=keep_copies,
        )
        labelled = label_as_given(len(tokens), {"preference": preference}, pairs, skip=0)
        probe = cls._of_documents(check_tokens(tokens), labelled, copies, tokenizer, name)
        _warn_of_copies(copies, keep_copies)
        return probe

    def find_in(self, training: Any, *, tokenizer: Any = None, length: int = LENGTH, share: float = SHARE) -> Overlap:
        """Look for the documents of the probe in the text that a model is trained on.

        A document counts as contained if 20 % or more of its passages of 32 tokens stand anywhere in the training text.
        Looked for are the tokens that labels are made of. A passage is found in one piece only: one that the border of
        two training blocks cuts is missed. So give whole documents, or the stream that blocks are cut from, where you
        have them; of an exact copy of 128 tokens, blocks of 128 leave two thirds of the passages whole. Where text has
        few symbols, as with bytes, take a greater ``length``, since 32 of them recur by chance.

        The training text is read once, as it comes, and nothing of it is kept. What was found stands in the protocol of
        every run that begins after it, and is no part of the hash.

        Args:
            training: Token ids, or texts with ``tokenizer``: batches of a loader (tensors, or mappings with
                ``input_ids``), (S, T) blocks, lists of token ids, documents, arrays on disk such as a ``numpy.memmap``
                or a row of h5py or zarr, which are read piece by piece. The last dimension is one sequence.
            tokenizer: The tokenizer of the training text, one that `from_texts` takes. Texts need it; with token ids it
                is only compared with that of the probe.
            length: Number of tokens of a passage.
            share: Share of its passages from which on a document counts as contained.

        Returns:
            The share of every document, which of them are contained, and a sentence.

        Raises:
            ValueError: The probe is not text, the tokenizers are known to differ, no sequence of the training text is
                as long as a passage, or it holds something else than token ids and texts.

        Example:
            >>> tokens = torch.randint(500, (4, 64), generator=torch.Generator().manual_seed(0))
            >>> probe = Probe(tokens, name="held-out")
            >>> overlap = probe.find_in([tokens[2, 10:60]])
            >>> overlap.documents, [round(each, 3) for each in overlap.shares]
            ([2], [0.0, 0.0, 0.576, 0.0])
            >>> probe.without(overlap.documents).num_documents
            3
        """
        if not self.is_text:
            raise ValueError("find_in needs a probe of text, got one whose inputs are not known to be token ids")
        if tokenizer is not None:
            self._check_same_tokenizer(tokenizer)
        encode = None if tokenizer is None else encoder(tokenizer)
        sequences = token_sequences(training, encode)
        with torch.random.fork_rng(devices=[]):  # a DataLoader draws from it whenever it is gone through
            self.overlap = overlap(self.inputs, self._labelled_text(), sequences, length=length, share=share)
        return self.overlap

    def without(self, documents: Iterable[int]) -> Probe:
        """Return a probe that does not measure some of the documents.

        Blocks stay where they are, so activations and tensors of your own fit as before. It is another probe, with
        another hash: runs on it do not mix with runs on this one.

        Args:
            documents: Numbers of the documents to leave out, such as those of an `Overlap`.

        Raises:
            ValueError: There is no such document, or none would be left.

        Example:
            >>> probe = Probe(torch.arange(48).view(3, 16), orders=(1,))
            >>> probe.without([0]).positions[:4].tolist()
            [16, 17, 18, 19]
        """
        left_out = sorted({check_integer("documents", document, minimum=0) for document in documents})
        if left_out and left_out[-1] >= self.num_documents:
            raise ValueError(f"documents must be below {self.num_documents}, got {left_out[-1]}")
        if len(left_out) == self.num_documents:
            raise ValueError(f"some documents must be left in the probe, got all {self.num_documents} to leave out")
        stay = ~torch.isin(self.documents, torch.tensor(left_out, dtype=torch.int64))
        probe = type(self).__new__(type(self))
        for key in _STATE:
            setattr(probe, key, getattr(self, key))
        probe.positions, probe.documents = self.positions[stay], dense(self.documents[stay])
        probe.label_sets = {name: dense(labels[stay]) for name, labels in self.label_sets.items()}
        probe.copies = self.copies
        probe.overlap = None if self.overlap is None else self.overlap.of(torch.unique(self.documents[stay]).tolist())
        probe.hash = probe._content_hash()
        return probe

    def _labelled_text(self) -> Tensor:
        """Return the (S, T) document of every token that a label is made of, and -1 of all others."""
        documents = torch.full(self.inputs.shape, -1)
        if len(self.grid) == 1:
            documents[self.positions] = self.documents.unsqueeze(1)
            return documents
        # position i has a k-gram that ends at it and one that begins after it, both in its document
        longest = next(k for k in count(1) if order_name(k) == self.orders[-1]) if self.orders else 0
        for offset in range(min(0, 1 - longest), longest + 1):
            documents.view(-1)[self.positions + offset] = self.documents
        return documents

    def _check_same_tokenizer(self, tokenizer: Any) -> None:
        """Refuse a tokenizer that is known to differ from that of the probe.

        Raises:
            ValueError: It has another definition.
        """
        if not is_of_tokenizer(self.tokenizer_hash, tokenizer):
            raise ValueError(
                f"tokenizer must be that of the probe, {self.tokenizer!r}, as token ids of two tokenizers cannot be "
                f"compared; got {tokenizer_name(tokenizer)!r}, whose definition differs"
            )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the probe to a file that `load` reads, also on another machine.

        Args:
            path: The file to write.
        """
        state = {key: getattr(self, key) for key in _STATE}
        if self.copies is not None:
            state["copies"] = asdict(self.copies)
        torch.save(state, path)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Probe:
        """Read a probe that `save` wrote.

        Args:
            path: The file to read. One that was written before tokenizers had a hash gives an empty one, and one that
                was written before copies were looked for does not say whether there are any.

        Raises:
            ValueError: The file is not a probe, or its content does not have the hash that it was saved with.
        """
        with open(path, "rb") as file:
            state = _state_in(file)
        if state is None:
            raise ValueError(f"{os.fspath(path)} is not a probe; Probe.save writes one")
        probe = cls.__new__(cls)
        for key in _STATE:
            setattr(probe, key, state[key])
        probe.copies = None if state.get("copies") is None else Copies(**state["copies"])
        probe.overlap = None  # a file does not know what a model will be trained on
        if probe.hash != probe._content_hash():
            raise ValueError(f"{os.fspath(path)} is damaged: its content does not have the hash it was saved with")
        return probe


_STATE: dict[str, type] = {  # what a file holds
    "name": str,
    "tokenizer": str,
    "tokenizer_hash": str,
    "is_text": bool,
    "inputs": Tensor,
    "grid": tuple,
    "positions": Tensor,
    "orders": tuple,
    "label_sets": dict,
    "documents": Tensor,
    "hash": str,
}
PADDING = -1  # document of a token that is none
_COPIES = {"found": int, "documents": int, "done": str}


def _state_in(file: BinaryIO) -> dict[str, Any] | None:
    """Read the state of a probe from a file; None if there is something else in it. No code in it is ever run."""
    try:
        state = torch.load(file, weights_only=True)
    except Exception:  # PyTorch raises a dozen kinds of errors for files that it did not write
        return None
    if not isinstance(state, dict):
        return None
    state = {"tokenizer_hash": "", **state}
    copies = state.get("copies")
    is_probe = _fits(state, _STATE) and (copies is None or (_fits(copies, _COPIES) and len(copies) == len(_COPIES)))
    return state if is_probe and all(map(_is_content, [*state["label_sets"].values(), *_tensors(state)])) else None


def _fits(state: Any, kinds: Mapping[str, type]) -> bool:
    """Whether all entries are there, and of their kinds."""
    return isinstance(state, dict) and all(isinstance(state.get(key), kind) for key, kind in kinds.items())


def _tensors(state: Mapping[str, Any]) -> list[Any]:
    return [state[key] for key, kind in _STATE.items() if kind is Tensor]


def _is_content(value: object) -> bool:
    """Whether a value can be part of the content, and so of its hash."""
    return isinstance(value, Tensor) and value.layout == torch.strided and value.ndim > 0


def _check_min_length(min_length: int, longest: int, skip: int) -> None:
    """Refuse documents that are so short that they have no position.

    Raises:
        ValueError: They may be.
    """
    needed = max(2 * longest, skip + longest + 1)
    if check_integer("min_length", min_length, minimum=1) < needed:
        raise ValueError(
            f"min_length must be at least {needed}, as shorter documents have no position with orders up to {longest} "
            f"and skip={skip}, got {min_length}"
        )


def _warn_of_copies(copies: Copies | None, keep: bool) -> None:
    """Say that there were copies, at the line that asked for the probe."""
    if copies is not None and copies.found and not keep:
        warnings.warn(f"ibtrack: {copies.sentence()}; keep_copies=True keeps them", stacklevel=3)


def _describe(value: object) -> str:
    """Say what was given instead of blocks."""
    return f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
