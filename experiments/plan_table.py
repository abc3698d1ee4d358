"""Plans of runs as text: a table of each, and what several come to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from experiments.plan import Plan
from experiments.step_memory import StepMemory
from ibtrack.replay.plan_table import size_words, time_words

UNKNOWN = "not known"
_WIDTH = 14  # characters of the names of rows


@dataclass(frozen=True)
class Hardware:
    """Devices that a time is worked out for.

    Attributes:
        name: Their name.
        peak: Operations a second that one of them could make, of dense products in the precision of the run.
        mfu: Share of these that training is to reach.
    """

    name: str
    peak: float
    mfu: float


def plan_table(plan: Plan, hardware: Hardware | None = None) -> str:
    """Lay out a plan: one line for each thing that the run would do or take, then what is to be known besides.

    Args:
        plan: The plan.
        hardware: Devices to work out a time for; None works out none.

    Returns:
        Lines of text.
    """
    rows = [*_what_is_trained(plan), *_what_is_done(plan, hardware), *_memory(plan), *_disk(plan)]
    notes = [f"- {note}" for note in plan.notes]
    lines = [f"{name:<{_WIDTH}}{value}".rstrip() for name, value in rows]
    return "\n".join([plan.name, *(f"  {line}" for line in lines), *notes])


def total_sentence(plans: Sequence[Plan], hardware: Hardware | None = None, *, times: int = 1) -> str:
    """Say what several runs come to.

    Args:
        plans: Plans of the runs.
        hardware: Devices to work out a time for.
        times: How often each of them is made, as by a search of values that are not known before.

    Returns:
        A sentence. A corpus that several runs train on is on the disk once.
    """
    flops = _sum([plan.flops for plan in plans], times)
    tokens = _sum([plan.budget.tokens for plan in plans], times)
    own = _sum([_sum([size for name, size in plan.disk.items() if name != "corpus"]) for plan in plans], times)
    corpora = _sum([*{plan.corpus: plan.disk.get("corpus") for plan in plans}.values()])
    parts = [
        f"{len(plans) * times} runs",
        f"{_number(tokens)} tokens",
        f"{UNKNOWN if flops is None else f'{flops:.3g}'} FLOPs",
        f"disk {_size(_sum([own, corpora]))}",
    ]
    if hardware is not None:
        hours = [plan.hours(hardware.peak, hardware.mfu) for plan in plans]
        known = None if None in hours else sum(hour for hour in hours if hour is not None) * times
        parts.append(f"time {_hours(known, hardware)}, one run after the other")
    return "in all: " + ", ".join(parts)


def _what_is_trained(plan: Plan) -> Iterator[tuple[str, str]]:
    yield "corpus", plan.corpus
    if (parameters := plan.parameters) is None:
        yield "parameters", UNKNOWN
    else:
        parts = f"{parameters.embedding:,} of embeddings and head, {parameters.non_embedding:,} others"
        yield "parameters", f"{parameters.total:,}: {parts}"


def _what_is_done(plan: Plan, hardware: Hardware | None) -> Iterator[tuple[str, str]]:
    budget = plan.budget
    unit = "tokens" if budget.block_size > 1 else "examples"
    factors = [f"{budget.batch_size:,} blocks of {budget.block_size:,} tokens" if unit == "tokens" else "one batch"]
    factors += [f"{budget.processes} processes"] if budget.processes > 1 else []
    factors += [f"{budget.accumulate} batches"] if budget.accumulate > 1 else []
    yield "a step", f"{budget.tokens_per_step:,} {unit}: {' x '.join(factors)}"
    warmup = "" if plan.warmup_steps is None else f"; warm-up {_warmup(plan.warmup_steps)}"
    yield "the run", f"{_number(budget.steps)} steps, {_number(budget.tokens)} {unit}{warmup}"
    yield "epochs", UNKNOWN if plan.epochs is None else f"{plan.epochs:.3g} over the corpus"
    yield "work", UNKNOWN if plan.flops is None else f"{plan.flops:.3g} FLOPs, as 6 N D and attention"
    if hardware is not None:
        yield "time", _hours(plan.hours(hardware.peak, hardware.mfu), hardware)
    yield "measurements", _measurements(plan)


def _measurements(plan: Plan) -> str:
    if plan.measurements is None:
        return UNKNOWN
    share = "" if plan.measured_share is None else f"; forward passes of {plan.measured_share:.2%} of the run's tokens"
    tokens = "" if plan.probe_tokens is None else f" of {plan.probe_tokens:,} tokens"
    return f"{plan.measurements}{tokens}{share}"


def _memory(plan: Plan) -> Iterator[tuple[str, str]]:
    what = f"{plan.precision}, {plan.strategy}"
    memory = plan.memory
    yield "memory", f"of each device, {what}" if memory else f"{UNKNOWN}, {what}"
    if memory:
        names = {"weights": memory.weights, "gradients": memory.gradients, "optimizer": memory.optimizer}
        yield from ((f"  {name}", size_words(size)) for name, size in names.items())
        yield from _of_others(plan.strategy, memory)
        yield "  activations", f"{size_words(memory.activations)}, and what is in between, where most is held"
        yield "  peak", size_words(memory.peak)


def _of_others(strategy: str, memory: StepMemory) -> Iterator[tuple[str, str]]:
    if memory.buckets:
        words = "gathered from the other devices" if strategy == "FSDP2" else "gradients again, to be sent"
        yield "  buckets", f"{size_words(memory.buckets)}, {words}"


def _disk(plan: Plan) -> Iterator[tuple[str, str]]:
    yield "disk", ""
    for name, size in plan.disk.items():
        yield f"  {name}", _size(size)


def _hours(hours: float | None, hardware: Hardware) -> str:
    time = UNKNOWN if hours is None else time_words(hours * 3600)
    return f"{time} at {hardware.mfu:.0%} of the {hardware.peak:.3g} FLOP/s of each {hardware.name}"


def _warmup(steps: float) -> str:
    return f"{steps:,} steps" if steps >= 1 or not steps else f"{steps:.2%}"


def _number(number: int | None) -> str:
    return UNKNOWN if number is None else f"{number:,}"


def _size(size: int | None) -> str:
    return UNKNOWN if size is None else size_words(size)


def _sum(numbers: Sequence[int | None], times: int = 1) -> int | None:
    """Add up numbers of which one that is not known leaves the sum unknown."""
    return None if None in numbers else sum(number for number in numbers if number is not None) * times
