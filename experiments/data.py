"""Data: documents become packed blocks of token ids to train on, and texts to measure on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningDataModule
from tokenizers import Tokenizer
from torch import Tensor
from torch.utils.data import DataLoader

from experiments.documents import bounded, split
from experiments.tokenizer import END, load_tokenizer, tokenizer_for

_CHUNK = 64  # documents encoded at a time: bounds the memory that the tokenizer's own records take


class BlockData(LightningDataModule):
    """Training blocks, validation blocks, and the texts of a probe; `setup` makes them.

    Attributes:
        tokenizer: that the texts are in.
        train_blocks: int64, (S, T).
        held_out_blocks: int64, (S, T).
        probe_texts: that the model does not train on.
        block_size: tokens in a block, T.
        batch_size: blocks in a batch.
        seed: of the order in which the training blocks come. The loader has a generator of its own, so that neither
            the model's random numbers nor a measurement changes the order.
    """

    tokenizer: Any
    train_blocks: Tensor
    held_out_blocks: Tensor
    probe_texts: list[str]
    block_size: int
    batch_size: int
    seed: int

    @property
    def model_settings(self) -> dict[str, int]:
        """What the model has to know of the data."""
        return {"vocab_size": self.tokenizer.get_vocab_size(), "block_size": self.block_size}

    @property
    def probe_source(self) -> tuple[list[str], Any]:
        """What `ibtrack.Probe.from_texts` takes."""
        return self.probe_texts, self.tokenizer

    def train_dataloader(self) -> DataLoader[Tensor]:
        """Batches (B, T) of training blocks, shuffled anew each epoch."""
        generator = torch.Generator().manual_seed(self.seed)
        return DataLoader(self.train_blocks, self.batch_size, shuffle=True, generator=generator, drop_last=True)

    def val_dataloader(self) -> DataLoader[Tensor]:
        """Batches (B, T) of held-out blocks, always in the same order."""
        generator = torch.Generator().manual_seed(self.seed)  # a loader without one draws from the global state
        return DataLoader(self.held_out_blocks, self.batch_size, generator=generator)


class TextData(BlockData):
    """Text for a small language model: training blocks, validation blocks, and the held-out texts of a probe.

    All documents are read into memory, and so are their token ids, 8 bytes each: meant for runs on up to some hundred
    MB of text. ``max_documents`` and ``max_bytes`` bound what is read of a larger corpus.

    Args:
        documents: a function that gives the documents; `experiments.documents` has some, and the contract.
        vocab_size: of the byte-level BPE that is trained on the training documents, once, and cached.
        tokenizer_file: a ``tokenizer.json`` to use instead; then ``vocab_size`` is not looked at.
        block_size: tokens in a block, T.
        batch_size: blocks in a batch.
        held_out: share of the documents that is held out; see `experiments.documents.split`.
        max_documents: read no more documents than this.
        max_bytes: stop reading when this many bytes of text are there.
        keep: gives the part of a document to train on, see `experiments.parts`; tokenizer and held-out documents are of
            whole ones, so that runs on different parts are measured alike.
        seed: of the order in which the training blocks come.

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
        """Read, split, tokenize and pack; done once, however often it is called.

        Sets ``tokenizer``, ``train_blocks`` and ``held_out_blocks`` (int64, (S, T)), ``probe_texts``.

        Raises:
            ValueError: too little text for one batch.
        """
        if hasattr(self, "tokenizer"):
            return
        texts = bounded(self.documents(), max_documents=self.max_documents, max_bytes=self.max_bytes)
        train_texts, self.probe_texts = split(texts, held_out=self.held_out)
        tokenizer = self._tokenizer(train_texts)
        kept = map(self.keep, train_texts) if self.keep else train_texts
        self.train_blocks = pack([text for text in kept if text.strip()], tokenizer, self.block_size)
        self.held_out_blocks = pack(self.probe_texts, tokenizer, self.block_size)
        if len(self.train_blocks) < self.batch_size:
            raise ValueError(
                f"documents must fill one batch of {self.batch_size} blocks of {self.block_size} tokens, "
                f"got {len(self.train_blocks)} blocks to train on"
            )
        self.tokenizer = tokenizer

    def _tokenizer(self, texts: Sequence[str]) -> Tokenizer:
        return load_tokenizer(self.tokenizer_file) if self.tokenizer_file else tokenizer_for(texts, self.vocab_size)


def pack(texts: Sequence[str], tokenizer: Tokenizer, block_size: int) -> Tensor:
    """Join texts, each followed by the end-of-document token, and cut the stream into blocks; a rest is dropped.

    Returns:
        int64, (S, T).

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
