"""What is known of a corpus without preparing it: where it is, or how much text, tokens and disk it will come to."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import NamedTuple

from experiments.corpus import Corpus, Facts, Recipe, corpus_folder
from experiments.documents import COMPRESSIONS
from experiments.stamps import source_files, source_name
from experiments.token_file import id_type
from experiments.tokenizer import cache_folder, vocabulary_size

BYTES_PER_TOKEN = 4.0  # of English text and a vocabulary of 32k to 100k; with some thousand ids it is nearer to 3
_COMPRESSED = 3  # times a compressed file is smaller than its text
_SORTING = 0.5  # of the text is on disk besides while a large corpus is sorted


class Outlook(NamedTuple):
    """What is known of a corpus before it is prepared.

    Attributes:
        source: Words for where the documents are from.
        folder: Folder of the prepared corpus; None where it is not prepared, or streams.
        facts: What is known of the prepared corpus; None where it is not.
        text_bytes: Bytes of text that will be read, about; None where that is not known.
        tokens: Tokens to train on: their number where the corpus is prepared, an estimate otherwise, None if not known.
        disk: Bytes that preparing will leave on disk, about; 0 where it is prepared or streams, None if not known.
        sorting: Further bytes on disk while it is prepared, about.
        free: Bytes that are free on the disk of the cache folder.
    """

    source: str
    folder: Path | None
    facts: Facts | None
    text_bytes: int | None
    tokens: int | None
    disk: int | None
    sorting: int | None
    free: int

    def sentence(self) -> str:
        """Say it for a reader."""
        if self.facts is not None:
            return f"{self.source}: prepared, {self.facts.train_tokens:,} tokens to train on, in {self.folder}"
        if self.text_bytes is None or self.tokens is None:
            return f"{self.source}: not prepared; how much text it has is not known (expected_bytes says it)"
        size = f"{self.source}: about {_bytes(self.text_bytes)} of text, {self.tokens:,} tokens"
        if not self.disk:
            return f"{size}; it streams and takes no disk"
        return (
            f"{size}; preparing leaves {_bytes(self.disk)} on disk and takes {_bytes(self.sorting or 0)} more on the "
            f"way, {_bytes(self.free)} are free"
        )


def outlook(recipe: Recipe, *, streaming: bool = False) -> Outlook:
    """Return what is known of a corpus.

    Args:
        recipe: What decides its tokens. A source that no stamp knows is read for this.
        streaming: Whether nothing is to be stored.

    Returns:
        What is known.
    """
    source, free = source_name(recipe.documents), _free(cache_folder())
    if not streaming:
        folder = corpus_folder(recipe)
        try:
            facts = Corpus(folder).facts
        except ValueError:  # it is not there, or not whole
            pass
        else:
            return Outlook(source, folder, facts, None, facts.train_tokens, 0, 0, free)
    text_bytes = _text_bytes(recipe)
    if text_bytes is None:
        return Outlook(source, None, None, None, None, 0 if streaming else None, None, free)
    vocab_size = vocabulary_size(recipe.tokenizer.tokenizer) if recipe.tokenizer else recipe.vocab_size
    tokens = int(text_bytes / BYTES_PER_TOKEN)
    disk = 0 if streaming else tokens * int(id_type(vocab_size)[-1])
    sorting = 0 if streaming else int(_SORTING * text_bytes)
    return Outlook(source, None, None, text_bytes, int(tokens * (1 - recipe.held_out)), disk, sorting, free)


def _text_bytes(recipe: Recipe) -> int | None:
    """Return how much text there will be, from what was said or from the sizes of files."""
    known = recipe.expected_bytes
    if known is None and (files := source_files(recipe.documents)) is not None:
        known = sum(path.stat().st_size * (_COMPRESSED if _is_compressed(path) else 1) for path in files)
    bounds = [size for size in (known, recipe.max_bytes) if size is not None]
    return min(bounds, default=None)


def _is_compressed(path: Path) -> bool:
    return path.suffix in COMPRESSIONS or path.suffix == ".parquet"


def _free(folder: Path) -> int:
    """Return the bytes that are free where a folder is or will be."""
    return shutil.disk_usage(next(parent for parent in [folder, *folder.absolute().parents] if parent.exists())).free


def _bytes(number: float) -> str:
    return f"{number / 1e9:.1f} GB" if number >= 1e9 else f"{number / 1e6:.0f} MB"
