"""What a forward pass changes for good, found by comparing a model before and after it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from ibtrack.capture.holding import Held, local
from ibtrack.capture.sharded import sharded_modules

REMEDY = "pass forward=, a callable of the model and a batch of the probe's inputs that does not"
_INTEGERS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}  # by their size in bytes


class TraceError(ValueError):
    """Measuring a model would change its training."""


@contextlib.contextmanager
def refuse_traces(model: nn.Module) -> Iterator[None]:
    """Run a forward pass inside, by which no parameter, gradient or large tensor of the model may be changed.

    What `ibtrack.capture.isolation.undisturbed` puts back is not looked at; use it inside this context. Of parameters
    that are spread over processes each looks at its own share; those of FSDP1, which moves them about, are left out.

    Args:
        model: The model that will be run.

    Raises:
        TraceError: Parameters do not exist yet, or something is another after the forward pass; it is named.

    Example:
        >>> class Counting(nn.Linear):
        ...     def forward(self, rows: Tensor) -> Tensor:
        ...         self.bias.data += 1
        ...         return super().forward(rows)
        >>> model = Counting(2, 2)
        >>> try:
        ...     with refuse_traces(model):
        ...         output = model(torch.ones(1, 2))
        ... except TraceError as error:
        ...     print(str(error).partition(", and")[0])
        measuring would change training: the model's forward changes the parameter 'bias'
    """
    lazy = [name for name, parameter in model.named_parameters() if is_lazy(parameter)]
    if lazy:
        raise TraceError(
            f"the model's parameters must exist before it is measured, but {_named(lazy)} get their shape in the first "
            "forward pass; run one before training and before the tracker starts"
        )
    parameters = dict(_lasting_parameters(model))
    large = Held(model).too_large
    before = _totals(parameters, large)
    yield
    after = _totals(parameters, large)
    changed = [words for words, total in after.items() if total != before[words]]
    if changed:
        raise TraceError(
            f"measuring would change training: the model's forward changes the {_named(changed, quoted=False)}, and it "
            f"is not known how to undo that; {REMEDY}"
        )


def weight_sums(model: nn.Module) -> list[int]:
    """Sum the bits of every parameter, which tells whether others have taken their place.

    Args:
        model: The model; of parameters that are spread over processes this one's share counts.

    Example:
        >>> model = nn.Linear(2, 2)
        >>> before = weight_sums(model)
        >>> model.bias.data += 1
        >>> weight_sums(model) == before
        False
    """
    return [_total(own) for own in (local(parameter.detach()) for parameter in model.parameters()) if _has_bits(own)]


def _lasting_parameters(model: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """Name the parameters whose memory stays theirs, which that of a sharded model's gathered weights does not.

    Yields:
        Name and parameter; of a model under ``fully_shard`` this process's shares, of one under FSDP1 nothing.
    """
    if any(type(module).__name__ == "FullyShardedDataParallel" for module in model.modules()):
        return
    sharded = bool(sharded_modules(model))
    for name, parameter in model.named_parameters():
        if not sharded or hasattr(parameter, "to_local"):
            yield name, parameter


def _totals(parameters: Mapping[str, nn.Parameter], large: Mapping[str, Tensor]) -> dict[str, int | None]:
    """Sum the bits of everything that is compared; None for what there is not."""
    tensors: dict[str, Tensor | None] = {f"tensor {name!r}": tensor for name, tensor in large.items()}
    for name, parameter in parameters.items():
        tensors |= {f"parameter {name!r}": parameter, f"gradient of {name!r}": parameter.grad}
    own = {words: None if tensor is None else local(tensor.detach()) for words, tensor in tensors.items()}
    return {words: None if tensor is None or not _has_bits(tensor) else _total(tensor) for words, tensor in own.items()}


def _has_bits(tensor: Tensor) -> bool:
    """Whether a tensor is an array in memory, and not something else in its guise."""
    return type(tensor) is Tensor and tensor.layout == torch.strided and not tensor.is_meta


def _total(tensor: Tensor) -> int:
    """Sum a tensor's bits, read as integers."""
    flat = torch.view_as_real(tensor) if tensor.is_complex() else tensor
    return int(flat.detach().contiguous().view(_INTEGERS[flat.element_size()]).sum(dtype=torch.int64))


def _named(names: list[str], *, quoted: bool = True) -> str:
    """Name the first few things of a list."""
    shown = ", ".join(repr(name) if quoted else name for name in names[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"
