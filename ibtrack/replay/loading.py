"""A saved checkpoint loaded as a model, with what its measurement depends on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ibtrack.record.texts import reason
from ibtrack.replay.checkpoint import HUGGING_FACE, LIGHTNING, Checkpoint
from ibtrack.replay.errors import LoadingError
from ibtrack.replay.factories import Factory, Weight, cast_to_stored, make_model, match_weights
from ibtrack.replay.pickles import read_tensors

__all__ = ["Factory", "LoadingError", "load_model", "load_tokenizer"]

ALIGNED = 64  # bytes at whose multiples PyTorch puts tensors


def load_model(
    path: Path,
    checkpoint: Checkpoint,
    *,
    device: str | torch.device | None = None,
    dtype: str | torch.dtype | None = None,
    attention: str | None = None,
    device_map: str | Mapping[str, Any] | None = None,
    trust_remote_code: bool = False,
    factory: Factory | None = None,
) -> nn.Module:
    """Load a checkpoint as a model in eval mode.

    Every weight of the model comes from the checkpoint, and every weight in it is taken; otherwise it is refused. No
    code in a checkpoint is run unless ``trust_remote_code`` says so: pickles are read for their tensors alone.

    Args:
        path: What `Source.fetch` has returned.
        checkpoint: The checkpoint.
        device: Device of the model; by default the CPU.
        dtype: Type of the weights, such as ``bfloat16``; by default that in which they were saved.
        attention: Attention kernel of a model of transformers, such as ``sdpa`` or ``eager``; by default what
            transformers chooses.
        device_map: Devices of the parts of a model that is too large for one, such as ``auto``, in place of ``device``.
        trust_remote_code: Whether Python code that comes with a checkpoint may be run.
        factory: For checkpoints of Lightning and ``torch.distributed.checkpoint``, what makes the model, as a callable
            or as ``module:name``: a class, which is given the hyper-parameters in the file as keywords, or a function,
            which is given them as one dictionary if it takes an argument. It may return a module whose weights stand
            in the file behind a prefix, such as ``model.``.

    Raises:
        ValueError: An argument does not fit, for this or for any checkpoint of the run.
        LoadingError: This checkpoint is damaged, or is none of this model.
    """
    kind, place = _dtype(dtype), _device(device)
    if checkpoint.layout == HUGGING_FACE:
        if factory is not None:
            raise ValueError(
                f"factory is for checkpoints of Lightning and of DCP; {checkpoint.label} has a config.json"
            )
        from ibtrack.replay.hugging_face import load_pretrained  # here, as the others need no transformers

        model = load_pretrained(
            path,
            label=checkpoint.label,
            device=place,
            dtype=kind,
            attention=attention,
            device_map=device_map,
            trust_remote_code=trust_remote_code,
        )
        return _aligned(model).eval()
    for name, given in (("attention", attention), ("device_map", device_map)):
        if given is not None:
            raise ValueError(
                f"{name} is for checkpoints in Hugging Face format; let the factory of {checkpoint.label} set it"
            )
    if factory is None:
        raise ValueError(
            f"factory must say what makes the model of {checkpoint.label}, as module:name of a class or a function"
        )
    load = _load_lightning if checkpoint.layout == LIGHTNING else _load_distributed
    return load(path, checkpoint.label, factory, place, kind).eval()


def load_tokenizer(path: Path, *, trust_remote_code: bool = False) -> Any:
    """Load the tokenizer beside a checkpoint in Hugging Face format.

    Args:
        path: Folder of the checkpoint.
        trust_remote_code: Whether Python code that comes with it may be run.

    Raises:
        LoadingError: There is none, or it cannot be loaded.
    """
    from ibtrack.replay import hugging_face

    return hugging_face.load_tokenizer(path, trust_remote_code=trust_remote_code)


def _load_lightning(
    path: Path, label: str, factory: Factory, device: torch.device, dtype: torch.dtype | None
) -> nn.Module:
    content = read_tensors(path)
    if not isinstance(content, dict) or not isinstance(content.get("state_dict"), dict):
        raise LoadingError(f"{label} has no state_dict, so Lightning has not written it")
    stored = {name: value for name, value in content["state_dict"].items() if isinstance(value, Tensor)}
    model = make_model(factory, content, label=label)
    weights = [Weight(name, value.shape, value.dtype) for name, value in stored.items()]
    matched = match_weights(model, weights, label=label)
    cast_to_stored(model, matched, dtype)
    model.to(device)
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if name in matched:
                tensor.copy_(stored[matched[name].name])
    return model


def _load_distributed(
    path: Path, label: str, factory: Factory, device: torch.device, dtype: torch.dtype | None
) -> nn.Module:
    from ibtrack.replay.distributed_files import BESIDE, read_into, stored_weights

    beside = read_tensors(path / BESIDE) if (path / BESIDE).is_file() else {}
    model = make_model(factory, beside if isinstance(beside, dict) else {}, label=label)
    matched = match_weights(model, stored_weights(path, label=label), label=label)
    cast_to_stored(model, matched, dtype)
    model.to(device)
    state = model.state_dict()
    read_into({weight.name: state[name] for name, weight in matched.items()}, path, label=label)
    return model


def _aligned(model: nn.Module) -> nn.Module:
    """Move weights that lie in a mapped file to where PyTorch puts tensors of its own.

    A library of matrix products may add up in another order where memory is not aligned (oneMKL promises equal digits
    for arrays at multiples of 64 bytes only), and weights in a mapped file lie wherever its header ends. The file is
    also no longer in use then, so that it can be deleted.
    """
    for tensor in [*model.parameters(), *model.buffers()]:
        if tensor.device.type == "cpu" and tensor.data_ptr() % ALIGNED:
            tensor.data = tensor.data.clone()
    return model


def _dtype(dtype: str | torch.dtype | None) -> torch.dtype | None:
    """Return the type of a name.

    Raises:
        ValueError: There is no such floating point type.
    """
    found = getattr(torch, dtype, None) if isinstance(dtype, str) else dtype
    if found is None and dtype in (None, "auto"):
        return None
    if not isinstance(found, torch.dtype) or not found.is_floating_point:
        raise ValueError(f"dtype must be a floating point type, such as 'bfloat16' or 'float32', got {dtype!r}")
    return found


def _device(device: str | torch.device | None) -> torch.device:
    """Return the device of a name.

    Raises:
        ValueError: There is no such device on this machine.
    """
    try:
        found = torch.device(device or "cpu")
        torch.empty(0, device=found)
    except (RuntimeError, AssertionError) as error:  # PyTorch asserts that it was built with a device
        raise ValueError(
            f"device must be one of this machine, such as 'cpu' or 'cuda', got {device!r} ({reason(error)})"
        ) from error
    return found
