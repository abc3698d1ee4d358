"""One measurement: the probe through the model, activations to the plane, the plane to numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ibtrack._checks import check_option
from ibtrack.activations import capture
from ibtrack.forward import next_token_loss
from ibtrack.guard import undisturbed
from ibtrack.keys import metric_key
from ibtrack.labels import entropy_of_labels
from ibtrack.plane import InformationPlane
from ibtrack.probe import Probe
from ibtrack.processes import MeasurementError, agree, rank, summed, world_size
from ibtrack.readings import Readings
from ibtrack.transforms import TRANSFORMS, CloudStatistics, Transform

Forward = Callable[[nn.Module, Tensor], Any]
DISTINCT = "all labels are distinct, so nothing tells the spread within a label from that between labels"
SINGLE = "there is one label only, so there is nothing to tell"


class _Batch(NamedTuple):
    """Some blocks of the probe on the model's device.

    Attributes:
        inputs: (B, …).
        rows: (m,) kept positions as rows of the flattened activations.
        positions: (m,) the same as positions of the probe.
        recorded: whether it counts; a rank with fewer blocks than others runs one for company.
    """

    inputs: Tensor
    rows: Tensor
    positions: Tensor
    recorded: bool


Receive = Callable[[str, Tensor, _Batch], None]


class Measurement:
    """Runs a probe through a model and reads its sites. Under several processes each runs its share of the blocks.

    Args:
        probe: what to run.
        sites: site to bare module name.
        widths: site to D, see `site_widths`.
        forward: runs the model on a batch of the probe's inputs.
        batch_size: blocks per forward pass.
        device: of the model.
        max_memory: bytes for the assignments of the sites that are measured in one pass over the probe. If all sites
            need more, the probe is run several times.
        transform: ``none``, ``center`` or ``whiten``: what is done to the cloud of a site, by its own statistics over
            the probe, before it is put on the sphere. It takes one more pass.
        **options: the estimator, see `ibtrack.plane.InformationPlane`.
    """

    def __init__(
        self,
        probe: Probe,
        sites: Mapping[str, str],
        widths: Mapping[str, int],
        *,
        forward: Forward,
        batch_size: int,
        device: torch.device,
        max_memory: int = 1 << 30,
        transform: str = "none",
        **options: Any,
    ) -> None:
        self._probe, self._sites, self._widths, self._forward = probe, sites, widths, forward
        self._transform = check_option("transform", transform, TRANSFORMS)
        self._device, self._options = device, options
        self._batches = _batches(probe, batch_size, device)
        tells_loss = probe.is_text and "output/token" in probe.label_sets
        self._label_entropy = entropy_of_labels(probe.label_sets["output/token"]) if tells_loss else None
        one = InformationPlane(probe, dict([next(iter(widths.items()))]), **options)  # refuses bad options now
        together = max(1, max_memory // one.assignments.nbytes)
        names = list(sites)
        self._passes = [names[start : start + together] for start in range(0, len(names), together)]

    def __call__(self, model: nn.Module) -> tuple[dict[str, float], dict[str, str]]:
        """Measure now.

        Returns:
            readings, key to number; and faults, site to what is wrong with it.

        Raises:
            MeasurementError: on all processes, if the forward pass or a site failed on one.
        """
        read: list[Readings] = []
        cosines: list[Tensor] = []
        faults: dict[str, str] = {}
        for names in self._passes:
            plane = InformationPlane(self._probe, {site: self._widths[site] for site in names}, **self._options)
            plane = plane.to(self._device)
            loss = self._fill(model, plane)
            with plane.sync_context():
                read.append(plane.readings())
                cosines.append(plane.mean_cosines())
            faults |= plane.faults()
        values = plane.named(Readings.join(read), torch.cat(cosines), list(self._sites))
        readings = dict(zip(values, torch.stack(list(values.values())).tolist(), strict=True))
        if loss is not None and self._label_entropy is not None:
            readings[metric_key("probe_loss")] = loss
            readings[metric_key("variational_floor")] = self._label_entropy - loss
        return readings, faults

    def _fill(self, model: nn.Module, plane: InformationPlane) -> float | None:
        """Pass the probe through the model to the plane; the mean loss over all positions, if the model tells one."""
        transforms: dict[str, Transform] = {}

        def observe(site: str, activations: Tensor, batch: _Batch) -> None:
            statistics.add(site, activations, batch.rows)

        def measure(site: str, activations: Tensor, batch: _Batch) -> None:
            changed = transforms[site](activations) if transforms else activations
            plane.update(site, changed, batch.positions, batch.rows)

        if self._transform != "none":
            statistics = CloudStatistics(plane.widths, self._transform, self._device)
            self._run(model, plane.sites, observe)
            transforms = statistics.transforms()
        return self._run(model, plane.sites, measure)

    def _run(self, model: nn.Module, names: Sequence[str], receive: Receive) -> float | None:
        """Forward passes over this process's blocks; the mean loss over all positions, if the model tells one."""
        error: Exception | None = None
        losses: list[Tensor] = []
        sites = {site: self._sites[site] for site in names}
        try:
            with undisturbed(model):
                for batch in self._batches:
                    losses += self._run_batch(model, batch, sites, receive)
        except Exception as problem:
            error = problem
        agree(error, self._device)
        return float(summed(torch.stack(losses).sum())) / self._probe.num_positions if losses else None

    def _run_batch(self, model: nn.Module, batch: _Batch, sites: Mapping[str, str], receive: Receive) -> list[Tensor]:
        def take(site: str, activations: Tensor) -> None:
            rows = _rows(site, activations, (len(batch.inputs), *self._probe.grid[1:]))
            if batch.recorded:
                receive(site, rows, batch)

        with capture(model, sites, take) as check:
            output = self._forward(model, batch.inputs)
            check()
        if self._label_entropy is None:
            return []
        targets = batch.inputs.flatten()[batch.rows + 1]  # a kept position is never the last of its block
        loss = next_token_loss(output, targets, batch.rows)
        return [] if loss is None else [loss * batch.recorded]


def site_widths(model: nn.Module, probe: Probe, sites: Mapping[str, str], forward: Forward) -> dict[str, int]:
    """Width of every site, from one block of the probe.

    Raises:
        ValueError: the model does not take the probe, or a site hands over something else than one row per position.
    """
    widths: dict[str, int] = {}
    block = probe.inputs[:1].to(device_of(model))

    def receive(site: str, activations: Tensor) -> None:
        widths[site] = _rows(site, activations, (1, *probe.grid[1:])).shape[1]

    try:
        with undisturbed(model), capture(model, sites, receive) as check:
            forward(model, block)
            check()
    except Exception as error:
        raise ValueError(
            f"the model's forward does not take the probe ({type(error).__name__}: {error}); "
            "pass forward=, a callable of the model and a batch of the probe's inputs"
        ) from error
    return {site: widths[site] for site in sites}


def undefined_readings(probe: Probe) -> dict[str, str]:
    """Label set to the reason why its debiased reading does not exist."""
    reasons = {probe.num_positions: DISTINCT, 1: SINGLE}
    return {name: reasons[number] for name, number in probe.label_counts.items() if number in reasons}


def device_of(model: nn.Module) -> torch.device:
    return next((p.device for p in model.parameters()), torch.device("cpu"))


def _rows(site: str, activations: Tensor, grid: tuple[int, ...]) -> Tensor:
    """(B, T, D) or (B, D) activations as rows of the flattened grid."""
    if tuple(activations.shape[:-1]) != grid:
        wanted = ", ".join(map(str, (*grid, "D")))
        raise MeasurementError(f"{site} must have shape ({wanted}), got {tuple(activations.shape)}")
    return activations.detach().reshape(-1, activations.shape[-1])


def _batches(probe: Probe, batch_size: int, device: torch.device) -> list[_Batch]:
    """This process's share of the blocks, in as many batches as any other process has."""
    share = torch.arange(rank(), probe.num_blocks, world_size())
    most = -(-probe.num_blocks // world_size())
    own = [_batch(probe, blocks, device, recorded=True) for blocks in share.split(batch_size) if len(blocks)]
    company = _batch(probe, torch.tensor([0]), device, recorded=False)
    return own + [company] * (-(-most // batch_size) - len(own))


def _batch(probe: Probe, blocks: Tensor, device: torch.device, *, recorded: bool) -> _Batch:
    length = probe.grid[1] if len(probe.grid) == 2 else 1
    place = torch.full((probe.num_blocks,), -1).index_put_((blocks,), torch.arange(len(blocks)))
    block, offset = probe.positions // length, probe.positions % length
    positions = (place[block] >= 0).nonzero().flatten()
    rows = place[block[positions]] * length + offset[positions]
    return _Batch(probe.inputs[blocks].to(device), rows.to(device), positions.to(device), recorded)
