"""Measure whether documents of a probe are found in training text, how fast, and what is found of real sources.

python experiments/benchmarks/overlap.py
python experiments/benchmarks/overlap.py --show      names the held-out sources that stand in the others
"""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from experiments.benchmarks.figures import Figure, report
from experiments.benchmarks.options import JsonFile, Threads, use_threads
from experiments.data import TextData
from experiments.documents import stdlib
from ibtrack import Probe

EXCHANGED = (0.0, 0.01, 0.02, 0.05, 0.1)  # share of the tokens that are exchanged in a copy
LENGTHS = (13, 32, 50)  # tokens of a passage: that of GPT-3, the default, that of Lee et al.
VOCABULARY = 2048
BLOCK_SIZE = 128
BATCH_SIZE = 16


def main(
    repetitions: Annotated[int, typer.Option(min=1, help="Probes of each share of exchanged tokens.")] = 8,
    tokens: Annotated[int, typer.Option(min=10_000, help="Tokens of the training text that is timed.")] = 50_000_000,
    folder: Annotated[str | None, typer.Option(help="Sources to search; by default those of this Python.")] = None,
    blocks: Annotated[int, typer.Option(min=2, help=f"Blocks of a probe, of {BLOCK_SIZE} tokens each.")] = 64,
    show: Annotated[bool, typer.Option("--show", help="Print the beginning of every source that is found.")] = False,
    threads: Threads = None,
    file: JsonFile = None,
) -> None:
    """Plant copies of a probe and look for them; look for held-out sources in the others; take the time."""
    use_threads(threads)
    planted = [plant(exchanged, length, blocks, repetitions) for length in LENGTHS[:2] for exchanged in EXCHANGED]
    print(f"copies in packed text, found of {planted[0]['copies']}, and documents found that are not there")
    for row in planted:
        print(f"passages of {row['length']}, {row['exchanged']:3.0%} of the tokens exchanged: ", end="")
        print(f"{row['stream']} in one stream, {row['blocks']} in blocks of {BLOCK_SIZE}; {row['false']}")
    sources = [search(blocks, length, folder, show=show and length == LENGTHS[1]) for length in LENGTHS]
    print(f"\nsources: held-out documents of {blocks} that stand in those trained on, {sources[0]['tokens']:,} tokens")
    for row in sources:
        print(f"passages of {row['length']}: {row['contained']}, any passage of {row['any']}", end="; ")
        print(f"largest shares {' '.join(f'{share:.2f}' for share in row['shares'][:12])}")
    times = timed(blocks, tokens) + timed(1000, tokens)
    print()
    for row in times:
        speed = f"{row['million_per_second']:.1f} million tokens a second"
        print(f"probe of {row['blocks']} blocks, {row['training']}: {speed}")
    report("overlap", _figures(planted, times), [*planted, *sources, *times], file)


def plant(exchanged: float, length: int, blocks: int, repetitions: int) -> dict[str, Any]:
    """Hide copies of every other document of a probe in packed text, and look for them.

    Args:
        exchanged: Share of the tokens that are exchanged in a copy.
        length: Number of tokens of a passage.
        blocks: Number of documents of a probe.
        repetitions: Number of probes.

    Returns:
        The number of copies, of those that are found in one stream and in single blocks, and of others that are found.
    """
    found = {"stream": 0, "blocks": 0, "false": 0}
    for seed in range(repetitions):
        generator = torch.Generator().manual_seed(seed)
        held_out = torch.randint(VOCABULARY, (blocks, BLOCK_SIZE), generator=generator)
        copies = held_out[::2].clone()
        others = torch.randint(VOCABULARY, copies.shape, generator=generator)
        copies = torch.where(torch.rand(copies.shape, generator=generator) < exchanged, others, copies)
        lengths = torch.randint(30, 900, (len(copies),), generator=generator).tolist()
        between = [torch.randint(VOCABULARY, (length,), generator=generator) for length in lengths]
        stream = torch.cat([part for pair in zip(between, copies, strict=True) for part in (*pair, between[0])])
        probe = Probe(held_out)
        for name, training in (("stream", stream), ("blocks", torch.stack(stream.split(BLOCK_SIZE)[:-1]))):
            documents = probe.find_in(training, length=length).documents
            found[name] += sum(document % 2 == 0 for document in documents)
            found["false"] += sum(document % 2 for document in documents)
    copies_in_all = repetitions * len(range(0, blocks, 2))
    return {"exchanged": exchanged, "length": length, "copies": copies_in_all, **found}


def search(blocks: int, length: int, folder: str | None, *, show: bool) -> dict[str, Any]:
    """Look for a probe of held-out sources in the sources that are trained on, as `make demo` does.

    Args:
        blocks: Number of documents of the probe.
        length: Number of tokens of a passage.
        folder: Folder of the sources; None means that of this Python.
        show: Whether the beginning of every document that is found is printed.

    Returns:
        What was found.
    """
    data = TextData(lambda: stdlib(folder), held_out=0.2, block_size=BLOCK_SIZE)
    data.setup()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that there are copies
        probe = Probe.from_texts(*data.probe_source, num_blocks=blocks, block_size=BLOCK_SIZE)
    overlap = probe.find_in(data.train_blocks.stacked().flatten(), length=length)
    if show:
        for document in overlap.documents:
            words = data.tokenizer.decode(probe.inputs[document].tolist()).split()
            print(f"{overlap.shares[document]:4.0%} of {' '.join(words)[:80]}")
    return {
        "length": length,
        "tokens": overlap.tokens,
        "contained": len(overlap.documents),
        "any": sum(count > 0 for count in overlap.found),
        "shares": sorted(overlap.shares, reverse=True),
    }


def timed(blocks: int, tokens: int) -> list[dict[str, Any]]:
    """Time the search of training text of several forms.

    Args:
        blocks: Number of blocks of the probe.
        tokens: Number of tokens of the training text.
    """
    generator = np.random.default_rng(0)
    text = generator.integers(0, VOCABULARY, tokens // BLOCK_SIZE * BLOCK_SIZE, dtype=np.uint16)
    probe = Probe(torch.from_numpy(generator.integers(0, VOCABULARY, (blocks, BLOCK_SIZE))), keep_copies=True)
    batches = text.reshape(-1, BLOCK_SIZE)

    def as_tensors() -> Iterable[Tensor]:
        return (torch.from_numpy(batches[start : start + BATCH_SIZE]) for start in range(0, len(batches), BATCH_SIZE))

    forms: dict[str, Callable[[], Any]] = {"one array of 16 bits": lambda: text, "batches of 16 x 128": as_tensors}
    rows = []
    for name, training in forms.items():
        began = time.perf_counter()
        found = probe.find_in(training())
        seconds = time.perf_counter() - began
        speed = found.tokens / seconds / 1e6
        rows.append({"blocks": blocks, "training": name, "seconds": seconds, "million_per_second": speed})
    return rows


def _figures(planted: Sequence[dict[str, Any]], times: Sequence[dict[str, Any]]) -> list[Figure]:
    exact = [row for row in planted if not row["exchanged"]]
    found = min(min(row["stream"], row["blocks"]) / row["copies"] for row in exact)
    return [
        Figure("exact copies that are found in training text", "≥", 1, found),
        Figure("documents found that are not there", "≤", 0, sum(row["false"] for row in planted)),
        Figure("tokens searched in a second, slowest", "≥", 5, min(t["million_per_second"] for t in times), " million"),
    ]


if __name__ == "__main__":
    typer.run(main)
