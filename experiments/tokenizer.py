"""The tokenizer: one that others have trained, or a byte-level BPE that is trained once on the documents and cached."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import tokenizers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoTokenizer

from experiments.documents import bounded
from experiments.whole_file import write_whole

END = "<|endoftext|>"
NUM_BYTES = 256
FEWEST_BYTES = 4_000_000  # so much text is more than a vocabulary of some thousand ids needs, and trains in seconds
MOST_BYTES = 100_000_000
_BYTES_PER_ID = FEWEST_BYTES // 2048  # the rarest merges are then seen some tens of times


class EndingTokenizer(NamedTuple):
    """A tokenizer with the token that ends a document.

    Attributes:
        tokenizer: The tokenizer. It pads, cuts off and adds nothing, and a text that spells a special token gets
            ordinary ids, so that only the end of a document looks like one.
        end_id: Id of the end-of-document token.
    """

    tokenizer: Tokenizer
    end_id: int


def tokenizer_for(texts: Sequence[str], vocab_size: int) -> Tokenizer:
    """Take the tokenizer of these texts from the cache, or train it and put it there.

    The name of a file in the cache is a hash of the texts and of everything else that determines the tokenizer.

    Args:
        texts: Training documents; the first of them are learned from, as many as `sample_bytes` says.
        vocab_size: Number of ids, see `train_tokenizer`.

    Returns:
        The tokenizer.
    """
    sample = list(bounded(texts, max_bytes=sample_bytes(vocab_size)))
    path = cache_folder() / f"tokenizer-{_fingerprint(sample, vocab_size)}.json"
    if not path.exists():
        write_whole(path, train_tokenizer(sample, vocab_size).to_str())  # two processes may train it at once
    return plain(_read(path))


def trained_tokenizer(texts: Sequence[str], vocab_size: int) -> EndingTokenizer:
    """Return `tokenizer_for` texts, with its end of a document.

    Args:
        texts: Training documents.
        vocab_size: Number of ids.
    """
    tokenizer = tokenizer_for(texts, vocab_size)
    return EndingTokenizer(tokenizer, tokenizer.get_vocab()[END])


def train_tokenizer(texts: Iterable[str], vocab_size: int) -> Tokenizer:
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


def load_tokenizer(source: str | os.PathLike[str], end_token: str | None = None) -> EndingTokenizer:
    """Load a tokenizer that others have trained.

    Args:
        source: A ``tokenizer.json``, a folder with the tokenizer of a transformers model, or its name on the hub, where
            nothing is asked for that is on this machine already; ``~`` is the home folder.
        end_token: The token that is to end a document. By default it is the one that a transformers tokenizer says ends
            a text, and `END` for a ``tokenizer.json``, which does not say it.

    Returns:
        The tokenizer and its end of a document.

    Raises:
        ValueError: There is no such tokenizer, it is none of the tokenizers library, or it has no such token.
    """
    path, name = Path(source).expanduser(), os.fspath(source)
    tokenizer, own_end = (_read(path), END) if path.is_file() else _of_transformers(path if path.is_dir() else name)
    end = end_token or own_end
    end_id = None if end is None else tokenizer.token_to_id(end)
    if end_id is None:
        lacks = "it names none" if end is None else f"it has no {end!r}"
        raise ValueError(
            f"tokenizer {name!r} must have a token that ends a document, and {lacks}; "
            "data.end_token=TOKEN says which of its tokens does"
        )
    return EndingTokenizer(plain(tokenizer), end_id)


def plain(tokenizer: Tokenizer) -> Tokenizer:
    """Let a tokenizer turn text into its ids and nothing else; see `EndingTokenizer`.

    Args:
        tokenizer: The tokenizer, which is changed.

    Returns:
        The same tokenizer.
    """
    tokenizer.no_padding()
    tokenizer.no_truncation()
    tokenizer.encode_special_tokens = True
    return tokenizer


def vocabulary_size(tokenizer: Tokenizer) -> int:
    """Return the greatest id plus one: the rows that an embedding needs, since a tokenizer may leave ids out.

    Args:
        tokenizer: The tokenizer.
    """
    return max(tokenizer.get_vocab(with_added_tokens=True).values()) + 1


def cache_folder() -> Path:
    """Return the folder for files that can be made again.

    It is ``$IBTRACK_CACHE``, or else ``$XDG_CACHE_HOME/ibtrack``, or else ``~/.cache/ibtrack``.
    """
    if own := os.environ.get("IBTRACK_CACHE"):
        return Path(own).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ibtrack"


def sample_bytes(vocab_size: int) -> int:
    """Return how much text a vocabulary is learned from: 2 kB for each id, at least 4 MB and at most 100 MB.

    Args:
        vocab_size: Number of ids.

    Example:
        >>> sample_bytes(1000), sample_bytes(32_000), sample_bytes(128_000)
        (4000000, 62496000, 100000000)
    """
    return min(max(FEWEST_BYTES, _BYTES_PER_ID * vocab_size), MOST_BYTES)


def _read(path: Path) -> Tokenizer:
    """Read a ``tokenizer.json``.

    Raises:
        ValueError: The file is none.
    """
    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises the class Exception itself
        raise ValueError(f"{path} must be a tokenizer.json of the tokenizers library, got: {error}") from error


def _of_transformers(source: str | Path) -> tuple[Tokenizer, str | None]:
    """Return the tokenizer in a folder or on the hub, and the token that it says ends a text.

    Raises:
        ValueError: There is none, or it is not one of the tokenizers library.
    """
    try:
        try:
            loaded = AutoTokenizer.from_pretrained(source, local_files_only=True)
        except OSError:  # it was not downloaded yet
            loaded = AutoTokenizer.from_pretrained(source)
    except (OSError, ValueError, KeyError, ImportError) as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(
            f"tokenizer must be a tokenizer.json, a folder with a tokenizer, or a name that the hub knows, "
            f"got {os.fspath(source)!r}: {reason}"
        ) from error
    if not loaded.is_fast:
        raise ValueError(
            f"tokenizer {os.fspath(source)!r} must be one of the tokenizers library, got {type(loaded).__name__}, "
            "which is written in Python"
        )
    return Tokenizer.from_str(loaded.backend_tokenizer.to_str()), loaded.eos_token


def _fingerprint(texts: Sequence[str], vocab_size: int) -> str:
    digest = hashlib.sha256(json.dumps([tokenizers.__version__, vocab_size, END]).encode())
    for text in texts:
        digest.update(hashlib.sha256(text.encode()).digest())
    return digest.hexdigest()[:32]
