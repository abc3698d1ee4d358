"""What runs in one forward pass: the calls of every module, and which of their results depend on which others.

Letters: T block length, B blocks in a forward pass, D width.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn
from torch._C._functorch import is_functorch_wrapped_tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode


@dataclass(frozen=True)
class Value:
    """A tensor that a module was called with or returned.

    Attributes:
        shape: Its shape.
        is_real: Whether it holds floating point numbers, and not token ids or masks.
        members: One bit for each member of a list of modules from whose output it was worked out without passing
            through the output of a later member of the same list; see `follow`.
        are_tokens: Whether it holds the token ids of the block itself.
    """

    shape: tuple[int, ...]
    is_real: bool
    members: int = 0
    are_tokens: bool = False

    def has_rows(self, grid: tuple[int, ...]) -> bool:
        """Whether it is an activation with one row per position.

        Args:
            grid: (B, T), or (B,) for inputs of one position each.
        """
        return self.is_real and self.shape[:-1] in (grid, grid[::-1])


@dataclass
class Call:
    """One call of a module.

    Attributes:
        name: Bare name of the module.
        begin: Place among all beginnings and ends of calls.
        end: The same, of the end.
        given: What the module was called with.
        made: What it returned.
    """

    name: str
    begin: int
    given: list[Value]
    end: int = -1
    made: list[Value] = field(default_factory=list)

    def holds(self, other: Call) -> bool:
        """Whether another call happens inside this one."""
        return self.begin < other.begin and other.end < self.end


@dataclass
class Flow:
    """The calls of one forward pass.

    Attributes:
        grid: (B, T), or (B,) for inputs of one position each.
        bits: The bit of each module that is a member of a list, by bare name.
        calls: Calls in the order in which they began.
        transformed: Names of modules that ran inside of ``torch.func.vmap`` or another transform, where activations
            are no ordinary tensors.
    """

    grid: tuple[int, ...]
    bits: dict[str, int]
    calls: list[Call] = field(default_factory=list)
    transformed: list[str] = field(default_factory=list)

    def of(self, name: str) -> list[Call]:
        """Return the calls of one module, in order."""
        return self._by_name.get(name, [])

    def __post_init__(self) -> None:
        self._by_name: dict[str, list[Call]] = {}

    def add(self, call: Call) -> None:
        """Append a call that begins."""
        self.calls.append(call)
        self._by_name.setdefault(call.name, []).append(call)


@contextlib.contextmanager
def follow(
    modules: Mapping[str, nn.Module], lists: Iterable[Iterable[str]], inputs: Tensor, grid: tuple[int, ...]
) -> Iterator[Flow]:
    """Write down what runs in a forward pass inside the context.

    Every operation on tensors is seen, also in compiled code that runs as it was written. The result of an operation
    depends on what its operands depend on. The output of a member of a list depends on that member alone, as far as
    this list is concerned: if a later tensor still depends on an earlier member, there is a way around.

    Args:
        modules: Bare name to module, from `ibtrack.capture.names.named_modules`; modules of TorchScript, which take
            no hooks, are not seen.
        lists: Lists of names of modules that may be blocks.
        inputs: (B, …) inputs of the forward pass.
        grid: (B, T), or (B,) for inputs of one position each.

    Yields:
        What has run so far.

    Example:
        >>> import torch
        >>> model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
        >>> with torch.no_grad(), follow(dict(model.named_modules()), [["0", "1"]], torch.ones(3, 4), (3,)) as flow:
        ...     output = model(torch.ones(3, 4))
        >>> [(call.name, call.made[0].shape, call.made[0].members) for call in flow.calls if call.name]
        [('0', (3, 4), 1), ('1', (3, 4), 2)]
    """
    bits: dict[str, int] = {}
    masks: dict[str, int] = {}
    for members in lists:
        for name in members:
            bits.setdefault(name, 1 << len(bits))
        whole = sum(bits[name] for name in members)
        masks |= {name: masks.get(name, 0) | whole for name in members}  # a module may be a member of two lists
    flow, watcher = Flow(grid, bits), _Watcher(inputs, bits, masks)
    handles: list[Any] = []
    try:
        for name, module in modules.items():
            handles += watcher.watch(name, module, flow)
        with _Dependencies(watcher.depends):
            yield flow
    finally:
        for handle in handles:
            handle.remove()


class _Watcher:
    """Hooks that write calls down."""

    def __init__(self, inputs: Tensor, bits: Mapping[str, int], masks: Mapping[str, int]) -> None:
        self.inputs, self.bits, self.masks = inputs, bits, masks
        self.depends = _Members()
        self.clock = 0

    def watch(self, name: str, module: nn.Module, flow: Flow) -> list[Any]:
        """Put hooks on a module, and return their handles."""
        if isinstance(module, torch.jit.ScriptModule):
            return []
        open_calls: list[Call] = []

        def begin(module: nn.Module, args: tuple[Any, ...], options: Mapping[str, Any]) -> None:
            given = [self._value(tensor) for tensor in tensors_in((args, options))]
            if any(is_functorch_wrapped_tensor(tensor) for tensor in tensors_in((args, options))):
                flow.transformed.append(name)
            call = Call(name, self._tick(), given)
            open_calls.append(call)
            flow.add(call)

        def end(module: nn.Module, args: Any, output: Any) -> None:
            call = open_calls.pop()
            made = list(tensors_in(output))
            self._leave(call, made)
            call.made, call.end = [self._value(tensor) for tensor in made], self._tick()

        return [module.register_forward_pre_hook(begin, with_kwargs=True), module.register_forward_hook(end)]

    def _leave(self, call: Call, made: list[Tensor]) -> None:
        """Set what the output of a module depends on.

        A kernel that is no operation of PyTorch is not seen; its results are taken to depend on what the module got.
        """
        given = 0
        for value in call.given:
            given |= value.members
        for tensor in made:
            members = self.depends.of(tensor) or given
            if call.name in self.bits:
                members = members & ~self.masks[call.name] | self.bits[call.name]
            self.depends.set(tensor, members)

    def _value(self, tensor: Tensor) -> Value:
        real, members = tensor.is_floating_point(), self.depends.of(tensor)
        return Value(tuple(tensor.shape), real, members, self._are_tokens(tensor))

    def _are_tokens(self, tensor: Tensor) -> bool:
        if tensor.dtype not in (torch.int32, torch.int64) or is_functorch_wrapped_tensor(tensor):
            return False
        turned = self.inputs.mT if self.inputs.ndim == 2 else self.inputs
        return any(tensor.shape == each.shape and bool((tensor == each).all()) for each in (self.inputs, turned))

    def _tick(self) -> int:
        self.clock += 1
        return self.clock


class _Members:
    """The members of lists that tensors depend on, by their memory, which views share."""

    def __init__(self) -> None:
        self._members: dict[int, int] = {}
        self._known: list[StorageWeakRef] = []  # these keep others from being taken for memory that is let go of

    def of(self, tensor: Tensor) -> int:
        """Return the bits of the members that a tensor depends on."""
        return self._members.get(_storage(tensor) or 0, 0)

    def set(self, tensor: Tensor, members: int) -> None:
        """Set the bits of the members that a tensor depends on; what is no array in memory has none."""
        key = _storage(tensor)
        if key is None or not (members or key in self._members):
            return
        if key not in self._members:
            self._known.append(StorageWeakRef(tensor.untyped_storage()))
        self._members[key] = members


class _Dependencies(TorchDispatchMode):
    """Adds up, at every operation, what its operands depend on."""

    supports_higher_order_operators = True  # such as flex_attention

    def __init__(self, depends: _Members) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._depends = depends

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        output = func(*args, **kwargs)
        members = 0
        for tensor in tensors_in((args, kwargs)):
            members |= self._depends.of(tensor)
        for tensor in tensors_in(output):
            self._depends.set(tensor, members)
        for place in _written(func):
            for tensor in tensors_in(kwargs.get(place) if isinstance(place, str) else args[place : place + 1]):
                self._depends.set(tensor, members)
        return output


@lru_cache(maxsize=1 << 12)
def _written(func: Any) -> tuple[int | str, ...]:
    """List the arguments that an operation writes to, by place or by name."""
    schema = getattr(func, "_schema", None)
    if schema is None or not schema.is_mutable:
        return ()
    return tuple(
        each.name if each.kwarg_only else place
        for place, each in enumerate(schema.arguments)
        if each.alias_info is not None and each.alias_info.is_write
    )


def _storage(tensor: Tensor) -> int | None:
    """Return what tells the memory of a tensor from that of others; None for what is no array in memory."""
    try:
        return tensor.untyped_storage()._cdata
    except (NotImplementedError, RuntimeError):
        return None


def tensors_in(thing: Any, depth: int = 3) -> Iterator[Tensor]:
    """Walk through the tensors in what a module is called with or returns.

    Args:
        thing: A tensor, a sequence, a mapping or a dataclass of such, or an object that has hidden states.
        depth: How deep others are looked into.

    Yields:
        The tensors, in order.

    Example:
        >>> import torch
        >>> [tensor.item() for tensor in tensors_in((torch.tensor(1), {"hidden": [torch.tensor(2)]}, "text"))]
        [1, 2]
    """
    if isinstance(thing, Tensor):
        yield thing
    elif depth and isinstance(thing, (tuple, list)):
        for each in thing:
            yield from tensors_in(each, depth - 1)
    elif depth and isinstance(thing, Mapping):
        for each in thing.values():
            yield from tensors_in(each, depth - 1)
    elif depth and is_dataclass(thing) and not isinstance(thing, type):
        for each in fields(thing):
            yield from tensors_in(getattr(thing, each.name, None), depth - 1)
    elif depth:
        for name in ("last_hidden_state", "hidden_states"):  # of an object of any class, as a site may return
            yield from tensors_in(getattr(thing, name, None), depth - 1)
