"""A saved checkpoint loaded as a model, with what its measurement depends on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ibtrack.replay.checkpoint import Checkpoint

Factory = str | Callable[..., nn.Module]


class LoadingError(ValueError):
    """A checkpoint cannot be loaded as it is, while others of the same run may be."""


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
            which is given them as one dictionary if it takes an argument.

    Raises:
        ValueError: An argument does not fit: it would do so for no checkpoint of the run.
        LoadingError: This checkpoint is damaged, or is none of this model.
    """
    raise NotImplementedError


def load_tokenizer(path: Path, *, trust_remote_code: bool = False) -> Any:
    """Load the tokenizer beside a checkpoint in Hugging Face format.

    Args:
        path: Folder of the checkpoint.
        trust_remote_code: Whether Python code that comes with it may be run.

    Raises:
        LoadingError: There is none, or it cannot be loaded.
    """
    raise NotImplementedError


def describe_loading(model: nn.Module, *, tokenizer: Any = None) -> dict[str, Any]:
    """Say what the numbers of a loaded model depend on, for the protocol: entries that JSON can hold.

    Args:
        model: The model.
        tokenizer: The tokenizer that comes with it.

    Returns:
        ``dtype`` of the weights, ``attention`` kernel or None where the model has none to choose, and ``tokenizer``, a
        hash or None.
    """
    raise NotImplementedError
