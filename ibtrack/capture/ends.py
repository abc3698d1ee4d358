"""The two ends of the residual stream: the token embedding before the blocks, and the norm after them.

Letters: T block length, B blocks in a forward pass, D width.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence

from torch import nn

from ibtrack.capture.flow import Call, Flow


def find_embedding(modules: Mapping[str, nn.Module], flow: Flow | None = None) -> str | None:
    """Find the token embedding: what a Hugging Face model says it is, or the first embedding.

    If it is known what runs, and this one does not run once, it is the first embedding that turns the block's tokens
    into one row per position.

    Args:
        modules: Bare name to module, from `ibtrack.capture.names.named_modules`.
        flow: What ran in a forward pass over one block, if there was one.

    Returns:
        Bare name of the module, or None if there is none.

    Example:
        >>> find_embedding(dict(nn.Sequential(nn.Linear(2, 2), nn.Embedding(9, 4)).named_modules()))
        '1'
    """
    declared = _declared(modules)
    if flow is None or (declared is not None and _has_one_row_per_position(flow.of(declared), flow)):
        return declared
    for call in flow.calls:
        is_embedding = isinstance(modules[call.name], nn.Embedding) and any(value.are_tokens for value in call.given)
        if is_embedding and _has_one_row_per_position(flow.of(call.name), flow):
            return call.name
    return None


def _declared(modules: Mapping[str, nn.Module]) -> str | None:
    """Return the name of what a Hugging Face model says its embedding is, or of the first embedding."""
    for candidate in modules.values():
        if hasattr(candidate, "get_input_embeddings"):
            with contextlib.suppress(NotImplementedError):  # transformers: a model without a token embedding
                embedding = candidate.get_input_embeddings()  # type: ignore[operator]  # a method, as hasattr implies
                return next((name for name, module in modules.items() if module is embedding), None)
    return next((name for name, module in modules.items() if isinstance(module, nn.Embedding)), None)


def _has_one_row_per_position(calls: Sequence[Call], flow: Flow) -> bool:
    return len(calls) == 1 and any(value.has_rows(flow.grid) for value in calls[0].made)


def find_final(blocks: Sequence[str], modules: Mapping[str, nn.Module], flow: Flow) -> str | None:
    """Find the final norm: what the output of the last block passes through before any layer with a matrix.

    A norm is known by its parameters, which are vectors as long as the stream is wide, or, where it has none, by the
    name of its class.

    Args:
        blocks: Bare names of the blocks.
        modules: Bare name to module.
        flow: What ran in a forward pass over one block.

    Returns:
        Bare name of the norm, or None if there is no such module, as in a model that calls a function.
    """
    last = max((call for name in blocks for call in flow.of(name)), key=lambda call: call.end, default=None)
    if last is None:
        return None
    after = [call for call in flow.calls if call.begin > last.end]
    for call in after:
        takes = [value for value in call.given if value.has_rows(flow.grid) and _comes_from(value.members, last, flow)]
        if not takes:
            continue
        if any(_is_norm(modules[call.name], value.shape[-1]) for value in takes) and _returns(call, takes[0].shape):
            return call.name if len(flow.of(call.name)) == 1 else None
        if _has_matrix(modules[call.name]) and not any(call.holds(other) for other in after):
            return None  # the head begins
    return None


def _comes_from(members: int, last: Call, flow: Flow) -> bool:
    """Whether something depends on the last block, where that is known: a block by another name has no bit."""
    bit = flow.bits.get(last.name)
    return bit is None or bool(members & bit)


def _returns(call: Call, shape: tuple[int, ...]) -> bool:
    return any(value.is_real and value.shape == shape for value in call.made)


def _is_norm(module: nn.Module, width: int) -> bool:
    parameters = list(module.parameters())
    if not parameters:
        return "norm" in type(module).__name__.lower()
    return all(tuple(parameter.shape) == (width,) for parameter in parameters)


def _has_matrix(module: nn.Module) -> bool:
    return any(parameter.ndim > 1 for parameter in module.parameters())
