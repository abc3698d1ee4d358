"""The loader of a stream: after any batch its state goes on with the next one, whatever workers have read ahead."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch.utils.data import IterableDataset, get_worker_info

from experiments.stream_loader import StreamLoader


class Counting(IterableDataset[torch.Tensor]):
    """Blocks of one number each, every worker its own; the numbers of a pass are told apart by their thousands."""

    def __init__(self, length: int) -> None:
        self.length, self.next, self.epoch = length, 0, 0

    def __iter__(self) -> Iterator[torch.Tensor]:
        info = get_worker_info()
        number, workers = (info.id, info.num_workers) if info else (0, 1)
        while self.next < self.length:
            found = self.next
            self.next += 1
            if found % workers == number:
                yield torch.tensor([found + 1000 * self.epoch])
        self.next = 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def state_dict(self) -> dict[str, Any]:
        return {"next": self.next}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.next = state_dict["next"]


def batches(loader: StreamLoader, number: int) -> list[list[int]]:
    found = [batch.flatten().tolist() for batch, _ in zip(loader, range(number), strict=False)]
    assert len(found) == number
    return found


def stream(workers: int, length: int = 26) -> StreamLoader:
    return StreamLoader(Counting(length), batch_size=3, num_workers=workers, num_batches=100)


@pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")  # on a machine of fewer cores
@pytest.mark.parametrize("workers", [0, 1, 3])
def test_a_state_goes_on_with_the_next_batch_in_any_pass(workers: int) -> None:
    whole = batches(stream(workers), 20)
    assert max(max(batch) for batch in whole) > 1000, "into a second pass"
    for cut in (1, 8, 9, 15):
        first, second = stream(workers), stream(workers)
        iterator = iter(first)
        assert [next(iterator).flatten().tolist() for _ in range(cut)] == whole[:cut]
        second.load_state_dict(first.state_dict())
        assert batches(second, 20 - cut) == whole[cut:]


def test_a_run_of_unknown_length_has_no_end() -> None:
    endless = StreamLoader(Counting(9), batch_size=3)
    assert len(endless) > 10**9
    assert batches(endless, 4)[3] == [1000, 1001, 1002]


def test_a_stream_without_a_state_with_other_workers_or_too_short_is_refused() -> None:
    class Bare(IterableDataset[torch.Tensor]):
        def __iter__(self) -> Iterator[torch.Tensor]:
            return iter([])

    with pytest.raises(TypeError, match="stream must have state_dict and load_state_dict, got Bare"):
        StreamLoader(Bare(), batch_size=3)
    with pytest.raises(ValueError, match="num_workers must be 2, as when the state of the stream was saved, got 0"):
        stream(0).load_state_dict(stream(2).state_dict())
    with pytest.raises(ValueError, match="the stream must fill one batch of 3 blocks on every process and worker, and"):
        next(iter(stream(0, length=2)))
