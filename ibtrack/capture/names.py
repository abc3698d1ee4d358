"""Bare names of modules: those of the model itself, whatever it is wrapped in."""

from __future__ import annotations

import re

from torch import nn

_WRAPPERS = re.compile(
    r"(^|\.)(_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module|_forward_module|module)(?=\.|$)"
)


def named_modules(model: nn.Module) -> dict[str, nn.Module]:
    """Return the modules of a model by their bare names, without those that wrappers put in between.

    Args:
        model: The model, wrapped or not.

    Example:
        >>> list(named_modules(nn.Sequential(nn.Linear(1, 1))))
        ['', '0']
    """
    modules: dict[str, nn.Module] = {}
    for name, module in model.named_modules():
        modules[_WRAPPERS.sub("", name).removeprefix(".")] = module  # of several with one name the innermost is last
    return modules
