"""Forward passes of sharded models: a process that fails in one takes part in what the others exchange."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh

from ibtrack import InformationPlaneTracker
from ibtrack.capture.sharded import SharedPasses, can_follow, check_data_parallel, sharded_modules, waits_for_failed
from tests.models import probe, tokens
from tests.processes import join, leave, spawn_bounded


class _Model(nn.Module):
    """A model whose modules run in another order than that of their definition, two of them as one group."""

    def __init__(self) -> None:
        super().__init__()
        self.head, self.norm = nn.Linear(8, 23), nn.LayerNorm(8)
        self.last, self.first = nn.Linear(8, 8), nn.Linear(8, 8)
        self.embed = nn.Embedding(23, 8)
        self.error: Exception | None = None

    def forward(self, ids: Tensor) -> Tensor:
        hidden = self.last(self._may_fail(self.first(self.embed(ids))))
        logits: Tensor = self.head(self.norm(hidden))
        return logits

    def _may_fail(self, hidden: Tensor) -> Tensor:
        if self.error is not None:
            raise self.error
        return hidden


def _sharded(world: int, prefetch: bool) -> Any:
    from torch.distributed.fsdp import fully_shard

    torch.manual_seed(0)
    model, mesh = _Model(), init_device_mesh("cpu", (world,))
    fully_shard(model.first, mesh=mesh)
    fully_shard(model.last, mesh=mesh)
    fully_shard([model.norm, model.head], mesh=mesh)
    fully_shard(model, mesh=mesh)
    if prefetch:
        first: Any = model.first
        first.set_modules_to_forward_prefetch([model.last])
    return model


def _fail_in_some(rank: int, world: int, port: int, folder: Path, prefetch: str) -> None:
    join(rank, world, port)
    model, passes = _sharded(world, prefetch == "prefetched"), SharedPasses()
    assert list(sharded_modules(model)) == ["", "head", "norm", "last", "first"]
    assert can_follow(sharded_modules(model))
    assert not waits_for_failed(model)
    ids = tokens(2, seed=0)
    with torch.no_grad():
        expected = passes.run(model, [lambda: model(ids)])[0]
        for failing in range(3):  # of three passes, on one process or on all
            for who in ([1], [0, 1]):
                calls: list[Callable[[], Tensor]] = [lambda: model(ids)] * 3
                if rank in who:
                    calls[failing] = lambda: _fail(model, ids)
                    with pytest.raises(ValueError, match="a bad row"):
                        passes.run(model, calls)
                else:
                    assert all(torch.equal(result, expected) for result in passes.run(model, calls))
                assert all(hasattr(weight, "full_tensor") for weight in model.parameters())  # sharded as before
                assert torch.equal(passes.run(model, [lambda: model(ids)])[0], expected)
    leave()


def _fail(model: Any, ids: Tensor) -> Tensor:
    model.error = ValueError("a bad row")
    try:
        result: Tensor = model(ids)
        return result
    finally:
        model.error = None


@pytest.mark.parametrize("prefetch", ["gathered when needed", "prefetched"])
def test_a_process_that_fails_takes_part_in_the_rest(tmp_path: Path, prefetch: str) -> None:
    spawn_bounded(_fail_in_some, 2, tmp_path, prefetch)


def _check_models_in_parts(world: int) -> None:
    from torch.distributed.fsdp import FullyShardedDataParallel, fully_shard
    from torch.distributed.tensor.parallel import ColwiseParallel, parallelize_module

    mesh = init_device_mesh("cpu", (world // 2, 2), mesh_dim_names=("data", "tensor"))
    split: Any = parallelize_module(_Model(), mesh["tensor"], {"head": ColwiseParallel()})
    with pytest.raises(ValueError, match=r"'head\.weight' is split over processes that share their inputs"):
        check_data_parallel(split)
    with pytest.raises(ValueError, match=r"'head\.weight' is split over processes that share their inputs"):
        InformationPlaneTracker(probe(25)).start(split)
    with pytest.raises(ValueError, match=r"'head\.weight' is split over processes that share their inputs"):
        check_data_parallel(fully_shard(split, mesh=mesh["data"]))
    flat = nn.Sequential(FullyShardedDataParallel(_Model(), device_id=torch.device("cpu")))
    wrapped = nn.parallel.DistributedDataParallel(_Model())
    replicated: Any = fully_shard(_Model(), mesh=mesh)
    assert [waits_for_failed(model) for model in (flat, wrapped, replicated)] == [True, False, False]
    for model in (flat, wrapped, replicated):
        check_data_parallel(model)


def _hold_parts(rank: int, world: int, port: int, folder: Path) -> None:
    join(rank, world, port)
    _check_models_in_parts(world)
    leave()


def test_models_in_parts_by_other_means_are_known(tmp_path: Path) -> None:
    spawn_bounded(_hold_parts, 4, tmp_path)


def test_a_model_that_is_whole_is_run_and_no_more() -> None:
    ran: list[int] = []

    def run(number: int) -> None:
        ran.append(number)
        if number == 2:
            raise ValueError("a bad row")

    with pytest.raises(ValueError, match="a bad row"):
        SharedPasses().run(nn.ReLU(), [partial(run, number) for number in (1, 2, 3)])
    assert ran == [1, 2]
    assert not waits_for_failed(nn.ReLU())
