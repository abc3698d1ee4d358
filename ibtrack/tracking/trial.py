"""One block of the probe is tried before training: whether the model answers alike, and what its head predicts.

Letters: T block length, B blocks in a forward pass, D width, V vocabulary size.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ibtrack.capture.forward import logits_of
from ibtrack.capture.hooks import capture, output_tensor
from ibtrack.capture.isolation import undisturbed
from ibtrack.capture.sharded import SharedPasses
from ibtrack.capture.traces import REMEDY, TraceError
from ibtrack.distributed import buffers_of_first, on_any_process
from ibtrack.probe.probe import Probe
from ibtrack.record.keys import metric_key
from ibtrack.tracking.measurement import LOSSES, Forward, Layout, device_of, is_out_of_memory, predicts_tokens, rows_of

# shares of a change's root mean square. Decoders of transformers change nothing before the tokens that were exchanged,
# in float32 and in bfloat16; BERT, RoBERTa, T5 and BART at initialisation at least 4e-4, and in bfloat16 2e-3
UNCHANGED = 1e-4
# shares of the activations' root mean square. Sums are taken in another order where memory is aligned in another way,
# and by some operations of devices each time
ALIKE = 1e-5
ALIKE_ON_DEVICE = ALIKE_IN_HALF = 1e-2
# shares of a row's length, in the median over positions: kernels for other batch sizes add up in another order, by 1e-6
# in float32 and 1e-2 in bfloat16; tokens that an expert has no room for are some, and those of another block are all
BESIDE = 1e-4
BESIDE_ON_DEVICE = BESIDE_IN_HALF = 5e-2

SEES_AHEAD = (
    "the model's logits at a position depend on the tokens after it, as those of masked language models and of models "
    "with an encoder do, so they are no predictions of the next token"
)
SHIFTED = (
    "the model's logits at a position do not depend on the token at it, so they predict that token and not the next one"
)


COUPLED = (
    "the activations of a block depend on the other blocks of its batch, as with statistics over the batch; "
    "batch_size=1 reads every block alone"
)
TURNED = (
    "the model seems to take its inputs as (T, B), and the probe gives (B, T): beside another block a block has other "
    "activations than alone, and with the axes exchanged it has the same; pass "
    "forward=lambda model, inputs: model(inputs.T), activations of shape (T, B, D) are understood"
)


class Tried(NamedTuple):
    """What a trial has shown.

    Attributes:
        no_loss: Why the model's logits give no loss of the next token, or None if they do, or if there are none.
        coupled: Why the readings depend on the size of the batch, or None if they do not.
        to_say: What the user has to hear once.
    """

    no_loss: str | None
    coupled: str | None = None
    to_say: tuple[str, ...] = ()

    def notes(self) -> dict[str, str]:
        """Return the notes that every point has."""
        of_losses = {} if self.no_loss is None else dict.fromkeys(map(metric_key, LOSSES), self.no_loss)
        return of_losses if self.coupled is None else {**of_losses, "batch": self.coupled}


class _Pass(NamedTuple):
    """What a forward pass has given.

    Attributes:
        rows: Site to (B T, D) activations; (B T, V) ``logits`` if their layout is known.
        unknown: Shape of logits that do not have one row per position.
    """

    rows: dict[str, Tensor]
    unknown: tuple[int, ...] | None


def try_block(
    model: nn.Module,
    probe: Probe,
    sites: Mapping[str, str],
    layouts: Mapping[str, Layout],
    forward: Forward,
    passes: SharedPasses,
    *,
    batch_size: int | None = None,
) -> Tried:
    """Run one block of the probe twice, then with other tokens in its second half, then beside another block.

    Args:
        model: The model that will be measured.
        probe: The probe.
        sites: Site to bare module name.
        layouts: Layouts of the sites and of the logits, from `ibtrack.tracking.measurement.find_layouts`.
        forward: Runs the model on a batch of the probe's inputs.
        passes: Makes the forward passes; the same that ``find_layouts`` had.
        batch_size: Blocks per forward pass of a measurement, if it is given; a block that is always read alone is not
            tried beside another.

    Raises:
        TraceError: The model answers the same block in two ways, so that it keeps a state which cannot be put back.
        ValueError: The model takes its inputs with the positions first.
    """
    block = probe.inputs[:1].to(device_of(model))
    cut = block.shape[1] // 2 if "logits" in layouts else 0
    blocks = [block, block] + ([_exchanged(block, cut, probe.inputs)] if cut else [])

    def single(model: nn.Module, each: Tensor) -> _Pass:
        return _run(model, each, probe, sites, layouts, forward)

    trials = [partial(single, model, each) for each in blocks]
    beside = None if batch_size == 1 else _pair(probe, block)
    with undisturbed(model), buffers_of_first(model):
        first, second, *changed = passes.run(model, trials)  # all before any judgement: processes may judge differently
        pair = None
        if beside is not None:
            pair = _run_if_it_fits(model, partial(single, model, beside), passes)
    for site, rows in first.rows.items():
        if not _is_alike(rows, second.rows[site]):
            raise TraceError(
                f"measuring would change training: the same block gives other activations of {site} a second time, so "
                "the model draws from a generator or keeps a cache or a count that is not found in its modules and "
                f"cannot be put back; {REMEDY}"
            )
    changed_by = [] if pair is None else _what_a_neighbour_changes(first, pair, sites, block[0])
    if beside is not None and on_any_process(_may_be_turned(changed_by, first, block[0]), block.device):
        with undisturbed(model), buffers_of_first(model):
            if _is_time_first(model, beside, single, passes):
                raise ValueError(TURNED)
    coupled = COUPLED if changed_by else None
    misfit = None if first.unknown is None else _misfit(first.unknown, block)
    if not changed:
        return Tried(misfit, coupled, tuple(filter(None, (misfit, coupled))))
    logits = first.rows["logits"]
    predicted = _what_is_predicted(changed[0].rows["logits"] - logits, cut, logits.dtype)
    return Tried(predicted, coupled, () if coupled is None else (coupled,))


def _pair(probe: Probe, block: Tensor) -> Tensor | None:
    """Put the first block behind another one, which may be read before it if the axes are exchanged.

    Returns:
        (2, T), or None if there is no other block, or if the inputs have no blocks of positions.
    """
    other = probe.inputs[1:2].to(block.device)
    if len(probe.grid) != 2 or not len(other) or torch.equal(other, block):
        return None
    return torch.cat([other, block])


def _run_if_it_fits(model: nn.Module, single: Callable[[], _Pass], passes: SharedPasses) -> _Pass | None:
    """Make a pass, or none where two blocks at once do not fit into memory; a measurement then takes one at a time."""
    try:
        (result,) = passes.run(model, [single])
    except Exception as error:
        if is_out_of_memory(error):
            return None
        raise
    return result


def _run(
    model: nn.Module,
    blocks: Tensor,
    probe: Probe,
    sites: Mapping[str, str],
    layouts: Mapping[str, Layout],
    forward: Forward,
) -> _Pass:
    """Run some blocks."""
    rows: dict[str, Tensor] = {}
    grid = tuple(blocks.shape[: len(probe.grid)])

    def take(site: str, activations: Tensor) -> None:
        rows[site] = rows_of(site, activations, grid, layouts[site]).clone()

    def pick(output: Any, site: str) -> Tensor:
        return output_tensor(output, site, layouts[site].element)

    with undisturbed(model), capture(model, sites, take, pick=pick) as check:
        output = forward(model, blocks)
        check()
    logits = logits_of(output)
    if logits is None or not predicts_tokens(logits, probe):
        return _Pass(rows, None)
    if "logits" not in layouts:
        return _Pass(rows, tuple(logits.shape))
    take("logits", logits)
    return _Pass(rows, None)


def _misfit(shape: tuple[int, ...], block: Tensor) -> str:
    """Say why logits of another shape than the block's give no loss, and what to do."""
    return (
        f"the model's logits have shape {shape} for a block of shape {tuple(block.shape)}, and a loss needs one row "
        "per position; if the model gives all of them beside targets only, pass "
        "forward=lambda model, inputs: model(inputs, inputs)"
    )


def _what_a_neighbour_changes(alone: _Pass, pair: _Pass, sites: Mapping[str, str], tokens: Tensor) -> list[str]:
    """List the sites at which a block has other activations behind another block than alone.

    Args:
        alone: A pass of the block.
        pair: A pass of another block and of this one.
        sites: The sites.
        tokens: (T, …) inputs of the block.
    """
    return [site for site in sites if _differs(alone.rows[site], pair.rows[site][len(tokens) :])]


def _is_time_first(
    model: nn.Module, pair: Tensor, single: Callable[[nn.Module, Tensor], _Pass], passes: SharedPasses
) -> bool:
    """Whether a block is what it is alone once the axes of the inputs are exchanged, so that (T, B) is what is taken.

    Args:
        model: The model.
        pair: (2, T) another block and the block.
        single: Runs the model on a batch.
        passes: Makes the forward passes.
    """
    turned = [pair[1:].transpose(0, 1), pair.transpose(0, 1)]
    try:
        alone, both = passes.run(model, [partial(single, model, each) for each in turned])
    except (RuntimeError, ValueError, IndexError):  # the model does not take it this way round
        return False
    return not any(_differs(rows, both.rows[site][1::2]) for site, rows in alone.rows.items())


def _differs(alone: Tensor, beside: Tensor) -> bool:
    """Whether most rows differ by more than rounding."""
    change = (alone.double() - beside.double()).norm(dim=1) / alone.double().norm(dim=1).clamp_min(1e-30)
    tolerance = BESIDE if alone.device.type == "cpu" else BESIDE_ON_DEVICE
    return bool(change.nan_to_num().median() > (BESIDE_IN_HALF if alone.dtype.itemsize < 4 else tolerance))


def _may_be_turned(changed: Sequence[str], alone: _Pass, tokens: Tensor) -> bool:
    """Whether what a neighbour changes does not depend on the place in a block that is alone."""
    is_text = tokens.ndim == 1 and not tokens.is_floating_point()
    return bool(changed) and is_text and all(_is_by_token(alone.rows[site], tokens) for site in changed)


def _is_by_token(rows: Tensor, tokens: Tensor) -> bool:
    """Whether equal tokens have equal activations wherever they stand, as if each were a block of its own."""
    kinds, of_kind = tokens.unique(return_inverse=True)
    first = torch.full((len(kinds),), len(tokens), device=tokens.device)
    first = first.scatter_reduce(0, of_kind, torch.arange(len(tokens), device=tokens.device), "amin")
    return _is_alike(rows, rows[first[of_kind]])


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
