"""Measure how far the readings of small probes are from those of a probe of a million tokens, on one trained model.

python experiments/benchmarks/probe_size.py --save demo.pt      trains by experiment=demo first
python experiments/benchmarks/probe_size.py --checkpoint demo.pt
"""

from __future__ import annotations

import math
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean, median
from typing import Annotated

import torch
import typer
from omegaconf import OmegaConf
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from experiments.benchmarks.figures import Figure, report
from experiments.benchmarks.options import JsonFile, Overrides, Threads, use_threads
from experiments.benchmarks.runs import configuration, fit, plain, prepare
from experiments.data import TextData
from ibtrack import Probe
from ibtrack.capture.hooks import capture
from ibtrack.capture.sites import find_sites
from ibtrack.information.grouping import occurrence_ranks
from ibtrack.metrics import InformationPlane

SIZES = (4_096, 8_192, 16_384, 65_536, 262_144, 1_048_576)
REFERRED = 8_192  # the size of the figures
WANTED = 0.010
HELD_OUT = 0.35  # share of the documents: more than a million tokens of the standard library's sources
QUANTITY = {"input": "complexity", "output": "expressivity"}
HEAD = (
    f"{'tokens':>8}{'probes':>7}  {'label set':17}{'mean':>8}{'worst':>8}{'spread':>8}{'se':>8}{'single':>8}"
    f"{'plugin mean':>14}{'worst':>8}"
)


@dataclass(frozen=True, kw_only=True)
class ProbeReadings:
    """The readings of one label set at one site with one probe, as fractions of log K.

    Attributes:
        tokens: Size of the probe in tokens.
        probe: Number of the probe among the disjoint probes of this size.
        site: Name of the site: the embedding or a layer.
        label_set: Name of the label set, such as ``input/token``.
        debiased: The debiased reading.
        standard_error: Its standard error, as logged.
        plugin: The plug-in reading.
    """

    tokens: int
    probe: int
    site: str
    label_set: str
    debiased: float
    standard_error: float
    plugin: float


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Debiased readings of all probes of one size, less those of the largest probe, for one label set.

    Attributes:
        tokens: Size of the probes in tokens.
        probes: Number of probes.
        label_set: Name of the label set, such as ``input/token``.
        mean: Mean of the differences over probes and sites.
        worst: Mean of the differences over the probes at the site where that is furthest from 0.
        spread: Standard deviation of the differences among probes, averaged over sites; None for one probe.
        standard_error: Mean of the logged standard errors.
        single: Difference furthest from 0 of any probe and site.
        plugin_mean: Mean of the differences of the plug-in reading over probes and sites.
        plugin_worst: Mean of the differences of the plug-in reading at the site where that is furthest from 0.
    """

    tokens: int
    probes: int
    label_set: str
    mean: float
    worst: float
    spread: float | None
    standard_error: float
    single: float
    plugin_mean: float
    plugin_worst: float

    def __str__(self) -> str:
        spread = "       -" if self.spread is None else f"{self.spread:8.4f}"
        return (
            f"{self.tokens:8}{self.probes:7}  {self.label_set:17}{self.mean:+8.4f}{self.worst:+8.4f}{spread}"
            f"{self.standard_error:8.4f}{self.single:+8.4f}{self.plugin_mean:+14.4f}{self.plugin_worst:+8.4f}"
        )


def main(
    checkpoint: Annotated[Path | None, typer.Option(help="Model that --save wrote, instead of training.")] = None,
    save: Annotated[Path | None, typer.Option(help="File to write the trained model to.")] = None,
    overrides: Overrides = None,
    sizes: Annotated[
        list[int] | None,
        typer.Option(
            "--size", min=2, help=f"Tokens of a probe; may be repeated; by default {', '.join(map(str, SIZES))}."
        ),
    ] = None,
    probes: Annotated[int, typer.Option(min=1, help="Disjoint probes of each size, as far as the text goes.")] = 8,
    reads: Annotated[
        int, typer.Option(min=1, help="Tokens to measure for each size, so that there are few large probes.")
    ] = 262_144,
    seed: Annotated[int, typer.Option(help="Seed of the order of the blocks.")] = 0,
    threads: Threads = None,
    file: JsonFile = None,
) -> None:
    """Compare small probes with the largest; all numbers are fractions of log K.

    Of the columns, mean is the mean difference over sites and probes, which is bias; worst is that of the site where it
    is largest; spread is the deviation among probes, which is noise, and se the standard error that is logged for it;
    single is the largest of all differences.
    """
    use_threads(threads)
    began = time.perf_counter()
    data, model = load(checkpoint) if checkpoint else train(save, overrides or ())
    print(f"{time.perf_counter() - began:.0f} s until there is a model")
    blocks, documents = held_out(data, seed)
    fitting, stated = fitting_sizes(sizes or SIZES, blocks)
    print(f"{blocks.numel()} tokens of {int(documents.max()) + 1} held-out documents; {stated}")
    num_blocks = fitting[-1] // blocks.shape[1]
    blocks, documents = blocks[:num_blocks], documents[:num_blocks]
    activations = run(model.eval(), blocks)
    readings: list[ProbeReadings] = []
    for size in fitting:
        number = max(1, min(probes, reads // size, fitting[-1] // size))
        readings += read_size(size // blocks.shape[1], number, blocks, documents, activations)
        print(f"{time.perf_counter() - began:.0f} s: {number} x {size} tokens read", flush=True)
    differences = compare(readings)
    print("", f"against {fitting[-1]} tokens, sites {', '.join(activations)}", HEAD, *differences, sep="\n")
    about = {"sites": list(activations), "documents": int(documents.max()) + 1, "largest": fitting[-1], "seed": seed}
    rows = [*map(asdict, differences), *map(asdict, readings)]
    report("probe_size", _figures(differences, readings, stated), rows, file, packages=["transformers"], about=about)


def train(save: Path | None, overrides: Sequence[str] = ()) -> tuple[TextData, nn.Module]:
    """Train by ``experiment=demo`` with more text held out, and without a monitor.

    Args:
        save: File to write the model to; None writes none.
        overrides: Further overrides of the configuration.

    Returns:
        The data and the trained model.
    """
    with tempfile.TemporaryDirectory() as folder:
        settings = ("experiment=demo", f"data.held_out={HELD_OUT}", "logger=none", *overrides)
        config = configuration(Path(folder), *settings)
        done = fit(config, watched=False)
    if save is not None:
        save.parent.mkdir(parents=True, exist_ok=True)
        torch.save({"config": plain(config), "weights": done.model.state_dict()}, save)
    return done.data, done.model


def load(checkpoint: Path) -> tuple[TextData, nn.Module]:
    """Return the data and the model that `train` saved; the text is read again.

    Raises:
        ValueError: The file holds something else.
    """
    saved = torch.load(checkpoint, weights_only=True)
    if not isinstance(saved, dict) or saved.keys() != {"config", "weights"}:
        raise ValueError(f"{checkpoint} must be what --save wrote, got {type(saved).__name__} of something else")
    data, model = prepare(OmegaConf.create(dict(saved["config"])))
    model.load_state_dict(saved["weights"])
    return data, model


def held_out(data: TextData, seed: int) -> tuple[Tensor, Tensor]:
    """Return the packed held-out blocks, (S, T), and the document of each token, (S, T).

    The blocks come in rounds: first one block of every document, as a probe takes them, then a second one of each
    document that has more, and so on.

    Args:
        data: The data.
        seed: Seed of the order within a round.
    """
    tokens = data.held_out_blocks.stacked()
    is_end: Tensor = tokens.flatten() == data.end_id
    ends = is_end.long()
    documents = (ends.cumsum(0) - ends).view(tokens.shape)  # an end belongs to the document that it ends
    order = torch.randperm(len(tokens), generator=torch.Generator().manual_seed(seed))
    order = order[torch.argsort(occurrence_ranks(documents[order, 0], int(documents.max()) + 1), stable=True)]
    return tokens[order], documents[order]


def fitting_sizes(sizes: Sequence[int], blocks: Tensor) -> tuple[list[int], str]:
    """Round sizes down to whole blocks, and put all of the text in the place of those that are larger than it.

    Args:
        sizes: Sizes of probes in tokens.
        blocks: The text, (S, T).

    Returns:
        The sizes in increasing order, and a sentence that names the largest.

    Raises:
        typer.BadParameter: There are not two sizes.
    """
    length = blocks.shape[1]
    whole = sorted({size // length * length for size in sizes if size >= length})
    fitting = [size for size in whole if size <= blocks.numel()]
    beyond = [size for size in whole if size > blocks.numel()]
    if beyond and blocks.numel() not in fitting:
        fitting.append(blocks.numel())
    if len(fitting) < 2:
        raise typer.BadParameter(f"--size must name two sizes of at least {length} tokens, got {list(sizes)}")
    missing = f", as there are no {beyond[-1]} tokens" if beyond else ""
    return fitting, f"the largest probe has {fitting[-1]} tokens{missing}"


def run(model: nn.Module, blocks: Tensor, *, batch_size: int = 64) -> dict[str, Tensor]:
    """Return the activations of all blocks by site, (S, T, D)."""
    batches: dict[str, list[Tensor]] = {}

    def keep(site: str, rows: Tensor) -> None:
        batches.setdefault(site, []).append(rows)

    with torch.no_grad(), capture(model, find_sites(model), keep):
        for batch in torch.split(blocks, batch_size):
            model(batch)
    return {site: torch.cat(batches.pop(site)) for site in list(batches)}  # each is freed when it has been joined


def read_size(
    num_blocks: int, number: int, blocks: Tensor, documents: Tensor, activations: dict[str, Tensor]
) -> list[ProbeReadings]:
    """Measure disjoint probes of one size, site by site.

    Args:
        num_blocks: Number of blocks of a probe.
        number: Number of probes.
        blocks: The text, (S, T).
        documents: Document of each token, (S, T).
        activations: Activations by site, (S, T, D).

    Returns:
        The readings of every probe, site and label set.
    """
    readings = []
    for index in range(number):
        part = slice(index * num_blocks, (index + 1) * num_blocks)
        probe = Probe(blocks[part], documents=documents[part])
        for site, rows in activations.items():
            plane = InformationPlane(probe, {site: rows.shape[2]})
            plane.update(site, rows[part].flatten(0, 1), torch.arange(probe.num_positions), probe.positions)
            values = {key: float(value) for key, value in plane.compute().items()}
            for name in probe.label_sets:
                side, _, order = name.partition("/")
                key = f"{site}/{order}/{QUANTITY[side]}"
                readings.append(
                    ProbeReadings(
                        tokens=num_blocks * blocks.shape[1],
                        probe=index,
                        site=site,
                        label_set=name,
                        debiased=values[f"ib/{key}"],
                        standard_error=values[f"ib/{key}_se"],
                        plugin=values[f"ib_plugin/{key}"],
                    )
                )
    return readings


def compare(readings: Sequence[ProbeReadings]) -> list[Difference]:
    """Compare the probes of every size but the largest with the largest probe, by label set.

    Args:
        readings: The readings of all probes.
    """
    largest = max(reading.tokens for reading in readings)
    reference = {(r.site, r.label_set): r for r in readings if r.tokens == largest and r.probe == 0}
    differences = []
    for size in sorted({reading.tokens for reading in readings} - {largest}):
        for name in dict.fromkeys(reading.label_set for reading in readings):
            by_site = [
                [(r, reference[site, name]) for r in readings if (r.tokens, r.site, r.label_set) == (size, site, name)]
                for site in dict.fromkeys(reading.site for reading in readings)
            ]
            differences.append(_difference(size, name, by_site))
    return differences


def _difference(size: int, label_set: str, by_site: list[list[tuple[ProbeReadings, ProbeReadings]]]) -> Difference:
    """Sum up one size and label set; each site has a pair of a small probe and the largest for every small probe."""
    debiased = [[small.debiased - large.debiased for small, large in pairs] for pairs in by_site]
    plugin = [fmean(small.plugin - large.plugin for small, large in pairs) for pairs in by_site]
    means = [fmean(values) for values in debiased]
    return Difference(
        tokens=size,
        probes=len(by_site[0]),
        label_set=label_set,
        mean=fmean(means),
        worst=_furthest(means),
        spread=float(torch.tensor(debiased).std(1).mean()) if len(by_site[0]) > 1 else None,
        standard_error=fmean(small.standard_error for pairs in by_site for small, _ in pairs),
        single=_furthest([value for values in debiased for value in values]),
        plugin_mean=fmean(plugin),
        plugin_worst=_furthest(plugin),
    )


def _furthest(values: Sequence[float]) -> float:
    """Return the value furthest from 0; nan counts as further than any number."""
    return max(values, key=lambda value: math.inf if math.isnan(value) else abs(value))


def _figures(differences: Sequence[Difference], readings: Sequence[ProbeReadings], stated: str) -> list[Figure]:
    worst, note = None, f"no probes of {REFERRED} tokens"
    if referred := [each for each in differences if each.tokens == REFERRED]:
        worst = abs(_furthest([each.worst for each in referred]))
        plugin = abs(_furthest([each.plugin_worst for each in referred]))
        note = f"{stated}; mean of {referred[0].probes} disjoint probes, plug-in {plugin:.4f}"
    singles = _worst_of_each(readings)
    return [
        Figure(
            "8k tokens against the largest probe, worst of all sites, label sets and sides",
            "≤",
            WANTED,
            worst,
            note=note,
        ),
        Figure(
            "the same of one probe on its own, with the noise of 8k tokens",
            "≤",
            WANTED,
            median(singles) if singles else None,
            note=f"median of {len(singles)} probes" if singles else f"no probes of {REFERRED} tokens",
        ),
    ]


def _worst_of_each(readings: Sequence[ProbeReadings]) -> list[float]:
    """Return the largest difference of any site and label set for each probe of `REFERRED` tokens."""
    largest = max(reading.tokens for reading in readings)
    reference = {(r.site, r.label_set): r.debiased for r in readings if r.tokens == largest and r.probe == 0}
    by_probe: dict[int, list[float]] = {}
    for r in readings:
        if r.tokens == REFERRED != largest:
            by_probe.setdefault(r.probe, []).append(r.debiased - reference[r.site, r.label_set])
    return [abs(_furthest(differences)) for differences in by_probe.values()]


if __name__ == "__main__":
    typer.run(main)
