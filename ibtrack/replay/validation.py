"""What is wrong with a file of settings, in words that a reader knows who wrote YAML and no types."""

from __future__ import annotations

import re

import msgspec

from ibtrack.record.texts import printable

_KINDS = {
    "str": "a text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "array": "a list",
    "object": "a group of entries",
    "null": "nothing",
}
_AT = r"(?: - at `\$\.?(?P<place>[^`]*)`)?"
_KIND = re.compile(
    r"Expected `(?P<kind>[^`]+)`(?P<bound>(?: of length)? [<>]=? [\d.]+)?(?:, got `(?P<got>[^`]+)`)?" + _AT
)
_MISSING = re.compile(r"Object missing required field `(?P<entry>[^`]+)`" + _AT)


def in_words(error: msgspec.ValidationError) -> str:
    """Say what an entry of a file must be and what it is; other errors are said as msgspec says them.

    Args:
        error: Error of msgspec.

    Example:
        >>> try:
        ...     msgspec.convert({"name": 70}, dict[str, str])
        ... except msgspec.ValidationError as error:
        ...     print(in_words(error))
        an entry must be a text, got a whole number
    """
    text = printable(str(error))
    if found := _MISSING.fullmatch(text):
        return f"{_place(found['place'])} lacks the entry `{found['entry']}`"
    if not (found := _KIND.fullmatch(text)):
        return text
    wanted = " or ".join(_KINDS.get(kind.strip(), kind.strip()) for kind in found["kind"].split("|"))
    got = f", got {_KINDS.get(found['got'], found['got'])}" if found["got"] else ""
    return f"{_place(found['place'])} must be {wanted}{found['bound'] or ''}{got}"


def _place(place: str | None) -> str:
    if not place:
        return "it"
    return "an entry" if place == "[...]" else f"`{place}`"
