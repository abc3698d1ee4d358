"""Progress of work whose end is not always known: a bar on a terminal, a line every half minute elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

EVERY = 30.0  # seconds between two lines

T = TypeVar("T")


def counted(
    items: Iterable[T], size: Callable[[T], int], *, verb: str, unit: str, total: int | None = None
) -> Iterator[T]:
    """Yield items, and show on stderr how much of them has gone by.

    Args:
        items: The items.
        size: Function from an item to how much it counts.
        verb: What is done with them, such as ``read``.
        unit: What is counted, such as ``B``.
        total: How much all of them count, if that is known.

    Yields:
        The items.
    """
    if sys.stderr.isatty():
        with tqdm(total=total, desc=verb, unit=unit, unit_scale=True, dynamic_ncols=True) as bar:
            for item in items:
                yield item
                bar.update(size(item))
        return
    done, last = 0, time.monotonic()
    for item in items:
        yield item
        done += size(item)
        if time.monotonic() - last >= EVERY:
            of = f" of {tqdm.format_sizeof(total)}{unit}" if total else ""
            print(f"{verb} {tqdm.format_sizeof(done)}{unit}{of}", file=sys.stderr, flush=True)
            last = time.monotonic()
