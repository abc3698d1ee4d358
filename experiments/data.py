"""Text data: documents are split, tokenized and packed into blocks of token ids; some are held out to measure on."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningDataModule
from tokenizers import Tokenizer
from torch import Tensor
from torch.utils.data import DataLoader

from experiments.blocks import Blocks
from experiments.documents import bounded, split
from experiments.loader import BlockLoader, place, training_loader
from experiments.stream_loader import StreamLoader
from experiments.tokenizer import END, load_tokenizer, tokenizer_for

_CHUNK = (
    64  # documents are encoded so many at a time: the tokenizer's own records of a chunk take far more than its ids
)


class BlockData(LightningDataModule):
    """Training blocks, validation blocks, and the texts of a probe; `setup` makes them.

    Attributes:
        tokenizer: The tokenizer that made the token ids.
        train_blocks: Dataset of the blocks to train on.
        held_out_blocks: Dataset of the blocks to validate on.
        probe_texts: Texts to measure on, which the model does not train on.
        end_id: Id of the token that ends a document; None where a block is a document.
        fingerprint: Hash of what decides which blocks there are: corpus, tokenizer, split, block size and packing.
        block_size: Number of tokens in a block, T.
        batch_size: Number of blocks in a batch.
        seed: Seed of the order of the training blocks. The loader has a generator of its own, so that neither the
            model's random numbers nor a measurement changes the order.
        num_workers: Number of processes that read training batches ahead.
    """

    tokenizer: Any
    train_blocks: Blocks
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
        """The arguments that the model takes from the data."""
        vocab_size = self.tokenizer.get_vocab_size()
        return {"vocab_size": vocab_size, "block_size": self.block_size, "document_end": None}

    @property
    def probe_source(self) -> tuple[list[str], Any]:
        """The texts and the tokenizer, as `ibtrack.Probe.from_texts` takes them."""
        return self.probe_texts, self.tokenizer

    def train_dataloader(self) -> BlockLoader | StreamLoader:
        """Return batches of training blocks, (batch_size, T), shuffled anew in each epoch; a process has its share."""
        return training_loader(
            self.train_blocks,
            batch_size=self.batch_size,
            seed=self.seed,
            num_workers=self.num_workers,
            **place(self.trainer),
        )

    def val_dataloader(self) -> DataLoader[Tensor]:
        """Return batches of held-out blocks, (batch_size, T), always in the same order."""
        generator = torch.Generator().manual_seed(self.seed)  # a loader without one draws from the global state
        return DataLoader(self.held_out_blocks, self.batch_size, generator=generator)


class TextData(BlockData):
    """Text for a small language model: training blocks, validation blocks, and the held-out texts of a probe.

    All documents are read into memory, and so are their token ids, at 8 bytes each. This is meant for runs on some
    hundred MB of text at most; ``max_documents`` and ``max_bytes`` bound what is read of a larger corpus.

    Args:
        documents: Function without arguments that returns the documents. `experiments.documents` has several, and says
            what a document is.
        vocab_size: Number of ids of the byte-level BPE that is trained on the training documents and then cached.
        tokenizer_file: Path of a ``tokenizer.json`` to use instead of training one; ``vocab_size`` then has no effect.
        block_size: Number of tokens in a block, T.
        batch_size: Number of blocks in a batch.
        held_out: Share of the documents that is held out; see `experiments.documents.split`.
        max_documents: Number of documents after which reading stops; None reads all.
        max_bytes: Number of bytes of text after which reading stops; None reads all.
        keep: Function from a document to the part of it to train on, see `experiments.parts`; None keeps all of it. The
            tokenizer is trained on whole documents and the held-out ones stay whole, so that runs on different parts
            have one vocabulary and one probe.
        seed: Seed of the order of the training blocks.

    Example:
        >>> data = TextData(lambda: (f"text {i} " * 50 for i in range(40)), vocab_size=300, block_size=32, batch_size=4)
        >>> data.setup()
        >>> next(iter(data.train_dataloader())).shape
        torch.Size([4, 32])
    """

    tokenizer: Tokenizer

    def __init__(
        self,
        documents: Callable[[], Iterable[str]],
        *,
        vocab_size: int = 2048,
        tokenizer_file: str | None = None,
        block_size: int = 128,
        batch_size: int = 16,
        held_out: float = 0.15,
        max_documents: int | None = None,
        max_bytes: int | None = None,
        keep: Callable[[str], str] | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.documents = documents
        self.vocab_size = vocab_size
        self.tokenizer_file = tokenizer_file
        self.block_size = block_size
        self.batch_size = batch_size
        self.held_out = held_out
        self.max_documents = max_documents
        self.max_bytes = max_bytes
        self.keep = keep
        self.seed = seed

    def setup(self, stage: str | None = None) -> None:
        """Read, split, tokenize and pack the documents, once, however often this is called.

        Sets ``tokenizer``, ``train_blocks``, ``held_out_blocks`` and ``probe_texts``.

        Args:
            stage: The stage that Lightning sets up; all of them need the same.

        Raises:
            ValueError: The documents do not fill one batch.
        """
        if hasattr(self, "tokenizer"):
            return
        texts = bounded(self.documents(), max_documents=self.max_documents, max_bytes=self.max_bytes)
        train_texts, self.probe_texts = split(texts, held_out=self.held_out)
        tokenizer = self._tokenizer(train_texts)
        parts = map(self.keep, train_texts) if self.keep else train_texts
        row = pack([part for part in parts if part.strip()], tokenizer, self.block_size).flatten().numpy()
        self.train_blocks = Blocks(row, self.block_size)
        held_out = pack(self.probe_texts, tokenizer, self.block_size)
        self.held_out_blocks = Blocks(held_out.flatten().numpy(), self.block_size)
        self.end_id = tokenizer.token_to_id(END)
        self.fingerprint = hashlib.sha256(repr([self.block_size, hashlib.sha256(row).digest()]).encode()).hexdigest()
        if len(self.train_blocks) < self.batch_size:
            raise ValueError(
                f"documents must fill one batch of {self.batch_size} blocks of {self.block_size} tokens, "
                f"got {len(self.train_blocks)} blocks to train on"
            )
        self.tokenizer = tokenizer

    def _tokenizer(self, texts: Sequence[str]) -> Tokenizer:
        return load_tokenizer(self.tokenizer_file) if self.tokenizer_file else tokenizer_for(texts, self.vocab_size)


def pack(texts: Sequence[str], tokenizer: Tokenizer, block_size: int) -> Tensor:
    """Join texts, each followed by the end-of-document token, and cut the stream into blocks.

    Args:
        texts: Documents, in the order in which they are joined.
        tokenizer: Tokenizer that has the end-of-document token.
        block_size: Number of tokens in a block, T.

    Returns:
        The token ids, int64, (S, T). Tokens at the end that do not fill a block are dropped.

    Example:
        >>> from experiments.tokenizer import train_tokenizer
        >>> tokenizer = train_tokenizer(["abc"], vocab_size=257)
        >>> tokenizer.decode_batch(pack(["abc", "de"], tokenizer, 3).tolist(), skip_special_tokens=False)
        ['abc', '<|endoftext|>de']
    """
    end = np.array([tokenizer.token_to_id(END)])
    pieces: list[np.ndarray] = []
    for start in range(0, len(texts), _CHUNK):
        for encoding in tokenizer.encode_batch_fast(list(texts[start : start + _CHUNK]), add_special_tokens=False):
            pieces += [np.array(encoding.ids, dtype=np.int64), end]
    stream = torch.from_numpy(np.concatenate(pieces))
    num_blocks = len(stream) // block_size
    return stream[: num_blocks * block_size].view(num_blocks, block_size)
