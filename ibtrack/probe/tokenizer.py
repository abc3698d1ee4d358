"""A tokenizer of any library: how it turns text into token ids, its name, and a hash of its definition."""

from __future__ import annotations

import hashlib
import json
import operator
from collections.abc import Callable, Iterable
from typing import Any

from ibtrack.record.protocol import hash_version

HASH_VERSION = 2  # of `tokenizer_hash`
Encode = Callable[[str], list[int]]

# parts of a tokenizer.json that decide which ids a text has, if no special tokens are put around it
_PARTS = ("normalizer", "pre_tokenizer", "model")
# what the last call of a Hugging Face tokenizer asked for; it was hashed by no version
_SETTINGS_OF_A_CALL = ("truncation", "padding")
_NO_RULE = ("trim_offsets",)  # of where tokens stand in a text, and not of which they are


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
    """Return a hash of the rules by which a tokenizer turns text into ids; two that share it turn a text into the same.

    The rules of a ``tokenizers.Tokenizer``, and of a Hugging Face tokenizer that is built on one, are vocabulary,
    merges, normalizer, pre-tokenizer and added tokens that are not special. What classes around it add is left out, as
    it decides nothing about ordinary text: special tokens, what is put around a text, how ids are turned into text
    again, and how the last call truncated and padded. A Hugging Face tokenizer that is written in Python defines part
    of itself in code; its hash covers its vocabulary and its special tokens.

    Args:
        tokenizer: Anything that `encoder` takes.

    Returns:
        The version of this hash, a colon, and 64 hexadecimal digits, see `ibtrack.record.protocol.hash_version`; an
        empty string for a plain callable, whose definition cannot be read.

    Example:
        >>> tokenizer_hash(str.split)
        ''
    """
    definition = _definition(tokenizer)
    if definition is None:
        return ""
    if isinstance(definition, dict):
        ordinary = [token for token in definition.get("added_tokens") or [] if not token.get("special")]
        definition = {part: _plain_rule(definition.get(part)) for part in _PARTS} | {"added": _plain_rule(ordinary)}
    return f"{HASH_VERSION}:{_sha256(definition)}"


def is_of_tokenizer(known: str, tokenizer: Any) -> bool:
    """Whether a hash may be that of a tokenizer; one that is not known may be.

    Args:
        known: What `tokenizer_hash` gave, in this version of the package or in one before.
        tokenizer: Anything that `encoder` takes.

    Example:
        >>> is_of_tokenizer("", str.split)
        True
    """
    of_this_version = hash_version(known) == HASH_VERSION
    given = tokenizer_hash(tokenizer) if of_this_version else _hash_of_version_1(tokenizer)
    return not known or not given or known == given


def _hash_of_version_1(tokenizer: Any) -> str:
    """Hash the whole definition, as was done before hashes named their version."""
    definition = _definition(tokenizer)
    if isinstance(definition, dict):
        definition = {key: value for key, value in definition.items() if key not in _SETTINGS_OF_A_CALL}
    return "" if definition is None else _sha256(definition)


def _definition(tokenizer: Any) -> Any:
    """Return the tokenizer.json of a tokenizer as a dictionary, what defines one in Python as a list, or None."""
    backend = getattr(tokenizer, "backend_tokenizer", tokenizer)
    if hasattr(backend, "to_str"):
        return json.loads(backend.to_str())
    return (
        [sorted(tokenizer.get_vocab().items()), tokenizer.special_tokens_map]
        if hasattr(tokenizer, "get_vocab")
        else None
    )


def _plain_rule(rule: Any) -> Any:
    """Write a part of a definition in one way: what is not set is left out, and a sequence of one is that one.

    Classes write a prefix that there is not as null or as an empty text, and merges as pairs or as one text.
    """
    if isinstance(rule, list):
        return [_plain_rule(each) for each in rule]
    if not isinstance(rule, dict):
        return rule
    steps = rule.get("pretokenizers") or rule.get("normalizers") or []
    if rule.get("type") == "Sequence" and len(steps) == 1:
        return _plain_rule(steps[0])
    plain = {
        key: value if key == "vocab" else _plain_rule(value)
        for key, value in rule.items()
        if key not in _NO_RULE and not (value is None or value is False or value == "")
    }
    if "merges" in plain:
        plain["merges"] = [pair if isinstance(pair, str) else " ".join(pair) for pair in plain["merges"]]
    return plain


def _sha256(definition: Any) -> str:
    return hashlib.sha256(json.dumps(definition, sort_keys=True, default=str).encode()).hexdigest()
