"""Measure what copies of documents in a probe would read as, whether all are found, and what is taken for one.

python experiments/benchmarks/copies.py
python experiments/benchmarks/copies.py --show      names what was found in the standard library's sources
"""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import fmean
from typing import Annotated, Any

import torch
import typer
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from experiments.benchmarks.figures import Figure, report
from experiments.benchmarks.options import JsonFile, Threads, use_threads
from experiments.benchmarks.text import made_up_text
from experiments.documents import stdlib
from experiments.tokenizer import tokenizer_for
from ibtrack import Probe
from ibtrack.metrics import InformationPlane
from ibtrack.probe.copies import KGRAM, copies_among, copies_in_blocks

SHARES = (0.2, 0.3, 0.6)  # of the documents that are copies
EXCHANGED = (0.0, 0.05, 0.1)  # share of the tokens that are exchanged in every other copy
VOCABULARY = 500
BLOCK_SIZE = 128
WIDTH = 32
BACK = 10  # activations depend on the tokens so many places back and before, and so on no label
SIZES = ("64x128", "1000x128", "8000x128", "1000x2048")
KEYS = ("ib/L00/token/complexity", "ib/L00/token/expressivity")


def main(
    blocks: Annotated[int, typer.Option(min=8, help=f"Blocks of a probe, of {BLOCK_SIZE} tokens each.")] = 64,
    repetitions: Annotated[int, typer.Option(min=1, help="Probes of each share.")] = 4,
    sizes: Annotated[
        list[str] | None,
        typer.Option("--size", help=f"Blocks x tokens to time; may be repeated; by default {', '.join(SIZES)}."),
    ] = None,
    folder: Annotated[str | None, typer.Option(help="Sources to search; by default those of this Python.")] = None,
    show: Annotated[bool, typer.Option("--show", help="Name every copy in the sources, and what it is like.")] = False,
    threads: Threads = None,
    file: JsonFile = None,
) -> None:
    """Read labels that tell nothing, with copies and without; look for copies in real sources; take the time."""
    use_threads(threads)
    readings = [read(share, exchanged, blocks, repetitions) for share in SHARES for exchanged in EXCHANGED]
    print("labels that tell nothing, fractions of log K, mean and largest of all probes and of both sides")
    for row in readings:
        print(
            f"{row['share']:4.0%} copies, {row['exchanged']:3.0%} exchanged: {fmean(row['kept']):.4f} "
            f"({max(row['kept']):.4f}) with them, {fmean(row['left_out']):.4f} ({max(row['left_out']):.4f}) without; "
            f"{row['found']} of {row['copies']} found",
            flush=True,
        )
    sources = search(list(stdlib(folder)), show=show)
    print(f"\nsources: {sources['documents']} documents, {sources['copies']} copies as wholes, ", end="")
    print(f"{sources['windows']} copies among one window of {BLOCK_SIZE} tokens of each\n")
    times = [seconds(*map(int, size.split("x"))) for size in sizes or SIZES]
    for row in times:
        print(f"{row['blocks']} blocks of {row['block_size']}: {row['seconds']:.3f} s, {row['found']} found")
    report("copies", _figures(readings), [*readings, sources, *times], file)


def made_up_probe(share: float, exchanged: float, blocks: int, generator: torch.Generator) -> Tensor:
    """Return (S, T) tokens without order, some blocks of which are copies of others; every second copy is exact."""
    tokens = torch.randint(VOCABULARY, (blocks, BLOCK_SIZE), generator=generator)
    number = round(share * blocks)
    copies = tokens[torch.randint(number, blocks, (number,), generator=generator)]
    others = torch.randint(VOCABULARY, copies.shape, generator=generator)
    where = torch.rand(copies.shape, generator=generator) < exchanged
    where[::2] = False
    tokens[:number] = torch.where(where, others, copies)
    return tokens


def activations(tokens: Tensor, generator: torch.Generator) -> Tensor:
    """Return (S, T, D) activations that depend on four tokens before the labels, and on noise."""
    tables = torch.randn(4, VOCABULARY, WIDTH, generator=generator)
    rows = torch.stack([table[tokens.roll(BACK + i, 1)] for i, table in enumerate(tables)]).sum(0)
    return rows + 0.3 * torch.randn(rows.shape, generator=generator)


def read(share: float, exchanged: float, blocks: int, repetitions: int) -> dict[str, Any]:
    """Read the tokens of made-up probes, with their copies and without.

    Args:
        share: Share of the documents that are copies.
        exchanged: Share of the tokens that are exchanged in every other copy.
        blocks: Number of blocks S.
        repetitions: Number of probes.

    Returns:
        The readings of both sides with copies (``kept``) and without (``left_out``), and the number of copies.
    """
    readings: dict[bool, list[float]] = {True: [], False: []}
    found = 0
    for seed in range(repetitions):
        generator = torch.Generator().manual_seed(seed)
        tokens = made_up_probe(share, exchanged, blocks, generator)
        rows = activations(tokens, generator).flatten(0, 1)
        for keep, values in readings.items():
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # that there are copies
                probe = Probe(tokens, orders=(1,), keep_copies=keep)
            found += blocks - probe.num_documents
            plane = InformationPlane(probe, {"L00": WIDTH}, readings=("debiased",))
            plane.update("L00", rows, torch.arange(probe.num_positions), rows=probe.positions)
            numbers = plane.compute()
            values += [float(numbers[key]) for key in KEYS]
    return {
        "share": share,
        "exchanged": exchanged,
        "kept": readings[True],
        "left_out": readings[False],
        "copies": repetitions * round(share * blocks),
        "found": found,
    }


def search(texts: Sequence[str], *, show: bool = False, vocab_size: int = 2048) -> dict[str, Any]:
    """Look for copies among real documents of a block's length or more, as wholes and in one window of each.

    Args:
        texts: The documents.
        show: Whether every copy among the wholes is printed, with the document that holds most of it.
        vocab_size: Size of the tokenizer, which is trained on them.

    Returns:
        The number of documents, of copies among them, and of copies among their windows.
    """
    tokenizer = tokenizer_for(texts, vocab_size)
    encoded = [torch.tensor(each.ids) for each in tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)]
    kept = [(text, ids) for text, ids in zip(texts, encoded, strict=True) if len(ids) >= BLOCK_SIZE]
    wholes = [ids for _, ids in kept]
    generator = torch.Generator().manual_seed(0)
    starts = [int(torch.randint(len(ids) - BLOCK_SIZE + 1, (), generator=generator)) for ids in wholes]
    windows = [ids[start : start + BLOCK_SIZE] for ids, start in zip(wholes, starts, strict=True)]
    copied, in_windows = copies_among(wholes), copies_among(windows)
    if show and copied is not None:
        _name([text for text, _ in kept], wholes, copied)
    return {
        "documents": len(kept),
        "copies": None if copied is None else int(copied.sum()),
        "windows": None if in_windows is None else int(in_windows.sum()),
    }


def seconds(blocks: int, block_size: int) -> dict[str, Any]:
    """Time the search in made-up text, of which 30 % are copies."""
    tokens = made_up_text(blocks, block_size)
    tokens[: round(0.3 * blocks)] = tokens[-round(0.3 * blocks) :]
    documents = torch.arange(blocks).unsqueeze(1).expand_as(tokens)
    everywhere = torch.ones_like(tokens, dtype=torch.bool)
    began = time.perf_counter()
    found = copies_in_blocks(tokens, documents, everywhere)
    taken = time.perf_counter() - began
    return {
        "blocks": blocks,
        "block_size": block_size,
        "seconds": taken,
        "found": 0 if found is None else found.found,
    }


def _name(texts: Sequence[str], wholes: Sequence[Tensor], copied: Tensor) -> None:
    grams = [set(map(tuple, ids.unfold(0, KGRAM, 1).tolist())) for ids in wholes]
    for i in copied.nonzero().flatten().tolist():
        shares = {j: len(grams[i] & other) / len(grams[i]) for j, other in enumerate(grams) if j != i}
        nearest = max(shares, key=shares.__getitem__)
        print(f"{shares[nearest]:4.0%} of {_begin(texts[i])} | {_begin(texts[nearest])}")


def _begin(text: str) -> str:
    return " ".join(text.split())[:60]


def _figures(readings: Iterable[dict[str, Any]]) -> list[Figure]:
    rows = list(readings)
    told = [row for row in rows if row["share"] <= 0.3 and row["exchanged"] <= 0.05]
    return [
        Figure(
            "copies up to 30 %, left out: largest reading of nothing", "≤", 0.01, max(max(r["left_out"]) for r in told)
        ),
        Figure("copies that are found", "≥", 0.98, sum(r["found"] for r in rows) / sum(r["copies"] for r in rows)),
    ]


if __name__ == "__main__":
    typer.run(main)
