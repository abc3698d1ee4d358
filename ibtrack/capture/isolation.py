"""A model that is looked at and left as it was."""

from __future__ import annotations

import contextlib
import random
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import nn


@contextlib.contextmanager
def undisturbed(model: nn.Module) -> Iterator[None]:
    """Evaluate inside, and leave no trace: modes, buffers, random states and gradients are as before, also after an
    error.

    Inside, every submodule is in eval mode, gradients are off (``no_grad``, as FSDP does not bear inference mode) and
    compiled code runs eagerly: hooks put on after a compiled call would not fire, and toggling them would recompile.
    PyTorch's own transformer layers go the way they go in training: their fast path for evaluation hands padded blocks
    over as nested tensors, without the shape that they have there.
    """
    modes = [(module, module.training) for module in model.modules()]
    buffers = [
        (module, name, buffer, buffer.clone())
        for module in model.modules()
        for name, buffer in module._buffers.items()
        if buffer is not None
    ]
    states = _random_states()
    try:
        for module, _ in modes:
            module.training = False  # not .eval(): an override may do more, as adapters do that merge their weights
        with torch.no_grad(), _eager(), _no_fast_path():
            yield
    finally:
        _restore_random_states(states)
        for module, training in modes:
            module.training = training
        with torch.no_grad():
            for module, name, buffer, copy in buffers:
                module._buffers[name] = buffer
                buffer.copy_(copy)  # always: batch norm writes its statistics without raising their version


def _eager() -> contextlib.AbstractContextManager[Any]:
    if "torch._dynamo" not in sys.modules:  # nothing can have been compiled, and importing it takes a second
        return contextlib.nullcontext()
    return torch.compiler.set_stance("force_eager")


@contextlib.contextmanager
def _no_fast_path() -> Iterator[None]:
    enabled = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(enabled)


def _random_states() -> dict[str, Any]:
    accelerated = torch.cuda.is_available() and torch.cuda.is_initialized()
    return {
        "python": random.getstate(),
        "numpy": np.random.get_state(),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if accelerated else None,
        "mps": torch.mps.get_rng_state() if torch.backends.mps.is_available() else None,
    }


def _restore_random_states(states: dict[str, Any]) -> None:
    random.setstate(states["python"])
    np.random.set_state(states["numpy"])
    torch.set_rng_state(states["torch"])
    if states["cuda"] is not None:
        torch.cuda.set_rng_state_all(states["cuda"])
    if states["mps"] is not None:
        torch.mps.set_rng_state(states["mps"])
