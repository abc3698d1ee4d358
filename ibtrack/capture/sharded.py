"""Fully sharded models: a process that fails in a forward pass still takes part in what the others exchange in it.

A module that ``fully_shard`` was called on gathers its weights from all processes whenever it runs. If one process
leaves a forward pass early, the others wait in the next module for its share, for as long as the process group lets
them. So the process that failed goes on to give its share, in the order in which the modules run, until all have ended.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from torch import nn

T = TypeVar("T")


class SharedPasses:
    """Forward passes that all processes make together, as many on each.

    Example:
        >>> SharedPasses().run(nn.ReLU(), [lambda: 1, lambda: 2])  # nothing is exchanged
        [1, 2]
    """

    def __init__(self) -> None:
        self._order: list[str] = []  # names of sharded modules in the order of their run

    def run(self, model: nn.Module, passes: Sequence[Callable[[], T]]) -> list[T]:
        """Make forward passes of a model, and leave its weights sharded.

        Args:
            model: The model that is run.
            passes: Functions, each of which runs the model once.

        Returns:
            What they return.

        Raises:
            Exception: What the first of them that failed has raised, after this process has taken part in the rest.
        """
        modules = sharded_modules(model)
        results = []
        for index, single in enumerate(passes):
            begun: dict[str, None] = {}  # a set in order
            try:
                results.append(_watched(modules, begun, single))
            except Exception as error:
                if modules and can_follow(modules):
                    traceback.clear_frames(error.__traceback__)  # lets go of activations, to make room for weights
                    self._follow(modules, begun, len(passes) - index - 1)
                raise
            self._order = list(begun)
        return results

    def _follow(self, modules: dict[str, Any], begun: dict[str, None], further: int) -> None:
        """Take part in the rest of a pass that ended early, and in some further ones."""
        order = self._order or list(_by_group(modules))
        _gather(modules, [name for name in order if name not in begun])
        for name in _outermost(modules):
            modules[name].reset_iter_state()
        for _ in range(further):
            _gather(modules, order)


def sharded_modules(model: nn.Module) -> dict[str, Any]:
    """Find the modules of a model that ``fully_shard`` was called on, by name.

    Example:
        >>> sharded_modules(nn.ReLU())
        {}
    """
    fsdp = sys.modules.get("torch.distributed.fsdp")  # without it nothing can have been sharded
    if fsdp is None:
        return {}
    return {name: module for name, module in model.named_modules() if isinstance(module, fsdp.FSDPModule)}


def can_follow(modules: dict[str, Any]) -> bool:
    """Say whether a process can give its share after it failed, which takes a call that came with torch 2.13."""
    return all(hasattr(module, "reset_iter_state") for module in modules.values())


def waits_for_failed(model: nn.Module) -> bool:
    """Say whether others may wait for a process that failed in the model's forward, whatever it does then.

    They do in a model that is sharded by the older ``FullyShardedDataParallel``, and where torch cannot put the state
    of a sharded model back after an error.
    """
    fsdp = sys.modules.get("torch.distributed.fsdp")
    older = fsdp is not None and any(isinstance(part, fsdp.FullyShardedDataParallel) for part in model.modules())
    return older or not can_follow(sharded_modules(model))


def check_data_parallel(model: nn.Module) -> None:
    """Refuse a model whose weights are split over processes that must all be given the same inputs.

    Each process runs its own blocks of the probe, which in such a model would be mixed up without a word.

    Args:
        model: The model.

    Raises:
        ValueError: Weights are split, by tensor parallelism for instance, other than by ``fully_shard`` alone.
    """
    dimensions = 1 if sharded_modules(model) else 0  # of processes, over which a weight may be split
    for name, weight in model.named_parameters():
        if sum(not placement.is_replicate() for placement in getattr(weight, "placements", ())) > dimensions:
            raise ValueError(
                f"the model's {name!r} is split over processes that share their inputs (tensor parallelism); each "
                "process runs other blocks of the probe, so only models of data parallel training can be measured"
            )


def _watched(modules: dict[str, Any], begun: dict[str, None], single: Callable[[], T]) -> T:
    """Make a pass that gathers the weights of every group anew, and write down which have been gathered."""

    def write_down(name: str) -> Callable[[nn.Module, Any], None]:
        return lambda module, args: begun.setdefault(name)

    handles = []
    try:
        for name, group in _by_group(modules).items():
            group[0].reshard()
            handles += [
                module.register_forward_pre_hook(write_down(name)) for module in group
            ]  # after that which gathers
        return single()
    finally:
        for handle in handles:
            handle.remove()
        for module in modules.values():
            module.reshard()


def _by_group(modules: dict[str, Any]) -> dict[str, list[Any]]:
    """Put modules together that gather their weights at once, under the name of the first of them."""
    names: dict[int, str] = {}
    groups: dict[str, list[Any]] = {}
    for name, module in modules.items():
        groups.setdefault(names.setdefault(id(module._get_fsdp_state()), name), []).append(module)
    return groups


def _gather(modules: dict[str, Any], names: Sequence[str]) -> None:
    """Give this process's share of the weights of some groups, and let go of those that come back."""
    for name in names:
        modules[name].unshard()
        modules[name].reshard()


def _outermost(modules: dict[str, Any]) -> list[str]:
    """Leave out modules that lie in others."""
    if "" in modules:
        return [""]
    return [name for name in modules if not any(name.startswith(f"{other}.") for other in modules)]
