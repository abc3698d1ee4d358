"""Texts to copies: which documents of a probe share much of their text with another one.

Copies have equal activations at equal labels, whatever the labels are, so they read as information. Documents are
compared by their distinct k-grams (containment: Broder, "On the resemblance and containment of documents", 1997). Two
are alike if ``SHARE`` or more of the k-grams of the smaller one stand in the other. Documents that are alike, or are
each like a third one of about their size, are a group, of which one stays: the one with the most k-grams, of equals
the first.

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

from ibtrack.probe.prints import joined_prints, token_prints

KGRAM = 8  # tokens in a row that are hardly ever the same by chance, if tokens are words or parts of words
# A copy in which one token of ten was exchanged keeps .9^8 = .43 of its 8-grams, with a standard deviation of .12 in
# blocks of 128 tokens: 97 % of such copies are found, and all in which one of twenty was exchanged. Sources of the
# standard library that share a fifth do so by a licence, by boilerplate, or because one was copied from the other.
SHARE = 0.2
_FEWEST = 16  # k-grams that a copy shares at least, or all that it has: a stock phrase makes no short text a copy
HEAD = 4096  # tokens of a text that are compared, from its beginning: bounds the memory for long texts
LEFT_OUT = "not measured"  # what is done with copies
REPLACED = "others taken in their place"
KEPT = "measured all the same, and read as information that is not there"

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
            >>> Copies(3, 10, LEFT_OUT).sentence()
            '3 of 10 documents share 20 % or more of their text with another one: not measured'
        """
        if not self.found:
            return ""
        share, whose = ("shares", "its") if self.found == 1 else ("share", "their")
        return (
            f"{self.found} of {self.documents} documents {share} {100 * SHARE:.0f} % or more of {whose} text "
            f"with another one: {self.done}"
        )

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
        (['a', 'b', 'c'], Copies(found=2, documents=5, done='others taken in their place'))
    """
    taken: list[_Candidate] = []
    looked_at, found = 0, None
    while len(taken) < number:
        wanted = max(number - len(taken), len(taken) // 8)  # so that many copies do not make many rounds
        new = list(islice(candidates, wanted))
        if not new:
            break
        looked_at += len(new)
        taken += new
        copied = find(taken)
        if copied is None:
            continue
        found = (found or 0) + int(copied.sum())
        if not keep_copies:
            taken = [each for each, is_copy in zip(taken, copied.tolist(), strict=True) if not is_copy]
    copies = None if found is None else Copies(found, looked_at, KEPT if keep_copies else REPLACED)
    return taken[:number], copies


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
    width, prints = 1, token_prints(tokens)
    while 2 * width <= len(tokens):
        prints, width = joined_prints(prints[:-width], prints[width:]), 2 * width
        inside = (runs[: len(prints)] == runs[width - 1 :]) & counted[width - 1 :]
        if not inside.any():
            return None
        if width < KGRAM:
            continue
        owners = documents[width - 1 :][inside]
        sizes, owner, gram = _shared_kgrams(owners, prints[inside], num_documents)
        totals = np.bincount(owners, minlength=num_documents)
        if width > KGRAM and np.median(totals[totals > 0]) < width:
            return None  # too short to tell whether such long k-grams recur
        least = np.maximum(np.ceil(SHARE * sizes - 1e-6), np.minimum(sizes, _FEWEST)).astype(np.int64)
        if _are_telling(totals, sizes, least, width):
            return _all_but_one_of_each_group(sizes, least, owner, gram)
    return None


def _are_telling(totals: _Array, sizes: _Array, least: _Array, width: int) -> bool:
    """Say whether equal k-grams are a sign of copies, or mere chance, as where text has few symbols.

    Two documents that have nothing to do with each other share about twice as many k-grams as recur inside one of
    them. Chance matches come in clumps of up to k, as k-grams overlap. If their number, and five standard deviations
    more, is less than what makes a copy in at least half of the documents, they are no danger.

    Args:
        totals: (G,) number of k-grams of every document.
        sizes: (G,) number of distinct ones.
        least: (G,) number of shared ones that make it a copy.
        width: Length k.
    """
    by_chance = 2.0 * (totals - sizes)
    safe = by_chance + 5 * np.sqrt(width * by_chance) <= least
    return bool(safe[totals > 0].mean() >= 0.5)


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


def _all_but_one_of_each_group(sizes: _Array, least: _Array, owner: _Array, gram: _Array) -> _Array:
    """Find the documents that are alike, and leave one of each group, going from the largest document on.

    A document is compared with those that stay, and if it is like none of them, with those that have gone; so thousands
    of copies cost no more than their number. It is looked up by its rarest k-grams: if it shares ``least`` of its
    ``size``, one of the ``size - least + 1`` rarest is among them (prefix filter; Chaudhuri, Ganti and Kaushik, "A
    primitive operator for similarity joins", 2006). A header that all documents have is rarely among those, so they are
    not all compared because of it.

    Args:
        sizes: (G,) number of distinct k-grams of every document.
        least: (G,) number of shared ones that make it like another document.
        owner: (m,) document of every shared k-gram.
        gram: (m,) the k-gram.

    Returns:
        (G,) bool, whether a document goes.
    """
    goes = np.zeros(len(sizes), dtype=bool)
    suspected = (np.bincount(owner, minlength=len(sizes)) >= least) & (sizes > 0)
    in_question = np.unique(gram[suspected[owner]])
    kept = np.isin(gram, in_question)
    owner, gram = owner[kept], np.searchsorted(in_question, gram[kept])
    if not len(gram):
        return goes
    spread = np.bincount(gram)  # in how many documents a k-gram stands
    gram = gram[np.lexsort((gram, spread[gram], owner))]
    grams_of = np.split(gram, np.cumsum(np.bincount(owner, minlength=len(sizes)))[:-1])
    marked = np.zeros(len(spread), dtype=bool)
    stayed, gone = _Lists(spread), _Lists(spread)
    first_of: dict[int, int] = {}  # document to one of its group that stayed longer than it

    def first(document: int) -> int:
        while document in first_of:
            document = first_of[document]
        return document

    places = np.empty(len(sizes), dtype=np.int64)
    order = np.argsort(-sizes, kind="stable")
    places[order] = np.arange(len(sizes))
    for document in order.tolist():
        mine = grams_of[document]
        if suspected[document]:
            rarest = mine[: len(mine) - least[document] + 1]
            marked[mine] = True
            shared = {other: marked[grams_of[other]].sum() for other in stayed.holding(rarest)}
            alike = [other for other, number in shared.items() if number >= least[document]]
            if not alike:
                others = (each for each in gone.holding(rarest) if marked[grams_of[each]].sum() >= least[document])
                alike = list(islice(others, 1))
            marked[mine] = False
            if alike:
                # a document that is little more than a header is like all that have it, but does not make these alike
                joined = [other for other in alike if shared.get(other, 0) >= least[other]] or alike[:1]
                firsts = sorted({first(other) for other in joined}, key=places.__getitem__)
                for later in (*firsts[1:], document):
                    first_of[later], goes[later] = firsts[0], True
        (gone if goes[document] else stayed).add(document, mine)
    return goes


class _Lists:
    """The documents that hold each k-gram, as they are added.

    Args:
        sizes: (n,) number of documents at most that hold each k-gram.
    """

    def __init__(self, sizes: _Array) -> None:
        self._starts, self._lengths = np.cumsum(sizes) - sizes, np.zeros_like(sizes)
        self._documents = np.empty(sizes.sum(), dtype=np.int64)

    def add(self, document: int, grams: _Array) -> None:
        self._documents[self._starts[grams] + self._lengths[grams]] = document
        self._lengths[grams] += 1

    def holding(self, grams: _Array) -> list[int]:
        """List the documents that hold any of some k-grams, those that hold most of them first."""
        places = _ranges(self._starts[grams], self._lengths[grams])
        documents, counts = np.unique(self._documents[places], return_counts=True)
        ordered: list[int] = documents[np.argsort(-counts, kind="stable")].tolist()
        return ordered


def _ranges(starts: _Array, lengths: _Array) -> _Array:
    """Join ranges of integers.

    Example:
        >>> _ranges(np.array([5, 0]), np.array([2, 3])).tolist()
        [5, 6, 0, 1, 2]
    """
    offsets = np.cumsum(lengths) - lengths
    ranges: _Array = np.repeat(starts - offsets, lengths) + np.arange(lengths.sum())
    return ranges
