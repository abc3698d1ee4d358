"""A plan as rows of text and as sentences: what there is, what is wrong, what it costs, what there is too little of."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ibtrack.replay.checkpoint import Checkpoint

if TYPE_CHECKING:
    from ibtrack.replay.plan import Cost, Plan

CHOSEN, FAULTY = "+", "!"  # before a row
MARKS = f"{CHOSEN}  to be measured    {FAULTY}  left out, for the reason at the end of its row"
_MOST_STEPS = 8  # in one sentence


def plan_rows(plan: Plan, chosen: Sequence[Checkpoint] | None = None) -> list[tuple[str, ...]]:
    """Write the checkpoints of a plan as rows of a table, the first row being the head.

    Columns that no checkpoint has anything for are left out.

    Args:
        plan: Plan of a replay.
        chosen: Checkpoints that are to be measured, by default all that can be.
    """
    taken = {(each.source, each.name) for each in (plan.measurable() if chosen is None else chosen)}
    rows = [_cells(each, (each.source, each.name) in taken) for each in plan.checkpoints]
    several = len({each.source for each in plan.checkpoints}) > 1
    columns = [
        name
        for name in ("", "step", "tokens", "stage", "repository", "name", "commit", "size", "what is wrong")
        if (name != "repository" or several) and any(row[name] for row in rows)
    ]
    return [tuple(columns), *(tuple(row[name] for name in columns) for row in rows)]


def plan_sentences(
    plan: Plan,
    chosen: Sequence[Checkpoint] | None = None,
    *,
    bandwidth: float | None = None,
    keep: bool = False,
    folder: Path | None = None,
    memory: int | None = None,
) -> list[str]:
    """Say what a plan holds, what is wrong with it, what it costs to carry out, and what there is too little of.

    Args:
        plan: Plan of a replay.
        chosen: Checkpoints that are to be measured, by default all that can be.
        bandwidth: Megabytes a second that the network brings; None says nothing about time.
        keep: Whether all checkpoints stay on the disk.
        folder: Folder that they are downloaded to; None says nothing about its disk.
        memory: Bytes of memory that a model may take; by default those of this machine.
    """
    measured = plan.measurable() if chosen is None else [*chosen]
    cost = plan.cost(measured, bandwidth=bandwidth, keep=keep)
    return [
        *_what_there_is(plan, len(measured)),
        *fault_sentences(plan.checkpoints),
        *_what_it_costs(cost, bandwidth),
        *_too_little(cost, folder, _machine_memory() if memory is None else memory),
        *(_sentence(note) for note in plan.notes),
    ]


def fault_sentences(checkpoints: Sequence[Checkpoint]) -> list[str]:
    """Say what is wrong, once for all checkpoints that it is wrong with.

    Args:
        checkpoints: Checkpoints of a plan.

    Example:
        >>> saved = [Checkpoint(f"step{n}", "a", n, faults=("it has no config.json",)) for n in range(3)]
        >>> fault_sentences([*saved, Checkpoint("step3", "a", 3)])
        ['step0, step1, step2: it has no config.json.']
    """
    names: dict[str, list[str]] = {}
    for each in checkpoints:
        for fault in each.faults:
            names.setdefault(fault, []).append(each.name)
    return [f"{_listed(who)}: {fault}." for fault, who in names.items()]


def size_words(number: int) -> str:
    """Write a number of bytes as a reader takes it in.

    Args:
        number: Number of bytes.

    Example:
        >>> size_words(29_200_000_000), size_words(330_000_000), size_words(800)
        ('29.2 GB', '330 MB', '800 B')
    """
    for unit, word in ((10**12, "TB"), (10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if number >= unit:
            return f"{number / unit:.3g} {word}"
    return f"{number} B"


def time_words(seconds: float) -> str:
    """Write a time in its two largest units.

    Args:
        seconds: Seconds, at least 0.

    Example:
        >>> time_words(7), time_words(90), time_words(7300)
        ('7 s', '1 min 30 s', '2 h 2 min')
    """
    whole = round(seconds)
    units = (("d", whole // 86400), ("h", whole // 3600 % 24), ("min", whole // 60 % 60), ("s", whole % 60))
    first = next((place for place, (_, count) in enumerate(units) if count), len(units) - 1)
    return " ".join(f"{count} {unit}" for unit, count in units[first : first + 2] if count or len(units) - 1 == first)


def _cells(checkpoint: Checkpoint, is_chosen: bool) -> Mapping[str, str]:
    return {
        "": CHOSEN if is_chosen else FAULTY if checkpoint.faults else "",
        "step": "?" if checkpoint.step is None else f"{checkpoint.step:,}",
        "tokens": "" if checkpoint.tokens is None else _tokens_words(checkpoint.tokens),
        "stage": checkpoint.stage or "",
        "repository": checkpoint.source,
        "name": checkpoint.name,
        "commit": (checkpoint.commit or "")[:8],
        "size": size_words(checkpoint.num_bytes),
        "what is wrong": "; ".join(checkpoint.faults),
    }


def _tokens_words(tokens: int) -> str:
    for unit, word in ((10**12, "T"), (10**9, "B"), (10**6, "M")):
        if tokens >= unit:
            return f"{tokens / unit:.3g}{word}"
    return str(tokens)


def _what_there_is(plan: Plan, measured: int) -> list[str]:
    steps = [each.step for each in plan.checkpoints if each.step is not None]
    span = f" from step {min(steps):,} to {max(steps):,}" if steps else ""
    faulty = len(plan.faulty)
    words = f"{plan.name} has {_counted(len(plan.checkpoints), 'checkpoint')}{span}; {measured} to be measured"
    left = f", and {faulty} {'has' if faulty == 1 else 'have'} faults" if faulty else ""
    gaps = [
        f"{_counted(len(plan.missing), 'published step')} not there: {_listed([f'{step:,}' for step in plan.missing])}."
    ]
    return [f"{words}{left}.", *(gaps if plan.missing else [])]


def _what_it_costs(cost: Cost, bandwidth: float | None) -> list[str]:
    largest = f"the largest takes {size_words(cost.memory)} of memory in the dtype it is stored in"
    if not cost.download:
        return [f"Nothing is to be downloaded; {largest}."] if cost.checkpoints else []
    download, disk = size_words(cost.download), size_words(cost.disk)
    words = f"{download} to download, at most {disk} of it on the disk at a time; {largest}."
    if cost.seconds is None or bandwidth is None:
        return [words]
    time = time_words(cost.seconds)
    return [words, f"At {bandwidth:g} MB/s, which is an assumption, the download alone takes {time}."]


def _too_little(cost: Cost, folder: Path | None, memory: int | None) -> list[str]:
    sentences = []
    if folder is not None:
        where = next(each for each in (folder.absolute(), *folder.absolute().parents) if each.exists())
        free = shutil.disk_usage(where).free
        if free < cost.disk:
            sentences.append(
                f"Too little disk: {folder} has {size_words(free)} free, and {size_words(cost.disk)} are needed."
            )
    if memory is not None and memory < cost.memory:
        there, needed = size_words(memory), size_words(cost.memory)
        sentences.append(f"Too little memory: there are {there}, and the largest checkpoint takes {needed}.")
    return sentences


def _machine_memory() -> int | None:
    """Bytes of memory of this machine; None where the system does not tell."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # not on every system
        return None


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _MOST_STEPS
    return ", ".join(names[:_MOST_STEPS]) + (f" and {more} more" if more > 0 else "")


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + ("" if text.endswith(".") else ".")
