"""The tokenizer: a byte-level BPE, trained once for each set of training documents and then cached."""

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
SAMPLE_BYTES = 4_000_000  # so much text is more than a vocabulary of some thousand ids needs, and trains in seconds


def tokenizer_for(texts: Sequence[str], vocab_size: int) -> Tokenizer:
    """Take the tokenizer of these texts from the cache, or train it and put it there.

    The name of a file in the cache is a hash of the texts and of everything else that determines the tokenizer.

    Args:
        texts: Training documents; the first `SAMPLE_BYTES` of them are learned from.
        vocab_size: Number of ids, see `train_tokenizer`.

    Returns:
        The tokenizer.
    """
    sample = list(bounded(texts, max_bytes=SAMPLE_BYTES))
    path = cache_folder() / f"tokenizer-{_fingerprint(sample, vocab_size)}.json"
    if not path.exists():
        _write(path, train_tokenizer(sample, vocab_size))
    return load_tokenizer(path)


def train_tokenizer(texts: Sequence[str], vocab_size: int) -> Tokenizer:
    """Train a byte-level BPE (Sennrich et al., arXiv 1508.07909; bytes as in GPT-2), which can encode any text.

    Args:
        texts: Texts to learn the merges from.
        vocab_size: Number of ids, including the 256 bytes and the end of a document; little text may give fewer.

    Returns:
        The tokenizer.

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

    Args:
        path: Path of the file; ``~`` is the home folder.

    Returns:
        The tokenizer.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is not a tokenizer, or its tokenizer has no token for the end of a document.
    """
    text = Path(path).expanduser().read_text(encoding="utf-8")
    try:
        tokenizer = Tokenizer.from_str(text)
    except Exception as error:  # the library raises the class Exception itself
        raise ValueError(f"{path} must be a tokenizer.json of the tokenizers library, got: {error}") from error
    if tokenizer.token_to_id(END) is None:
        raise ValueError(f"{path} must have the token {END!r}, which stands at the end of each document")
    return tokenizer


def cache_folder() -> Path:
    """Return the folder for files that can be made again: ``$XDG_CACHE_HOME/ibtrack``, or ``~/.cache/ibtrack``."""
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
    os.replace(draft.name, path)  # atomic, so two processes may train it at once
