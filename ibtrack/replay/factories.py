"""A model made by a class or a function of the user's, and filled with the weights of a checkpoint.

A file of weights names them as the module that was trained had them: behind a prefix such as ``model.``, and behind
what ``torch.compile``, DDP and FSDP have put in between.
"""

from __future__ import annotations

import importlib
import inspect
import operator
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from ibtrack.capture.names import bare_name
from ibtrack.record.texts import printable, reason
from ibtrack.replay.errors import LoadingError
from ibtrack.replay.pickles import unread_in

Factory = str | Callable[..., nn.Module]
MOST_NAMES = 5  # of missing weights that a sentence shows


class Weight(NamedTuple):
    """A tensor of a checkpoint, before it is read.

    Attributes:
        name: Its name in the file.
        shape: Its shape.
        dtype: Its type.
    """

    name: str
    shape: torch.Size
    dtype: torch.dtype


def find_factory(factory: Factory) -> Callable[..., Any]:
    """Return what makes the model.

    Args:
        factory: A callable, or the name of one as ``module:name``; modules in the current folder are found.

    Raises:
        ValueError: There is no such module or name, or it cannot be called.
    """
    if not isinstance(factory, str):
        found: Any = factory
    else:
        module, _, name = factory.partition(":")
        if not module or not name:
            raise ValueError(f"factory must be given as module:name, such as mine.models:make, got {factory!r}")
        if os.getcwd() not in sys.path:  # where a command is typed, and not where it is installed
            sys.path.append(os.getcwd())
        try:
            found = operator.attrgetter(name)(importlib.import_module(module))
        except Exception as error:  # the module is somebody else's code, and runs when it is imported
            raise ValueError(f"factory must name what can be imported, got {factory!r} ({reason(error)})") from error
    if not callable(found):
        raise ValueError(f"factory must be a class or a function, got {factory!r}, which is {type(found).__name__}")
    return found


def make_model(factory: Factory, content: Mapping[str, Any], *, label: str) -> nn.Module:
    """Make a model whose weights are yet to be loaded, so that `torch.nn.init` draws none.

    A LightningModule then makes what it does in ``configure_model``, and sees the checkpoint in ``on_load_checkpoint``,
    as Lightning has it when it loads one.

    Args:
        factory: See `find_factory`. A class is called with those hyper-parameters that it takes as keywords, a function
            with a dictionary of all that could be read, or with nothing if it takes nothing.
        content: What is in the checkpoint, from which ``hyper_parameters`` are taken.
        label: What the checkpoint is called, for errors.

    Raises:
        ValueError: The factory does not exist, fails, or returns something else than a module.
        LoadingError: A class needs a hyper-parameter that could not be read without running code.
    """
    make = find_factory(factory)
    shown = factory if isinstance(factory, str) else getattr(factory, "__qualname__", repr(factory))
    arguments, options = _arguments(make, content, shown, label)
    try:
        with _NoInitialisation():
            model = make(*arguments, **options)
            if any(base.__name__ == "LightningModule" for base in type(model).__mro__):
                model.configure_model()
                model.on_load_checkpoint(content)
    except Exception as error:  # it is somebody else's code
        raise ValueError(f"factory {shown} fails for {label} ({reason(error)})") from error
    if not isinstance(model, nn.Module):
        raise ValueError(f"factory must return a torch.nn.Module, and {shown} returns {type(model).__name__}")
    return model


def _arguments(
    make: Callable[..., Any], content: Mapping[str, Any], shown: str, label: str
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Choose what a factory is called with.

    Raises:
        LoadingError: A class needs a hyper-parameter that could not be read without running code.
    """
    found = content.get("hyper_parameters")
    hyper_parameters: dict[str, Any] = dict(found) if isinstance(found, Mapping) else {}
    if not inspect.isclass(make):
        readable = {key: value for key, value in hyper_parameters.items() if unread_in(value) is None}
        return ((readable,) if _takes_one(make) else ()), {}
    options = _keywords(make, hyper_parameters, str(content.get("hparams_name") or ""))
    for key, value in options.items():
        kind = unread_in(value)
        if kind is not None:
            raise LoadingError(
                f"{label} has a hyper-parameter {printable(str(key))} of {printable(kind)}, which is not read, as that "
                f"would run code; in place of {shown} give a function that makes the model without it"
            )
    return (), options


def match_weights(model: nn.Module, weights: Iterable[Weight], *, label: str) -> dict[str, Weight]:
    """Find every weight of a model in a checkpoint.

    Args:
        model: The model.
        weights: The tensors of the checkpoint.
        label: What the checkpoint is called, for errors.

    Returns:
        Name in the model's ``state_dict`` to the tensor.

    Raises:
        LoadingError: Weights of the model are missing, or the checkpoint has others or of other shapes, or two sets of
            weights fit.
    """
    there = {bare_name(weight.name): weight for weight in weights}
    wanted = {bare_name(key): key for key, value in model.state_dict().items() if isinstance(value, torch.Tensor)}
    prefix = _prefix(list(wanted), list(there), label)
    inside = {name.removeprefix(prefix): weight for name, weight in there.items() if name.startswith(prefix)}
    missing, unexpected = sorted(wanted.keys() - inside.keys()), sorted(inside.keys() - wanted.keys())
    if missing or unexpected:
        raise LoadingError(key_sentence(label, missing, unexpected))
    shapes = {bare_name(key): value.shape for key, value in model.state_dict().items() if key in wanted.values()}
    others = [name for name in wanted if shapes[name] != inside[name].shape]
    if others:
        raise LoadingError(shape_sentence(label, [(name, inside[name].shape, shapes[name]) for name in others]))
    return {key: inside[name] for name, key in wanted.items()}


def cast_to_stored(model: nn.Module, matched: Mapping[str, Weight], dtype: torch.dtype | None) -> None:
    """Give a model the type that its weights were saved in, or another one.

    Where all have one type, so do afterwards the buffers that are not saved, as after Lightning's ``bf16-true``.

    Args:
        model: The model, which is changed.
        matched: Name in the model's ``state_dict`` to the stored tensor.
        dtype: Type to cast to; None for that of the stored tensors.
    """
    stored = {weight.dtype for weight in matched.values() if weight.dtype.is_floating_point}
    if dtype is not None or len(stored) == 1:
        model.to(dtype or stored.pop())
        return
    for name, tensor in model.state_dict(keep_vars=True).items():
        if name in matched and tensor.is_floating_point():
            tensor.data = tensor.data.to(matched[name].dtype)


def key_sentence(label: str, missing: list[str], unexpected: list[str]) -> str:
    """Say which weights a checkpoint lacks, and which it has that the model does not take.

    Args:
        label: What the checkpoint is called.
        missing: Names of weights that the model has and the checkpoint lacks.
        unexpected: Names of weights that the checkpoint has and the model lacks.
    """
    lacks = f"lacks {_names(missing)}" if missing else ""
    has = f"has {_names(unexpected)}, which the model does not take" if unexpected else ""
    return f"{label} does not fit the model: it {' and '.join(filter(None, (lacks, has)))}"


def shape_sentence(label: str, shapes: list[tuple[str, Iterable[int], Iterable[int]]]) -> str:
    """Say which weights have another shape than the model's.

    Args:
        label: What the checkpoint is called.
        shapes: Name, shape in the checkpoint, shape in the model of each.
    """
    name, stored, wanted = shapes[0]
    others = f", and {len(shapes) - 1} others differ as well" if len(shapes) > 1 else ""
    return (
        f"{label} does not fit the model: {printable(name)} has the shape {tuple(stored)} in it and {tuple(wanted)} in "
        f"the model{others}"
    )


def _names(names: list[str]) -> str:
    more = f" and {len(names) - MOST_NAMES} others" if len(names) > MOST_NAMES else ""
    return ", ".join(map(printable, names[:MOST_NAMES])) + more


def _prefix(wanted: list[str], there: list[str], label: str) -> str:
    """Find what stands before the names of a model in a checkpoint.

    Raises:
        LoadingError: All weights of the model are there twice, as those of a student and its teacher.
    """
    if set(wanted) <= set(there) or not wanted:
        return ""
    found = Counter(name.removesuffix(key) for key in _telling(wanted) for name in there if name.endswith(f".{key}"))
    whole = [prefix for prefix in found if {prefix + key for key in wanted} <= set(there)]
    if len(whole) > 1:
        raise LoadingError(
            f"{label} has the weights of the model more than once, behind {' and '.join(map(repr, sorted(whole)))}; "
            "let the factory return the module that was trained as a whole"
        )
    best = whole or [prefix for prefix, _ in found.most_common(1)]
    return best[0] if best else ""


def _telling(wanted: list[str]) -> list[str]:
    """Choose some names of weights by which the prefix is looked for: the longest ones, as least others end in them."""
    return sorted(wanted, key=len)[-MOST_NAMES:]


def _keywords(make: type, hyper_parameters: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Choose the hyper-parameters that a class takes, as Lightning's ``load_from_checkpoint`` does."""
    taken = _parameters(make)
    if name in taken:
        return {name: dict(hyper_parameters)}
    if any(parameter.kind == parameter.VAR_KEYWORD for parameter in taken.values()):
        return dict(hyper_parameters)
    return {key: value for key, value in hyper_parameters.items() if key in taken}


def _takes_one(make: Callable[..., Any]) -> bool:
    """Whether a function can be called with an argument."""
    kinds = {parameter.kind for parameter in _parameters(make).values()}
    return bool(kinds - {inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.VAR_KEYWORD})


def _parameters(make: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    """Return what a class or a function takes; nothing where it is written in C and does not tell."""
    try:
        return inspect.signature(make).parameters
    except (TypeError, ValueError):
        return {}


class _NoInitialisation(TorchFunctionMode):
    """Leaves parameters as they are where `torch.nn.init` would draw them, which takes longer than loading them."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Skip the call if it is of `torch.nn.init` and for a parameter: a buffer may be none that is saved."""
        options = kwargs or {}
        tensor = args[0] if args else options.get("tensor")
        if getattr(func, "__module__", None) == "torch.nn.init" and isinstance(tensor, nn.Parameter):
            return tensor
        return func(*args, **options)
