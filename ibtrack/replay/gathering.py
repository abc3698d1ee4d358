"""The checkpoints of one run gathered from several sources: on one axis of steps, compared with one another."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from ibtrack.replay.checkpoint import Checkpoint, Source
from ibtrack.replay.families import GENERIC, Family, load_family, natural
from ibtrack.replay.faults import Known, mark_equal, mark_pickles, mark_tokenizers, tokenizers_of
from ibtrack.replay.hub import HubError, HubSource
from ibtrack.replay.stages import End, place, published_steps, stage_names, step_order

_REPOSITORY = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*(@\S+)?")  # no folder beside or above


class Gathered(NamedTuple):
    """What was found.

    Attributes:
        checkpoints: All checkpoints in the order of their steps.
        missing: Published steps that are not there.
        notes: What else is to be known, one sentence each.
        sources: Name of a source to the source.
        family: Names of the families, joined.
    """

    checkpoints: list[Checkpoint]
    missing: list[int]
    notes: list[str]
    sources: dict[str, Source]
    family: str


class _Part(NamedTuple):
    """What one part of a run adds: a repository with those that belong to its run, or a folder."""

    checkpoints: list[Checkpoint]
    end: End
    missing: list[int]
    notes: list[str]


def gather(
    sources: Any,
    *,
    family: str | Path | None = None,
    stages: Sequence[str] | None = None,
    options: Mapping[str, Any],
    progress: Callable[[int, int], None] | None = None,
) -> Gathered:
    """Find the checkpoints of a run; see `ibtrack.replay.find_checkpoints`, which this is the work of.

    Args:
        sources: One source or several, in the order in which they were trained.
        family: Name or path of a family.
        stages: Stages or lines to take.
        options: Further arguments of each `ibtrack.replay.hub.HubSource`.
        progress: Called with the number of revisions listed so far and their number.

    Raises:
        ValueError: There is no source, or one is none that exists, or stages are asked of folders alone.
    """
    given = None if family is None else load_family(family)
    several = [*sources] if isinstance(sources, Sequence) and not isinstance(sources, str) else [sources]
    if not several:
        raise ValueError("sources must name at least one folder or repository, got none")
    opened = [_open(each, given, stages, {**options, "progress": progress}) for each in several]
    groups, absent = _with_companions(_grouped(opened), {**options, "progress": progress})
    if stages and not _hubs(groups):
        raise ValueError(f"stages must be left out for folders, whose names tell none, got {stages[0]!r}")
    parts: list[_Part] = []
    for group in groups:
        end = parts[-1].end if parts else End()
        is_hub = isinstance(group[0], HubSource)
        parts.append(_hub_part(group, _wanted(group, groups, stages), end) if is_hub else _other_part(group[0], end))
    found, doubled = _once(step_order(_staged(groups, parts)))
    found = _marked(found, groups, parts, pickles=bool(options.get("pickles")))
    families = dict.fromkeys(source.family.name for source in _hubs(groups)) or {GENERIC: None}
    return Gathered(
        checkpoints=found,
        missing=sorted(step for part in parts for step in part.missing),
        notes=[*absent, *(note for part in parts for note in part.notes), *doubled, *_tokenizer_notes(found)],
        sources={source.name: source for group in groups for source in group},
        family=" + ".join(families),
    )


def _staged(groups: Sequence[Sequence[Any]], parts: Sequence[_Part]) -> list[Checkpoint]:
    """Name the stage of checkpoints after their repository or folder, where there are several and no other name."""
    found = []
    for group, part in zip(groups, parts, strict=True):
        stage = group[0].name.rpartition("/")[2] if len(groups) > 1 else None
        found += [replace(each, stage=each.stage or stage) for each in part.checkpoints]
    return found


def _marked(
    checkpoints: Sequence[Checkpoint], groups: Sequence[Sequence[Any]], parts: Sequence[_Part], *, pickles: bool
) -> list[Checkpoint]:
    """Compare the checkpoints with one another, and add what is found to their faults."""
    hubs = _hubs(groups)
    mains = _mains(hubs)
    known = {
        source.name: Known(source.family, mains.get(source.name), source.family.run(source.name), part.end.steps)
        for group, part in zip(groups, parts, strict=True)
        for source in group
        if isinstance(source, HubSource)
    }
    found = mark_equal(checkpoints, known)
    alike: dict[tuple[str, str | None], list[Checkpoint]] = {}
    for each in found:
        alike.setdefault((each.source, each.stage), []).append(each)
    marked = {(each.source, each.name): each for members in alike.values() for each in mark_tokenizers(members)}
    if not pickles:
        marked |= {(each.source, each.name): each for each in mark_pickles([*marked.values()]) if each.source in known}
    return [marked[each.source, each.name] for each in found]


def _tokenizer_notes(checkpoints: Sequence[Checkpoint]) -> list[str]:
    """Say which stages or sources have other tokenizer files than the first; loading them tells whether they differ."""
    usual: dict[tuple[str, str | None], dict[str, str]] = {}
    for each in checkpoints:
        if not each.faults:
            usual.setdefault((each.source, each.stage), tokenizers_of(each))
    (first, files), *others = usual.items() if usual else [(("", None), {})]
    names = {place_of: " ".join(filter(None, place_of)) for place_of in usual}
    return [
        f"{names[other]} has another {path} than {names[first]}, which may split texts otherwise: loading them tells"
        for other, theirs in others
        for path in sorted({*files} & {*theirs})
        if files[path] != theirs[path] and files[path].startswith("git:") == theirs[path].startswith("git:")
    ]


def _hubs(groups: Sequence[Sequence[Any]]) -> list[HubSource]:
    return [source for group in groups for source in group if isinstance(source, HubSource)]


def _wanted(
    group: Sequence[Any], groups: Sequence[Sequence[Any]], stages: Sequence[str] | None
) -> Sequence[str] | None:
    """Choose those of the wanted stages that a run has; a run that has none of them is taken whole.

    Raises:
        ValueError: No run has one of them.
    """
    if stages is None or len(_hub_groups(groups)) == 1:
        return stages
    every = {word for each in _hub_groups(groups) for source in each for word in stage_names(source.named())}
    unknown = [stage for stage in stages if stage not in every]
    if unknown:
        there = ", ".join(sorted(every, key=natural)) or "none, as no name tells a stage"
        raise ValueError(f"stages must be among those of the runs ({there}), got {unknown[0]!r}")
    here = {word for source in group if isinstance(source, HubSource) for word in stage_names(source.named())}
    return [stage for stage in stages if stage in here] or None


def _hub_groups(groups: Sequence[Sequence[Any]]) -> list[list[HubSource]]:
    return [each for each in ([one for one in group if isinstance(one, HubSource)] for group in groups) if each]


def _open(source: Any, family: Family | None, stages: Sequence[str] | None, options: Mapping[str, Any]) -> Source:
    """Make a source of what the user names.

    Raises:
        ValueError: It is nothing that could be one.
        FileNotFoundError: There is no such file or folder.
    """
    if not isinstance(source, (str, Path)):
        if not hasattr(source, "checkpoints"):
            raise ValueError(f"sources must be folders, repositories or sources, got {type(source).__name__}")
        return source
    path = Path(source).expanduser()
    if isinstance(source, Path) or path.exists() or _REPOSITORY.fullmatch(source) is None:
        if not path.exists():
            raise FileNotFoundError(f"there is no file or folder {source}, and it is no repository, owner/name, either")
        from ibtrack.replay.folders import FolderSource

        return FolderSource(path)
    return HubSource(source, family=family, stages=stages, **options)


def _grouped(sources: Sequence[Source]) -> list[list[Any]]:
    """Put repositories of one run together; every other source is a part of its own.

    Raises:
        ValueError: One is named twice.
    """
    groups: dict[str, list[Any]] = {}
    for source in sources:
        key = source.family.run(source.name) if isinstance(source, HubSource) else source.name
        if any(other.name == source.name for other in groups.get(key, ())):
            raise ValueError(f"sources must be different from one another, got {source.name} twice")
        groups.setdefault(key, []).append(source)
    return [*groups.values()]


def _with_companions(groups: list[list[Any]], options: Mapping[str, Any]) -> tuple[list[list[Any]], list[str]]:
    """Add the repositories that a family says to belong to the same run, and say which of them cannot be read."""
    notes: list[str] = []
    for group in groups:
        first = group[0]
        if not isinstance(first, HubSource) or first.pattern is not None:
            continue
        for name in first.family.also(first.name):
            if any(source.name == name for source in group):
                continue
            other = HubSource(name, family=first.family, **options)
            try:
                other.named()
            except (HubError, ValueError) as error:
                notes.append(f"{name} belongs to the same run, but is left out: {error}")
            else:
                group.append(other)
    return groups, notes


def _hub_part(group: Sequence[HubSource], stages: Sequence[str] | None, begin: End) -> _Part:
    """Place the names of repositories of one run, then list their files."""
    first = group[0]
    family, run = first.family, first.family.run(first.name)
    named = [each for source in group for each in source.named()]
    placed = place(named, family, run, wanted=stages, begin=begin)
    found: list[Checkpoint] = []
    notes = [*placed.notes]
    for source in group:
        found += source.with_files([each for each in placed.checkpoints if each.source == source.name])
        if source.ignored:
            shown = ", ".join(source.ignored[:5]) + (" and more" if len(source.ignored) > 5 else "")
            notes.append(f"{source.name} has {len(source.ignored)} other revisions, which are left out: {shown}")
    notes += [f"{family.title}: {said}" for said in family.said_of(run)]
    missing: list[int] = []
    if all(source.pattern is None for source in group):
        published, verified = published_steps(family, run, placed.begins)
        missing = sorted(published - {each.step for each in found if each.step is not None})
        if missing and not verified:
            notes.append(f"the published steps of {run} have not been compared with what {family.title} itself says")
    return _Part(step_order(found), placed.end, missing, notes)


def _other_part(source: Source, begin: End) -> _Part:
    """Count the steps of a folder on from where the run was, unless they go on from there by themselves."""
    found = source.checkpoints()
    steps = [each.step for each in found if each.step is not None]
    notes = []
    if steps and min(steps) > begin.steps > 0:
        notes.append(
            f"the steps of {source.name} begin at {min(steps)}, after those before it, so they are taken as they are"
        )
        begin = End(0, 0)
    found = [
        replace(
            each,
            step=None if each.step is None else each.step + begin.steps,
            tokens=None if each.tokens is None or begin.tokens is None else each.tokens + begin.tokens,
        )
        for each in found
    ]
    last = max((each for each in found if each.step is not None), key=lambda each: each.step or 0, default=None)
    end = begin if last is None else End(last.step or 0, last.tokens)
    return _Part(step_order(found), end, [], notes)


def _once(checkpoints: Sequence[Checkpoint]) -> tuple[list[Checkpoint], list[str]]:
    """Mark names of one place that tell the same step, and say which steps are in two places."""
    listed: list[Checkpoint] = []
    first: dict[int, int] = {}  # step to the place in the list of what holds it
    doubled: dict[tuple[str, str], list[int]] = {}
    for each in checkpoints:
        listed.append(each)
        if each.step is None or each.faults or first.setdefault(each.step, len(listed) - 1) == len(listed) - 1:
            continue
        other = listed[first[each.step]]
        if other.source == each.source:
            listed[first[each.step]], listed[-1] = _told_twice(other, each), _told_twice(each, other)
        else:
            doubled.setdefault((other.source, each.source), []).append(each.step)
    return listed, [
        f"both {a} and {b} hold {_steps(steps)}; {'that' if len(steps) == 1 else 'those'} of the first "
        f"{'is' if len(steps) == 1 else 'are'} taken where nothing is wrong with {'it' if len(steps) == 1 else 'them'}"
        for (a, b), steps in doubled.items()
    ]


def _steps(steps: Sequence[int]) -> str:
    shown = ", ".join(map(str, steps[:5])) + (f" and {len(steps) - 5} more" if len(steps) > 5 else "")
    return f"step{'' if len(steps) == 1 else 's'} {shown}"


def _told_twice(checkpoint: Checkpoint, other: Checkpoint) -> Checkpoint:
    words = f"{other.name} is step {other.step} too, and nothing tells which of them is"
    return replace(checkpoint, faults=(*checkpoint.faults, words))


def _mains(hubs: Sequence[HubSource]) -> dict[str, Checkpoint]:
    """List what ``main`` holds in each repository whose family says what it is."""
    wanted = [source for source in hubs if source.family.main == "last"]
    with ThreadPoolExecutor(4) as pool:
        return {
            source.name: main for source, main in zip(wanted, pool.map(HubSource.main, wanted), strict=True) if main
        }
