"""Data of a run: blocks of token ids to train and to validate on, and held-out texts to measure on."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any

import torch
from lightning.pytorch import LightningDataModule
from lightning.pytorch.utilities import rank_zero_only
from tokenizers import Tokenizer
from torch import Tensor
from torch.utils.data import DataLoader

from experiments.blocks import Blocks
from experiments.corpus import Corpus, Recipe, prepared
from experiments.corpus_overlap import corpus_overlap
from experiments.loader import BlockLoader, place, training_loader
from experiments.outlook import Outlook, outlook
from experiments.stream_loader import StreamLoader
from experiments.streaming import Stream, stream
from experiments.tokenizer import EndingTokenizer, load_tokenizer, vocabulary_size
from ibtrack import Probe
from ibtrack.probe.overlap import Overlap
from ibtrack.probe.tokenizer import tokenizer_hash

ATTENTION = ("across_documents", "within_documents")


class BlockData(LightningDataModule):
    """Training blocks, validation blocks, and the texts of a probe; `setup` makes them.

    Attributes:
        tokenizer: The tokenizer that made the token ids.
        train_blocks: Dataset of the blocks to train on: int64 token ids, (T,). It has a length and any block can be
            asked for, unless the corpus streams.
        held_out_blocks: Dataset of the blocks to validate on.
        probe_texts: Texts to measure on, which the model does not train on.
        end_id: Id of the token that ends a document; None where a block is a document.
        fingerprint: Hash of what decides which blocks there are: tokens, tokenizer, block size and attention. A run
            that goes on with another one would train on something else.
        block_size: Number of tokens in a block, T.
        batch_size: Number of blocks in a batch.
        seed: Seed of the order of the training blocks. The loader has a generator of its own, so that neither the
            model's random numbers nor a measurement changes the order.
        num_workers: Number of processes that read training batches ahead.
    """

    tokenizer: Any
    train_blocks: Any  # `Blocks`, or `StreamedBlocks` where the corpus streams
    held_out_blocks: Blocks
    probe_texts: list[str]
    end_id: int | None
    fingerprint: str
    block_size: int
    batch_size: int
    seed: int
    num_workers: int = 0

    @property
    def model_settings(self) -> dict[str, int | None]:
        """The arguments that the model takes from the data.

        ``document_end`` is the token that attention must not go beyond, or None where it crosses the ends of documents.
        """
        vocab_size = self.tokenizer.get_vocab_size()
        return {"vocab_size": vocab_size, "block_size": self.block_size, "document_end": None}

    @property
    def probe_source(self) -> tuple[list[str], Any]:
        """The texts and the tokenizer, as `ibtrack.Probe.from_texts` takes them."""
        return self.probe_texts, self.tokenizer

    def overlap(self, probe: Probe) -> Overlap | None:
        """Look for the documents of a probe in the training text, as the one stream that blocks are cut from.

        Args:
            probe: The probe, which keeps what was found.

        Returns:
            What was found; None where the text streams in and cannot be searched before it is trained on.
        """
        if not isinstance(self.train_blocks, Blocks):
            return None
        return probe.find_in(self.train_blocks.row[: self.train_blocks.num_tokens], tokenizer=self.tokenizer)

    def train_dataloader(self) -> BlockLoader | StreamLoader:
        """Return batches of training blocks, (batch_size, T), shuffled anew in each epoch; a process has its share."""
        own = place(self.trainer)
        blocks = self.train_blocks
        if not isinstance(blocks, Blocks):  # a stream, of which each process reads its own documents
            blocks = blocks.sharded(own.get("world_size", 1), own.get("rank", 0))
        return training_loader(blocks, batch_size=self.batch_size, seed=self.seed, num_workers=self.num_workers, **own)

    def val_dataloader(self) -> DataLoader[Tensor]:
        """Return batches of held-out blocks, (batch_size, T), always in the same order."""
        generator = torch.Generator().manual_seed(self.seed)  # a loader without one draws from the global state
        return DataLoader(self.held_out_blocks, self.batch_size, generator=generator)


class TextData(BlockData):
    """Text for a language model: training blocks, validation blocks, and the held-out texts of a probe.

    The documents are tokenized once for each corpus and tokenizer, into files in the cache folder that later runs find
    again; see `experiments.corpus`. Memory does not depend on their number.

    Args:
        documents: Function without arguments that returns the documents. `experiments.documents` has several, and says
            what a document is.
        vocab_size: Number of ids of the byte-level BPE that is trained on the training documents and then cached.
        tokenizer: A tokenizer to use instead of training one, see `experiments.tokenizer.load_tokenizer`: a
            ``tokenizer.json``, a folder, or a name on the hub. ``vocab_size`` then has no effect.
        end_token: Token of that tokenizer that ends a document; None takes the one that it says ends a text.
        block_size: Number of tokens in a block, T.
        batch_size: Number of blocks in a batch.
        held_out: Share of the documents that is held out, by the hash of their text, above 0 and below 1.
        max_documents: Number of documents after which reading stops; None reads all.
        max_bytes: Number of bytes of text after which reading stops; None reads all.
        keep: Function from a document to the part of it to train on, see `experiments.parts`; None keeps all of it. The
            tokenizer is trained on whole documents and the held-out ones stay whole, so that runs on different parts
            have one vocabulary and one probe.
        attention: ``across_documents``: a token attends to all tokens before it in its block, which documents share;
            or ``within_documents``: only to those of its own document. The blocks are the same.
        streaming: Whether the documents are tokenized as they stream in, and nothing is stored; see
            `experiments.streaming`.
        expected_bytes: Number of bytes of text that the documents have, where that is known beforehand; it is only
            shown.
        seed: Seed of the order of the training blocks.

    Raises:
        ValueError: ``attention`` is none of these.

    Example:
        >>> data = TextData(lambda: (f"text {i} " * 50 for i in range(40)), vocab_size=300, block_size=32, batch_size=4)
        >>> data.setup()
        >>> next(iter(data.train_dataloader())).shape
        torch.Size([4, 32])
    """

    tokenizer: Tokenizer
    end_id: int

    def __init__(
        self,
        documents: Callable[[], Iterable[str]],
        *,
        vocab_size: int = 2048,
        tokenizer: str | None = None,
        end_token: str | None = None,
        block_size: int = 128,
        batch_size: int = 16,
        held_out: float = 0.15,
        max_documents: int | None = None,
        max_bytes: int | None = None,
        keep: Callable[[str], str] | None = None,
        attention: str = "across_documents",
        streaming: bool = False,
        expected_bytes: int | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if attention not in ATTENTION:
            raise ValueError(f"attention must be one of {', '.join(ATTENTION)}, got {attention!r}")
        self.documents = documents
        self.vocab_size = vocab_size
        self.tokenizer_source = tokenizer
        self.end_token = end_token
        self.block_size = block_size
        self.batch_size = batch_size
        self.held_out = held_out
        self.max_documents = max_documents
        self.max_bytes = max_bytes
        self.keep = keep
        self.attention = attention
        self.streaming = streaming
        self.expected_bytes = expected_bytes
        self.seed = seed
        self._corpus: Corpus | None = None

    @property
    def model_settings(self) -> dict[str, int | None]:
        """The arguments that the model takes from the data."""
        end = self.end_id if self.attention == "within_documents" else None
        return {"vocab_size": vocabulary_size(self.tokenizer), "block_size": self.block_size, "document_end": end}

    def setup(self, stage: str | None = None) -> None:
        """Prepare the corpus or find it, once, however often this is called.

        Sets ``tokenizer``, ``train_blocks``, ``held_out_blocks``, ``probe_texts``, ``end_id`` and ``fingerprint``.

        Args:
            stage: The stage that Lightning sets up; all of them need the same.

        Raises:
            ValueError: The documents do not fill one batch.
        """
        if hasattr(self, "tokenizer"):
            return
        if self.streaming:
            self._take_stream(stream(self._recipe(), block_size=self.block_size, seed=self.seed))
        else:
            self._take_corpus(prepared(self._recipe()))

    def outlook(self) -> Outlook:
        """Return what is known of the corpus before it is prepared: its size, what it takes on disk, or where it is."""
        return outlook(self._recipe(), streaming=self.streaming)

    def overlap(self, probe: Probe) -> Overlap | None:
        """Look for the documents of a probe in the training text, once for each corpus and probe.

        Args:
            probe: The probe, which keeps what was found.

        Returns:
            What was found; None where the text streams in and cannot be searched before it is trained on.
        """
        if self._corpus is None or not isinstance(self.train_blocks, Blocks):
            return None
        return corpus_overlap(probe, self._corpus, self.train_blocks.num_tokens, self.tokenizer)

    def _take_corpus(self, corpus: Corpus) -> None:
        rank_zero_only(print)(corpus.sentence(), file=sys.stderr, flush=True)
        blocks = Blocks(corpus.train, self.block_size)
        if len(blocks) < self.batch_size:
            raise ValueError(self._too_few(len(blocks)))
        self._corpus, self.train_blocks = corpus, blocks
        self.held_out_blocks = Blocks(corpus.held_out, self.block_size)
        self.probe_texts = corpus.held_out_texts()
        self.end_id = corpus.facts.end_id
        self.tokenizer = corpus.tokenizer()
        self.fingerprint = self._hash([corpus.facts.train_hash, corpus.facts.held_out_hash])

    def _take_stream(self, documents: Stream) -> None:
        first = islice(documents.train_blocks.sharded(1, 0), self.batch_size)
        if (number := sum(1 for _ in first)) < self.batch_size:
            raise ValueError(self._too_few(number))
        rank_zero_only(print)(documents.sentence(), file=sys.stderr, flush=True)
        self.train_blocks, self.held_out_blocks = documents.train_blocks, documents.held_out_blocks
        self.probe_texts = documents.probe_texts
        self.tokenizer, self.end_id = documents.ending
        self.fingerprint = self._hash(documents.identity)

    def _too_few(self, number: int) -> str:
        return (
            f"documents must fill one batch of {self.batch_size} blocks of {self.block_size} tokens, "
            f"got {number} blocks to train on"
        )

    def _hash(self, tokens: list[Any]) -> str:
        parts = [tokens, tokenizer_hash(self.tokenizer), self.end_id, self.block_size, self.attention]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def _recipe(self) -> Recipe:
        return Recipe(
            self.documents,
            tokenizer=self._ending(),
            vocab_size=self.vocab_size,
            held_out=self.held_out,
            max_documents=self.max_documents,
            max_bytes=self.max_bytes,
            keep=self.keep,
            expected_bytes=self.expected_bytes,
        )

    def _ending(self) -> EndingTokenizer | None:
        return None if self.tokenizer_source is None else load_tokenizer(self.tokenizer_source, self.end_token)
