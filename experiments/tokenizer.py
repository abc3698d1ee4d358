"""The tokenizer: a byte-level BPE trained on the training documents, once for each set of them."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

import tokenizers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from experiments.documents import bounded

END = "<|endoftext|>"
NUM_BYTES = 256
SAMPLE_BYTES = 4_000_000  # of text: more than a vocabulary of some thousand needs, and trained in seconds


def tokenizer_for(texts: Sequence[str], vocab_size: int) -> Tokenizer:
    """Take the tokenizer of these texts from the cache, or train it and put it there.

    The cache is ``$XDG_CACHE_HOME/ibtrack`` or ``~/.cache/ibtrack``; the name of a file in it is a hash of the texts
    and of everything else that determines the tokenizer.
    """
    sample = list(bounded(texts, max_bytes=SAMPLE_BYTES))
    path = cache_folder() / f"tokenizer-{_fingerprint(sample, vocab_size)}.json"
    if not path.exists():
        _write(path, train_tokenizer(sample, vocab_size))
    return load_tokenizer(path)


def train_tokenizer(texts: Sequence[str], vocab_size: int) -> Tokenizer:
    """Train a byte-level BPE (Sennrich et al., arXiv 1508.07909; bytes as in GPT-2): no text is out of its vocabulary.

    Args:
        texts: what to learn the merges from.
        vocab_size: number of ids, the 256 bytes and the end of a document included; little text may give fewer.

    Raises:
        ValueError: ``vocab_size`` has no room for the bytes.

    Example:
        >>> tokenizer = train_tokenizer(["the cat sat on the mat"] * 3, vocab_size=270)
        >>> tokenizer.decode(tokenizer.encode("the hat ☂").ids)
        'the hat ☂'
    """
    if vocab_size <= NUM_BYTES:
        raise ValueError(
            f"vocab_size must be at least {NUM_BYTES + 1}, the bytes and the end of a document, got {vocab_size}"
        )
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[END],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def load_tokenizer(path: str | os.PathLike[str]) -> Tokenizer:
    """Read a ``tokenizer.json``.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not a tokenizer, or has no token for the end of a document.
    """
    text = Path(path).expanduser().read_text(encoding="utf-8")
    try:
        tokenizer = Tokenizer.from_str(text)
    except Exception as error:  # the binding raises Exception itself
        raise ValueError(f"{path} must be a tokenizer.json of the tokenizers library, got: {error}") from error
    if tokenizer.token_to_id(END) is None:
        raise ValueError(f"{path} must have the token {END!r}, which stands at the end of each document")
    return tokenizer


def cache_folder() -> Path:
    """The folder for what can be made again: ``$XDG_CACHE_HOME/ibtrack``, or ``~/.cache/ibtrack``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ibtrack"


def _fingerprint(texts: Sequence[str], vocab_size: int) -> str:
    digest = hashlib.sha256(json.dumps([tokenizers.__version__, vocab_size, END]).encode())
    for text in texts:
        digest.update(hashlib.sha256(text.encode()).digest())
    return digest.hexdigest()[:32]


def _write(path: Path, tokenizer: Tokenizer) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=path.parent, encoding="utf-8", delete=False) as draft:
        draft.write(tokenizer.to_str())
    os.replace(draft.name, path)  # whole or not at all, also when two processes train it at once
