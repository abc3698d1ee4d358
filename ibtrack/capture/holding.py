"""Holding on to what a model keeps beside its parameters: buffers, counters, caches, generators, states of metrics.

What a forward pass does to them is undone by `Held.put_back`. They are found by walking from the modules through their
attributes, lists, dictionaries, the objects of the model's own packages, and what functions such as hooks close over.
"""

from __future__ import annotations

import contextlib
import dataclasses
import random
import types
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Collection
from functools import partial
from operator import is_
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

MAX_ENTRIES = 1 << 16  # of all lists and dictionaries, walked through: of what goes beyond, only itself is put back
MAX_BYTES = 1 << 28  # of all tensors and arrays that are no buffers: what goes beyond is compared, see `Held.too_large`

_PLAIN = (
    type(None),
    bool,
    int,
    float,
    complex,
    str,
    bytes,
    type,
    torch.dtype,
    torch.device,
    torch.Size,
    types.ModuleType,
)
_PLAIN_KINDS = frozenset(_PLAIN)  # which is looked up faster than subclasses are recognized
_PARTS = ("_parameters", "_buffers", "_modules")  # of a module, which are held one by one
# packages whose objects know what happens to them, are shared with other threads, or belong to no model
_FRAMEWORKS = {"torch", "torchmetrics", "lightning", "pytorch_lightning", "lightning_fabric", "accelerate", "builtins"}


class Held:
    """What a model keeps beside its parameters, as it is now.

    Args:
        model: The model. Of one that is sharded by FSDP1, which keeps its parameters as attributes, only the buffers
            are held.

    Attributes:
        too_large: Tensors that are not held, by the names of their places, since they take too much memory.

    Example:
        >>> model = nn.Linear(1, 1)
        >>> model.calls = [1]
        >>> held = Held(model)
        >>> model.calls.append(2)
        >>> model.register_buffer("cache", torch.ones(1))
        >>> held.put_back()
        >>> model.calls, dict(model.named_buffers())
        ([1], {})
    """

    def __init__(self, model: nn.Module) -> None:
        self.too_large: dict[str, Tensor] = {}
        self._undo: list[Callable[[], object]] = []
        self._empty: list[Any] = []  # containers: most of what modules keep, such as hooks that nobody has registered
        self._seen: dict[int, Any] = {}  # with the things, so that their ids stay theirs
        self._bytes, self._entries = 0, 0
        self._found: deque[tuple[Any, str]] = deque()
        modules = list(model.modules())
        self._packages = {_package(type(module)) for module in modules} - _FRAMEWORKS
        self._whole = not any(type(module).__name__ == "FullyShardedDataParallel" for module in modules)
        for name, module in model.named_modules():
            self._find(module, name)
        while self._found:  # what is near to the modules first
            self._hold(*self._found.popleft())

    def put_back(self) -> None:
        """Make everything that was held as it was.

        Raises:
            Exception: What putting one thing back raised; the others are put back all the same.
        """
        problem: Exception | None = None
        for thing in self._empty:
            if thing:
                thing.clear()
        for undo in self._undo:
            try:
                undo()
            except Exception as error:
                problem = problem or error
        if problem is not None:
            raise problem

    def _find(self, thing: Any, *name: str) -> None:
        """Note a thing that is to be held, at the place whose name has these parts."""
        kind = type(thing)
        is_container = kind in _CONTAINERS
        if kind in _PLAIN_KINDS or id(thing) in self._seen or (not is_container and isinstance(thing, _PLAIN)):
            return
        self._seen[id(thing)] = thing
        if is_container and not thing:
            self._empty.append(thing)
        else:
            self._found.append((thing, ".".join(filter(None, name))))

    def _hold(self, thing: Any, name: str) -> None:
        hold = _CONTAINERS.get(type(thing)) or next((hold for kind, hold in _KINDS if isinstance(thing, kind)), None)
        if hold is not None:
            hold(self, thing, name)
        elif hasattr(thing, "__dict__") and (_is_record(thing) or _package(type(thing)) in self._packages):
            self._hold_attributes(thing, name)

    def _hold_module(self, module: nn.Module, name: str) -> None:
        for buffer in module._buffers.values():
            if buffer is not None:
                self._seen[id(buffer)] = buffer
                self._undo.append(partial(_fill, buffer, buffer.clone()))
        if isinstance(module, torch.jit.ScriptModule):  # its parts are wrappers of C++ objects, and it gains none
            return
        for part in _PARTS:  # FSDP2 exchanges parameters under their names, so values stay
            entries = vars(module)[part]
            if entries:
                self._undo.append(partial(_restore if part == "_buffers" else _drop_new, entries, dict(entries)))
            else:
                self._empty.append(entries)
        weight = module._parameters.get("weight")  # by its name alone: a parametrized one would be worked out anew
        if vars(module).get("max_norm") is not None and weight is not None:
            kept = weight.detach().clone()  # such embeddings shorten the rows that they read
            self._undo.append(partial(_fill_if_changed, weight, kept))
        if self._whole:
            self._hold_attributes(module, name)

    def _hold_attributes(self, thing: Any, name: str) -> None:
        attributes = vars(thing).copy()
        self._undo.append(partial(_restore, vars(thing), attributes, leave=_PARTS))
        for key, value in attributes.items():
            if key not in _PARTS:
                self._find(value, name, key)

    def _find_all(self, things: Collection[Any], name: str) -> None:
        self._entries += len(things)
        for thing in things if self._entries <= MAX_ENTRIES else ():
            self._find(thing, name)

    def _hold_dictionary(self, thing: dict[Any, Any], name: str) -> None:
        self._undo.append(partial(_restore, thing, dict(thing)))
        self._find_all(thing.values(), name)

    def _hold_list(self, thing: Any, name: str) -> None:
        self._undo.append(partial(_refill, thing, list(thing)))
        self._find_all(thing, name)

    def _hold_tuple(self, thing: tuple[Any, ...], name: str) -> None:
        self._find_all(thing, name)

    def _hold_set(self, thing: set[Any], name: str) -> None:
        self._undo.append(partial(_refill_set, thing, set(thing)))

    def _hold_tensor(self, thing: Tensor, name: str) -> None:
        own = local(thing)
        if thing.requires_grad or own.is_meta or own.layout != torch.strided:  # parameters, and what belongs to a graph
            return
        if self._fits(own.nbytes):
            self._undo.append(partial(_fill_if_changed, own, own.clone()))
        else:
            self.too_large[name] = own

    def _hold_array(self, thing: np.ndarray[Any, Any], name: str) -> None:
        if not thing.dtype.hasobject and thing.flags.writeable and self._fits(thing.nbytes):
            self._undo.append(partial(np.copyto, thing, thing.copy()))

    def _hold_function(self, thing: types.FunctionType, name: str) -> None:
        if _package(thing) in _FRAMEWORKS:
            return
        for cell in thing.__closure__ or ():
            with contextlib.suppress(ValueError):  # a variable without a value yet
                content = cell.cell_contents
                self._undo.append(partial(setattr, cell, "cell_contents", content))
                self._find(content, name)

    def _hold_method(self, thing: types.MethodType, name: str) -> None:
        self._find_all((thing.__self__, thing.__func__), name)

    def _hold_partial(self, thing: partial[Any], name: str) -> None:
        self._find_all((thing.func, *thing.args, *thing.keywords.values()), name)

    def _hold_generator(self, thing: Any, name: str) -> None:
        read, write = _STATES[next(kind for kind in _STATES if isinstance(thing, kind))]
        self._undo.append(partial(write, thing, read(thing)))

    def _fits(self, num_bytes: int) -> bool:
        """Say whether so many bytes may be held as well, and count them if so."""
        if self._bytes + num_bytes > MAX_BYTES:
            return False
        self._bytes += num_bytes
        return True


_STATES: dict[type, tuple[Callable[[Any], Any], Callable[[Any, Any], object]]] = {
    torch.Generator: (lambda generator: generator.get_state(), lambda generator, state: generator.set_state(state)),
    random.Random: (lambda generator: generator.getstate(), lambda generator, state: generator.setstate(state)),
    np.random.Generator: (
        lambda generator: generator.bit_generator.state,
        lambda generator, state: setattr(generator.bit_generator, "state", state),
    ),
    np.random.RandomState: (
        lambda generator: generator.get_state(),
        lambda generator, state: generator.set_state(state),
    ),
}
_CONTAINERS: dict[type, Callable[[Held, Any, str], None]] = {  # not of a class of its own, which may do more
    **dict.fromkeys((dict, OrderedDict, defaultdict, Counter), Held._hold_dictionary),
    **dict.fromkeys((list, deque), Held._hold_list),
    set: Held._hold_set,
}
_KINDS: tuple[tuple[Any, Callable[[Held, Any, str], None]], ...] = (
    (nn.Module, Held._hold_module),
    (Tensor, Held._hold_tensor),
    (np.ndarray, Held._hold_array),
    (tuple(_STATES), Held._hold_generator),
    (tuple, Held._hold_tuple),
    (types.FunctionType, Held._hold_function),
    (types.MethodType, Held._hold_method),
    (partial, Held._hold_partial),
)


def local(tensor: Tensor) -> Tensor:
    """Return what this process has of a tensor that is spread over several, or the tensor itself."""
    part: Tensor = tensor.to_local() if hasattr(tensor, "to_local") else tensor
    return part


def _package(thing: Any) -> str:
    """Name the package that a class or a function comes from."""
    return str(getattr(thing, "__module__", None)).partition(".")[0]


def _is_record(thing: Any) -> bool:
    return dataclasses.is_dataclass(thing) or isinstance(thing, types.SimpleNamespace)


def _restore(target: Any, entries: dict[Any, Any], *, leave: Collection[str] = ()) -> None:
    """Make a dictionary hold these entries again, but those to leave, and write only where it does not."""
    if _holds(target, entries):
        return
    _drop_new(target, entries, leave=leave)
    for key, value in entries.items():
        if key not in leave and (key not in target or target[key] is not value):
            target[key] = value


def _drop_new(target: Any, entries: dict[Any, Any], *, leave: Collection[str] = ()) -> None:
    """Take the entries out of a dictionary that it did not have, and those that had no value yet."""
    if _holds(target, entries):
        return
    for key in [key for key in target if key not in entries and key not in leave]:
        del target[key]
    for key in [key for key, value in entries.items() if value is None and target.get(key, 0) is not None]:
        if key not in leave:
            target[key] = None


def _holds(target: Any, entries: dict[Any, Any]) -> bool:
    """Say whether a dictionary has these very entries and no others, as it mostly does."""
    return target.keys() == entries.keys() and all(map(is_, map(target.__getitem__, entries), entries.values()))


def _refill(target: Any, entries: list[Any]) -> None:
    if len(target) != len(entries) or any(one is not other for one, other in zip(target, entries, strict=True)):
        target.clear()
        target.extend(entries)


def _refill_set(target: set[Any], entries: set[Any]) -> None:
    if target != entries:
        target.clear()
        target.update(entries)


def _fill(target: Tensor, values: Tensor) -> None:
    """Write values into a tensor, also into one that was made in inference mode, as buffers of a validation are.

    Buffers are always written: batch norm changes its statistics without raising their version.
    """
    with torch.inference_mode(target.is_inference()), torch.no_grad():
        target.copy_(values)


def _fill_if_changed(target: Tensor, values: Tensor) -> None:
    """Write values into a tensor unless it has them: a write may be an error where a graph needs the tensor."""
    if not torch.equal(target, values):
        _fill(target, values)
