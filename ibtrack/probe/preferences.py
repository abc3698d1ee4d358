"""Preference pairs to blocks: the tokens of a chosen and of a rejected response, and which of them are the response.

Letters: S blocks, T block length.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ibtrack._checks import check_integer
from ibtrack.probe.tokenizer import Encode

UNLABELLED = -1


class PreferenceBlocks(NamedTuple):
    """Pairs as blocks: the two of a pair follow each other, the chosen one first.

    Attributes:
        tokens: (S, T) token ids, 0 after the end of a text.
        preference: (S, T) labels: 1 at the tokens of a chosen response, 0 at those of a rejected one, -1 elsewhere.
        pairs: (S,) index of the pair that each block belongs to.
    """

    tokens: Tensor
    preference: Tensor
    pairs: Tensor


def preference_blocks(
    rows: Iterable[Mapping[str, Any]], encode: Encode, *, num_pairs: int, block_size: int, chosen: str, rejected: str
) -> PreferenceBlocks:
    """Cut blocks from the first pairs in which both responses have tokens of their own.

    A block holds at most ``block_size // 2`` tokens of the beginning that both texts of its pair share, and is padded
    on the right.

    Args:
        rows: Mappings with a chosen and a rejected response: texts, or lists of messages with ``role`` and
            ``content``. A column ``prompt``, text or messages, is put before responses that do not begin with it.
        encode: The function from a text to its token ids.
        num_pairs: Number of pairs, of two blocks each.
        block_size: Tokens T of a block.
        chosen: Column of the chosen response.
        rejected: Column of the rejected response.

    Raises:
        ValueError: There are fewer pairs, a row lacks a column, or a column holds neither text nor messages.

    Example:
        >>> rows = [{"chosen": "ab", "rejected": "ac"}]
        >>> options = {"num_pairs": 1, "block_size": 3, "chosen": "chosen", "rejected": "rejected"}
        >>> preference_blocks(rows, lambda text: [ord(letter) - 96 for letter in text], **options).preference
        tensor([[-1,  1, -1],
                [-1,  0, -1]])
    """
    check_integer("num_pairs", num_pairs, minimum=1)
    check_integer("block_size", block_size, minimum=2)
    tokens: list[Tensor] = []
    preference: list[Tensor] = []
    seen = 0
    for row in rows:
        seen += 1
        pair = [encode(_text(row, column)) for column in (chosen, rejected)]
        common = _common_length(*pair)
        if min(map(len, pair)) <= common:
            continue
        start = max(0, common - block_size // 2)
        for label, ids in zip((1, 0), pair, strict=True):
            window = torch.tensor(ids[start : start + block_size])
            labels = torch.full((block_size,), UNLABELLED)
            labels[common - start : len(window)] = label
            tokens.append(torch.nn.functional.pad(window, (0, block_size - len(window))))
            preference.append(labels)
        if len(tokens) == 2 * num_pairs:
            break
    if len(tokens) < 2 * num_pairs:
        raise ValueError(
            f"the probe needs {num_pairs} pairs of responses that differ, got {len(tokens) // 2} among {seen}"
        )
    pairs = torch.arange(num_pairs).repeat_interleave(2)
    return PreferenceBlocks(torch.stack(tokens), torch.stack(preference), pairs)


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
