"""The notes of a point: reasons why values are ``nan``, the names they may stand under, and how a reader finds them.

A note under the exact key of a value that exists is a doubt: it says why that value is not to be trusted.

A note's name is one of four: the exact metric key of a value; ``<order>/<quantity>`` for the debiased reading at every
site; ``<order>`` for all numbers of a label set; a site for all its numbers. A quantity of no order is named alone.
The page of the report follows the same rules in `page/notes.js`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from ibtrack.record.keys import parse_key

NO_CEILING = "the ceiling is 0 up to rounding, so there is nothing to have a share of"

# side of a label set to the quantities that are made from its information; in a file of format 1 a note names the set
DERIVED = {
    "input": ("complexity", "kept", "optimality", "regularity", "variation", "share"),
    "output": ("expressivity", "told", "optimality"),
}


def note_names(key: str) -> list[str]:
    """List the names under which a point may say why the value at a key is missing, the most specific first.

    Args:
        key: Metric key of the value.

    Example:
        >>> note_names("ib/L01/quadgram/complexity")
        ['ib/L01/quadgram/complexity', 'quadgram/complexity', 'quadgram', 'L01']
        >>> note_names("ib_plugin/L01/quadgram/complexity")
        ['ib_plugin/L01/quadgram/complexity', 'quadgram', 'L01']
        >>> note_names("ib/loss")
        ['ib/loss', 'loss']
    """
    parts = parse_key(key)
    every_site = "/".join(filter(None, (parts.order, parts.quantity))) if parts.reading == "debiased" else None
    return [name for name in (key, every_site, parts.order, parts.site) if name]


def doubts(values: Mapping[str, float], notes: Mapping[str, str]) -> dict[str, str]:
    """Pick the notes that say why a value which exists is not to be trusted.

    Args:
        values: Metric key to value.
        notes: Name to note, of the same point.

    Returns:
        Metric key to the note.

    Example:
        >>> doubts({"ib/loss": 1.0, "ib/L00/entropy": math.nan}, {"ib/loss": "odd", "ib/L00/entropy": "L00 is nan"})
        {'ib/loss': 'odd'}
    """
    return {name: note for name, note in notes.items() if math.isfinite(values.get(name, math.nan))}


def notes_of_format_1(notes: Mapping[str, str], orders: Sequence[str]) -> dict[str, str]:
    """Rename the notes of a file of format 1, which name a set of labels, to the quantities that need these labels.

    Args:
        notes: Name to reason, as in the file.
        orders: Label orders of the protocol. The share of an order also needs the complexity of the order before it.

    Example:
        >>> list(notes_of_format_1({"output/token": "there is one label only"}, ["token"]))
        ['token/expressivity', 'token/told', 'token/optimality']
    """
    renamed: dict[str, str] = {}
    for name, reason in notes.items():
        for new in _new_names(name, orders):
            renamed.setdefault(new, reason)
    return renamed


def _new_names(name: str, orders: Sequence[str]) -> list[str]:
    side, _, order = name.partition("/")
    if name == "preference":
        return ["preference_information"]
    if side not in DERIVED or not order:
        return [name]
    next_orders = orders[orders.index(order) + 1 :][:1] if side == "input" and order in orders else []
    return [f"{order}/{quantity}" for quantity in DERIVED[side]] + [f"{each}/share" for each in next_orders]
