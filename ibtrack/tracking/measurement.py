"""One measurement: the probe goes through the model, activations go to the plane, and the plane gives numbers.

Letters: T block length, B blocks in a forward pass, D width, N positions of the probe, V vocabulary size.
"""

from __future__ import annotations

import contextlib
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ibtrack.capture.forward import logits_of, next_token_loss
from ibtrack.capture.hooks import CaptureError, FiredError, capture, output_tensor
from ibtrack.capture.isolation import undisturbed
from ibtrack.capture.names import named_modules
from ibtrack.capture.sharded import SharedPasses, waits_for_failed
from ibtrack.capture.streams import first_inputs, stream_elements
from ibtrack.capture.traces import TraceError, refuse_traces
from ibtrack.distributed import (
    MeasurementError,
    buffers_of_first,
    on_any_process,
    raise_together,
    rank,
    sum_over_processes,
    together,
    what_failed,
    world_size,
)
from ibtrack.information.devices import to_cpu_at_once
from ibtrack.information.options import SoftOptions
from ibtrack.information.readings import Readings
from ibtrack.information.spectrum import Geometry
from ibtrack.information.transforms import CloudStatistics, Transform
from ibtrack.metrics.graphed_readings import GraphedReadings, why_no_graph
from ibtrack.metrics.plane import InformationPlane, places_of_mean
from ibtrack.probe.kgrams import label_entropy
from ibtrack.probe.probe import Probe
from ibtrack.record.influences import Influences
from ibtrack.record.keys import metric_key
from ibtrack.record.texts import reason

LOSSES = ("probe_loss", "variational_floor")
Forward = Callable[[nn.Module, Tensor], Any]
BLOCKS_AT_ONCE, TOKENS_ON_ACCELERATOR = 16, 1 << 14  # in a forward pass of the probe on a CPU, and on an accelerator
ROW_BYTES = 1 << 30  # for the rows of sites that are measured in one pass
ROW_SHARE = 16  # on an accelerator at least that, and a sixteenth of its memory
KEPT_BYTES = 1 << 26  # rows in the CPU's memory are kept until the next measurement: fresh pages cost more than they do


class MemoryExhausted(MeasurementError):
    """A batch of the probe did not fit into memory, on this process or on another."""


class Layout(NamedTuple):
    """The layout of the activations that a site hands over.

    Attributes:
        width: Width D.
        time_first: Whether activations are (T, B, D), as in PyTorch's own layers by default, and not (B, T, D).
        element: Where in a tuple that the site returns they are.
    """

    width: int
    time_first: bool
    element: int = 0


class _Batch(NamedTuple):
    """Some blocks of the probe on the model's device.

    Attributes:
        inputs: (B, …) inputs of the model.
        rows: (m,) kept positions, as rows of the flattened activations.
        positions: (m,) the same positions, as positions of the probe.
        recorded: Whether the batch counts. A process with fewer blocks than others runs a block that does not, since
            forward passes of a sharded model need all processes.
    """

    inputs: Tensor
    rows: Tensor
    positions: Tensor
    recorded: bool


Receive = Callable[[str, Tensor, _Batch], None]


class Measurement:
    """Runs a probe through a model and reads its sites. Under several processes each runs its share of the blocks.

    Args:
        probe: The probe to run.
        sites: Site to bare module name.
        layouts: Layouts of the sites and of the logits, see `find_layouts`.
        options: How activations are turned into soft assignments.
        forward: Runs the model on a batch of the probe's inputs.
        batch_size: Blocks per forward pass, see `blocks_at_once` for the default; halved whenever that many do not fit
            into memory.
        device: Device of the model.
        max_memory: Bytes for the rows of the sites that are measured in one pass over the probe, see `row_bytes` for
            the default. If all sites need more, the probe is run several times.
        geometry_rows: Positions from which the geometry of every site is worked out; 0 for none.
        no_loss: Whether the model's logits are no predictions of the next token; then the loss is not a number.
        passes: Makes the forward passes; the same that `find_layouts` had.
        cuda_graph: Whether the readings are to be a CUDA graph, see `ibtrack.metrics.graphed_readings`.

    Attributes:
        no_graph: Why they are none though they are to be one; empty otherwise.
    """

    def __init__(
        self,
        probe: Probe,
        sites: Mapping[str, str],
        layouts: Mapping[str, Layout],
        *,
        options: SoftOptions,
        forward: Forward,
        passes: SharedPasses,
        batch_size: int | None = None,
        device: torch.device,
        max_memory: int | None = None,
        geometry_rows: int = 0,
        no_loss: bool = False,
        cuda_graph: bool = False,
    ) -> None:
        self._probe, self._sites, self._layouts, self._forward = probe, sites, layouts, forward
        self._passes = passes
        self._widths = {site: layouts[site].width for site in sites}
        self._device, self._options, self._geometry_rows = device, options, geometry_rows
        self.batch_size = batch_size or blocks_at_once(probe, device)
        self._batches = _batches(probe, self.batch_size, device)
        tells_loss = probe.is_text and "output/token" in probe.label_sets and "logits" in layouts
        self._label_entropy = label_entropy(probe.label_sets["output/token"]) if tells_loss and not no_loss else None
        self._no_loss = no_loss
        names = list(sites)
        places_of_mean(names, options.mean_over)  # raises at the start where they are not measured
        widest = max(names, key=self._widths.__getitem__)
        together = max(1, (max_memory or row_bytes(device)) // self._plane([widest]).num_bytes)
        self._planes = [self._plane(names[start : start + together]) for start in range(0, len(names), together)]
        self.no_graph = why_no_graph(self._planes) if cuda_graph else ""
        self._graphed = GraphedReadings(self._planes[0]) if cuda_graph and not self.no_graph else None

    def _plane(self, names: Sequence[str]) -> InformationPlane:
        widths = {site: self._widths[site] for site in names}
        plane = InformationPlane(self._probe, widths, options=self._options, geometry_rows=self._geometry_rows)
        return plane.to(self._device)

    def __call__(self, model: nn.Module) -> tuple[dict[str, float], dict[str, str], Influences | None]:
        """Measure now.

        Returns:
            Metric key to value, site to what is wrong with it, and what each document adds to the values.

        Raises:
            MeasurementError: On all processes, if the forward pass or a site failed on one, or a single block does not
                fit into memory.
        """
        read: list[Readings] = []
        cosines: list[Tensor] = []
        geometries: list[Geometry] = []
        faults: dict[str, str] = {}
        for plane in self._planes:
            try:
                loss = self._fill_in_batches(model, plane)
                with together(self._device), plane.sync_context():
                    read.append(plane.readings() if self._graphed is None else self._graphed())
                    cosines.append(plane.mean_cosines())
                    geometries += filter(None, [plane.geometry()])
            finally:
                if not self._keeps_rows(plane):
                    plane.release()
            faults |= plane.faults()
        sites = list(self._sites)
        # one transfer, and then many small steps, at which a CPU is faster
        readings, mean_cosines, geometry = to_cpu_at_once(
            (Readings.join(read), torch.cat(cosines), Geometry.join(geometries) if geometries else None)
        )
        values = plane.numbers_by_key(readings, mean_cosines, sites, geometry)
        if self._no_loss:
            values |= dict.fromkeys(map(metric_key, LOSSES), math.nan)
        if loss is not None and self._label_entropy is not None:
            values |= {metric_key("probe_loss"): loss, metric_key("variational_floor"): self._label_entropy - loss}
        return values, faults, plane.influences(readings, sites)

    def _keeps_rows(self, plane: InformationPlane) -> bool:
        """Say whether the memory of a plane's rows is kept until the next measurement."""
        return self._graphed is not None or (self._device.type == "cpu" and plane.num_bytes <= KEPT_BYTES)

    def _fill_in_batches(self, model: nn.Module, plane: InformationPlane) -> float | None:
        """Fill a plane; begin again with half as many blocks at once where memory runs out.

        All processes do the same, whichever of them ran out.

        Returns:
            The mean loss over all positions, or None if the model hands over no logits.

        Raises:
            MemoryExhausted: A single block does not fit into memory.
        """
        while True:
            plane.reset()
            try:
                return self._fill(model, plane)
            except MemoryExhausted:
                if self.batch_size == 1:
                    raise
            if self._device.type == "cuda":
                torch.cuda.empty_cache()  # the error is gone here, and with it what its traceback held on to
            self.batch_size //= 2
            self._batches = _batches(self._probe, self.batch_size, self._device)

    def _fill(self, model: nn.Module, plane: InformationPlane) -> float | None:
        """Pass the probe through the model to the plane, after a pass for the transform where there is one."""
        transforms: dict[str, Transform] = {}

        def observe(site: str, activations: Tensor, batch: _Batch) -> None:
            statistics.add(site, activations, batch.rows)

        def measure(site: str, activations: Tensor, batch: _Batch) -> None:
            changed = transforms[site](activations) if transforms else activations
            plane.update(site, changed, batch.positions, batch.rows, untransformed=activations)

        if self._device.type != "cpu" and self._options.transform == "none" and not self._geometry_rows:
            return self._run(model, plane.sites, _Together(plane, max(len(batch.rows) for batch in self._batches)))
        if self._options.transform != "none":
            statistics = CloudStatistics(plane.widths, self._options.transform, self._device)
            self._run(model, plane.sites, observe)
            transforms = statistics.transforms()
        return self._run(model, plane.sites, measure)

    def _run(self, model: nn.Module, names: Sequence[str], receive: Receive) -> float | None:
        """Run this process's blocks through the model.

        Returns:
            The mean loss over all positions of all processes, or None if the model hands over no logits.

        Raises:
            MemoryExhausted: Memory ran out on one of the processes.
        """
        error: Exception | None = None
        losses: list[Tensor] = []
        sites = {site: self._sites[site] for site in names}
        batches = [partial(self._run_batch, model, batch, sites, receive) for batch in self._batches]
        try:
            with undisturbed(model), buffers_of_first(model):
                losses = [loss for of_batch in self._passes.run(model, batches) for loss in of_batch]
        except Exception as problem:
            error = problem
            say_why_others_wait(model, error)
        if on_any_process(is_out_of_memory(error), self._device):
            sentence = what_failed(error, self._device)  # all processes say it, as it is gathered from all
            raise MemoryExhausted(sentence if error is None else reason(error))
        raise_together(error, self._device)
        return float(sum_over_processes(torch.stack(losses).sum())) / self._probe.num_positions if losses else None

    def _run_batch(self, model: nn.Module, batch: _Batch, sites: Mapping[str, str], receive: Receive) -> list[Tensor]:
        def take(site: str, activations: Tensor) -> None:
            rows = rows_of(site, activations, (len(batch.inputs), *self._probe.grid[1:]), self._layouts[site])
            if batch.recorded:
                receive(site, rows, batch)

        def pick(output: Any, site: str) -> Tensor:
            return output_tensor(output, site, self._layouts[site].element)

        with capture(model, sites, take, pick=pick) as check:
            output = self._forward(model, batch.inputs)
            check()
        if self._label_entropy is None:
            return []
        targets = batch.inputs.flatten()[batch.rows + 1]  # a kept position is never the last of its block
        loss = next_token_loss(output, targets, batch.rows, time_first=self._layouts["logits"].time_first)
        return [] if loss is None else [loss * batch.recorded]


class _Together:
    """Hands activations of several sites to a plane at once, as an accelerator takes as long for one as for all.

    Args:
        plane: The plane.
        num_rows: Rows of the largest batch.
    """

    def __init__(self, plane: InformationPlane, num_rows: int) -> None:
        self._plane = plane
        self._group = {site: group for group in plane.together(num_rows) for site in group}
        self._waiting: dict[str, Tensor] = {}

    def __call__(self, site: str, activations: Tensor, batch: _Batch) -> None:
        """Take the rows of a site as they are now, for the model may go on in the same memory."""
        self._waiting[site] = activations.index_select(0, batch.rows)
        group = self._group[site]
        if all(other in self._waiting for other in group):
            self._plane.update_together({other: self._waiting.pop(other) for other in group}, batch.positions)


def find_layouts(
    model: nn.Module,
    probe: Probe,
    sites: Mapping[str, str],
    forward: Forward,
    passes: SharedPasses,
    *,
    leaves_traces: bool | None = None,
) -> dict[str, Layout]:
    """Find the layout of every site from one block of the probe, and that of the logits over its tokens, as ``logits``.

    Args:
        model: The model.
        probe: The probe that gives the block.
        sites: Site to bare module name.
        forward: Runs the model on the block.
        passes: Makes the forward pass, and learns from it what processes exchange.
        leaves_traces: False if a pass before this one has shown that the model's forward changes nothing for good.

    Raises:
        TraceError: The forward pass changes the model for good.
        ValueError: The model does not take the probe, or a site is not run once, or hands over something else than one
            row per position.
    """
    layouts: dict[str, Layout] = {}
    outputs: dict[str, Any] = {}
    block = probe.inputs[:1].to(device_of(model))
    grid = (1, *probe.grid[1:])

    def trial() -> tuple[Any, dict[str, Tensor]]:
        with (
            capture(model, sites, outputs.__setitem__, pick=lambda output, site: output) as check,
            first_inputs(model, sites) as inputs,
        ):
            output = forward(model, block)
            check()
        return output, inputs

    watch = contextlib.nullcontext() if leaves_traces is False else refuse_traces(model)
    try:
        with watch, undisturbed(model), buffers_of_first(model):
            ((output, inputs),) = passes.run(model, [trial])
        for site, element in stream_elements(outputs, inputs, grid).items():
            activations = output_tensor(outputs[site], site, element)
            layouts[site] = _layout(activations, grid)._replace(element=element)
            rows_of(site, activations, grid, layouts[site])
    except TraceError:
        raise
    except Exception as error:
        say_why_others_wait(model, error)
        idle = [name for site, name in sites.items() if site not in outputs] if isinstance(error, FiredError) else []
        raise ValueError(what_does_not_fit(error, idle)) from error
    logits = logits_of(output)
    if logits is not None and predicts_tokens(logits, probe) and tuple(logits.shape[:-1]) in (grid, grid[::-1]):
        layouts["logits"] = _layout(logits, grid)
    return layouts


def predicts_tokens(logits: Tensor, probe: Probe) -> bool:
    """Whether a tensor may hold logits over the tokens of a probe, of all positions or of some."""
    return logits.ndim == 3 and probe.is_text and logits.shape[-1] > int(probe.inputs.max())


def what_does_not_fit(error: Exception, idle: Sequence[str]) -> str:
    """Say why the trial of a block failed, and what to do.

    Args:
        error: What was raised.
        idle: Modules that are to be measured and that a forward pass to its end did not run.
    """
    if idle:
        names = ", ".join(map(repr, idle))
        are, others = ("is", "another") if len(idle) == 1 else ("are", "others")
        return f"layers: {names} {are} not run by the model's forward; name {others} ({error})"
    if isinstance(error, CaptureError):
        return f"layers: {error}; name others"
    return (
        f"the model's forward does not take the probe ({reason(error)}); pass forward=, a callable of "
        "the model and a batch of the probe's inputs, or make the probe with blocks that fit the model's context"
    )


def measured_modules(model: nn.Module, sites: Mapping[str, str]) -> dict[str, nn.Module]:
    """Return the module of every site.

    Raises:
        MeasurementError: The model does not have one of them.
    """
    modules = named_modules(model)
    missing = [name for name in sites.values() if name not in modules]
    if missing:
        raise MeasurementError(
            f"the model has no module {missing[0]!r}, which is to be measured; the tracker was started with another "
            "model, and follows one, so take another tracker for this one"
        )
    return {site: modules[name] for site, name in sites.items()}


def describe_layouts(layouts: Mapping[str, Layout]) -> str:
    """Write the widths of layouts, and what else they say where it is not what is usual."""
    return ", ".join(
        f"{site} of width {layout.width}"
        + (", time first" if layout.time_first else "")
        + (f" as element {layout.element}" if layout.element else "")
        for site, layout in layouts.items()
    )


def blocks_at_once(probe: Probe, device: torch.device) -> int:
    """Choose the number of blocks in a forward pass: 16, and on an accelerator as many as have 16,384 tokens.

    An accelerator takes about as long for a small batch as for a large one, and the kernels of a measurement are
    launched for each batch.
    """
    if device.type == "cpu":
        return BLOCKS_AT_ONCE
    return max(BLOCKS_AT_ONCE, TOKENS_ON_ACCELERATOR // _block_length(probe))


def row_bytes(device: torch.device) -> int:
    """Choose the memory for the rows of sites: 1 GiB, and on a GPU a sixteenth of its memory where that is more.

    It depends on the card alone and not on what is free at the moment, so that every measurement is made alike.
    """
    total = torch.cuda.get_device_properties(device).total_memory if device.type == "cuda" else 0
    return max(ROW_BYTES, total // ROW_SHARE)


def device_of(model: nn.Module) -> torch.device:
    """Return the device of the first parameter, or the CPU for a model without any."""
    return next((p.device for p in model.parameters()), torch.device("cpu"))


def is_out_of_memory(error: Exception | None) -> bool:
    """Say whether memory ran out: CUDA has a class for it, the other devices and the CPU say so in words.

    Args:
        error: What was raised, or None.
    """
    words = ("out of memory", "can't allocate memory", "not enough memory")
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or (
        isinstance(error, RuntimeError) and any(word in reason(error) for word in words)
    )


def say_why_others_wait(model: nn.Module, error: Exception) -> None:
    """Name the reason at once where others may wait for this process until they are timed out, and then see another."""
    if world_size() > 1 and waits_for_failed(model):
        warnings.warn(
            f"ibtrack: the forward pass failed on process {rank()} ({reason(error)}); others may wait "
            "in theirs for the part of the model that it holds, until the process group times out",
            RuntimeWarning,
            stacklevel=2,
        )


def _layout(activations: Tensor, grid: tuple[int, ...]) -> Layout:
    shape = tuple(activations.shape[:-1])
    return Layout(activations.shape[-1], time_first=shape == grid[::-1] != grid)


def rows_of(site: str, activations: Tensor, grid: tuple[int, ...], layout: Layout) -> Tensor:
    """View (B, T, D), (T, B, D) or (B, D) activations as rows of the flattened grid.

    Args:
        site: Name of the site, for the message.
        activations: What the site has handed over.
        grid: (B, T), or (B,).
        layout: Layout of the site.

    Raises:
        MeasurementError: They have another shape.
    """
    block_first = activations.transpose(0, 1) if layout.time_first else activations
    if tuple(block_first.shape[:-1]) != grid:
        wanted = ", ".join(map(str, (*grid, "D")))
        raise MeasurementError(f"{site} must have shape ({wanted}), got {tuple(activations.shape)}")
    return block_first.detach().reshape(-1, block_first.shape[-1])


def _batches(probe: Probe, batch_size: int, device: torch.device) -> list[_Batch]:
    """Batch this process's share of the blocks, in as many batches as any other process has."""
    share = torch.arange(rank(), probe.num_blocks, world_size())
    most = -(-probe.num_blocks // world_size())
    block_starts = torch.searchsorted(probe.positions // _block_length(probe), torch.arange(probe.num_blocks + 1))
    own = [_batch(probe, blocks, block_starts, device) for blocks in share.split(batch_size) if len(blocks)]
    uncounted = _batch(probe, torch.tensor([0]), block_starts, device)._replace(recorded=False)
    return own + [uncounted] * (-(-most // batch_size) - len(own))


def _batch(probe: Probe, blocks: Tensor, block_starts: Tensor, device: torch.device) -> _Batch:
    """Make a batch of blocks; ``block_starts`` says where in the kept positions each block begins and ends."""
    begins, ends = block_starts[blocks], block_starts[blocks + 1]
    positions = torch.cat([torch.arange(*span) for span in zip(begins.tolist(), ends.tolist(), strict=True)])
    place = torch.arange(len(blocks)).repeat_interleave(ends - begins)
    rows = place * _block_length(probe) + probe.positions[positions] % _block_length(probe)
    return _Batch(probe.inputs[blocks].to(device), rows.to(device), positions.to(device), recorded=True)


def _block_length(probe: Probe) -> int:
    return probe.grid[1] if len(probe.grid) == 2 else 1
