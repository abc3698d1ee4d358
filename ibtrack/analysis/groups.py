"""Runs grouped by their settings: runs that differ in nothing but their seeds are replicates of one another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

from ibtrack.analysis.comparison import refusal, telling_settings, why_not_comparable
from ibtrack.record.protocol import as_text, differing_keys, flat
from ibtrack.record.trajectory import Trajectory

Configs = Mapping[str, Mapping[str, Any]]
EQUAL_SEEDS = "Runs of one group have the same seeds on file, or none: between seeds they may differ by more."


@dataclass(frozen=True, kw_only=True)
class Groups:
    """Groups of runs that share their settings.

    Attributes:
        by: Settings whose values make the groups.
        along: Other settings that differ between groups and not within one.
        members: Name of each group to the names of its runs. Groups of numbers ascend, others are in the order in which
            they first occur.
        seeds: Name of each run to its seeds, those that differ between runs, as a text.
        remark: Sentence on what is not known of the replicates, or an empty text.
    """

    by: tuple[str, ...]
    along: tuple[str, ...] = ()
    members: Mapping[str, tuple[str, ...]]
    seeds: Mapping[str, str] = field(default_factory=dict)
    remark: str = ""

    def sentence(self) -> str:
        """Say what makes the groups, how many runs they have, and what else changes with them.

        Example:
            >>> print(Groups(by=("lr",), along=("warmup",), members={"lr=1": ("a", "b"), "lr=2": ("c",)}).sentence())
            Groups by lr: lr=1 (2 runs), lr=2 (1 run). They also differ in warmup: an effect is that of all together.
        """
        sizes = (f"{name} ({len(each)} run{'s' * (len(each) > 1)})" for name, each in self.members.items())
        parts = [f"Groups by {listed(self.by)}: {', '.join(sizes)}."]
        if self.along:
            parts.append(f"They also differ in {listed(self.along)}: an effect is that of all together.")
        return " ".join(filter(None, [*parts, self.remark]))


def group_runs(runs: Mapping[str, Trajectory], by: str | None = None, *, ignore: Sequence[str] = ()) -> Groups:
    """Group runs by one setting, or by all in which they differ; a seed makes no groups, as it is what repeats a run.

    A seed is a setting whose last part has ``seed`` in its name, such as ``seed`` or ``data.seed``. Settings that only
    name a run or its folder are no difference, see `ibtrack.analysis.comparison.telling_settings`.

    Args:
        runs: Name of each run to its trajectory.
        by: Setting with dots, such as ``model.optimizer.lr``, or its last part, where one setting alone has it. None
            takes all settings that differ, and names the groups by as few as tell them apart.
        ignore: Settings that are no difference, such as the time of a launch, named as ``by`` is.

    Returns:
        Two groups or more.

    Raises:
        ValueError: The runs were measured under different protocols; a setting is unknown, ambiguous or a seed; there
            is one group only; or settings other than seeds differ within a group.

    Example:
        >>> configs = [{"recipe": recipe, "seed": seed} for recipe in ("constant", "cosine") for seed in (0, 1)]
        >>> group_runs({f"r{i}": Trajectory({}, {"config": config}, []) for i, config in enumerate(configs)}).members
        {'constant': ('r0', 'r1'), 'cosine': ('r2', 'r3')}
    """
    if differences := why_not_comparable(runs):
        raise ValueError(refusal(differences, "an effect needs runs of one protocol"))
    configs = {name: flat(run.run.get("config") or {}) for name, run in runs.items()}
    ignored = [resolved_setting(key, configs) for key in ignore]
    names = [str(run.run.get("name")) for run in runs.values()]  # without the prefix of a further monitor
    differing = telling_settings(list(configs.values()), names)
    telling = [key for key in differing if not is_seed(key) and key not in ignored]
    keys = _naming(telling, configs) if by is None else (resolved_setting(by, configs),)
    members = _members(keys, configs)
    _check_groups(keys, members, configs)
    others = tuple(key for key in telling if key not in keys)
    _check_within(others, members, configs)
    seeds = _seeds(configs)
    is_shared = any(len({seeds[name] for name in names}) < len(names) for names in members.values())
    return Groups(by=keys, along=others, members=members, seeds=seeds, remark=EQUAL_SEEDS if is_shared else "")


def is_seed(key: str) -> bool:
    """Say whether a setting is a seed, by its name.

    Args:
        key: Setting with dots.

    Example:
        >>> [is_seed(key) for key in ("seed", "data.data_seed", "seeds.lr")]
        [True, True, False]
    """
    return "seed" in key.rpartition(".")[2].lower()


def listed(names: Sequence[str]) -> str:
    """Join names to a part of a sentence; of more than five, the last is how many more there are.

    Args:
        names: At least one name.

    Example:
        >>> listed(["a", "b", "c"]), listed(list("abcdefg"))
        ('a, b and c', 'a, b, c, d and 3 more')
    """
    shown = list(names) if len(names) <= 5 else [*names[:4], f"{len(names) - 4} more"]
    return " and ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)


def resolved_setting(key: str, configs: Configs) -> str:
    """Find the setting that is meant: the whole key, or the only one that ends in it.

    Of several that end in it, those in which the runs differ count, and of those that make the same groups the
    shortest.

    Args:
        key: Setting with dots, or its last part.
        configs: Name of each run to its configuration, with dotted keys.

    Raises:
        ValueError: There is none, or they make different groups.
    """
    known = list(dict.fromkeys(name for config in configs.values() for name in config))
    if key in known:
        return key
    ending = [name for name in known if name.endswith(f".{key}")]
    if not ending:
        lasts = {name.rpartition(".")[2]: name for name in reversed(known)}
        near = list(dict.fromkeys(lasts.get(name, name) for name in get_close_matches(key, [*known, *lasts], n=3)))
        hint = f"; near are {', '.join(near)}" if near else ""
        raise ValueError(f"no run has a setting {key!r}{hint}")
    differing = [name for name in ending if len(set(_values(name, configs))) > 1] or ending
    ways = {_way((name,), configs): name for name in sorted(differing, key=len, reverse=True)}
    if len(ways) > 1:
        raise ValueError(f"{key!r} may be {', '.join(differing)}; name one of them in full")
    return next(iter(ways.values()))


def _values(key: str, configs: Configs) -> tuple[str, ...]:
    return tuple(as_text(config.get(key)) for config in configs.values())


def _way(keys: Sequence[str], configs: Configs) -> tuple[int, ...]:
    """Write the way in which settings part the runs: for each run the place of the first with the same values."""
    rows = list(zip(*(_values(key, configs) for key in keys), strict=True)) if keys else [()] * len(configs)
    return tuple(rows.index(row) for row in rows)


def _naming(settings: Sequence[str], configs: Configs) -> tuple[str, ...]:
    """Choose settings that part the runs as all of them do: those of most values first, of equals the shortest."""
    chosen: list[str] = []
    for key in sorted(settings, key=lambda key: (-len(set(_values(key, configs))), len(key))):
        if len(set(_way([*chosen, key], configs))) > len(set(_way(chosen, configs))):
            chosen.append(key)
    return tuple(key for key in settings if key in chosen)


def _members(keys: Sequence[str], configs: Configs) -> dict[str, tuple[str, ...]]:
    runs: dict[tuple[str, ...], list[str]] = {}
    for name, config in configs.items():
        runs.setdefault(tuple(as_text(config.get(key)) for key in keys), []).append(name)
    is_text = all(isinstance(config.get(key), str) for config in configs.values() for key in keys)
    columns = [_ranks([row[i] for row in runs]) for i in range(len(keys))]
    in_order = sorted(runs, key=lambda row: [rank[value] for rank, value in zip(columns, row, strict=True)])
    return {_group_name(keys, row, bare=is_text and len(keys) == 1): tuple(runs[row]) for row in in_order}


def _ranks(values: Sequence[str]) -> dict[str, float]:
    """Rank values: numbers by their size, others by where they first occur."""
    try:
        return {value: float(value) for value in values}
    except ValueError:
        return {value: float(place) for place, value in reversed(list(enumerate(values)))}


def _group_name(keys: Sequence[str], values: Sequence[str], *, bare: bool) -> str:
    """Name a group by its values; a text that is the only one stands alone."""
    if bare:
        return values[0]
    lasts = [key.rpartition(".")[2] for key in keys]
    names = [last if lasts.count(last) == 1 else key for last, key in zip(lasts, keys, strict=True)]
    return " ".join(f"{name}={value}" for name, value in zip(names, values, strict=True))


def _check_groups(keys: Sequence[str], members: Mapping[str, Sequence[str]], configs: Configs) -> None:
    """Check that settings make two groups or more, and that none of them is a seed.

    Raises:
        ValueError: They do not.
    """
    if seeds := [key for key in keys if is_seed(key)]:
        raise ValueError(f"{seeds[0]} is a seed, and runs of several seeds are repetitions: name another setting")
    if len(members) > 1:
        return
    if len(configs) < 2:
        raise ValueError(f"an effect needs two groups of runs or more, got {len(configs)} run{'s' * (not configs)}")
    if keys:
        raise ValueError(f"{keys[0]} is {_values(keys[0], configs)[0]} in all runs; an effect needs two groups or more")
    have = "differ in no setting but seeds, names and paths" if any(configs.values()) else "have no settings on file"
    raise ValueError(f"the runs {have}; an effect needs two groups or more")


def _check_within(others: Sequence[str], members: Mapping[str, Sequence[str]], configs: Configs) -> None:
    """Check that settings other than seeds have one value in each group.

    Raises:
        ValueError: They do not.
    """
    for group, names in members.items():
        own = {name: configs[name] for name in names}
        if varying := [key for key in others if len(set(_values(key, own))) > 1]:
            raise ValueError(
                f"{listed(varying)} differ{'s' * (len(varying) == 1)} within the group {group}: compare the runs of "
                "one value at a time, group by all settings (without by), or ignore it if it makes no difference"
            )


def _seeds(configs: Configs) -> dict[str, str]:
    """Write the seeds of each run, those in which the runs differ; nothing for runs without."""
    keys = [key for key in differing_keys(list(configs.values())) if is_seed(key)]
    return {name: " ".join(f"{key}={as_text(config.get(key))}" for key in keys) for name, config in configs.items()}
