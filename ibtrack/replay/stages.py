"""The stages of a run laid one after another on one axis of steps, from the names of its checkpoints."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from ibtrack.replay.checkpoint import Checkpoint
from ibtrack.replay.families import Family, Name, natural
from ibtrack.replay.faults import token_fault

StageLine = tuple[str | None, str | None]


class Named(NamedTuple):
    """A checkpoint and what its name tells.

    Attributes:
        checkpoint: The checkpoint; its step, tokens and stage are not set yet.
        name: What the family reads from its name; None if nothing can be read.
        lacks: What the name lacks, for a sentence; None if it is as the family names its checkpoints.
        taken: Whether it is among those that were asked for; the others only tell where stages end.
    """

    checkpoint: Checkpoint
    name: Name | None
    lacks: str | None = None
    taken: bool = True


class End(NamedTuple):
    """Where a stage ends on the axis of its run.

    Attributes:
        steps: Optimizer steps until then.
        tokens: Tokens until then; None where they are not known.
    """

    steps: int = 0
    tokens: int | None = 0


class Placed(NamedTuple):
    """Checkpoints with their places in the run.

    Attributes:
        checkpoints: Those that belong to the run, in the order of their steps, the ones without a step at the end.
        begins: Stage and line, None where there are none, to where they begin on the axis.
        end: Where the last stage ends.
        notes: What was left out, one sentence each.
    """

    checkpoints: list[Checkpoint]
    begins: dict[StageLine, End]
    end: End
    notes: list[str]


def place(
    found: Sequence[Named],
    family: Family,
    repository: str,
    *,
    wanted: Sequence[str] | None = None,
    begin: End | None = None,
) -> Placed:
    """Give each checkpoint its step, its tokens and its stage on the axis of the run.

    A stage begins where the one before it ends: at its last step, found or published. Of several lines of a stage, such
    as ingredients or seeds, one is taken.

    Args:
        found: Checkpoints of one run, in any order, with their names.
        family: Family whose rules the names were read by.
        repository: Repository whose run it is, which tells the size.
        wanted: Stages or lines to take; None takes all stages, and of several lines the first or the family's own.
        begin: Where the run begins on the axis, if another went before it.

    Raises:
        ValueError: A stage is wanted that is not there.
    """
    begin = begin or End()
    by_stage: dict[StageLine, list[Name]] = {}
    for each in found:
        if each.name is not None and each.lacks is None:
            by_stage.setdefault((each.name.stage, each.name.line), []).append(each.name)
    unknown = [stage for stage in wanted or () if stage not in stage_names(found)]
    if unknown:
        there = ", ".join(sorted(stage_names(found), key=natural)) or "none, as no name tells a stage"
        raise ValueError(f"stages must be among those of the run ({there}), got {unknown[0]!r}")
    chosen, notes = _chosen([*by_stage], family, wanted)
    ends, begins = begin, {}
    for stage in _in_order(_all_stages(by_stage, chosen), family):
        begins[stage] = start = _start(by_stage[stage], family, ends)
        ends = _end(by_stage[stage], stage[0], family, repository, start)
    begins = {stage: start for stage, start in begins.items() if stage in chosen}
    placed = [
        _placed(each, begins, begin, family, repository)
        for each in found
        if each.taken and (each.name is None or each.lacks is not None or each.name[3:] in chosen)
    ]
    return Placed(sorted(placed, key=_order), begins, ends, notes)


def stage_names(found: Iterable[Named]) -> set[str]:
    """List the words by which stages, and lines of stages, can be asked for.

    Args:
        found: Checkpoints with their names.
    """
    names = [each.name for each in found if each.name is not None and each.lacks is None]
    return {word for name in names for word in (name.stage, name.line, name.label) if word is not None}


def step_order(checkpoints: Iterable[Checkpoint]) -> list[Checkpoint]:
    """Sort checkpoints by their steps, those whose step is not known at the end, by their names.

    Args:
        checkpoints: Checkpoints of one run.
    """
    return sorted(checkpoints, key=_order)


def published_steps(family: Family, repository: str, begins: Mapping[StageLine, End]) -> tuple[set[int], bool]:
    """List the published steps of the stages of a run on its axis.

    Args:
        family: Family of the run.
        repository: Repository whose run it is.
        begins: Stages that were taken, and where each begins.

    Returns:
        The steps, and whether all of the lists have been verified.
    """
    steps: set[int] = set()
    verified = True
    for published in family.listed(repository):
        for (stage, _), start in begins.items():
            if published.stage in (None, stage):
                steps |= {start.steps + step for step in published.numbers()}
                verified &= published.verified
    return steps, verified


def _chosen(
    every: Sequence[StageLine], family: Family, wanted: Sequence[str] | None
) -> tuple[set[StageLine], list[str]]:
    """Choose stages, and of several lines of a stage those that are wanted, the family's own, or the first."""
    chosen: set[StageLine] = set()
    notes = []
    for stage in dict.fromkeys(stage for stage, _ in every):
        lines = sorted((line for other, line in every if other == stage and line is not None), key=natural)
        asked = [line for line in lines if {line, _label(stage, line)} & {*(wanted or ())}]
        if wanted and not asked and stage not in wanted:
            continue
        taken = asked or ([] if not lines else [family.line if family.line in lines else lines[0]])
        chosen |= {(stage, line) for line in taken} | ({(stage, None)} & {*every})
        others = [str(_label(stage, line)) for line in lines if line not in taken]
        if others and not asked:
            notes.append(f"{_label(stage, taken[0])} is taken; {', '.join(others)} ran beside it and can be asked for")
    return chosen, notes


def _all_stages(every: Iterable[StageLine], chosen: set[StageLine]) -> set[StageLine]:
    """Add to what was chosen the stages of which nothing was, as later ones begin where they end, each by one line."""
    stages = {stage for stage, _ in chosen}
    others: dict[str | None, StageLine] = {}
    for stage, line in sorted(every, key=lambda pair: natural(pair[1] or "")):
        others.setdefault(stage, (stage, line))
    return chosen | {pair for stage, pair in others.items() if stage not in stages}


def _in_order(chosen: set[StageLine], family: Family) -> list[StageLine]:
    ranks = {stage: number for number, stage in enumerate(family.stages)}
    return sorted(
        chosen, key=lambda pair: (ranks.get(pair[0] or "", len(ranks)), natural(pair[0] or ""), natural(pair[1] or ""))
    )


def _start(names: Sequence[Name], family: Family, before: End) -> End:
    """Tell where a stage begins: after the one before it, unless its own names count on from there."""
    first = min((name.step for name in names if name.step is not None), default=0)
    return End() if family.counts_on and first >= before.steps > 0 else before


def _end(names: Sequence[Name], stage: str | None, family: Family, repository: str, start: End) -> End:
    steps = [name.step for name in names if name.step is not None]
    for published in family.listed(repository):
        if published.verified and published.stage == stage:
            steps += published.numbers()[-1:]
    last = max(steps, default=0)
    end = next((name for name in names if name.step == last), Name(last))
    tokens = _tokens(end, family, repository)
    return End(start.steps + last, None if tokens is None or start.tokens is None else start.tokens + tokens)


def _tokens(name: Name, family: Family, repository: str) -> int | None:
    """Tokens since the stage began: by the steps where their tokens are known, else as the name states them."""
    by_step = family.step_tokens(repository)
    if by_step is not None and name.step is not None:
        return by_step * name.step
    return None if name.tokens is None else name.tokens * name.unit


def _placed(each: Named, begins: Mapping[StageLine, End], begin: End, family: Family, repository: str) -> Checkpoint:
    name = each.name or Name(None)
    start = begins.get((name.stage, name.line), begin)
    tokens = _tokens(name, family, repository)
    faults = (
        [] if each.lacks is None else [f"its name tells no {each.lacks}, so nothing says where in the run it belongs"]
    )
    misfit = token_fault(name, family, repository)
    return replace(
        each.checkpoint,
        faults=(*each.checkpoint.faults, *faults, *([] if misfit is None else [misfit])),
        step=None if name.step is None else start.steps + name.step,
        tokens=None if tokens is None or start.tokens is None else start.tokens + tokens,
        stage=name.label,
    )


def _label(stage: str | None, line: str | None) -> str | None:
    return "-".join(filter(None, (stage, line))) or None


def _order(checkpoint: Checkpoint) -> tuple[bool, int, object]:
    return checkpoint.step is None, checkpoint.step or 0, natural(checkpoint.name)
