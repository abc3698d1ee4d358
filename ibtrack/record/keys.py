"""The names of what is logged: one function makes a metric key, another takes it apart."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

READINGS = ("debiased", "plugin", "null")
"""The three readings of an information."""

BRACKET = ("_low", "_high")
"""Suffixes of complexity and expressivity: the ends of the bracket of the debiased reading."""

ENDS = ("embed", "final")
"""Sites before and after the blocks, the token embedding and the norm before the head; they are not in the mean."""

_ORDER_NAMES = {1: "token", 2: "bigram", 3: "trigram", 4: "quadgram"}


class Key(NamedTuple):
    """The parts of a metric key.

    Attributes:
        quantity: Name of what was measured, such as ``complexity``; with ``_se`` its standard error, with ``_z`` how
            far the spread between labels stands out of noise, with ``_low``, ``_low_se`` and ``_high`` the ends of its
            bracket.
        site: Layer that was read, or ``mean``; None for a number of the whole run.
        order: Label set, such as ``token``; None for a number of the whole site.
        reading: ``debiased``, ``plugin`` or ``null``.
        prefix: First part of the key, which tells several monitors of one run apart.
    """

    quantity: str
    site: str | None = None
    order: str | None = None
    reading: str = "debiased"
    prefix: str = "ib"


def order_name(order: int) -> str:
    """Name a k-gram order: token, bigram, trigram, quadgram, then ``5gram`` and so on.

    Args:
        order: Number k of tokens in the k-gram.

    Example:
        >>> [order_name(k) for k in (1, 4, 5)]
        ['token', 'quadgram', '5gram']
    """
    return _ORDER_NAMES.get(order, f"{order}gram")


@lru_cache(maxsize=1 << 14)
def metric_key(
    quantity: str,
    *,
    site: str | None = None,
    order: str | None = None,
    reading: str = "debiased",
    prefix: str = "ib",
) -> str:
    """Name one logged number: ``<prefix>[_<reading>]/[<site>/[<order>/]]<quantity>``.

    Args:
        quantity: ``complexity``, ``expressivity``, ``optimality``, ``regularity``, any of them with ``_se``, the first
            two with ``_z``, ``_low``, ``_low_se`` and ``_high``; ``entropy``, ``ceiling`` of a site; ``tokens_seen``,
            ``probe_loss`` and others of the run.
        site: Layer such as ``embed``, ``L00`` or ``final``, or ``mean``; None for a number of the whole run.
        order: Label set such as ``token``; None for a number of the whole site.
        reading: ``debiased`` (no suffix), ``plugin`` or ``null``.
        prefix: First part of the key, which tells several monitors of one run apart.

    Example:
        >>> metric_key("optimality", site="mean", order="token")
        'ib/mean/token/optimality'
        >>> metric_key("complexity", site="L03", order="bigram", reading="plugin")
        'ib_plugin/L03/bigram/complexity'
    """
    head = prefix if reading == "debiased" else f"{prefix}_{reading}"
    return "/".join(part for part in (head, site, order, quantity) if part is not None)


@lru_cache(maxsize=1 << 14)
def parse_key(key: str) -> Key:
    """Take a key apart again.

    Args:
        key: Metric key, as `metric_key` makes it.

    Raises:
        ValueError: The key does not have the form that `metric_key` gives it.

    Example:
        >>> parse_key("ib_null/L03/bigram/complexity")
        Key(quantity='complexity', site='L03', order='bigram', reading='null', prefix='ib')
    """
    parts = key.split("/")
    if not 2 <= len(parts) <= 4:
        raise ValueError(f"key must look like ib/<site>/<order>/<quantity>, got {key!r}")
    head, *middle, quantity = parts
    prefix, _, suffix = head.rpartition("_")
    prefix, reading = (prefix, suffix) if suffix in READINGS and prefix else (head, "debiased")
    site, order = (*middle, None, None)[:2]
    return Key(quantity=quantity, site=site, order=order, reading=reading, prefix=prefix)
