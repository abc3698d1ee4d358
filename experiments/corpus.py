"""A prepared corpus: the token ids of documents on disk, made once for each corpus and tokenizer.

A corpus is a folder of ``train.bin`` and ``held_out.bin`` (see `experiments.token_file`), ``held_out.json``, the texts
of the held-out documents, ``tokenizer.json``, and ``corpus.json``, what is known about them. Documents are in the order
of the hash of their text, each once. Blocks are cut when they are read, so one corpus serves every block size.

Memory does not depend on the size of the corpus: documents are sorted through files (see `experiments.hash_order`), and
encoded and written some thousand at a time.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import tokenizers
from tokenizers import Tokenizer

from experiments.documents import bounded
from experiments.encoding import encoded
from experiments.hash_order import Document, in_hash_order
from experiments.made_folder import made_folder
from experiments.progress import counted
from experiments.stamps import source_name, stamp
from experiments.token_file import TokenFile, id_type, write_tokens
from experiments.tokenizer import (
    END,
    EndingTokenizer,
    cache_folder,
    plain,
    sample_bytes,
    trained_tokenizer,
    vocabulary_size,
)
from ibtrack.probe.tokenizer import tokenizer_hash

VERSION = 1  # of the files of a corpus
NO_DOCUMENTS = (
    "documents must leave some to train on and some to hold out, got {} and {}; "
    "a document is the unit: give more of them (split a large file) or another held_out"
)
HELD_OUT_BYTES = 32_000_000  # of text that is kept of the held-out documents, by ascending hash; it is read into memory


@dataclass(frozen=True)
class Recipe:
    """What decides which tokens a corpus has.

    Attributes:
        documents: Function without arguments that returns the documents.
        tokenizer: The tokenizer; None trains one on the training documents.
        vocab_size: Number of ids of the tokenizer that is trained.
        held_out: Share of the documents that is held out by the hash of their text, above 0 and below 1.
        max_documents: Number of documents after which reading stops; None reads all.
        max_bytes: Number of bytes of text after which reading stops; None reads all.
        keep: Function from a document to the part of it to train on; None keeps all of it.
        expected_bytes: Number of bytes of text that there will be, for the progress that is shown; None if not known.
    """

    documents: Callable[[], Iterable[str]]
    tokenizer: EndingTokenizer | None = None
    vocab_size: int = 2048
    held_out: float = 0.15
    max_documents: int | None = None
    max_bytes: int | None = None
    keep: Callable[[str], str] | None = None
    expected_bytes: int | None = None

    def __post_init__(self) -> None:
        if not 0 < self.held_out < 1:
            raise ValueError(f"held_out must be above 0 and below 1, got {self.held_out}")

    def texts(self) -> Iterator[str]:
        """Return the documents that are read."""
        return bounded(self.documents(), max_documents=self.max_documents, max_bytes=self.max_bytes)

    @property
    def is_bounded(self) -> bool:
        """Whether reading stops before the end of the documents."""
        return self.max_documents is not None or self.max_bytes is not None

    @property
    def boundary(self) -> bytes:
        """The first 8 bytes of a hash from which on a document is trained on; those below it are held out."""
        return round(self.held_out * 256**8).to_bytes(8, "big")

    def key(self) -> str:
        """Return the name of the corpus: a hash of all that decides its tokens."""
        if self.tokenizer is None:
            ids = ["trained", tokenizers.__version__, self.vocab_size, END, sample_bytes(self.vocab_size)]
        else:
            ids = [tokenizer_hash(self.tokenizer.tokenizer), self.tokenizer.end_id]
        source = stamp(self.documents, self.keep, self.texts)
        settings = [VERSION, source, ids, self.held_out, self.max_documents, self.max_bytes]
        return hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode()).hexdigest()[:32]


class Facts(NamedTuple):
    """What is known of a corpus, as its file has it.

    Attributes:
        version: Version of the files.
        source: Words for where the documents are from.
        dtype: NumPy type of an id.
        vocab_size: Number of ids that a model needs, V.
        end_id: Id of the end-of-document token.
        train_tokens: Number of tokens to train on.
        held_out_tokens: Number of tokens of the held-out documents that are kept.
        train_documents: Number of documents to train on.
        held_out_documents: Number of documents that are held out.
        train_hash: SHA-256 of the tokens to train on.
        held_out_hash: SHA-256 of the held-out tokens.
    """

    version: int
    source: str
    dtype: str
    vocab_size: int
    end_id: int
    train_tokens: int
    held_out_tokens: int
    train_documents: int
    held_out_documents: int
    train_hash: str
    held_out_hash: str


class Corpus:
    """A corpus on disk.

    Args:
        folder: Its folder.

    Attributes:
        facts: What is known of it.
        train: The tokens to train on.
        held_out: The tokens of held-out documents.

    Raises:
        ValueError: The folder is not a corpus of this version, or a file of it is missing or has another size.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("corpus.json", "train.bin", "held_out.bin", "held_out.json", "tokenizer.json"):
            if not (folder / name).is_file():
                raise ValueError(f"{folder} must be a whole corpus, and has no {name}")
        facts = json.loads((folder / "corpus.json").read_text())
        if facts.get("version") != VERSION:
            raise ValueError(f"{folder} must be a corpus of version {VERSION}, got {facts.get('version')}")
        self.facts = Facts(**facts)
        self.train = TokenFile(folder / "train.bin", self.facts.dtype, self.facts.train_tokens)
        self.held_out = TokenFile(folder / "held_out.bin", self.facts.dtype, self.facts.held_out_tokens)

    def tokenizer(self) -> Tokenizer:
        """Read the tokenizer."""
        return plain(Tokenizer.from_file(str(self.folder / "tokenizer.json")))

    def held_out_texts(self) -> list[str]:
        """Read the texts of the held-out documents that are kept, by ascending hash."""
        texts: list[str] = json.loads((self.folder / "held_out.json").read_text(encoding="utf-8"))
        return texts

    def sentence(self) -> str:
        """Say what it holds and where it is."""
        facts = self.facts
        return (
            f"corpus: {facts.train_tokens:,} tokens of {facts.train_documents:,} documents to train on, "
            f"{facts.held_out_documents:,} documents held out, in {self.folder}"
        )


def corpus_folder(recipe: Recipe) -> Path:
    """Return the folder that a corpus has or will have.

    Args:
        recipe: What decides its tokens. A source that no stamp knows is read for this.
    """
    return cache_folder() / "corpora" / recipe.key()


def prepared(recipe: Recipe) -> Corpus:
    """Return a corpus, which is prepared unless it is on disk already.

    Args:
        recipe: What decides its tokens.

    Returns:
        The corpus. Of several processes that ask for it at once, one prepares it and the others wait.

    Raises:
        ValueError: No document is left to train on, or none to hold out.
    """
    return Corpus(made_folder(corpus_folder(recipe), partial(_prepare, recipe), _fault))


def _fault(folder: Path) -> str | None:
    try:
        Corpus(folder)
    except (ValueError, TypeError) as error:  # a file that is no JSON, or has other names in it
        return str(error)
    return None


def _prepare(recipe: Recipe, folder: Path) -> None:
    held_out, train = _split(in_hash_order(_documents(recipe), folder / "sorting"), recipe.boundary)
    ending, train = _tokenizer(recipe, train)
    dtype = id_type(vocab_size := vocabulary_size(ending.tokenizer))
    num_train = 0

    def parts() -> Iterator[str]:
        nonlocal num_train
        for document in train:
            num_train += 1
            text = document.text.decode()
            if (part := text if recipe.keep is None else recipe.keep(text)).strip():
                yield part

    pieces = counted(encoded(parts(), *ending), len, verb="tokenized", unit=" tokens")
    train_tokens, train_hash = write_tokens(folder / "train.bin", pieces, dtype)
    held_out_tokens, held_out_hash = write_tokens(folder / "held_out.bin", encoded(held_out.texts, *ending), dtype)
    (folder / "held_out.json").write_text(json.dumps(held_out.texts), encoding="utf-8")
    ending.tokenizer.save(str(folder / "tokenizer.json"))
    facts = Facts(
        version=VERSION,
        source=source_name(recipe.documents),
        dtype=dtype,
        vocab_size=vocab_size,
        end_id=ending.end_id,
        train_tokens=train_tokens,
        held_out_tokens=held_out_tokens,
        train_documents=num_train,
        held_out_documents=held_out.number,
        train_hash=train_hash,
        held_out_hash=held_out_hash,
    )
    (folder / "corpus.json").write_text(json.dumps(facts._asdict(), indent=1))


def _documents(recipe: Recipe) -> Iterator[Document]:
    """Return the documents that have a text, and show how far reading has come."""
    documents = map(Document.of, filter(str.strip, recipe.texts()))
    return counted(documents, lambda document: len(document.text), verb="read", unit="B", total=recipe.expected_bytes)


class _HeldOut(NamedTuple):
    texts: list[str]
    number: int


def _split(documents: Iterator[Document], boundary: bytes) -> tuple[_HeldOut, Iterator[Document]]:
    """Take the documents to hold out from the front, and return them with the iterator of the others.

    Raises:
        ValueError: One side is left without a document.
    """
    texts: list[str] = []
    size = number = 0
    first: Document | None = None
    for document in documents:
        if document.digest[:8] >= boundary:
            first = document
            break
        number += 1
        if size < HELD_OUT_BYTES:
            texts.append(document.text.decode())
            size += len(document.text)
    if first is None or not number:
        raise ValueError(NO_DOCUMENTS.format(0 if first is None else "some", number))
    return _HeldOut(texts, number), chain([first], documents)


def _tokenizer(recipe: Recipe, documents: Iterator[Document]) -> tuple[EndingTokenizer, Iterator[Document]]:
    """Return the tokenizer, trained on the first documents if need be, and the iterator of all of the documents."""
    if recipe.tokenizer is not None:
        return recipe.tokenizer, documents
    sample: list[Document] = []
    size, enough = 0, sample_bytes(recipe.vocab_size)
    for document in documents:
        sample.append(document)
        size += len(document.text)
        if size >= enough:
            break
    texts = [document.text.decode() for document in sample]
    return trained_tokenizer(texts, recipe.vocab_size), chain(sample, documents)
