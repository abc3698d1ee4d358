"""Texts to copies: which documents of a probe share much of their text with another one.

Copies have equal activations at equal labels, whatever the labels are, so they read as information. Documents are
compared by their distinct k-grams (containment: Broder, "On the resemblance and containment of documents", 1997). One
goes if ``SHARE`` or more of its k-grams stand in a single document that stays; the longest stays, of equally long ones
the first. A document that goes takes no other with it, so of a chain, each link like the next, every other one stays.

Letters: S blocks, T block length, N tokens, G documents, k length of a k-gram.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

KGRAM = 8  # tokens in a row that are hardly ever the same by chance, if tokens are words or parts of words
SHARE = 0.3  # a copy in which one token of seven has been changed keeps (6/7)^8 = .29 of its 8-grams
# Where text has few symbols, as bytes or states do, 8-grams recur by chance, inside a document as between two. Where
# more of them recur inside a document than this (the median over documents), k is doubled. With it, four of five
# hidden Markov sources of 4 to 32 symbols have no false copy among 64 blocks of 128, and the most regular one has one.
_RECURRING = 0.05
HEAD = 4096  # tokens of a text that are compared, from its beginning: bounds the memory for long texts
LEFT_OUT = "their positions are not measured"  # what is done with copies
REPLACED = "others were taken in their place"
KEPT = "they are measured all the same, and read as information that is not there"

_Array: TypeAlias = npt.NDArray[Any]
_Candidate = TypeVar("_Candidate")


@dataclass(frozen=True)
class Copies:
    """How many documents were copies, and what was done with them.

    Attributes:
        found: Number of documents that are copies.
        documents: Number of documents that were looked at, copies among them.
        done: What was done with the copies, as a part of a sentence.
    """

    found: int
    documents: int
    done: str

    def sentence(self) -> str:
        """Say it for a reader; the text is empty if there was no copy.

        Example:
            >>> Copies(3, 10, "they were left out").sentence()
            '3 of 10 documents share 30 % or more of their text with another one: they were left out'
        """
        if not self.found:
            return ""
        share = f"share {100 * SHARE:.0f} % or more of their text with another one"
        return f"{self.found} of {self.documents} documents {share}: {self.done}"

    def protocol(self) -> dict[str, Any]:
        """Return the numbers, and the sentence if there were copies, as JSON can hold them."""
        numbers = {"found": self.found, "documents": self.documents}
        return {**numbers, "sentence": self.sentence()} if self.found else numbers


class CopiesInBlocks(NamedTuple):
    """Which positions of some blocks are in copies.

    Attributes:
        mask: (S, T) bool, whether a position is in a document that is a copy.
        found: Number of documents that are copies.
        documents: Number of documents that have measured positions.
    """

    mask: Tensor
    found: int
    documents: int


def copies_among(texts: Sequence[Tensor]) -> Tensor | None:
    """Find the texts that are copies of others.

    Args:
        texts: G texts, each the (n,) token ids of one document; at most the first ``HEAD`` of each are compared.

    Returns:
        (G,) bool, or None where copies cannot be told: no text has 8 tokens, or all of them repeat themselves so much
        that equal k-grams say nothing. A text of fewer than 8 tokens is no copy.

    Example:
        >>> text = torch.arange(20)
        >>> copies_among([text, text + 100, text[:15], text[:3]])
        tensor([False, False,  True, False])
    """
    heads = [text[:HEAD] for text in texts]
    documents = np.repeat(np.arange(len(heads)), [len(head) for head in heads])
    copied = _copied(torch.cat(heads).numpy(), documents, documents, np.ones(len(documents), dtype=bool))
    return None if copied is None else torch.from_numpy(copied)


def copies_in_blocks(tokens: Tensor, documents: Tensor, measured: Tensor) -> CopiesInBlocks | None:
    """Find the documents of some blocks that are copies of others.

    Compared are the k-grams of measured positions that lie in one block and one document: text that is not measured,
    such as padding or the prompt of a preference, makes no document a copy.

    Args:
        tokens: (S, T) token ids.
        documents: (S, T) document of each token, of any numbering. It may span blocks, and a block may hold several.
        measured: (S, T) bool, whether a position is measured.

    Returns:
        What was found, or None where copies cannot be told, as in `copies_among`.
    """
    ids, counted = documents.flatten().numpy(), measured.flatten().numpy()
    blocks = np.arange(tokens.numel()) // tokens.shape[1]
    begins = np.diff(ids, prepend=ids[0]) != 0
    for other in (blocks, counted):
        begins[1:] |= other[1:] != other[:-1]
    runs = np.cumsum(begins)
    distinct, first = np.unique(ids[counted], return_index=True)
    number_of = np.empty(len(distinct), dtype=np.int64)
    number_of[np.argsort(first)] = np.arange(len(distinct))  # documents in the order of the blocks: the first stays
    numbered = np.full(len(ids), -1)
    numbered[counted] = number_of[np.searchsorted(distinct, ids[counted])]
    copied = _copied(tokens.flatten().numpy(), runs, numbered, counted)
    if copied is None:
        return None
    mask = torch.from_numpy(counted & copied[numbered]).view(tokens.shape)
    return CopiesInBlocks(mask, int(copied.sum()), len(distinct))


def take_documents(
    candidates: Iterator[_Candidate],
    number: int,
    find: Callable[[list[_Candidate]], Tensor | None],
    *,
    keep_copies: bool = False,
) -> tuple[list[_Candidate], Copies | None]:
    """Take documents until there are enough that are no copies of each other.

    Args:
        candidates: Documents, as they come. Where there are copies, some more than are needed are drawn.
        number: Number of documents to take.
        find: Says which of some documents are copies, (n,) bool, or None where that cannot be told.
        keep_copies: Whether copies are taken like other documents.

    Returns:
        The documents, fewer than ``number`` if there are no more, and what was found of copies, or None where they
        cannot be told.

    Example:
        >>> repeats = lambda letters: torch.tensor([letter in letters[:i] for i, letter in enumerate(letters)])
        >>> take_documents(iter("abbacd"), 3, repeats)
        (['a', 'b', 'c'], Copies(found=2, documents=5, done='others were taken in their place'))
    """
    taken: list[_Candidate] = []
    looked_at, copied = 0, None
    while len(taken) < number:
        wanted = max(number - len(taken), len(taken) // 8)  # so that many copies do not make many rounds
        new = list(islice(candidates, wanted))
        if not new:
            break
        looked_at += len(new)
        taken += new
        copied = find(taken)
        if copied is not None and not keep_copies:
            taken = [each for each, is_copy in zip(taken, copied.tolist(), strict=True) if not is_copy]
    if copied is None:
        return taken[:number], None
    if keep_copies:
        return taken, Copies(int(copied.sum()), looked_at, KEPT)
    return taken[:number], Copies(looked_at - len(taken), looked_at, REPLACED)


def _copied(tokens: _Array, runs: _Array, documents: _Array, counted: _Array) -> _Array | None:
    """Find copies in a flat text.

    Args:
        tokens: (N,) token ids.
        runs: (N,) ascending numbers; a k-gram lies within one of them.
        documents: (N,) document in [0, G) of every counted token, in the order in which documents are preferred.
        counted: (N,) bool, whether the tokens of a run count.

    Returns:
        (G,) bool; None where no k-gram counts, or too many recur at every k.
    """
    num_documents = int(documents.max(initial=-1)) + 1
    width, prints = 1, _mixed(tokens.astype(np.uint64))
    while 2 * width <= len(tokens):
        prints, width = _mixed(prints[:-width] * _ODD + prints[width:]), 2 * width
        inside = (runs[: len(prints)] == runs[width - 1 :]) & counted[width - 1 :]
        if not inside.any():
            return None
        if width < KGRAM:
            continue
        owners = documents[width - 1 :][inside]
        sizes, owner, gram = _shared_kgrams(owners, prints[inside], num_documents)
        totals = np.bincount(owners, minlength=num_documents)
        if np.median(1 - sizes[totals > 0] / totals[totals > 0]) <= _RECURRING:
            return _shorter_ones(sizes, owner, gram)
    return None


_ODD = np.uint64(0x9E3779B97F4A7C15)


def _mixed(numbers: _Array) -> _Array:
    """Scramble 64-bit numbers one to one, so that sums of them meet as seldom as random ones: in one pair of 2^64.

    Source: the finalizer of SplitMix64; Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014.
    """
    numbers = (numbers ^ (numbers >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    numbers = (numbers ^ (numbers >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: _Array = numbers ^ (numbers >> np.uint64(31))
    return mixed


def _shared_kgrams(owners: _Array, prints: _Array, num_documents: int) -> tuple[_Array, _Array, _Array]:
    """Count the distinct k-grams of every document, and list those that stand in two documents or more.

    Args:
        owners: (n,) document of every k-gram.
        prints: (n,) number of every k-gram, equal where k-grams are.
        num_documents: Number of documents G.

    Returns:
        (G,) number of distinct k-grams; (m,) document and (m,) k-gram of every pair of a document and one of its
        shared k-grams, which are numbered anew.
    """
    _, gram, counts = np.unique(prints, return_inverse=True, return_counts=True)
    single = counts[gram] == 1
    pairs = np.sort(owners[~single] * len(counts) + gram[~single])
    owner, gram = np.divmod(pairs[np.diff(pairs, prepend=-1) > 0], len(counts))
    sizes = np.bincount(owners[single], minlength=num_documents) + np.bincount(owner, minlength=num_documents)
    shared = np.bincount(gram, minlength=len(counts))[gram] > 1
    return sizes, owner[shared], gram[shared]


def _shorter_ones(sizes: _Array, owner: _Array, gram: _Array) -> _Array:
    """Find the documents that have ``SHARE`` of their k-grams in one that stays, going from the longest on.

    Only documents that stay are listed under their k-grams, so thousands of copies cost no more than their number. A
    document is looked up by its rarest k-grams: if it shares ``least`` of its ``size``, one of the ``size - least + 1``
    rarest is among them (prefix filter; Chaudhuri, Ganti and Kaushik, "A primitive operator for similarity joins",
    2006). A header that all documents have is rarely among those, so documents are not compared because of it.

    Args:
        sizes: (G,) number of distinct k-grams of every document.
        owner: (m,) document of every shared k-gram.
        gram: (m,) the k-gram.

    Returns:
        (G,) bool, whether a document is a copy.
    """
    copied = np.zeros(len(sizes), dtype=bool)
    least = np.maximum(1, np.ceil(SHARE * sizes - 1e-6)).astype(np.int64)
    suspected = np.bincount(owner, minlength=len(sizes)) >= least
    in_question = np.unique(gram[suspected[owner]])
    kept = np.isin(gram, in_question)
    owner, gram = owner[kept], np.searchsorted(in_question, gram[kept])
    if not len(gram):
        return copied
    spread = np.bincount(gram)  # in how many documents a k-gram stands
    by_rarity = np.lexsort((gram, spread[gram], owner))
    gram = gram[by_rarity]
    ends = np.cumsum(np.bincount(owner, minlength=len(sizes)))
    grams_of = np.split(gram, ends[:-1])
    places, listed = np.cumsum(spread) - spread, np.zeros_like(spread)  # where the documents of a k-gram are listed
    lists = np.empty(len(gram), dtype=np.int64)
    marked = np.zeros(len(spread), dtype=bool)
    for document in np.argsort(-sizes, kind="stable").tolist():
        mine = grams_of[document]
        if suspected[document]:
            rarest = mine[: len(mine) - least[document] + 1]
            others = lists[_ranges(places[rarest], listed[rarest])]
            marked[mine] = True
            copied[document] = any(marked[grams_of[other]].sum() >= least[document] for other in _by_frequency(others))
            marked[mine] = False
        if not copied[document]:
            lists[places[mine] + listed[mine]] = document
            listed[mine] += 1
    return copied


def _ranges(starts: _Array, lengths: _Array) -> _Array:
    """Join ranges of integers.

    Example:
        >>> _ranges(np.array([5, 0]), np.array([2, 3])).tolist()
        [5, 6, 0, 1, 2]
    """
    offsets = np.cumsum(lengths) - lengths
    ranges: _Array = np.repeat(starts - offsets, lengths) + np.arange(lengths.sum())
    return ranges


def _by_frequency(numbers: _Array) -> list[int]:
    """List distinct numbers, the most frequent first."""
    distinct, counts = np.unique(numbers, return_counts=True)
    ordered: list[int] = distinct[np.argsort(-counts, kind="stable")].tolist()
    return ordered
