"""A probe and the training text: which documents of the probe a model is trained on, and how much of each.

A model that was trained on a text has seen which token follows, so it does not read there what it reads in text that
is new to it. Passages of ``LENGTH`` tokens are looked for, all that a document has; the share of them that stands
anywhere in the training text says how much of the document does.

Letters: S blocks, T block length, G documents, k tokens of a passage.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from torch import Tensor

from ibtrack._checks import check_integer
from ibtrack.probe.prints import kgram_prints
from ibtrack.probe.sequences import Chunk, in_chunks

# In the field: 13 words in a row are overlap for GPT-3 (Brown et al. 2020, appendix C), 70 % of the 8-grams for PaLM
# (Chowdhery et al. 2022, section 8); Llama 2 calls a sample clean below 20 % of its tokens and dirty from 80 % on
# (Touvron et al. 2023, appendix A.6); text that stands there word for word is found by 50 tokens in a row (Lee et al.
# 2022, "Deduplicating training data makes language models better"; Carlini et al. 2023, "Quantifying memorization").
# A passage of 8 or 13 tokens recurs by itself in code and in large corpora. One of 32 hardly does, and loses less than
# one of 50 where a packed block cuts it off.
LENGTH = 32
# Of 128 tokens, a fifth of the passages of 32 is 51 tokens in a row, such as the field calls verbatim. Of an exact copy
# that packed blocks of 128 have cut in two, more than two thirds are left.
SHARE = 0.2
_MUCH = 0.5  # of the training text that was not searched, from which on the sentence says so
_SLOTS = 16  # of the table, at least, for each passage: of 16 that are not in the probe it leaves one to be looked up

_Array: TypeAlias = npt.NDArray[Any]


@dataclass(frozen=True)
class Overlap:
    """How much of each document of a probe stands in a training text.

    Attributes:
        length: Number of tokens k of a passage.
        passages: Number of passages of each of the G documents of the probe, in their order. A document that has no k
            tokens in a row has none, and cannot be looked for.
        found: Number of those that stand in the training text.
        tokens: Number of tokens of the training text.
        share: Share of its passages from which on a document is said to stand in the training text.
        cut: Share of the tokens of the training text after which its sequence has no whole passage left: what stands
            there is found in part only. It is .24 in blocks of 128 tokens.
    """

    length: int
    passages: tuple[int, ...]
    found: tuple[int, ...]
    tokens: int
    share: float = SHARE
    cut: float = 0.0

    @property
    def shares(self) -> list[float]:
        """Share of each document's passages that stands in the training text; nan for one that has no passage."""
        pairs = zip(self.found, self.passages, strict=True)
        return [found / passages if passages else float("nan") for found, passages in pairs]

    @property
    def documents(self) -> list[int]:
        """Numbers of the documents that stand in the training text, counted as in ``probe.documents``."""
        return [document for document, share in enumerate(self.shares) if share >= self.share]

    def sentence(self) -> str:
        """Say it for a reader.

        Example:
            >>> print(Overlap(32, (97, 97, 0), (97, 3, 0), 5000).sentence())
            1 of 3 documents of the probe stands in the training text, by 20 % or more of its passages of 32 tokens; \
1 is too short to be looked for
            >>> print(Overlap(32, (97, 97), (0, 3), 5000).sentence())
            no document of the probe stands in the training text, by 20 % or more of its passages of 32 tokens; \
the largest share is 3.1 %
        """
        number, total, too_short = len(self.documents), len(self.passages), self.passages.count(0)
        if too_short == total:
            return f"no document of the probe can be looked for in the training text: none has {self.length} tokens"
        who = f"{number} of {total} documents" if number else "no document"
        stand, their = ("stand", "their") if number > 1 else ("stands", "its")
        by = f"by {100 * self.share:.3g} % or more of {their} passages of {self.length} tokens"
        parts = [f"{who} of the probe {stand} in the training text, {by}"]
        if not number:
            largest = max(share for share, passages in zip(self.shares, self.passages, strict=True) if passages)
            parts.append(f"the largest share is {100 * largest:.1f} %")
        if too_short:
            parts.append(f"{too_short} {'is' if too_short == 1 else 'are'} too short to be looked for")
        if self.cut > _MUCH:
            parts.append(
                f"sequences of the training text are so short that {100 * self.cut:.0f} % of it was not searched"
            )
        return "; ".join(parts)

    def of(self, documents: Sequence[int]) -> Overlap:
        """Return what was found of some of the documents, as if the probe had no others.

        Args:
            documents: Numbers of documents, in the order that they are to have.
        """
        passages, found = (tuple(counts[each] for each in documents) for counts in (self.passages, self.found))
        return replace(self, passages=passages, found=found)

    def protocol(self) -> dict[str, Any]:
        """Return the numbers and the sentence as JSON can hold them."""
        return {
            "documents": self.documents,
            "of": len(self.passages),
            "length": self.length,
            "share": self.share,
            "cut": round(self.cut, 4),
            "tokens": self.tokens,
            "sentence": self.sentence(),
        }


def overlap(
    tokens: Tensor, documents: Tensor, training: Iterable[_Array], *, length: int = LENGTH, share: float = SHARE
) -> Overlap:
    """Look for the passages of some documents in a training text.

    Passages are compared token by token wherever their 64-bit prints are equal, so none is found that is not there, and
    none is missed. A passage of one token over and over, such as padding, is not looked for. What is held in memory
    depends on the probe alone.

    Args:
        tokens: (S, T) token ids of the probe.
        documents: (S, T) document of each token, numbered from 0 without gaps; negative for tokens that are not looked
            for. A passage lies in one block and one document.
        training: The training text: arrays of integers, (T,), one sequence, or (..., T), many. A passage lies in one
            sequence.
        length: Number of tokens k of a passage.
        share: Share of its passages from which on a document is said to stand in the training text.

    Raises:
        ValueError: No sequence of the training text has ``length`` tokens, or an argument is out of range.

    Example:
        >>> import torch
        >>> blocks, documents = torch.arange(40).view(2, 20), torch.arange(2).view(2, 1).expand(2, 20)
        >>> overlap(blocks, documents, [np.arange(14, 90)], length=4).shares
        [0.17647058823529413, 1.0]
    """
    check_integer("length", length, minimum=2)
    if not 0 < share <= 1:
        raise ValueError(f"share must be above 0 and at most 1, got {share}")
    passages = _Passages(tokens, documents, length)
    num_tokens = whole = longest = 0

    def counted() -> Iterator[_Array]:
        nonlocal num_tokens, whole, longest
        for each in filter(np.size, training):
            num_tokens += each.size
            whole += each.size // each.shape[-1] * max(0, each.shape[-1] - length + 1)
            longest = max(longest, each.shape[-1])
            yield each

    for chunk in in_chunks(counted(), length):
        passages.look_in(chunk)
    if longest < length:
        raise ValueError(
            f"training must have a sequence of {length} tokens, got at most {longest} in a row; "
            "give longer sequences, such as whole documents, or a smaller length"
        )
    return Overlap(length, *passages.counts(), num_tokens, share, 1 - whole / num_tokens)


class _Passages:
    """The passages of a probe, and which of them have been found.

    Args:
        tokens: (S, T) token ids.
        documents: (S, T) document of each, or a negative number.
        length: Number of tokens k.
    """

    def __init__(self, tokens: Tensor, documents: Tensor, length: int) -> None:
        self._length = length
        self._tokens, owners = tokens.flatten().numpy().astype(np.uint64), documents.flatten().numpy()
        begins = np.diff(owners, prepend=owners[0]) != 0
        begins[:: tokens.shape[1]] = True
        stretch, changes = np.cumsum(begins), np.cumsum(np.diff(self._tokens, prepend=self._tokens[0]) != 0)
        last = np.arange(length - 1, len(owners))
        first = last - (length - 1)
        first = first[(owners[first] >= 0) & (stretch[first] == stretch[last]) & (changes[first] < changes[last])]
        self._owners, self._num_documents = owners[first], int(owners.max()) + 1
        prints = kgram_prints(self._tokens, length)[first]
        self._prints, example, self._print_of = np.unique(prints, return_index=True, return_inverse=True)
        self._begins = first[example]
        self._found = np.zeros(len(self._prints), dtype=bool)
        self._table = np.zeros(1 << max(12, (_SLOTS * len(self._prints)).bit_length()), dtype=bool)
        self._table[self._slots(self._prints)] = True

    def look_in(self, chunk: Chunk) -> None:
        """Mark the passages that stand in one sequence of a chunk."""
        prints = kgram_prints(chunk.tokens, self._length)
        places = np.flatnonzero(self._table[self._slots(prints)])
        numbers = np.minimum(np.searchsorted(self._prints, prints[places]), len(self._prints) - 1)
        likely = (self._prints[numbers] == prints[places]) & ~self._found[numbers]
        likely &= chunk.sequence_of(places) == chunk.sequence_of(places + self._length - 1)
        places, numbers = places[likely], numbers[likely]
        steps = np.arange(self._length)
        equal = chunk.tokens[places[:, None] + steps] == self._tokens[self._begins[numbers][:, None] + steps]
        self._found[numbers[equal.all(1)]] = True

    def counts(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Return the number of passages of every document, and the number of those that were found."""
        found = self._owners[self._found[self._print_of]]
        both = (np.bincount(owners, minlength=self._num_documents) for owners in (self._owners, found))
        passages, found_passages = (tuple(counts.tolist()) for counts in both)
        return passages, found_passages

    def _slots(self, prints: _Array) -> _Array:
        """Return the place of each print in the table: its last bits."""
        slots: _Array = prints & np.uint64(len(self._table) - 1)
        return slots
