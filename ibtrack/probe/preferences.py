"""Preference pairs to blocks: the tokens of a chosen and of a rejected response, and which of them are the response.

Letters: S blocks, T block length.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ibtrack._checks import check_integer, check_option
from ibtrack.probe.copies import Copies, copies_in_blocks, take_documents
from ibtrack.probe.tokenizer import Encode

UNLABELLED = -1
POSITIONS = ("all", "last")


class PreferenceBlocks(NamedTuple):
    """Pairs as blocks: the two of a pair follow each other, the chosen one first.

    Attributes:
        tokens: (S, T) token ids, 0 after the end of a text.
        preference: (S, T) labels: 1 at the tokens of a chosen response, or at its last one alone, 0 at those of a
            rejected one, -1 elsewhere.
        pairs: (S,) index of the pair that each block belongs to.
        copies: What was found of copies among the pairs; None where they cannot be told.
    """

    tokens: Tensor
    preference: Tensor
    pairs: Tensor
    copies: Copies | None


class _Pair(NamedTuple):
    """The two blocks of a pair, (2, T), the chosen one first, with labels at all tokens of the responses."""

    tokens: Tensor
    preference: Tensor


def preference_blocks(
    rows: Iterable[Mapping[str, Any]],
    encode: Encode,
    *,
    num_pairs: int,
    block_size: int,
    chosen: str,
    rejected: str,
    positions: str = "all",
    keep_copies: bool = False,
) -> PreferenceBlocks:
    """Cut blocks from the first pairs in which both responses have tokens of their own.

    A block holds at most ``block_size // 2`` tokens of the beginning that both texts of its pair share, and is padded
    on the right. Where only the last token of a response is labelled, its block holds the ``block_size`` tokens up to
    that. A pair whose responses are copies of those of another pair is skipped; prompts may be the same.

    Args:
        rows: Mappings with a chosen and a rejected response: texts, or lists of messages with ``role`` and
            ``content``. A column ``prompt``, text or messages, is put before responses that do not begin with it.
        encode: The function from a text to its token ids.
        num_pairs: Number of pairs, of two blocks each.
        block_size: Tokens T of a block.
        chosen: Column of the chosen response.
        rejected: Column of the rejected response.
        positions: Which tokens of a response are labelled, ``all`` that are its own or the ``last``.
        keep_copies: Whether copies are taken like other pairs.

    Raises:
        ValueError: There are fewer pairs, a row lacks a column, a column holds neither text nor messages, or there are
            no such positions.

    Example:
        >>> rows = [{"chosen": "ab", "rejected": "ac"}]
        >>> options = {"num_pairs": 1, "block_size": 3, "chosen": "chosen", "rejected": "rejected"}
        >>> preference_blocks(rows, lambda text: [ord(letter) - 96 for letter in text], **options).preference
        tensor([[-1,  1, -1],
                [-1,  0, -1]])
    """
    check_integer("num_pairs", num_pairs, minimum=1)
    check_integer("block_size", block_size, minimum=2)
    last = check_option("positions", positions, POSITIONS) == "last"
    seen = 0

    def pairs() -> Iterator[_Pair]:
        nonlocal seen
        for row in rows:
            seen += 1
            pair = [encode(_text(row, column)) for column in (chosen, rejected)]
            if min(map(len, pair)) > _common_length(*pair):
                yield _blocks_of_pair(pair, block_size, to_the_end=last)

    taken, copies = take_documents(pairs(), num_pairs, _copied, keep_copies=keep_copies)
    if len(taken) < num_pairs:
        skipped = 0 if copies is None or keep_copies else copies.found
        raise ValueError(
            f"the probe needs {num_pairs} pairs of responses that differ, got {len(taken)} among {seen}"
            f"{f' and {skipped} copies of them; keep_copies=True takes those as well' if skipped else ''}"
        )
    tokens, preference = (torch.cat(blocks) for blocks in zip(*taken, strict=True))
    if last:
        preference = _last_of_each(preference)
    return PreferenceBlocks(tokens, preference, _pair_of_blocks(num_pairs), copies)


def _blocks_of_pair(pair: Sequence[Sequence[int]], block_size: int, *, to_the_end: bool) -> _Pair:
    """Cut the blocks of two texts that each have tokens of their own, from the same token on or up to their ends."""
    common = _common_length(*pair)
    tokens = torch.zeros(2, block_size, dtype=torch.int64)
    preference = torch.full_like(tokens, UNLABELLED)
    for block, label, ids in zip((0, 1), (1, 0), pair, strict=True):
        start = max(0, len(ids) - block_size if to_the_end else common - block_size // 2)
        window = torch.tensor(ids[start : start + block_size])
        tokens[block, : len(window)] = window
        preference[block, max(0, common - start) : len(window)] = label
    return _Pair(tokens, preference)


def _last_of_each(preference: Tensor) -> Tensor:
    """Keep the last label of every block of (S, T) labels.

    Example:
        >>> _last_of_each(torch.tensor([[-1, 1, 1, -1], [0, 0, 0, 0]]))
        tensor([[-1, -1,  1, -1],
                [-1, -1, -1,  0]])
    """
    labelled = preference != UNLABELLED
    follows = labelled.flip(1).cumsum(1).flip(1) - labelled.long()  # how many labels come after each place
    return preference.masked_fill(follows > 0, UNLABELLED)


def _pair_of_blocks(num_pairs: int) -> Tensor:
    return torch.arange(num_pairs).repeat_interleave(2)


def _copied(taken: list[_Pair]) -> Tensor | None:
    """Find the pairs whose responses are copies of those of others; None where that cannot be told."""
    tokens, preference = (torch.cat(blocks) for blocks in zip(*taken, strict=True))
    pairs = _pair_of_blocks(len(taken)).unsqueeze(1).expand(tokens.shape)
    found = copies_in_blocks(tokens, pairs, preference >= 0)
    return None if found is None else found.mask.any(1).view(-1, 2).any(1)


def _text(row: Mapping[str, Any], column: str) -> str:
    """Write the prompt and one response of a row as one text.

    Raises:
        ValueError: The row has no such column, or it holds neither text nor messages.
    """
    if column not in row:
        raise ValueError(f"rows must have a column {column!r}, got {', '.join(map(repr, row))}")
    response, prompt = row[column], row.get("prompt") or ""
    if isinstance(response, str) and isinstance(prompt, str):
        return response if response.startswith(prompt) else prompt + response
    messages = _messages(column, response, role="assistant")
    if all(message["role"] == "assistant" for message in messages):
        messages = _messages("prompt", prompt, role="user") + messages
    return _rendered(messages)


def _messages(column: str, value: Any, role: str) -> list[Mapping[str, str]]:
    """Return messages as they are, and a text as one message, or as none if it is empty.

    Raises:
        ValueError: The value is neither a text nor a list of messages.
    """
    if isinstance(value, str):
        return [{"role": role, "content": value}] if value else []
    is_list = isinstance(value, Sequence) and value
    if not is_list or not all(isinstance(m, Mapping) and {"role", "content"} <= m.keys() for m in value):
        raise ValueError(
            f"column {column!r} must hold a text or a list of messages with 'role' and 'content', got {value!r:.80}"
        )
    return list(value)


def _rendered(messages: Sequence[Mapping[str, str]]) -> str:
    r"""Write messages as a text of paragraphs.

    Example:
        >>> _rendered([{"role": "user", "content": "Hi."}, {"role": "assistant", "content": "Hello!"}])
        'user: Hi.\n\nassistant: Hello!'
    """
    return "\n\n".join(f"{message['role']}: {message['content']}" for message in messages)


def _common_length(first: Sequence[int], second: Sequence[int]) -> int:
    """Return how many tokens two sequences share at their beginning."""
    pairs = enumerate(zip(first, second, strict=False))
    return next((i for i, (a, b) in pairs if a != b), min(len(first), len(second)))
