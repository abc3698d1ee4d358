"""Blocks: the list of modules that the residual stream runs through, found by what runs in a forward pass.

Letters: T block length, B blocks in a forward pass, D width.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import nn

from ibtrack.capture.flow import Call, Flow

_DOUBT = 0.5  # share of the largest candidate's parameters from which on a second one could be the blocks as well
_SHOWN = 6  # lists in a message
_CONTAINERS = (nn.ModuleList, nn.Sequential, nn.ModuleDict)


@dataclass(frozen=True)
class Candidate:
    """A list of modules that may be the blocks.

    Attributes:
        pattern: Glob that fits its members.
        members: Bare names of those that ran once, in the order of their run; of one that is not called once, all.
        classes: Names of the classes of the members.
        calls: Fewest and most calls of a member in a forward pass.
        shape: Shape of what the members return, if it is one.
        parameters: Numbers in the parameters of the members.
        span: Numbers in the parameters of all modules that begin between the first member and the end of the last.
        begin: Where the first member begins, among all beginnings and ends of calls; -1 if none does.
        end: Where the last member ends.
        why_not: Why these are not the blocks; None if they may be.
    """

    pattern: str
    members: tuple[str, ...]
    classes: tuple[str, ...]
    calls: tuple[int, int]
    shape: tuple[int, ...] | None
    parameters: int
    span: int = 0
    begin: int = -1
    end: int = -1
    why_not: str | None = None

    def words(self) -> str:
        """Describe the list in a few words."""
        fewest, most = self.calls
        times = f"{most}" if fewest == most else f"{fewest} to {most}"
        return ", ".join(
            [
                f"{len(self.members)} of {' and '.join(self.classes[:3])}",
                "shape not one row per position" if self.shape is None else f"shape {self.shape}",
                f"{times} calls per pass",
                f"{self.parameters:,} parameters",
                "may be the blocks" if self.why_not is None else self.why_not,
            ]
        )


class UnclearBlocks(ValueError):
    """It does not show which modules are the blocks of a model.

    Args:
        found: Candidates, from `candidates`; none if only the structure of the model is known.
    """

    def __init__(self, found: Sequence[Candidate] = ()) -> None:
        self.found = list(found)
        remedy = "name the modules to watch, for example layers=['encoder.*']"
        possible = [each for each in found if each.why_not is None]
        what = "several lists of modules that may be the blocks" if possible else "no list of repeated blocks"
        self.summary = f"layers='auto' found {what} in the model; {remedy}"
        shown = [*possible, *(each for each in found if each not in possible)][:_SHOWN]
        lists = "; ".join(f"{each.pattern!r} ({each.words()})" for each in shown)
        super().__init__(self.summary + (f". There are: {lists}" if shown else ""))


def lists_of(modules: Mapping[str, nn.Module]) -> dict[str, list[str]]:
    """List the modules that stand in a row: those of each list, and those in one place of each part of a list of parts.

    Args:
        modules: Bare name to module, from `ibtrack.capture.names.named_modules`.

    Returns:
        Glob to the names of the members.

    Example:
        >>> branches = nn.ModuleList([nn.ModuleList([nn.LayerNorm(4), nn.Linear(4, 4)]) for _ in range(2)])
        >>> model = nn.ModuleDict({"layers": branches})
        >>> list(lists_of(dict(model.named_modules())))
        ['*', 'layers.*', 'layers.*.0', 'layers.*.1', 'layers.0.*', 'layers.1.*']
    """
    children: dict[str, list[str]] = {}
    for name in modules:
        if name:
            children.setdefault(name.rpartition(".")[0], []).append(name)
    found: dict[str, list[str]] = {}
    for name, module in modules.items():
        members = children.get(name, [])
        if not members or not (isinstance(module, _CONTAINERS) or all(_ending(each).isdigit() for each in members)):
            continue
        for suffix in ["", *_suffixes(members, modules, children)]:
            found[".".join(filter(None, (name, "*", suffix)))] = [
                f"{each}.{suffix}" if suffix else each for each in members
            ]
    return found


def _suffixes(
    members: Sequence[str], modules: Mapping[str, nn.Module], children: Mapping[str, Sequence[str]], depth: int = 2
) -> Iterator[str]:
    """Name the places that all members have inside them, as long as these are lists and not modules of their own.

    Yields:
        The rest of a name after that of a member.
    """
    if not depth or len(members) < 2 or not all(isinstance(modules[each], _CONTAINERS) for each in members):
        return
    shared = [_ending(each) for each in children.get(members[0], ())]
    for place in shared:
        inside = [f"{each}.{place}" for each in members]
        if all(each in modules for each in inside):
            yield place
            yield from (f"{place}.{deeper}" for deeper in _suffixes(inside, modules, children, depth - 1))


def _ending(name: str) -> str:
    return name.rpartition(".")[2]


def candidates(flow: Flow, modules: Mapping[str, nn.Module], lists: Mapping[str, Sequence[str]]) -> list[Candidate]:
    """Judge every list of modules by what has run.

    Args:
        flow: What ran in a forward pass over one block.
        modules: Bare name to module.
        lists: Glob to names of members, from `lists_of`.

    Returns:
        The candidates, those with the most parameters first; lists without any call only where they have parameters.
    """
    weights = {name: _parameters([module]) for name, module in modules.items()}
    own = {name: sum(p.numel() for p in module.parameters(recurse=False)) for name, module in modules.items()}
    found = []
    for pattern, members in lists.items():
        if any(flow.of(name) for name in members) or any(weights[name] for name in members):
            found.append(_judged(pattern, members, flow, modules, own))
    return sorted(found, key=lambda each: (each.span, each.parameters), reverse=True)


def _judged(
    pattern: str, members: Sequence[str], flow: Flow, modules: Mapping[str, nn.Module], own: Mapping[str, int]
) -> Candidate:
    number = [len(flow.of(name)) for name in members]
    once = sorted((flow.of(name)[0] for name, times in zip(members, number, strict=True) if times), key=_begin)
    shapes = {tuple(value.shape for value in call.made if value.has_rows(flow.grid))[:1] for call in once}
    (shape,) = shapes if len(shapes) == 1 else ((),)
    span = (once[0].begin, max(call.end for call in once)) if once else (-1, -1)
    return Candidate(
        pattern=pattern,
        members=tuple(call.name for call in once) if max(number) == 1 else tuple(members),
        classes=tuple(dict.fromkeys(type(modules[name]).__name__ for name in members)),
        calls=(min(number), max(number)),
        shape=shape[0] if shape else None,
        parameters=_parameters([modules[name] for name in members]),
        span=_run_between(flow, own, *span),
        begin=span[0],
        end=span[1],
        why_not=_why_not(members, number, once, flow, modules),
    )


def _why_not(
    members: Sequence[str], number: Sequence[int], once: Sequence[Call], flow: Flow, modules: Mapping[str, nn.Module]
) -> str | None:
    """Say why a list is not the blocks, or None."""
    if any(isinstance(modules[name], torch.jit.ScriptModule) for name in members):
        return "are of torch.jit.script, which takes no hooks"
    if not any(number):
        return "are not called as modules"
    if max(number) > 1:
        return f"are called up to {max(number)} times"
    if 2 * sum(number) < len(members):
        return f"{len(members) - len(once)} of {len(members)} are not called"
    if any(later.begin < former.end for former, later in pairwise(once)):
        return "run inside of each other"
    return _why_no_stream(once, flow)


def _why_no_stream(once: Sequence[Call], flow: Flow) -> str | None:
    """Say why calls in a row do not hand a stream of activations on to each other, or None."""
    if not all(any(value.has_rows(flow.grid) for value in call.made) for call in once):
        return "do not all return one row per position"
    if not all(any(value.has_rows(flow.grid) for value in call.given) for call in once):
        return "do not all take activations"
    if len(flow.grid) == 2 and not set.intersection(*map(_widths, once)):
        return "do not all return what is as wide as what they take"
    if not all(_hands_on(former, later, flow) for former, later in pairwise(once)):
        return "do not take what the one before returns"
    followed = [*once[2:], *_next_after(once[-1], flow)]  # each comes after two others
    around = [_goes_around(*three, flow) for three in zip(once, once[1:], followed, strict=False)]
    if around and 2 * sum(around) >= len(around):
        return "return a branch that is added to the stream elsewhere"
    return None


def _hands_on(former: Call, later: Call, flow: Flow) -> bool:
    """Whether a module is called with activations that depend on what another one returned."""
    return any(value.members & flow.bits[former.name] for value in later.given if value.has_rows(flow.grid))


def _goes_around(first: Call, second: Call, third: Call, flow: Flow) -> bool:
    """Whether what a module is called with depends on the first of two others also around the second."""
    both = flow.bits[first.name] | flow.bits[second.name]
    return any(value.members & both == both for value in third.given if value.has_rows(flow.grid))


def _next_after(last: Call, flow: Flow) -> list[Call]:
    """Return the first call after another one that takes what it returned, if there is one."""
    later = (call for call in flow.calls if call.begin > last.end and _hands_on(last, call, flow))
    return [call for call, _ in zip(later, range(1), strict=False)]


def _widths(call: Call) -> set[int]:
    """Return the widths of activations that a module both takes and returns, whatever the grid."""
    given = {value.shape[-1] for value in call.given if value.is_real and len(value.shape) > 1}
    return given & {value.shape[-1] for value in call.made if value.is_real and len(value.shape) > 1}


def _begin(call: Call) -> int:
    return call.begin


def _parameters(modules: Iterable[nn.Module]) -> int:
    """Count the numbers in the parameters of modules; what several share counts once."""
    return sum({id(p): p.numel() for module in modules for p in module.parameters()}.values())


def _run_between(flow: Flow, own: Mapping[str, int], begin: int, end: int) -> int:
    """Count the numbers in the parameters of the modules that begin in a stretch of the pass."""
    return sum(own[name] for name in {call.name for call in flow.calls if begin <= call.begin <= end})


def choose_blocks(found: Sequence[Candidate]) -> Candidate | None:
    """Choose the blocks among candidates.

    Of lists that hand a stream on, the one is taken whose stretch of the pass runs most parameters, and what runs
    within its stretch is part of its blocks. A list beside it that is as large leaves a doubt.

    Args:
        found: Candidates, from `candidates`.

    Returns:
        The blocks, or None if there are none or if there is a doubt.
    """
    possible = sorted((each for each in found if each.why_not is None), key=lambda each: each.span, reverse=True)
    if not possible:
        return None
    first, *others = possible
    beside = [each for each in others if not first.begin <= each.begin <= each.end <= first.end]
    return None if any(each.span > _DOUBT * first.span for each in beside) else first


def blocks_by_structure(modules: Mapping[str, nn.Module]) -> list[str]:
    """Find the blocks of a model that is not run: the members of the largest outermost list of modules like each other.

    Members are like each other if they are of one class, or if the list is one of modules that all have parameters and
    are neither embeddings nor lists themselves.

    Args:
        modules: Bare name to module, from `ibtrack.capture.names.named_modules`.

    Returns:
        Bare names, none if there is no such list.
    """
    lists: dict[str, list[str]] = {}
    for name, module in modules.items():
        if not isinstance(module, _CONTAINERS) or any(_inside(name, outer) for outer in lists):
            continue
        children = [child for child in modules if child and child.rpartition(".")[0] == name]
        if name == "":
            children = [child for child in modules if child and "." not in child]
        if children and _are_alike(module, {_ending(child): _bare(modules[child]) for child in children}):
            lists[name] = children
    sizes = {name: _parameters([modules[name]]) for name in lists}
    largest = max(sizes.values(), default=0)
    return next((lists[name] for name in reversed(list(lists)) if sizes[name] == largest and largest), [])


def _are_alike(container: nn.Module, members: Mapping[str, nn.Module]) -> bool:
    """Whether the members of a list may all be blocks."""
    is_sequence = not isinstance(container, nn.ModuleDict) or all(key.isdigit() for key in members)
    if not is_sequence or all(isinstance(member, nn.Embedding) for member in members.values()):
        return False
    if len({type(member) for member in members.values()}) == 1:
        return True
    no_blocks = (nn.Embedding, *_CONTAINERS)
    return not isinstance(container, nn.Sequential) and all(
        any(True for _ in member.parameters()) and not isinstance(member, no_blocks) for member in members.values()
    )


def _bare(module: nn.Module) -> nn.Module:
    """Return the module that ``torch.compile`` has wrapped, or the module itself."""
    bare: nn.Module = getattr(module, "_orig_mod", module)
    return bare


def _inside(name: str, outer: str) -> bool:
    """Whether a module is inside another one, going by their names."""
    return outer == "" or name.startswith(outer + ".")
