"""One block of the probe is tried before training: whether the model answers twice alike, and what its head predicts.

Letters: T block length, D width, V vocabulary size.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ibtrack.capture.forward import logits_of
from ibtrack.capture.hooks import capture, output_tensor
from ibtrack.capture.isolation import undisturbed
from ibtrack.capture.sharded import SharedPasses
from ibtrack.capture.traces import REMEDY, TraceError
from ibtrack.distributed import buffers_of_first
from ibtrack.probe.probe import Probe
from ibtrack.tracking.measurement import Forward, Layout, device_of

# shares of a change's root mean square. Decoders of transformers change nothing before the tokens that were exchanged,
# in float32 and in bfloat16; BERT, RoBERTa, T5 and BART at initialisation at least 4e-4, and in bfloat16 2e-3
UNCHANGED = 1e-4
# shares of the activations' root mean square. Sums are taken in another order where memory is aligned in another way,
# and by some operations of devices each time
ALIKE = 1e-5
ALIKE_ON_DEVICE = ALIKE_IN_HALF = 1e-2

SEES_AHEAD = (
    "the model's logits at a position depend on the tokens after it, as those of masked language models and of models "
    "with an encoder do, so they are no predictions of the next token"
)
SHIFTED = (
    "the model's logits at a position do not depend on the token at it, so they predict that token and not the next one"
)


def try_block(
    model: nn.Module,
    probe: Probe,
    sites: Mapping[str, str],
    layouts: Mapping[str, Layout],
    forward: Forward,
    passes: SharedPasses,
) -> str | None:
    """Run one block of the probe twice, then with other tokens in its second half.

    Args:
        model: The model that will be measured.
        probe: The probe.
        sites: Site to bare module name.
        layouts: Layouts of the sites and of the logits, from `ibtrack.tracking.measurement.find_layouts`.
        forward: Runs the model on a batch of the probe's inputs.
        passes: Makes the forward passes; the same that ``find_layouts`` had.

    Returns:
        Why the model's logits are no predictions of the next token, or None if they are, or if there are none.

    Raises:
        TraceError: The model answers the same block in two ways, so that it keeps a state which cannot be put back.
    """
    block = probe.inputs[:1].to(device_of(model))
    cut = block.shape[1] // 2 if "logits" in layouts else 0
    blocks = [block, block] + ([_exchanged(block, cut, probe.inputs)] if cut else [])
    trials = [partial(_run, model, each, sites, layouts, forward) for each in blocks]
    with undisturbed(model), buffers_of_first(model):
        first, second, *changed = passes.run(model, trials)  # all before any judgement: processes may judge differently
    for site, rows in first.items():
        if not _is_alike(rows, second[site]):
            raise TraceError(
                f"measuring would change training: the same block gives other activations of {site} a second time, so "
                "the model draws from a generator or keeps a cache or a count that is not found in its modules and "
                f"cannot be put back; {REMEDY}"
            )
    if not changed:
        return None
    return _what_is_predicted(changed[0]["logits"] - first["logits"], cut, first["logits"].dtype)


def _run(
    model: nn.Module,
    block: Tensor,
    sites: Mapping[str, str],
    layouts: Mapping[str, Layout],
    forward: Forward,
) -> dict[str, Tensor]:
    """Run a block; (T, D) activations of every site, and (T, V) ``logits`` if their layout is known."""
    rows: dict[str, Tensor] = {}

    def take(site: str, activations: Tensor) -> None:
        rows[site] = activations.detach().flatten(0, -2).clone()  # of one block, so in the order of time either way

    def pick(output: Any, site: str) -> Tensor:
        return output_tensor(output, site, layouts[site].element)

    with undisturbed(model), capture(model, sites, take, pick=pick) as check:
        output = forward(model, block)
        check()
    logits = logits_of(output)
    if "logits" in layouts and logits is not None:
        take("logits", logits)
    return rows


def _is_alike(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors are equal but for rounding, and not a number in the same places."""
    if one.shape != other.shape or not torch.equal(one.isnan(), other.isnan()):
        return False
    tolerance = ALIKE if one.device.type == "cpu" else ALIKE_ON_DEVICE
    if one.dtype.itemsize < 4:
        tolerance = ALIKE_IN_HALF
    change = (one.double() - other.double()).nan_to_num()
    return bool(_size(change) <= tolerance * _size(one.double().nan_to_num()))


def _exchanged(block: Tensor, cut: int, tokens: Tensor) -> Tensor:
    """Exchange every token from a position on for another one that the probe has."""
    known = tokens.unique().to(block.device)
    places = torch.searchsorted(known, block[:, cut:].contiguous())
    return torch.cat([block[:, :cut], known[(places + 1) % len(known)]], dim=1)


def _what_is_predicted(change: Tensor, cut: int, dtype: torch.dtype) -> str | None:
    """Tell what logits predict from how they change where the tokens from a position on are exchanged.

    Args:
        change: (T, V) change of the logits.
        cut: The first position whose token is another.
        dtype: Type that they were worked out in.
    """
    change = change.double()
    before, at, after = (_size(part) for part in (change[:cut], change[cut], change[cut:]))
    noise = max(UNCHANGED, torch.finfo(dtype).eps / 4) * after
    if not bool(after > 0):  # a head of zeros, or not a number
        return None
    if before > noise:
        return SEES_AHEAD
    return SHIFTED if at <= noise else None


def _size(values: Tensor) -> Tensor:
    return values.square().mean().sqrt()
