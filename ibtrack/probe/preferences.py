"""Preference pairs to blocks: the tokens of a chosen and of a rejected response, and which of them are the response.

Letters: S blocks, T block length.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ibtrack.probe.texts import Encode

PADDING = -1


class PreferenceBlocks(NamedTuple):
    """Pairs as blocks: those of a pair follow each other, the chosen one first.

    Attributes:
        tokens: (S, T) token ids, 0 after the end.
        preference: (S, T) 1 at the tokens of a chosen response, 0 at those of a rejected one, -1 elsewhere.
        pairs: (S,) which pair.
    """

    tokens: Tensor
    preference: Tensor
    pairs: Tensor


def preference_blocks(
    rows: Iterable[Mapping[str, Any]], encode: Encode, *, num_pairs: int, block_size: int, chosen: str, rejected: str
) -> PreferenceBlocks:
    """The first pairs in which both responses have tokens of their own; see `Probe.from_preferences`.

    Raises:
        ValueError: fewer pairs, a column that there is none of, or one that holds something else.
    """
    tokens, preference = [], []
    seen = 0
    for row in rows:
        seen += 1
        texts = [_text(row, column) for column in (chosen, rejected)]
        pair = [encode(text) for text in texts]
        common = _common_length(*pair)
        if min(map(len, pair)) <= common:
            continue
        start = max(0, common - block_size // 2)
        for label, ids in zip((1, 0), pair, strict=True):
            window = torch.tensor(ids[start : start + block_size])
            labels = torch.full((block_size,), PADDING)
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
    """The prompt and a response of a row, as one text."""
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
    """Messages as they are; a text as one message, or none if it is empty."""
    if isinstance(value, str):
        return [{"role": role, "content": value}] if value else []
    is_list = isinstance(value, Sequence) and value
    if not is_list or not all(isinstance(m, Mapping) and {"role", "content"} <= m.keys() for m in value):
        raise ValueError(
            f"column {column!r} must hold a text or a list of messages with 'role' and 'content', got {value!r:.80}"
        )
    return list(value)


def _rendered(messages: Sequence[Mapping[str, str]]) -> str:
    """Messages as a text of paragraphs.

    Example:
        >>> _rendered([{"role": "user", "content": "Hi."}, {"role": "assistant", "content": "Hello!"}])
        'user: Hi.\\n\\nassistant: Hello!'
    """
    return "\n\n".join(f"{message['role']}: {message['content']}" for message in messages)


def _common_length(first: Sequence[int], second: Sequence[int]) -> int:
    """Length of the common beginning."""
    pairs = enumerate(zip(first, second, strict=False))
    return next((i for i, (a, b) in pairs if a != b), min(len(first), len(second)))
