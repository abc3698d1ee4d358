"""Sites: the modules of a model whose outputs are measured, each with a short name such as L03."""

from __future__ import annotations

import contextlib
import difflib
import fnmatch
import re
from collections.abc import Mapping, Sequence

from torch import nn

_WRAPPERS = re.compile(
    r"(^|\.)(_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module|_forward_module|module)(?=\.|$)"
)
_ADAPTED = re.compile(r"(^|\.)base_model\.model(?=\.|$)")  # between a model of peft and the one that it adapts


def find_sites(model: nn.Module, layers: str | Sequence[str] = "auto") -> dict[str, str]:
    """Choose the modules to measure.

    ``auto`` takes the token embedding, as ``embed``, and the repeated blocks of the model, as ``L00``, ``L01`` and so
    on. The blocks are the list of equal modules with most parameters that is not inside another such list, which are
    the layers of every Hugging Face decoder.

    Names are those of the bare model: what ``torch.compile``, FSDP, DDP and activation checkpointing put in between,
    such as ``_orig_mod`` or ``module``, is left out, and so is what peft puts around a model with adapters.

    Args:
        model: The model, wrapped or not.
        layers: ``auto``, or names of modules, or globs over them; these become ``L00``, ``L01`` and so on in the order
            in which the model holds them.

    Returns:
        Site to module name.

    Raises:
        ValueError: There is no list of blocks, or a name fits no module; the message shows the nearest names.

    Example:
        >>> model = nn.Sequential(nn.Embedding(9, 4), nn.ModuleList([nn.Linear(4, 4), nn.Linear(4, 4)]))
        >>> find_sites(model)
        {'embed': '0', 'L00': '1.0', 'L01': '1.1'}
        >>> find_sites(model, "1.*")
        {'L00': '1.0', 'L01': '1.1'}
    """
    modules = named_modules(model)
    if layers == "auto":
        embedding = _find_embedding(model, modules)
        blocks = _find_blocks(modules)
        if not blocks:
            raise ValueError(
                "layers='auto' found no list of repeated blocks in the model; name the modules to watch, "
                "for example layers=['encoder.*']"
            )
        return {**({"embed": embedding} if embedding else {}), **_numbered(blocks)}
    patterns = [layers] if isinstance(layers, str) else list(layers)
    chosen = {name for pattern in patterns for name in _matching(pattern, modules)}
    if not chosen:
        raise ValueError("layers must name at least one module, got none")
    return _numbered([name for name in modules if name in chosen])


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


def _find_embedding(model: nn.Module, modules: Mapping[str, nn.Module]) -> str | None:
    """Return the name of the token embedding: what a Hugging Face model says it is, or the first embedding."""
    for candidate in modules.values():
        if hasattr(candidate, "get_input_embeddings"):
            with contextlib.suppress(NotImplementedError):  # transformers: a model without a token embedding
                embedding = candidate.get_input_embeddings()  # type: ignore[operator]  # a method, as hasattr implies
                return next((name for name, module in modules.items() if module is embedding), None)
    return next((name for name, module in modules.items() if isinstance(module, nn.Embedding)), None)


def _find_blocks(modules: Mapping[str, nn.Module]) -> list[str]:
    """Return the names of the blocks: the children of the largest outermost list of equal modules."""
    lists: dict[str, list[str]] = {}
    for name, module in modules.items():
        if not isinstance(module, (nn.ModuleList, nn.Sequential)) or any(_inside(name, outer) for outer in lists):
            continue
        children = [child for child in modules if child and child.rpartition(".")[0] == name]
        if name == "":
            children = [child for child in modules if child and "." not in child]
        if len(children) > 0 and len({type(_bare(modules[child])) for child in children}) == 1:
            lists[name] = children
    sizes = {name: sum(p.numel() for p in modules[name].parameters()) for name in lists}
    largest = max(sizes.values(), default=0)
    return next((lists[name] for name in reversed(list(lists)) if sizes[name] == largest and largest), [])


def _bare(module: nn.Module) -> nn.Module:
    """Return the module that ``torch.compile`` has wrapped, or the module itself."""
    bare: nn.Module = getattr(module, "_orig_mod", module)
    return bare


def _inside(name: str, outer: str) -> bool:
    """Whether a module is inside another one, going by their names."""
    return outer == "" or name.startswith(outer + ".")


def _numbered(names: Sequence[str]) -> dict[str, str]:
    """Give modules the site names L00, L01 and so on, of equal length so that they sort."""
    digits = max(2, len(str(len(names) - 1)))
    return {f"L{index:0{digits}d}": name for index, name in enumerate(names)}


def _matching(pattern: str, modules: Mapping[str, nn.Module]) -> list[str]:
    """Return the names that a glob fits; its stars do not reach across dots.

    Raises:
        ValueError: It fits none.
    """
    names = [
        name for name in modules if name and fnmatch.fnmatchcase(name, pattern) and _depth(name) == _depth(pattern)
    ]
    if not names:
        # a low cutoff: short of nothing at all, any suggestion shows how this model names its modules
        near = difflib.get_close_matches(pattern, modules, n=3, cutoff=0.3)
        inside = [name for name in modules if name]
        hint = f"the model begins with: {inside[:3]}" if inside else "the model has no modules inside it"
        hint = f"nearest: {near}" if near else hint
        raise ValueError(f"layers must name modules of the model, but nothing fits {pattern!r}; {hint}")
    return names


def _depth(name: str) -> int:
    """Return how deep in the model a module or a pattern is."""
    return name.count(".")
