"""A tokenizer of any library: how it turns text into token ids, its name, and a hash of its definition."""

from __future__ import annotations

import hashlib
import json
import operator
from collections.abc import Callable, Iterable
from typing import Any

Encode = Callable[[str], list[int]]

# what the last call of a Hugging Face tokenizer asked for; it is written with the definition but is no part of it
_SETTINGS_OF_A_CALL = ("truncation", "padding")


def encoder(tokenizer: Any) -> Encode:
    """Return the function from a text to its token ids, without special tokens.

    Args:
        tokenizer: A Hugging Face tokenizer, a ``tokenizers.Tokenizer``, or a callable from a text to its token ids.

    Raises:
        ValueError: The tokenizer is none of these, or, when it is called, returns something else than integers.
    """
    if hasattr(tokenizer, "encode_batch"):  # tokenizers.Tokenizer
        return lambda text: list(tokenizer.encode(text, add_special_tokens=False).ids)
    if hasattr(tokenizer, "convert_ids_to_tokens"):  # a Hugging Face tokenizer, which warns of texts beyond its length
        return lambda text: list(tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])
    if callable(tokenizer):
        return lambda text: _token_ids(tokenizer(text))
    kind = type(tokenizer).__name__
    raise ValueError(f"tokenizer must be a tokenizer or a callable from text to token ids, got {kind}")


def _token_ids(tokens: Iterable[Any]) -> list[int]:
    """Return what a callable has made of a text as a list, if it begins with an integer.

    Raises:
        ValueError: It does not, as that of a function which returns words.
    """
    ids = list(tokens)
    try:
        operator.index(next(iter(ids), 0))
    except TypeError:
        raise ValueError(f"tokenizer must return token ids, which are integers, got {ids[0]!r}") from None
    return ids


def tokenizer_name(tokenizer: Any) -> str:
    """Return the name or path that a tokenizer was loaded from, or else the name of its class.

    Example:
        >>> tokenizer_name(str.split)
        'method_descriptor'
    """
    return str(getattr(tokenizer, "name_or_path", "") or type(tokenizer).__name__)


def tokenizer_hash(tokenizer: Any) -> str:
    """Return the sha256 of a tokenizer's definition: two tokenizers that share it turn every text into the same ids.

    The definition of a ``tokenizers.Tokenizer``, and of a Hugging Face tokenizer that is built on one, is its
    ``tokenizer.json``: vocabulary, merges, normalizer, added tokens. How a call truncates and pads is left out, since
    training with one tokenizer and probing with the same one would otherwise disagree. A Hugging Face tokenizer that
    is written in Python defines part of itself in code; its hash covers its vocabulary and its special tokens.

    Args:
        tokenizer: Anything that `encoder` takes.

    Returns:
        64 hexadecimal digits; an empty string for a plain callable, whose definition cannot be read.

    Example:
        >>> tokenizer_hash(str.split)
        ''
    """
    backend = getattr(tokenizer, "backend_tokenizer", tokenizer)
    definition: Any
    if hasattr(backend, "to_str"):
        definition = json.loads(backend.to_str())
        definition = {key: value for key, value in definition.items() if key not in _SETTINGS_OF_A_CALL}
    elif hasattr(tokenizer, "get_vocab"):
        definition = [sorted(tokenizer.get_vocab().items()), tokenizer.special_tokens_map]
    else:
        return ""
    return hashlib.sha256(json.dumps(definition, sort_keys=True, default=str).encode()).hexdigest()
