"""Isolation: a block of code in which a model can be run and after which everything is as before."""

from __future__ import annotations

import contextlib
import random
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import nn

from ibtrack.capture.holding import Held


@contextlib.contextmanager
def undisturbed(model: nn.Module) -> Iterator[None]:
    """Evaluate a model inside and leave no trace, also after an error.

    Modes, random states (Python, NumPy, torch, its devices), the gradient mode, and what the model keeps beside its
    parameters (buffers, counters, caches, generators, metrics) are afterwards as before; see `ibtrack.capture.holding`
    for what is found. What is kept elsewhere, such as in global variables and files, is not.

    Inside, every submodule is in eval mode, gradients are off (``no_grad``, as FSDP does not bear inference mode) and
    compiled code runs eagerly: hooks put on after a compiled call would not fire, and toggling them would recompile.
    Casts of weights are made anew, as those that an autocast around this keeps may be older than the last optimizer
    step. What a LightningModule logs is dropped.
    PyTorch's own transformer layers take the path that they take in training: their fast path for evaluation hands
    padded blocks over as nested tensors, which do not have the shape of the blocks.

    Args:
        model: The model that will be run.

    Example:
        >>> model = nn.Dropout()
        >>> with undisturbed(model):
        ...     model.training
        False
        >>> model.training
        True
    """
    modes = [(module, module.training) for module in model.modules()]
    held = Held(model)
    states = _random_states()
    try:
        for module, training in modes:
            if training:  # to assign to a module takes a while
                module.training = False  # not .eval(): an override may do more, as adapters do that merge their weights
            if _is_lightning_module(module):
                vars(module).update(log=_drop, log_dict=_drop)
        with torch.no_grad(), _eager(), _no_fast_path(), _no_cached_casts():
            yield
    finally:
        _restore_random_states(states)
        for module, training in modes:
            if module.training is not training:
                module.training = training
        held.put_back()


def _eager() -> contextlib.AbstractContextManager[Any]:
    """Return a context in which compiled code runs as it was written."""
    if "torch._dynamo" not in sys.modules:  # nothing can have been compiled, and importing it takes a second
        return contextlib.nullcontext()
    stance: contextlib.AbstractContextManager[Any] = torch.compiler.set_stance("force_eager")
    return stance


@contextlib.contextmanager
def _no_fast_path() -> Iterator[None]:
    """Run PyTorch's transformer layers without their fast path inside the context."""
    enabled = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(enabled)


@contextlib.contextmanager
def _no_cached_casts() -> Iterator[None]:
    """Let an autocast that is already entered neither use nor keep casts of weights inside the context."""
    enabled = torch.is_autocast_cache_enabled()
    torch.set_autocast_cache_enabled(False)
    try:
        yield
    finally:
        torch.set_autocast_cache_enabled(enabled)


def _is_lightning_module(module: nn.Module) -> bool:
    return any(base.__name__ == "LightningModule" for base in type(module).__mro__)


def _drop(*args: Any, **options: Any) -> None:
    """Take the place of ``LightningModule.log``, which would add the measurement to the run's own metrics."""


def _random_states() -> dict[str, Any]:
    """Return the states of all random generators; that of CUDA only if the process uses it already."""
    accelerated = torch.cuda.is_available() and torch.cuda.is_initialized()
    return {
        "python": random.getstate(),
        "numpy": np.random.get_state(),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if accelerated else None,
        "mps": torch.mps.get_rng_state() if torch.backends.mps.is_available() else None,
    }


def _restore_random_states(states: dict[str, Any]) -> None:
    """Put the random generators back to the states that `_random_states` returned."""
    random.setstate(states["python"])
    np.random.set_state(states["numpy"])
    torch.set_rng_state(states["torch"])
    if states["cuda"] is not None:
        torch.cuda.set_rng_state_all(states["cuda"])
    if states["mps"] is not None:
        torch.mps.set_rng_state(states["mps"])
