"""Sites: the modules of a model whose outputs are measured, each with a short name such as L03."""

from __future__ import annotations

import difflib
import fnmatch
from collections.abc import Mapping, Sequence

from torch import nn

from ibtrack.capture.blocks import Candidate, UnclearBlocks, blocks_by_structure, choose_blocks
from ibtrack.capture.ends import find_embedding, find_final
from ibtrack.capture.flow import Flow
from ibtrack.capture.names import named_modules

WORDS = ("auto", "embed", "final")
"""What ``layers`` may name beside modules: the embedding and the blocks, the embedding, the norm after the blocks."""


def find_sites(
    model: nn.Module, layers: str | Sequence[str] = "auto", *, flow: Flow | None = None, found: Sequence[Candidate] = ()
) -> dict[str, str]:
    """Choose the modules to measure.

    ``auto`` takes the token embedding, as ``embed``, and the blocks of the model, as ``L00``, ``L01`` and so on. If it
    is known what runs in a forward pass, the blocks are the list of modules that run once each, one after another, and
    hand a stream of activations on; see `ibtrack.capture.blocks.candidates`. Otherwise they are the list of modules
    with most parameters that is not inside another such list, which are the layers of most decoders.

    Names are those of the bare model: what ``torch.compile``, FSDP, DDP and activation checkpointing put in between,
    such as ``_orig_mod`` or ``module``, is left out, and so is what peft puts around a model with adapters.

    Args:
        model: The model, wrapped or not.
        layers: One or several of: ``auto``; ``embed`` for the token embedding; ``final`` for the norm after the last
            block; names of modules, or globs over them, which become ``L00``, ``L01`` and so on in the order in which
            the model holds them. A module that is itself called ``auto``, ``embed`` or ``final`` is named by a glob,
            such as ``embe[d]``.
        flow: What ran in a forward pass over one block, from `ibtrack.capture.flow.follow`.
        found: The lists that may be the blocks, judged by that, from `ibtrack.capture.blocks.candidates`.

    Returns:
        Site to module name: ``embed`` first, ``final`` last.

    Raises:
        UnclearBlocks: There is no list of blocks, or more than one, or none is known to be; the message has the lists.
        ValueError: A name fits no module, and the message shows the nearest names; there is no token embedding or no
            final norm; or ``final`` is asked for and it is not known what runs.

    Example:
        >>> model = nn.Sequential(nn.Embedding(9, 4), nn.ModuleList([nn.Linear(4, 4), nn.Linear(4, 4)]))
        >>> find_sites(model)
        {'embed': '0', 'L00': '1.0', 'L01': '1.1'}
        >>> find_sites(model, ["embed", "1.1"])
        {'embed': '0', 'L00': '1.1'}
    """
    modules = named_modules(model)
    patterns = [layers] if isinstance(layers, str) else list(layers)
    named = {name for pattern in patterns if pattern not in WORDS for name in _matching(pattern, modules)}
    is_auto = "auto" in patterns or ("final" in patterns and not named)  # else it is the norm after what is named
    blocks = _blocks(modules, flow, found) if is_auto else [name for name in modules if name in named]
    chosen = named | set(blocks if "auto" in patterns else ())
    embedding = find_embedding(modules, flow) if {"auto", "embed"} & set(patterns) else None
    if embedding is None and "embed" in patterns:
        raise ValueError("layers: 'embed' is the token embedding, and the model has none that runs once; leave it out")
    ends = {"embed": embedding, "final": _final(blocks, modules, flow) if "final" in patterns else None}
    if not patterns:
        raise ValueError("layers must name at least one module, got none")
    ordered = [name for name in (blocks if chosen == set(blocks) else modules) if name in chosen]
    sites = {"embed": ends["embed"], **_numbered(ordered), "final": ends["final"]}
    return {site: name for site, name in sites.items() if name is not None}


def _blocks(modules: Mapping[str, nn.Module], flow: Flow | None, found: Sequence[Candidate]) -> Sequence[str]:
    """Return the names of the blocks.

    Raises:
        UnclearBlocks: They are not known.
    """
    if flow is None:
        blocks: Sequence[str] = blocks_by_structure(modules)
    else:
        chosen = choose_blocks(found)
        blocks = chosen.members if chosen is not None else ()
    if not blocks:
        raise UnclearBlocks(found)
    return blocks


def _final(blocks: Sequence[str], modules: Mapping[str, nn.Module], flow: Flow | None) -> str:
    """Return the name of the final norm.

    Raises:
        ValueError: There is none, or it is not known what runs.
    """
    if flow is None:
        raise ValueError("layers: 'final' is the norm that runs after the last block, which takes a probe to find")
    final = find_final(blocks, modules, flow)
    if final is None:
        raise ValueError(
            f"layers: 'final' is the norm between the last block, {blocks[-1]!r}, and the head, and the model has no "
            "module there that is one; leave it out, or name the module"
        )
    return final


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
