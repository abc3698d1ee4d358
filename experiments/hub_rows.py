"""The rows of a dataset, as texts: they stream in, can be divided among processes, and can go on where they were."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from typing import Any

import pyarrow as pa
from datasets import Dataset, IterableDataset

BATCH = 256  # rows that are read at once: few enough for rows of a megabyte, and with more a row is hardly cheaper
_SHARDS = 64  # of a dataset that was downloaded: so many processes can divide it


class HubRows:
    """One column of a dataset, of which each row is a document; rows without a text are left out.

    Args:
        load: Function that returns the dataset; it is called when the first row is asked for.
        column: Name of the column that holds the text.

    Example:
        >>> rows = HubRows(lambda: Dataset.from_dict({"text": ["one", None, "two", "three"]}), "text")
        >>> reading = iter(rows)
        >>> next(reading), next(reading)
        ('one', 'two')
        >>> again = HubRows(rows.load, "text")
        >>> again.load_state_dict(rows.state_dict())
        >>> list(again)
        ['three']
    """

    def __init__(self, load: Callable[[], Dataset | IterableDataset], column: str) -> None:
        self.load = load
        self.column = column
        self._shard = (1, 0)  # their number, and which of them
        self._batch: dict[str, Any] | None = None  # the state of the dataset before the batch that is being read
        self._taken = 0  # rows of that batch

    def sharded(self, num_shards: int, index: int) -> HubRows | None:
        """Return the same source with its share of the files only; None where it has fewer files than shares.

        Args:
            num_shards: Number of shares.
            index: Which of them.
        """
        if self._dataset().num_shards < num_shards:
            return None
        share = HubRows(self.load, self.column)
        share._shard = (num_shards, index)
        return share

    def state_dict(self) -> dict[str, Any]:
        """Return the place that reading has come to."""
        return {"batch": deepcopy(self._batch), "taken": self._taken}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Begin at a place that reading has come to.

        Args:
            state: The place, from `state_dict`.
        """
        self._batch, self._taken = deepcopy(state["batch"]), state["taken"]

    def __iter__(self) -> Iterator[str]:
        """Yield the texts.

        Raises:
            ValueError: There is no such column.
            TypeError: The column does not hold text.
        """
        rows = self._dataset().with_format("arrow")
        if self._batch is not None:
            rows.load_state_dict(self._batch)
        skipped = self._taken
        self._batch = rows.state_dict()
        for table in rows.iter(BATCH):
            texts = _texts(table, self.column)
            for self._taken, text in enumerate(texts[skipped:], start=skipped + 1):
                if text is not None:
                    yield text
            self._batch, self._taken, skipped = rows.state_dict(), 0, 0
        self._batch = None  # the next time it begins anew

    def _dataset(self) -> IterableDataset:
        rows = self.load()
        if isinstance(rows, Dataset):
            rows = rows.to_iterable_dataset(num_shards=max(1, min(_SHARDS, len(rows))))
        number, index = self._shard
        return rows.shard(number, index) if number > 1 else rows


def _texts(table: pa.Table, column: str) -> list[str | None]:
    """Return a column of text as a list.

    Raises:
        ValueError: There is no such column.
        TypeError: It does not hold text.
    """
    if column not in table.column_names:
        raise ValueError(f"column must be one of {', '.join(map(repr, sorted(table.column_names)))}, got {column!r}")
    values = table[column]
    if not (pa.types.is_string(values.type) or pa.types.is_large_string(values.type) or pa.types.is_null(values.type)):
        raise TypeError(f"column {column!r} must hold text, got {values.type}")
    texts: list[str | None] = values.to_pylist()
    return texts
