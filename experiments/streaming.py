"""Blocks of documents that are tokenized as they stream in, with nothing stored.

There are some things that a prepared corpus has and a stream has not: the documents come in the order of their source,
shuffled within a window; a text that comes twice is trained on twice; there is no number of blocks; and the training
text cannot be searched for the probe. Documents are held out by the hash of their text all the same.

Letters: T block length.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping
from copy import copy
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor
from torch.utils.data import IterableDataset, get_worker_info

from experiments.blocks import Blocks
from experiments.corpus import NO_DOCUMENTS, Recipe
from experiments.encoding import encoded
from experiments.hash_order import Document
from experiments.stamps import source_name
from experiments.tokenizer import EndingTokenizer, sample_bytes, trained_tokenizer

WINDOW = 1000  # documents that are shuffled among each other
HELD_OUT = 512  # documents to validate and to measure on; reading goes on until there are so many


class StreamedBlocks(IterableDataset[Tensor]):
    """The training blocks of a stream of documents.

    An iteration goes through all documents once, in windows of `WINDOW` documents that are shuffled by the seed, the
    epoch and the number of the window. Where it has come to is a small state, from which another one goes on with the
    very next block: it reads the window again, from its beginning.

    Args:
        recipe: The documents, the tokenizer, and what is held out.
        ending: The tokenizer.
        block_size: Number of tokens in a block, T.
        seed: Seed of the order within windows.
        window: Number of documents of a window.

    Example:
        >>> ending = trained_tokenizer(["abc"], vocab_size=257)
        >>> blocks = StreamedBlocks(Recipe(lambda: [f"number {i}" for i in range(99)]), ending, block_size=8)
        >>> reading = iter(blocks)
        >>> first, state, second = next(reading), blocks.state_dict(), next(reading)
        >>> blocks.load_state_dict(state)
        >>> bool((next(iter(blocks)) == second).all())
        True
    """

    def __init__(
        self, recipe: Recipe, ending: EndingTokenizer, *, block_size: int, seed: int = 0, window: int = WINDOW
    ) -> None:
        self.recipe = recipe
        self.ending = ending
        self.block_size = block_size
        self.seed = seed
        self.window = window
        self.epoch = 0
        self._share = (1, 0)
        self._place: dict[str, Any] | None = None

    def sharded(self, num_shards: int, index: int) -> StreamedBlocks:
        """Return the blocks of a share of the documents: of its files, or of every so many-th document.

        Workers of a loader divide the share among them by themselves.

        Args:
            num_shards: Number of shares, such as that of processes.
            index: Which of them.

        Raises:
            ValueError: There is no such share.
        """
        if not 0 <= index < num_shards:
            raise ValueError(f"index must be from 0 to {num_shards - 1}, got {index}")
        share = copy(self)
        share._share, share._place = (num_shards, index), None
        return share

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch the next iteration is of; each has another order within the windows.

        Args:
            epoch: Number of the epoch, from 0.
        """
        self.epoch = epoch

    def state_dict(self) -> dict[str, Any]:
        """Return the place that iterating has come to."""
        return {"epoch": self.epoch, "place": None if self._place is None else dict(self._place)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Begin the next iteration at a place that another one has come to.

        Args:
            state: The place, from `state_dict` of a stream with the same share.
        """
        self.epoch, self._place = state["epoch"], None if state["place"] is None else dict(state["place"])

    def __iter__(self) -> Iterator[Tensor]:
        """Yield blocks: int64 token ids, (T,)."""
        place = self._place or {"source": None, "window": 0, "rest": [], "blocks": 0}
        source = _Source(self.recipe, self._own_share(), place["source"])
        texts = filter(self._is_trained_on, source)
        skipped = place["blocks"]
        rest = np.array(place["rest"], dtype=np.int64)
        for number in range(place["window"], 1 << 62):
            self._place = {"source": source.state(), "window": number, "rest": rest.tolist(), "blocks": 0}
            window = list(islice(texts, self.window))
            if not window:
                break
            random.Random(f"{self.seed} {self.epoch} {number}").shuffle(window)
            row = np.concatenate([rest, *encoded(self._parts(window), *self.ending)])
            blocks = Blocks(row, self.block_size)
            for index in range(skipped, len(blocks)):
                self._place["blocks"] = index + 1
                yield blocks[index]
            rest, skipped = row[blocks.num_tokens :], 0
        self._place = None

    def _parts(self, texts: Iterable[str]) -> Iterator[str]:
        keep = self.recipe.keep
        return filter(str.strip, texts if keep is None else map(keep, texts))

    def _is_trained_on(self, text: str) -> bool:
        return bool(text.strip()) and Document.of(text).digest[:8] >= self.recipe.boundary

    def _own_share(self) -> tuple[int, int]:
        number, index = self._share
        worker = get_worker_info()
        return (
            (number, index) if worker is None else (number * worker.num_workers, index * worker.num_workers + worker.id)
        )


class _Source:
    """The documents of one share, and where reading them has come to.

    A source that can be divided, and can go on by itself, does so. Of any other one all documents are read, and those
    of other shares and of before are passed over.
    """

    def __init__(self, recipe: Recipe, share: tuple[int, int], state: Any) -> None:
        self._documents: Any = recipe.texts() if recipe.is_bounded else recipe.documents()
        self._share = share
        self._files = self._documents.sharded(*share) if hasattr(self._documents, "sharded") else None
        self._read = 0
        if state is not None and self._files is not None:
            self._files.load_state_dict(state)
        elif state is not None:
            self._read = state

    def __iter__(self) -> Iterator[str]:
        if self._files is not None:
            yield from self._files
            return
        number, index = self._share
        for place, text in enumerate(islice(self._documents, self._read, None), start=self._read):
            self._read = place + 1
            if place % number == index:
                yield text

    def state(self) -> Any:
        """Return the place, as another source of the same share goes on from it."""
        return self._read if self._files is None else self._files.state_dict()


class Stream(NamedTuple):
    """What a run takes from a stream of documents.

    Attributes:
        train_blocks: The blocks to train on.
        held_out_blocks: The blocks to validate on.
        probe_texts: Held-out documents, by ascending hash.
        ending: The tokenizer.
        identity: What says which stream it is.
    """

    train_blocks: StreamedBlocks
    held_out_blocks: Blocks
    probe_texts: list[str]
    ending: EndingTokenizer
    identity: list[Any]

    def sentence(self) -> str:
        """Say what it is."""
        return (
            f"stream: {self.identity[0]}, of which {len(self.probe_texts)} documents were read to measure on; "
            "nothing is stored, and the training text is not searched for them"
        )


def stream(recipe: Recipe, *, block_size: int, seed: int) -> Stream:
    """Read the beginning of a stream, for what is held out and for a tokenizer, and return all that a run takes.

    Args:
        recipe: The documents, the tokenizer or the size of one to train on the first documents, and what is held out.
        block_size: Number of tokens in a block, T.
        seed: Seed of the order within windows.

    Returns:
        The stream.

    Raises:
        ValueError: No document is left to train on, or none to hold out.
    """
    held_out: dict[bytes, str] = {}
    sample: list[str] = []
    size, enough = 0, sample_bytes(recipe.vocab_size) if recipe.tokenizer is None else 1
    for text in filter(str.strip, recipe.texts()):
        document = Document.of(text)
        if document.digest[:8] < recipe.boundary:
            held_out[document.digest] = text
        elif size < enough:
            sample.append(text)
            size += len(document.text)
        if len(held_out) >= HELD_OUT and size >= enough:
            break
    if not (sample and held_out):
        raise ValueError(NO_DOCUMENTS.format(len(sample), len(held_out)))
    ending = recipe.tokenizer or trained_tokenizer(sample, recipe.vocab_size)
    texts = [held_out[digest] for digest in sorted(held_out)]
    row = np.concatenate(list(encoded(texts, *ending)))
    bounds = [recipe.held_out, recipe.max_documents, recipe.max_bytes, WINDOW]
    identity = [source_name(recipe.documents), bounds]
    blocks = StreamedBlocks(recipe, ending, block_size=block_size, seed=seed)
    return Stream(blocks, Blocks(row, block_size), texts, ending, identity)
