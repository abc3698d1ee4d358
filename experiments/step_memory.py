"""The memory of a training step on each device, counted before any of it is taken.

One step of the model is run on tensors that have shapes and no contents, and all storages that are alive at a time are
added up, by `torch.distributed._tools.mem_tracker.MemTracker`. So nothing has to be assumed of the architecture, and a
step of any size takes a second and no memory. What a device holds besides, such as the context of CUDA, the gaps of an
allocator or the buffers of a communication library, is not counted.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.distributed._tools.mem_tracker import MemTracker
from torch.optim import Optimizer
from torch.utils._python_dispatch import TorchDispatchMode

# what Lightning calls a precision: the dtype of the weights, and that of autocast
PRECISIONS: dict[str, tuple[torch.dtype, torch.dtype | None]] = {
    "32-true": (torch.float32, None),
    "64-true": (torch.float64, None),
    "bf16-true": (torch.bfloat16, None),
    "16-true": (torch.float16, None),
    "bf16-mixed": (torch.float32, torch.bfloat16),
    "16-mixed": (torch.float32, torch.float16),
}
_SHORT = {"32": "32-true", "64": "64-true", "16": "16-mixed", "bf16": "bf16-mixed", "None": "32-true"}
PREFETCHED = 2  # units of FSDP2 whose whole weights a device holds at a time: the one that runs, and the next


@dataclass(frozen=True, kw_only=True)
class StepMemory:
    """Bytes that one device holds while it trains.

    Attributes:
        weights: Its weights and buffers.
        gradients: Their gradients, once all are there.
        optimizer: States of the optimizer.
        buckets: Copies of the gradients that DDP sends, or weights that FSDP2 gathers from the other devices.
        activations: All other tensors at the moment when most is held: what the backward pass needs, and what is in
            between.
        peak: The most that is held at a time. Rarely the sum: where activations are most, gradients are few.
    """

    weights: int
    gradients: int
    optimizer: int
    buckets: int = 0
    activations: int
    peak: int


def precision_of(name: Any) -> tuple[torch.dtype, torch.dtype | None] | None:
    """Look up a precision as Lightning names it.

    Args:
        name: The precision, such as ``bf16-mixed`` or 32.

    Returns:
        The dtype of the weights and that of autocast, None for no autocast; or None for a precision that is not known
        here, such as those of other packages.
    """
    return PRECISIONS.get(_SHORT.get(str(name), str(name)))


def step_memory(
    make: Callable[[], LightningModule],
    batch_size: int,
    block_size: int,
    *,
    precision: tuple[torch.dtype, torch.dtype | None] = (torch.float32, None),
    accumulates: bool = False,
) -> StepMemory:
    """Count what one process holds that trains on its own.

    Args:
        make: Makes the module, whose ``training_step`` takes (B, T) token ids and whose ``optimizer`` takes groups of
            parameters; it is called where tensors have no contents.
        batch_size: Blocks in a batch, B.
        block_size: Tokens in a block, T.
        precision: From `precision_of`.
        accumulates: Whether a step is of several batches, so that gradients stay while the next one is run.

    Returns:
        The bytes, without those of other processes' gradients.
    """
    weights_dtype, autocast_dtype = precision
    with FakeTensorMode(), _AnyNumber(), _default_dtype(weights_dtype), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*self.trainer. reference")  # what is logged goes nowhere
        module = make()
        optimizer = _optimizer(module)
        for parameter in module.parameters():
            parameter.grad = torch.zeros_like(parameter)
        optimizer.step()  # its states are there from the first step on
        context = torch.autocast("cpu", autocast_dtype) if autocast_dtype else nullcontext()
        tracker = MemTracker()
        tracker.track_external(module, optimizer)
        with tracker:
            _step(module, optimizer, torch.zeros(batch_size, block_size, dtype=torch.long), context, accumulates)
        peak = _by_kind(tracker.get_tracker_snapshot("peak"))
        weights, gradients = _bytes(module.parameters()), _bytes(each.grad for each in module.parameters())
        states = _bytes(value for state in optimizer.state.values() for value in state.values())
    held = peak["Parameter"] + peak["Buffer"] + peak["Gradient"] + peak["Optstate"]
    return StepMemory(
        weights=weights + peak["Buffer"],
        gradients=gradients,
        optimizer=states,
        activations=peak["Total"] - held,
        peak=max(peak["Total"], weights + peak["Buffer"] + gradients + states),
    )


def with_ddp(memory: StepMemory) -> StepMemory:
    """Add what DDP holds on each device: a second copy of all gradients, in buckets, for as long as it trains.

    Args:
        memory: What a process holds on its own.
    """
    return replace(memory, buckets=memory.gradients, peak=memory.peak + memory.gradients)


def with_fsdp(memory: StepMemory, processes: int, largest_block: int, rest: int) -> StepMemory:
    """Share weights, gradients and states over the devices, as ``fully_shard`` on every block and on the whole does.

    Args:
        memory: What a process holds on its own.
        processes: Devices that share them.
        largest_block: Bytes of the weights of the largest block, of which two are gathered at a time.
        rest: Bytes of the weights outside of the blocks, which stay gathered between forward and backward pass.
    """
    weights, gradients, states = (
        -(-each // processes) for each in (memory.weights, memory.gradients, memory.optimizer)
    )
    gathered = rest + PREFETCHED * largest_block
    shared = weights + states
    return StepMemory(
        weights=weights,
        gradients=gradients,
        optimizer=states,
        buckets=gathered,
        activations=memory.activations,
        # whole gradients are there of one gathered unit at a time
        peak=shared + gradients + gathered + max(memory.activations, largest_block),
    )


def units(network: nn.Module) -> tuple[int, int]:
    """Return the bytes of the weights of the largest block of a model of transformers, and of all outside of blocks.

    Args:
        network: The model, which says by ``_no_split_modules`` what a block is.
    """
    names: Any = getattr(network, "_no_split_modules", None) or ()
    blocks = [_bytes(module.parameters()) for module in network.modules() if type(module).__name__ in names]
    return max(blocks, default=0), _bytes(network.parameters()) - sum(blocks)


class _AnyNumber(TorchDispatchMode):
    """Answers what a tensor without contents is asked for, such as an optimizer its count of steps; no shape asks."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten._local_scalar_dense.default:
            return 1.0
        return func(*args, **(kwargs or {}))


@contextmanager
def _default_dtype(dtype: torch.dtype) -> Iterator[None]:
    """Make weights, and what the model makes as it runs, of a dtype, as Lightning does for half precision."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def _optimizer(module: LightningModule) -> Optimizer:
    """Make the optimizer of the parameters as one group: settings of groups change no shape."""
    make: Any = module.optimizer
    optimizer: Optimizer = make(list(module.parameters()))
    return optimizer


def _step(
    module: LightningModule,
    optimizer: Optimizer,
    batch: Tensor,
    context: AbstractContextManager[Any],
    accumulates: bool,
) -> None:
    """Take one optimizer step in the order of Lightning, which drops gradients after the forward pass."""
    with context:
        loss: Any = module.training_step(batch, 0)
    if not accumulates:
        optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def _by_kind(snapshot: Any) -> dict[str, int]:
    """Add up a snapshot over devices, by what holds the memory."""
    kinds: dict[str, int] = {}
    for of_device in snapshot.values():
        for kind, number in of_device.items():
            name = kind if isinstance(kind, str) else kind.value
            kinds[name] = kinds.get(name, 0) + number
    return kinds


def _bytes(values: Any) -> int:
    """Add up the bytes of tensors, each storage once."""
    storages = {
        value.untyped_storage()._cdata: value.untyped_storage().nbytes()
        for value in values
        if isinstance(value, Tensor)
    }
    return sum(storages.values())
