"""K-grams to 64-bit prints: numbers that are equal where k-grams are, and hardly ever where they are not.

Letters: N tokens, k length of a k-gram.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

_Array: TypeAlias = npt.NDArray[Any]
_ODD = np.uint64(0x9E3779B97F4A7C15)


def token_prints(tokens: _Array) -> _Array:
    """Return the print of every token, the k-gram of length 1.

    Args:
        tokens: (N,) integers.

    Returns:
        (N,) uint64.
    """
    return _scramble(tokens.astype(np.uint64))


def joined_prints(first: _Array, second: _Array) -> _Array:
    """Return the prints of k-grams that are made of two parts, which may overlap.

    Args:
        first: (N,) prints of the parts that begin the k-grams.
        second: (N,) prints of the parts that end them.

    Returns:
        (N,) uint64.
    """
    return _scramble(first * _ODD + second)


def kgram_prints(tokens: _Array, length: int) -> _Array:
    """Return the print of the k-gram that begins at each token.

    The length is doubled as long as it fits; the last step joins two parts that overlap. So it takes as many steps as
    the logarithm of the length.

    Args:
        tokens: (N,) integers.
        length: Length k of the k-grams.

    Returns:
        (N - k + 1,) uint64; none if there are fewer tokens than k.

    Example:
        >>> prints = kgram_prints(np.array([1, 2, 3, 1, 2, 3, 4]), 3)
        >>> prints.shape, bool(prints[0] == prints[3]), bool(prints[0] == prints[1])
        ((5,), True, False)
    """
    prints, reached = token_prints(tokens), 1
    while 2 * reached <= length:
        prints, reached = joined_prints(prints[:-reached], prints[reached:]), 2 * reached
    rest = length - reached
    return joined_prints(prints[:-rest], prints[rest:]) if rest else prints


def _scramble(numbers: _Array) -> _Array:
    """Scramble 64-bit numbers in place and one to one, so that sums of them meet as seldom as random ones.

    That is in one pair of 2^64. Source: the finalizer of SplitMix64; Steele, Lea and Flood, "Fast splittable
    pseudorandom number generators", 2014.
    """
    numbers ^= numbers >> np.uint64(30)
    numbers *= np.uint64(0xBF58476D1CE4E5B9)
    numbers ^= numbers >> np.uint64(27)
    numbers *= np.uint64(0x94D049BB133111EB)
    numbers ^= numbers >> np.uint64(31)
    return numbers
