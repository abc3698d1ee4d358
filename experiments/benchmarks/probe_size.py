"""What probes of several sizes read of one trained model, against the largest of them.

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
from experiments.benchmarks.options import JsonFile, Threads, use_threads
from experiments.benchmarks.runs import configuration, fit, plain, prepare
from experiments.data import TextData
from experiments.tokenizer import END
from ibtrack import Probe
from ibtrack.capture.hooks import capture
from ibtrack.capture.sites import find_sites
from ibtrack.information.counts import occurrence_ranks
from ibtrack.metrics import InformationPlane

SIZES = (4_096, 8_192, 16_384, 65_536, 262_144, 1_048_576)
REFERRED = 8_192  # the size that something is promised of
WANTED = 0.010
HELD_OUT = 0.35  # of the documents: more than a million tokens of the standard library's sources
QUANTITY = {"input": "complexity", "output": "expressivity"}
HEAD = (
    f"{'tokens':>8}{'probes':>7}  {'label set':17}{'mean':>8}{'worst':>8}{'spread':>8}{'se':>8}{'single':>8}"
    f"{'plugin mean':>14}{'worst':>8}"
)


@dataclass(frozen=True)
class Reading:
    """What one probe reads of one label set at one site, as fractions of log K.

    Attributes:
        tokens: size of the probe.
        probe: which of the disjoint probes of this size.
        site: the embedding or a layer.
        label_set: ``input/token`` …
        debiased: the default reading.
        standard_error: of it, as logged.
        plugin: the published reading.
    """

    tokens: int
    probe: int
    site: str
    label_set: str
    debiased: float
    standard_error: float
    plugin: float


@dataclass(frozen=True)
class Difference:
    """Probes of one size against the largest, for one label set, over all sites.

    Attributes:
        tokens: size of the probes.
        probes: how many there are.
        label_set: ``input/token`` …
        mean: of debiased less that of the largest, over probes and sites.
        worst: the mean over the probes at the site where it is furthest from 0.
        spread: standard deviation among probes, mean over sites; None for one probe.
        standard_error: that is logged, mean.
        single: the difference furthest from 0 of any probe and site.
        plugin_mean: ``mean`` of the plug-in.
        plugin_worst: ``worst`` of the plug-in.
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
    checkpoint: Annotated[Path | None, typer.Option(help="That --save wrote, instead of training.")] = None,
    save: Annotated[Path | None, typer.Option(help="Write the trained model here.")] = None,
    overrides: Annotated[list[str], typer.Option("--set", help="Of the configuration, before training.")] = [],  # noqa: B006
    sizes: Annotated[list[int], typer.Option("--size", min=2, help="Tokens; may be repeated.")] = list(SIZES),  # noqa: B006
    probes: Annotated[int, typer.Option(min=1, help="Disjoint ones of each size, as far as the text goes.")] = 8,
    reads: Annotated[
        int, typer.Option(min=1, help="Tokens to read for each size: few probes of the large ones.")
    ] = 262_144,
    seed: Annotated[int, typer.Option(help="Of the order of the blocks.")] = 0,
    threads: Threads = None,
    file: JsonFile = None,
) -> None:
    """Compare small probes with the largest; all numbers are fractions of log K.

    mean: of the differences over sites and probes, which is bias. worst: at the site where it is largest. spread: among
    probes, which is noise; se: what is logged for it. single: the largest of all differences.
    """
    use_threads(threads)
    began = time.perf_counter()
    data, model = load(checkpoint) if checkpoint else train(save, overrides)
    print(f"{time.perf_counter() - began:.0f} s until there is a model")
    blocks, documents = held_out(data, seed)
    kept, stated = fitting(sizes, blocks)
    print(f"{blocks.numel()} tokens of {int(documents.max()) + 1} held-out documents; {stated}")
    blocks, documents = blocks[: kept[-1] // blocks.shape[1]], documents[: kept[-1] // blocks.shape[1]]
    activations = run(model.eval(), blocks)
    readings = []
    for size in kept:
        number = max(1, min(probes, reads // size, kept[-1] // size))
        readings += read_size(size // blocks.shape[1], number, blocks, documents, activations)
        print(f"{time.perf_counter() - began:.0f} s: {number} x {size} tokens read", flush=True)
    differences = compare(readings)
    print("", f"against {kept[-1]} tokens, sites {', '.join(activations)}", HEAD, *differences, sep="\n")
    about = {"sites": list(activations), "documents": int(documents.max()) + 1, "largest": kept[-1], "seed": seed}
    rows = [asdict(each) for each in (*differences, *readings)]
    report("probe_size", _figures(differences, readings, stated), rows, file, packages=["transformers"], about=about)


def train(save: Path | None, overrides: Sequence[str] = ()) -> tuple[TextData, nn.Module]:
    """Train by ``experiment=demo`` with more text held out, and without a monitor."""
    with tempfile.TemporaryDirectory() as folder:
        settings = ("experiment=demo", f"data.held_out={HELD_OUT}", "logger=none", *overrides)
        config = configuration(Path(folder), *settings)
        done = fit(config, watched=False)
    if save is not None:
        save.parent.mkdir(parents=True, exist_ok=True)
        torch.save({"config": plain(config), "weights": done.model.state_dict()}, save)
    return done.data, done.model


def load(checkpoint: Path) -> tuple[TextData, nn.Module]:
    """The data and the model that `train` saved; the text is read again.

    Raises:
        ValueError: the file holds something else.
    """
    saved = torch.load(checkpoint, weights_only=True)
    if not isinstance(saved, dict) or saved.keys() != {"config", "weights"}:
        raise ValueError(f"{checkpoint} must be what --save wrote, got {type(saved).__name__} of something else")
    data, model = prepare(OmegaConf.create(saved["config"]))
    model.load_state_dict(saved["weights"])
    return data, model


def held_out(data: TextData, seed: int) -> tuple[Tensor, Tensor]:
    """(S, T) packed held-out blocks and the document of each token.

    They come in rounds: one block of every document, as a probe takes them, then another of each that has more.
    """
    tokens = data.held_out_blocks
    ends = (tokens.flatten() == data.tokenizer.token_to_id(END)).long()
    documents = (ends.cumsum(0) - ends).view(tokens.shape)  # the end belongs to what it ends
    order = torch.randperm(len(tokens), generator=torch.Generator().manual_seed(seed))
    order = order[torch.argsort(occurrence_ranks(documents[order, 0]), stable=True)]
    return tokens[order], documents[order]


def fitting(sizes: Sequence[int], blocks: Tensor) -> tuple[list[int], str]:
    """The sizes in whole blocks, all of the text instead of those that it is too little for, and which is the largest.

    Raises:
        typer.BadParameter: there are not two.
    """
    length = blocks.shape[1]
    whole = sorted({size // length * length for size in sizes if size >= length})
    kept = [size for size in whole if size <= blocks.numel()]
    beyond = [size for size in whole if size > blocks.numel()]
    if beyond and blocks.numel() not in kept:
        kept.append(blocks.numel())
    if len(kept) < 2:
        raise typer.BadParameter(f"--size must name two sizes of at least {length} tokens, got {list(sizes)}")
    missing = f", as there are no {beyond[-1]} tokens" if beyond else ""
    return kept, f"the largest probe has {kept[-1]} tokens{missing}"


def run(model: nn.Module, blocks: Tensor, *, batch_size: int = 64) -> dict[str, Tensor]:
    """Site to (S, T, D) activations of all blocks."""
    found: dict[str, list[Tensor]] = {}
    with torch.no_grad(), capture(model, find_sites(model), lambda site, rows: found.setdefault(site, []).append(rows)):
        for batch in blocks.split(batch_size):
            model(batch)
    return {site: torch.cat(found.pop(site)) for site in list(found)}


def read_size(
    num_blocks: int, number: int, blocks: Tensor, documents: Tensor, activations: dict[str, Tensor]
) -> list[Reading]:
    """Read disjoint probes of so many blocks, site by site."""
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
                numbers = values[f"ib/{key}"], values[f"ib/{key}_se"], values[f"ib_plugin/{key}"]
                readings.append(Reading(num_blocks * blocks.shape[1], index, site, name, *numbers))
    return readings


def compare(readings: Sequence[Reading]) -> list[Difference]:
    """Every size but the largest against it, by label set."""
    largest = max(reading.tokens for reading in readings)
    reference = {(r.site, r.label_set): r for r in readings if r.tokens == largest and r.probe == 0}
    differences = []
    for size in sorted({reading.tokens for reading in readings} - {largest}):
        for name in dict.fromkeys(reading.label_set for reading in readings):
            of_sites = [
                [(r, reference[site, name]) for r in readings if (r.tokens, r.site, r.label_set) == (size, site, name)]
                for site in dict.fromkeys(reading.site for reading in readings)
            ]
            differences.append(_difference(size, name, of_sites))
    return differences


def _difference(size: int, label_set: str, of_sites: list[list[tuple[Reading, Reading]]]) -> Difference:
    debiased = [[one.debiased - other.debiased for one, other in pairs] for pairs in of_sites]
    plugin = [fmean(one.plugin - other.plugin for one, other in pairs) for pairs in of_sites]
    means = [fmean(values) for values in debiased]
    return Difference(
        size,
        len(of_sites[0]),
        label_set,
        fmean(means),
        _furthest(means),
        float(torch.tensor(debiased).std(1).mean()) if len(of_sites[0]) > 1 else None,
        fmean(one.standard_error for pairs in of_sites for one, _ in pairs),
        _furthest([value for values in debiased for value in values]),
        fmean(plugin),
        _furthest(plugin),
    )


def _furthest(values: Sequence[float]) -> float:
    """From 0; a reading that does not exist is further than any."""
    return max(values, key=lambda value: math.inf if math.isnan(value) else abs(value))


def _figures(differences: Sequence[Difference], readings: Sequence[Reading], stated: str) -> list[Figure]:
    referred = [each for each in differences if each.tokens == REFERRED]
    worst, note = None, f"no probes of {REFERRED} tokens"
    if referred:
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


def _worst_of_each(readings: Sequence[Reading]) -> list[float]:
    """For every probe of the referred size, its largest difference of any site and label set."""
    largest = max(reading.tokens for reading in readings)
    reference = {(r.site, r.label_set): r.debiased for r in readings if r.tokens == largest and r.probe == 0}
    found: dict[int, list[float]] = {}
    for r in readings:
        if r.tokens == REFERRED != largest:
            found.setdefault(r.probe, []).append(r.debiased - reference[r.site, r.label_set])
    return [abs(_furthest(differences)) for differences in found.values()]


if __name__ == "__main__":
    typer.run(main)
