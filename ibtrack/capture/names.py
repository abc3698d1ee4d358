"""Bare names of modules: those of the model itself, whatever it is wrapped in."""

from __future__ import annotations

import re
from collections.abc import Iterable

from torch import nn

_WRAPPERS = re.compile(
    r"(^|\.)(_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module|_forward_module|module)(?=\.|$)"
)
_ADAPTED = re.compile(r"(^|\.)base_model\.model(?=\.|$)")  # between a model of peft and the one that it adapts


def named_modules(model: nn.Module) -> dict[str, nn.Module]:
    """Return the modules of a model by their bare names, without those that wrappers put in between.

    Args:
        model: The model, wrapped or not.

    Example:
        >>> list(named_modules(nn.Sequential(nn.Linear(1, 1))))
        ['', '0']
    """
    modules: dict[str, nn.Module] = {}
    is_adapted = any(hasattr(module, "peft_config") for module in model.modules())
    for name, module in model.named_modules():
        bare = bare_name(name)
        bare = _ADAPTED.sub("", bare).removeprefix(".") if is_adapted else bare
        modules[bare] = module  # of several with one name the innermost is last
    return modules


def bare_name(name: str) -> str:
    """Leave out of the name of a module or of a weight what wrappers put in between.

    Args:
        name: Name as PyTorch gives it.

    Example:
        >>> bare_name("module._orig_mod.layers.0")
        'layers.0'
    """
    return _WRAPPERS.sub("", name).removeprefix(".")


def beside_sites(model: nn.Module, names: Iterable[str]) -> set[str]:
    """Return the bare names of the modules that stand in one list with modules that are measured, and of these.

    Two models of one architecture that differ in these have another number of blocks.

    Args:
        model: The model, wrapped or not.
        names: Bare names of the modules that are measured.

    Example:
        >>> model = nn.Sequential(nn.Embedding(9, 4), nn.ModuleList([nn.Linear(4, 4), nn.Linear(4, 4)]))
        >>> sorted(beside_sites(model, ["1.0"]))
        ['1.0', '1.1']
    """
    modules = named_modules(model)
    lists = {name.rpartition(".")[0] for name in names} - {""}
    return {name for name in modules if name.rpartition(".")[0] in lists}
