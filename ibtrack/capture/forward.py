"""A model run on the inputs of a probe, and the loss of its own head on them.

Letters: N positions, B blocks of a batch, T block length, V vocabulary size.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ibtrack.capture.names import named_modules

LOSS_ROWS = 1 << 8  # rows of logits in float32 at a time on a CPU: 50 MB at a vocabulary of 50,000
ACCELERATOR_LOGITS = 1 << 27  # logits in float32 at a time on an accelerator, where calls are dear: 512 MB


def default_forward(model: nn.Module, inputs: Tensor) -> Any:
    """Call ``model(inputs)``; a Hugging Face model is told to keep no cache of keys and values.

    A LightningModule that holds a single model and has no ``forward`` of its own is replaced by that model.

    Args:
        model: The model, or what wraps it.
        inputs: A batch of the probe's inputs.

    Returns:
        Whatever the model returns.
    """
    target = _callable_part(model)
    if "use_cache" in inspect.signature(target.forward).parameters:
        return target(inputs, use_cache=False)
    return target(inputs)


def check_text_fits(model: nn.Module, tokens: Tensor) -> None:
    """Compare token blocks with the vocabulary and the context that the model declares.

    On a GPU an id beyond the vocabulary would end the process, and rotary positions run past their context unnoticed.

    Args:
        model: The model, with an embedding and, if it comes from transformers, a configuration.
        tokens: (S, T) token ids.

    Raises:
        ValueError: A token id is beyond the vocabulary, or the blocks are longer than the context.
    """
    target = next((m for m in named_modules(model).values() if hasattr(m, "get_input_embeddings")), None)
    if target is None:
        embedding = next((m for m in model.modules() if isinstance(m, nn.Embedding)), None)
    else:
        embedding = target.get_input_embeddings()  # type: ignore[operator]  # a method, where nn.Module has any member
    vocabulary = getattr(embedding, "num_embeddings", None)
    if vocabulary is not None and int(tokens.max()) >= vocabulary:
        raise ValueError(
            f"the probe's token ids must lie below the model's vocabulary of {vocabulary}, got {int(tokens.max())}; "
            "was it made with the tokenizer that the model trains on?"
        )
    context = getattr(getattr(target, "config", None), "max_position_embeddings", None)
    if context is not None and tokens.shape[1] > context:
        raise ValueError(f"the probe's blocks must fit the model's context of {context}, got {tokens.shape[1]} tokens")


def next_token_loss(output: Any, targets: Tensor, rows: Tensor, *, time_first: bool = False) -> Tensor | None:
    """Sum the cross entropies of the model's own head over some positions, in nats.

    Args:
        output: What the model returned: logits (B, T, V), or something that holds them.
        targets: (N,) tokens that follow the positions.
        rows: (N,) indices of the positions in the flattened (B, T).
        time_first: Whether the logits are (T, B, V).

    Returns:
        () float64, or None if the output holds no logits over these tokens.

    Example:
        >>> loss = next_token_loss(torch.zeros(1, 3, 8), targets=torch.tensor([5]), rows=torch.tensor([0]))
        >>> round(float(loss), 4)  # log 8
        2.0794
    """
    logits = logits_of(output)
    if logits is None or logits.ndim != 3:
        return None
    flat = (logits.transpose(0, 1) if time_first else logits).flatten(0, 1)  # (B T, V)
    if flat.device.type == "cuda":
        from ibtrack.capture.fused_loss import row_logsumexps  # which imports Triton, where it is

        sums = row_logsumexps(flat)
        if sums is not None:
            return (sums.index_select(0, rows).double() - flat[rows, targets].double()).sum()
    return _loss_by_tables(flat, targets, rows)


def _loss_by_tables(flat: Tensor, targets: Tensor, rows: Tensor) -> Tensor:
    """Do it for (B T, V) logits by torch alone, which writes tables of their size."""
    wanted = torch.zeros(len(flat), dtype=torch.int64, device=flat.device).index_copy_(0, rows, targets)
    at_once = LOSS_ROWS if flat.device.type == "cpu" else max(1, ACCELERATOR_LOGITS // flat.shape[1])
    losses = [  # in pieces: never a float32 copy of all logits
        -_log_probabilities(piece).gather(1, target.unsqueeze(1)).squeeze(1)
        for piece, target in zip(flat.split(at_once), wanted.split(at_once), strict=True)
    ]
    return torch.cat(losses).index_select(0, rows).double().sum()


def _log_probabilities(logits: Tensor) -> Tensor:
    """Return the (n, V) logarithms of softmax, float32.

    On a GPU torch casts float16 to float32 within the softmax, but bfloat16 in a pass of its own, over a table of twice
    the size. Every bfloat16 number of a size between 6e-5 and 65504 is a float16 number as well, and smaller ones are
    off by 3e-8 at most. Below -65504 a logit counts as minus infinity, as those do that are to have no probability.
    """
    if logits.device.type == "cuda" and logits.dtype == torch.bfloat16:
        logits = logits.half()
    return logits.log_softmax(-1, dtype=torch.float32)


def logits_of(output: Any) -> Tensor | None:
    """Return the floating point tensor that a model returned by itself, first in a tuple, or as ``logits``.

    Args:
        output: What the model returned.

    Returns:
        The tensor, or None if there is none.

    Example:
        >>> logits_of({"logits": torch.ones(1)}), logits_of("text")
        (tensor([1.]), None)
    """
    if isinstance(output, Mapping):
        output = output.get("logits")
    elif isinstance(output, tuple):
        output = output[0]
    output = getattr(output, "logits", output)
    return output if isinstance(output, Tensor) and output.is_floating_point() else None


def _callable_part(model: nn.Module) -> nn.Module:
    """Return the model that is to be called: the only child of a module without a ``forward`` of its own."""
    children = list(model.children())
    inherited = type(model).forward.__module__ in ("lightning.pytorch.core.module", "torch.nn.modules.module")
    return children[0] if inherited and len(children) == 1 else model
