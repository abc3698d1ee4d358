"""The modules that will be measured, found by a trial pass over one block of the probe.

Letters: T block length, B blocks in a forward pass, D width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ibtrack.capture.blocks import Candidate, candidates, lists_of
from ibtrack.capture.ends import find_embedding
from ibtrack.capture.flow import Flow, follow
from ibtrack.capture.forward import default_forward
from ibtrack.capture.isolation import undisturbed
from ibtrack.capture.names import named_modules
from ibtrack.capture.sharded import SharedPasses
from ibtrack.capture.sites import WORDS
from ibtrack.capture.sites import find_sites as choose_sites
from ibtrack.capture.streams import refuse_transformed
from ibtrack.capture.traces import TraceError, refuse_traces
from ibtrack.distributed import buffers_of_first
from ibtrack.probe.probe import Probe
from ibtrack.tracking.measurement import Forward, device_of, say_why_others_wait, what_does_not_fit

_MADE_UP = 16  # tokens of the block that stands in for a probe


@dataclass(frozen=True)
class Measured:
    """A module that will be measured.

    Attributes:
        site: Its short name: ``embed``, ``L00`` …, ``final``.
        name: Its bare name in the model.
        kind: Name of its class.
        parameters: Numbers in its parameters.
        shape: Shape of the first tensor with one row per position that it returns; None if it was not run, or returns
            none.
        calls: How often it runs in a forward pass; None if none was made.
    """

    site: str
    name: str
    kind: str
    parameters: int
    shape: tuple[int, ...] | None = None
    calls: int | None = None


@dataclass(frozen=True)
class FoundSites:
    """The modules that will be measured, and the lists of modules that could have been the blocks.

    Attributes:
        measured: The modules in the order of their sites.
        candidates: Lists of modules, those whose stretch of the pass runs most parameters first; empty if no pass was
            made.
    """

    measured: tuple[Measured, ...]
    candidates: tuple[Candidate, ...] = ()

    @property
    def sites(self) -> dict[str, str]:
        """Site to bare module name."""
        return {each.site: each.name for each in self.measured}


def find_sites(
    model: nn.Module,
    probe: Probe | None = None,
    layers: str | Sequence[str] = "auto",
    *,
    forward: Forward = default_forward,
) -> FoundSites:
    """Find the modules that a tracker would measure, without starting one.

    One block goes through the model, and leaves no trace in it.

    Args:
        model: The model, wrapped or not.
        probe: The probe whose first block is run; without one it is a block of made-up tokens, and a model without a
            token embedding is judged by its structure alone.
        layers: What to measure, as a tracker takes it; see `ibtrack.capture.sites.find_sites`.
        forward: ``forward(model, inputs)`` runs the model on a batch of the probe's inputs.

    Returns:
        The modules, and the candidates for the blocks.

    Raises:
        UnclearBlocks: It does not show which modules are the blocks; the message lists the candidates.
        ValueError: A name fits no module, or the model does not take the block.

    Example:
        >>> model = nn.Sequential(nn.Embedding(9, 4), nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4)), nn.Linear(4, 9))
        >>> for each in find_sites(model).measured:
        ...     print(each.site, each.name, each.kind, each.shape, each.calls, each.parameters)
        embed 0 Embedding (1, 16, 4) 1 36
        L00 1.0 Linear (1, 16, 4) 1 20
        L01 1.1 Linear (1, 16, 4) 1 20
    """
    modules = named_modules(model)
    inputs = _made_up(modules) if probe is None else probe.inputs[:1]
    if inputs is None:
        sites = choose_sites(model, layers)
        return FoundSites(tuple(_measured(site, name, modules) for site, name in sites.items()))
    grid = tuple(inputs.shape) if probe is None else (1, *probe.grid[1:])
    flow, found = _followed(model, inputs, grid, forward, SharedPasses())
    sites = choose_sites(model, layers, flow=flow, found=found)
    return FoundSites(tuple(_measured(site, name, modules, flow) for site, name in sites.items()), tuple(found))


def sites_of_probe(
    model: nn.Module, probe: Probe, layers: str | Sequence[str], forward: Forward, passes: SharedPasses
) -> dict[str, str]:
    """Find the modules to measure, by a pass over one block of the probe where names alone do not tell.

    Args:
        model: The model.
        probe: The probe that gives the block.
        layers: What to measure, see `ibtrack.capture.sites.find_sites`.
        forward: Runs the model on the block.
        passes: Makes the forward pass, and learns from it what processes exchange.

    Returns:
        Site to bare module name.

    Raises:
        TraceError: The forward pass changes the model for good.
        ValueError: A name fits no module, the blocks are not clear, or the model does not take the probe.
    """
    if not needs_pass(layers):
        return choose_sites(model, layers)
    flow, found = _followed(model, probe.inputs[:1], (1, *probe.grid[1:]), forward, passes)
    return choose_sites(model, layers, flow=flow, found=found)


def needs_pass(layers: str | Sequence[str]) -> bool:
    """Whether some of the layers are found by what runs, and not by their names.

    Example:
        >>> needs_pass("auto"), needs_pass(["blocks.*", "final"]), needs_pass("blocks.*")
        (True, True, False)
    """
    return bool({layers} & set(WORDS) if isinstance(layers, str) else set(layers) & set(WORDS))


def _followed(
    model: nn.Module, block: Tensor, grid: tuple[int, ...], forward: Forward, passes: SharedPasses
) -> tuple[Flow, list[Candidate]]:
    """Run one block, and judge the lists of modules by what has run.

    Raises:
        TraceError: The forward pass changes the model for good.
        ValueError: The model does not take the block.
    """
    modules, inputs = named_modules(model), block.to(device_of(model))
    lists = lists_of(modules)

    def trial() -> Flow:
        with follow(modules, lists.values(), inputs, grid) as flow:
            forward(model, inputs)
        return flow

    try:
        with refuse_traces(model), undisturbed(model), buffers_of_first(model):
            (flow,) = passes.run(model, [trial])
        refuse_transformed(flow.transformed)
    except TraceError:
        raise
    except Exception as error:
        say_why_others_wait(model, error)
        raise ValueError(what_does_not_fit(error, [])) from error
    return flow, candidates(flow, modules, lists)


def _made_up(modules: Mapping[str, nn.Module]) -> Tensor | None:
    """Make a block of token ids that the model's embedding takes; None if it has none."""
    embedding = modules.get(find_embedding(modules) or "")
    number = getattr(embedding, "num_embeddings", None)
    if not isinstance(number, int):
        return None
    return (torch.arange(_MADE_UP) * 7 % max(1, number - 1) + min(1, number - 1)).unsqueeze(0)  # 0 is padding, often


def _measured(site: str, name: str, modules: Mapping[str, nn.Module], flow: Flow | None = None) -> Measured:
    module = modules[name]
    calls = [] if flow is None else flow.of(name)
    shapes = [value.shape for call in calls for value in call.made if flow is not None and value.has_rows(flow.grid)]
    return Measured(
        site,
        name,
        type(module).__name__,
        sum(parameter.numel() for parameter in module.parameters()),
        shapes[0] if shapes else None,
        None if flow is None else len(calls),
    )
