"""A loader of training batches from a stream, in which each batch brings along the state that comes after it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

_NO_END = 2**31 - 1  # Lightning reads a batch ahead of what has no length, and would save a state that is one too far


class StreamLoader:
    """Batches of blocks from a stream, which begins again when it has ended.

    The stream is divided among processes and workers by itself, and says where it is by ``state_dict``. A worker reads
    ahead of the training, so its state at any time is that of a batch which nobody has seen yet; here each batch comes
    with the state after it, and the state of the loader is made of those. It holds for the same number of processes
    and workers.

    Args:
        stream: Yields blocks, int64 token ids (T,), has ``state_dict`` and ``load_state_dict``, and takes the number of
            a pass by ``set_epoch`` if it has that. Blocks at the end that do not fill a batch are dropped.
        batch_size: Number of blocks in a batch of one process, B.
        num_workers: Number of worker processes that read ahead; 0 reads when a batch is wanted.
        num_batches: Number of batches that an epoch of the trainer is to have: those of the run, as the length of a
            stream is not known. None is for a run of unknown length.

    Raises:
        TypeError: The stream has no state.
    """

    def __init__(
        self, stream: IterableDataset[Tensor], *, batch_size: int, num_workers: int = 0, num_batches: int | None = None
    ) -> None:
        if not (hasattr(stream, "state_dict") and hasattr(stream, "load_state_dict")):
            raise TypeError(f"stream must have state_dict and load_state_dict, got {type(stream).__name__}")
        self.stream, self.batch_size, self.num_workers = stream, batch_size, num_workers
        self.num_batches = num_batches or _NO_END
        self.taken = 0
        self._states: list[dict[str, Any] | None] = [None] * max(1, num_workers)
        self._iterator: Iterator[Any] | None = None  # Lightning ends the workers of what has this name

    def __len__(self) -> int:
        """Return the number of batches of the run."""
        return self.num_batches

    def __iter__(self) -> Iterator[Tensor]:
        """Yield the batches that are left of the run, (B, T)."""
        for _ in range(self.num_batches - self.taken % self.num_batches):
            if self._iterator is None:
                self._iterator = iter(self._ahead())
            batch, state = next(filter(None, self._iterator))
            self._states[self.taken % len(self._states)] = state
            self.taken += 1
            yield batch

    def state_dict(self) -> dict[str, Any]:
        """Return how many batches this process has taken, and where its workers were after those."""
        return {"taken": self.taken, "states": list(self._states)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on with the batch after those that were taken.

        Args:
            state_dict: State of the loader of the same process, with the same number of workers.

        Raises:
            ValueError: There are more or fewer workers.
        """
        if len(state_dict["states"]) != len(self._states):
            raise ValueError(
                f"num_workers must be {len(state_dict['states'])}, as when the state of the stream was saved, "
                f"got {self.num_workers}"
            )
        self.taken, self._states = state_dict["taken"], list(state_dict["states"])
        self._iterator = None

    def _ahead(self) -> DataLoader[Any]:
        batches = _Batches(self.stream, self.batch_size, list(self._states), self.taken % len(self._states))
        return DataLoader(batches, batch_size=None, num_workers=self.num_workers, generator=torch.Generator())


class _Batches(IterableDataset[Any]):
    """The batches of one worker, without end, each with the state after it.

    torch asks the workers in turn, from the first on. Where it is not the first's turn, those before give nothing once.
    """

    def __init__(
        self, stream: IterableDataset[Tensor], batch_size: int, states: list[dict[str, Any] | None], turn: int
    ) -> None:
        self._stream, self._batch_size, self._states, self._turn = stream, batch_size, states, turn

    def __iter__(self) -> Iterator[tuple[Tensor, dict[str, Any]] | None]:
        """Yield a batch and where the stream is then.

        Raises:
            ValueError: The stream ends before it has filled a batch.
        """
        info = get_worker_info()
        worker = info.id if info else 0
        if worker < self._turn:
            yield None
        state = self._states[worker] or {"epoch": 0, "stream": None}
        for epoch in itertools.count(state["epoch"]):
            goes_on = epoch == state["epoch"] and state["stream"] is not None
            batches = self._epoch(epoch, state["stream"] if goes_on else None)
            if (first := next(batches, None)) is not None:
                yield first
                yield from batches
            elif not goes_on:
                raise ValueError(
                    f"the stream must fill one batch of {self._batch_size} blocks on every process and worker, "
                    f"and ended before on worker {worker}"
                )

    def _epoch(self, epoch: int, state: Any) -> Iterator[tuple[Tensor, dict[str, Any]]]:
        stream: Any = self._stream
        if hasattr(stream, "set_epoch"):
            stream.set_epoch(epoch)
        if state is not None:
            stream.load_state_dict(state)
        rows: list[Tensor] = []
        for row in stream:
            rows.append(row)
            if len(rows) == self._batch_size:
                yield torch.stack(rows), {"epoch": epoch, "stream": stream.state_dict()}
                rows = []
