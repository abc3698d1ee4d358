"""The values of a point: points of a run mostly have the same keys, so these are kept once and each has an array."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ibtrack.record.keys import parse_key

LONGEST_KEY = 500  # letters; the longest that a run makes has some 50


class Columns:
    """The keys of a point in their order, shared by all points that have the same; `columns` makes them.

    Attributes:
        keys: Metric keys, each once.
    """

    def __init__(self, keys: tuple[str, ...]) -> None:
        self.keys = keys

    @cached_property
    def places(self) -> dict[str, int]:
        """Metric key to its place among the keys."""
        return {key: place for place, key in enumerate(self.keys)}

    def __reduce__(self) -> tuple[Any, ...]:
        return columns, (self.keys,)


@lru_cache(maxsize=64)
def columns(keys: tuple[str, ...]) -> Columns:
    """Return the columns of some keys, the same object for the same keys.

    Args:
        keys: Metric keys.

    Raises:
        ValueError: A key stands there twice, or is none.

    Example:
        >>> columns(("ib/mean/entropy",)) is columns(("ib/mean/entropy",))
        True
    """
    for key in keys:
        if len(key) > LONGEST_KEY or not key.isprintable():
            raise ValueError(f"a key must be printable and have at most {LONGEST_KEY} letters, got {key[:60]!r}")
        parse_key(key)
    made = Columns(keys)
    if len(made.places) < len(keys):
        twice = next(key for place, key in enumerate(keys) if made.places[key] != place)
        raise ValueError(f"the key {twice!r} stands there twice")
    return made


@lru_cache(maxsize=64)
def columns_at(whole: Columns, sites: frozenset[str]) -> tuple[Columns, tuple[int, ...]]:
    """Pick the columns of some sites, and those of the whole run.

    Args:
        whole: Columns to pick from.
        sites: Names of the sites.

    Returns:
        The columns that are left, and the place of each among all.

    Example:
        >>> kept, places = columns_at(columns(("ib/mean/entropy", "ib/L00/entropy", "ib/loss")), frozenset({"mean"}))
        >>> kept.keys, places
        (('ib/mean/entropy', 'ib/loss'), (0, 2))
    """
    kept = {key: place for place, key in enumerate(whole.keys) if parse_key(key).site in (None, *sites)}
    return columns(tuple(kept)), tuple(kept.values())


class Values(Mapping[str, float]):
    """Metric key to value, in 8 bytes a value; it cannot be changed.

    Args:
        columns: Keys, which other points may share.
        numbers: Value at each key, ``nan`` or None where there is none.

    Attributes:
        columns: The keys.
        numbers: (number of keys,) float64 values in the order of the keys.

    Example:
        >>> values = Values.of({"ib/mean/entropy": 0.5, "ib/loss": 2})
        >>> values["ib/loss"], dict(values), values.numbers
        (2.0, {'ib/mean/entropy': 0.5, 'ib/loss': 2.0}, array([0.5, 2. ]))
    """

    __slots__ = ("columns", "numbers")

    def __init__(self, columns: Columns, numbers: Collection[float | None] | NDArray[np.float64]) -> None:
        self.columns = columns
        self.numbers: NDArray[np.float64] = np.array(numbers, dtype=np.float64)  # None becomes nan
        self.numbers.flags.writeable = False

    @classmethod
    def of(cls, values: Mapping[str, float]) -> Values:
        """Return a mapping as `Values`, itself if it is that already.

        Args:
            values: Metric key to value.

        Raises:
            ValueError: A key is not a metric key.
        """
        if isinstance(values, Values):
            return values
        return cls(columns(tuple(values)), [float(value) for value in values.values()])

    def at(self, sites: frozenset[str]) -> Values:
        """Keep the values of some sites, and those of the whole run.

        Args:
            sites: Names of the sites.
        """
        kept, places = columns_at(self.columns, sites)
        return Values(kept, self.numbers[list(places)])

    def extended(self, more: Mapping[str, float]) -> Values:
        """Add values under further keys.

        Args:
            more: Metric key to value, none of which is there yet.
        """
        return Values(columns((*self.columns.keys, *more)), np.concatenate([self.numbers, [*more.values()]]))

    def __getitem__(self, key: str) -> float:
        number = self.numbers.item(self.columns.places[key])
        return number if number == number else math.nan  # one nan, so that equal points are equal

    def __contains__(self, key: object) -> bool:
        return key in self.columns.places

    def __iter__(self) -> Iterator[str]:
        return iter(self.columns.keys)

    def __len__(self) -> int:
        return len(self.columns.keys)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Values) and other.columns is self.columns:
            return np.array_equal(self.numbers, other.numbers, equal_nan=True)
        return Mapping.__eq__(self, other)

    __hash__ = None  # type: ignore[assignment]  # equal to a dict, which has none either

    def __repr__(self) -> str:
        return f"Values({dict(self)})"
