"""What a setting does: differences between groups of runs, with intervals from the spread between their runs.

Runs of one group differ by their seeds alone, so their spread is what chance in training does. The interval of a
difference is that of Tukey and Kramer: the variance within groups is pooled over all of them, and with three groups or
more the intervals of all pairs of one quantity hold together with 95 % (Kramer 1956, Extension of multiple range tests
to group means with unequal numbers of replications, Biometrics 12). For two groups it is the t interval with pooled
variance. It assumes that runs are independent, that their numbers are normal around the mean of their group, and that
all groups spread alike. Quantities are not counted together: of twenty that a setting does nothing to, one will have an
interval without 0.

Runs of one seed may start from the same weights and see the same data in every group. Then they are not independent:
what their seed does to all of them alike cancels in a difference, and the interval above is too wide. A comparison in
pairs takes it out (a two-way table of groups and seeds without repetition, a randomised block design), for the price of
degrees of freedom: with three seeds and two groups it pays where runs of one seed correlate by more than about a half.
Whether to pair is a matter of how the runs were made, and should be settled before the numbers are seen.

Beside it stands the error over the documents of the probe. It is another question, what other documents would read of
these same models, and says nothing of other seeds. All runs were read on the same documents, so most of the error is
common to both groups and cancels, see `ibtrack.analysis.deviations`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from itertools import combinations
from statistics import fmean
from typing import Any

import numpy as np

from ibtrack._checks import check_option
from ibtrack.analysis.deviations import Vector, stacked
from ibtrack.analysis.groups import Groups, group_runs, listed
from ibtrack.analysis.matching import Match, Reading, fall_at, match_runs, moved_by, read_at, reader
from ibtrack.record.quantities import PLANE_UNITS, QUANTITIES
from ibtrack.record.trajectory import Point, Trajectory

CONFIDENCE = 0.95  # of all pairs of one quantity together: the customary level
OF_A_SITE = ("complexity", "expressivity", "optimality", "fall")
ONE_EACH = "One seed each: differences may be chance."
NO_SPREAD = "Runs of one group do not differ, so there is no interval."
SOME_ONE = "A group of one run is taken to spread as the others do."
AS_INDEPENDENT = "Not all points say what each document adds, so of the error of the probe nothing is taken to cancel."
# quantity to its name, and to the words for a second group that is lower and for one that is higher than the first
_WORDS = {
    "complexity": ("I(X;Z)", "keeps less than", "keeps more than"),
    "expressivity": ("I(Y;Z)", "tells less than", "tells more than"),
    "optimality": ("optimality", "has a lower optimality than", "has a higher optimality than"),
    "fall": ("fall of I(X;Z)", "compresses less than", "compresses more than"),
    "loss": ("training loss", "has a lower training loss than", "has a higher training loss than"),
    "probe_loss": ("loss on the probe", "has a lower loss on the probe than", "has a higher loss on the probe than"),
    "steps": ("steps", "takes fewer steps than", "takes more steps than"),
}


@dataclass(frozen=True, kw_only=True)
class Contrast:
    """The difference between two groups of runs in one quantity.

    Attributes:
        first: Name of the group that is subtracted.
        second: Name of the other group.
        difference: Mean of the second group less that of the first, in the unit of the quantity.
        interval: Ends of the 95 % interval of the difference, from the spread between runs; None where no group has two
            runs, or where those of a group do not differ, as where none has fallen yet.
        probe_se: Standard error of the difference over the documents of the probe; ``nan`` where a run has none. It is
            no part of the interval.
        probe_paired: Whether that error is of numbers read on the same documents. Where a point does not say what each
            document adds, the errors of both groups are added up as if they were independent.
    """

    first: str
    second: str
    difference: float
    interval: tuple[float, float] | None = None
    probe_se: float = math.nan
    probe_paired: bool = False

    @property
    def is_told(self) -> bool:
        """Whether there is an interval and 0 lies outside of it."""
        return self.interval is not None and not self.interval[0] <= 0 <= self.interval[1]


@dataclass(frozen=True, kw_only=True)
class Effect:
    """The differences between groups in one quantity.

    Attributes:
        quantity: ``complexity``, ``expressivity``, ``optimality``, ``fall`` of I(X;Z), ``probe_loss`` or ``loss``, that
            of training, or ``steps``, how many the runs took to a matched loss.
        unit: What the numbers are a part of, such as ``of the ceiling``, or what they count; empty for a ratio.
        values: Name of each group to the names of its runs with their numbers.
        contrasts: Difference between each two groups.
        left_out: Name of each run without the number to the reason.
        where: Name of the place, for the sentence.
        paired: Whether runs were compared seed by seed.
    """

    quantity: str
    unit: str
    values: Mapping[str, Mapping[str, float]]
    contrasts: tuple[Contrast, ...]
    left_out: Mapping[str, str]
    where: str
    paired: bool = False

    @property
    def title(self) -> str:
        """Name of the quantity."""
        return _WORDS[self.quantity][0]

    @property
    def means(self) -> dict[str, float]:
        """Name of each group that has runs to their mean."""
        return {name: fmean(runs.values()) for name, runs in self.values.items() if runs}

    def sentence(self) -> str:
        """Say the differences in words.

        Example:
            >>> contrast = Contrast(first="constant", second="cosine", difference=-0.03, interval=(-0.05, -0.01))
            >>> values = {"constant": {"a": 0.42, "b": 0.4}, "cosine": {"c": 0.39, "d": 0.37}}
            >>> print(Effect(quantity="complexity", unit="of the ceiling", values=values, contrasts=(contrast,),
            ...              left_out={}, where="at step 600").sentence())
            cosine keeps less than constant at step 600: I(X;Z) 0.380 against 0.410 of the ceiling, a difference of \
-0.030, 95 % interval -0.050 to -0.010 over 2 runs each.
        """
        if not self.contrasts:
            return f"{self._capital()} {self.where}: fewer than two groups have a number."
        return self._of_one(self.contrasts[0]) if len(self.contrasts) == 1 else self._of_several()

    def text(self, value: float, *, sign: bool = True) -> str:
        """Write a number of the quantity, without its unit.

        Args:
            value: Value or difference.
            sign: Whether a positive number has a plus.
        """
        return f"{value:{'+' if sign else ''},.{0 if self.quantity == 'steps' else 3}f}"

    def _of_one(self, each: Contrast) -> str:
        head = f"{self._comparison(each)} {self.where}"
        if each.interval is None:
            return f"{head}: {self._size(each)}. {self._why_none()}"
        if not each.is_told:
            head = f"{self._undecided(each)} {self.where}"
        ends = " to ".join(map(self.text, each.interval))
        return f"{head}: {self._size(each)}, 95 % interval {ends} over {self._sizes(each)}."

    def _of_several(self) -> str:
        means = sorted(self.means.items(), key=lambda item: item[1])
        ends = " to ".join(f"{self.text(value, sign=False)} ({name})" for name, value in (means[0], means[-1]))
        head = f"{self._capital()} {self.where}: from {ends}."
        if all(each.interval is None for each in self.contrasts):
            return f"{head} {self._why_none()}"
        told = [each for each in self.contrasts if each.is_told]
        if not told:
            return f"{head} No two of the {len(means)} groups can be told apart."
        words = listed([f"{self._comparison(each)} ({self.text(each.difference)})" for each in told])
        return f"{head} Told apart at 5 % for all {len(self.contrasts)} pairs together: {words}."

    def _why_none(self) -> str:
        return NO_SPREAD if any(len(runs) > 1 for runs in self.values.values()) else ONE_EACH

    def _undecided(self, each: Contrast) -> str:
        if self.quantity == "fall" and self.unit == f"of {PLANE_UNITS['share'].whole}":
            return f"Whether {each.second} or {each.first} compresses more cannot be told"
        return f"{each.second} cannot be told from {each.first}"

    def _comparison(self, each: Contrast) -> str:
        _, lower, higher = _WORDS[self.quantity]
        if self.quantity == "fall" and self.unit == f"of {PLANE_UNITS['log_k'].whole}":
            lower, higher = "falls less than", "falls more than"  # a narrowing cloud does so, which is no compression
        if each.difference == 0:
            return f"{each.second} does not differ from {each.first}"
        return f"{each.second} {lower if each.difference < 0 else higher} {each.first}"

    def _size(self, each: Contrast) -> str:
        second, first = (self.text(self.means[name], sign=False) for name in (each.second, each.first))
        numbers = " ".join(filter(None, (f"{self.title} {second} against {first}", self.unit)))
        return f"{numbers}, a difference of {self.text(each.difference)}"

    def _sizes(self, each: Contrast) -> str:
        first, second = len(self.values[each.first]), len(self.values[each.second])
        if self.paired:
            return f"{first} seeds, compared seed by seed"
        return f"{first} runs each" if first == second else f"{second} and {first} runs"

    def _capital(self) -> str:
        return self.title[0].upper() + self.title[1:]


@dataclass(frozen=True, kw_only=True)
class Effects:
    """The effects of the settings by which runs are grouped.

    Attributes:
        groups: The groups.
        match: Where the runs are compared.
        order: Label set of the numbers.
        effects: One for each quantity.
        site: ``mean`` over the layers, or the site that the numbers are of.
    """

    groups: Groups
    match: Match
    order: str
    effects: tuple[Effect, ...]
    site: str = "mean"

    def __getitem__(self, quantity: str) -> Effect:
        """Look up the effect on a quantity.

        Args:
            quantity: Name as in `Effect.quantity`.

        Raises:
            KeyError: There is none; the message names those that there are.
        """
        found = {each.quantity: each for each in self.effects}
        if quantity not in found:
            raise KeyError(f"quantity must be one of {', '.join(found)}, got {quantity!r}")
        return found[quantity]

    def sentences(self) -> list[str]:
        """Say the groups, the effect on each quantity, and which runs were left out of what."""
        sizes = {len(runs) for each in self.effects for runs in each.values.values()} - {0}
        caveat = [self.match.remark] if self.match.remark else []
        caveat += [SOME_ONE] if 1 in sizes and len(sizes) > 1 else []
        pairs = [pair for each in self.effects for pair in each.contrasts if not math.isnan(pair.probe_se)]
        caveat += [] if all(pair.probe_paired for pair in pairs) else [AS_INDEPENDENT]
        return [self.groups.sentence(), *(each.sentence() for each in self.effects), *caveat, *self._left_out()]

    def _left_out(self) -> list[str]:
        """Name each run that is left out, the reason, and of what where it is not all."""
        places = [f"{name} is left out {self.match.words()}: {why}." for name, why in self.match.left_out.items()]
        lacking: dict[tuple[str, str], list[str]] = {}
        for each in self.effects:
            for name, why in each.left_out.items():
                lacking.setdefault((name, why), []).append(each.title)
        values = []
        for (name, why), titles in lacking.items():
            of = "" if len(titles) == len(self.effects) else f" of {listed(titles)}"
            values.append(f"{name} is left out{of} {self.match.words()}: {why}.")
        return places + values


def effects(
    runs: Mapping[str, Trajectory],
    by: str | None = None,
    *,
    order: str = "token",
    unit: str = "share",
    at: str = "step",
    step: int | None = None,
    ignore: Sequence[str] = (),
    paired: bool = False,
    site: str = "mean",
) -> Effects:
    """Work out what settings do to complexity, expressivity, optimality, the fall of I(X;Z) and the loss.

    All numbers are of the debiased reading, at the mean over the layers or at one of them. The fall is that since the
    top of the largest rise, see `ibtrack.analysis.matching.fall_at`.

    Args:
        runs: Name of each run to its trajectory.
        by: Setting that makes the groups, as in `ibtrack.analysis.groups.group_runs`; None takes all that differ.
        order: Label set, such as ``token``.
        unit: ``share`` of the ceiling or ``log_k``, fraction of log K.
        at: ``step``, ``tokens`` or ``loss``: what is equal where runs are compared, as in
            `ibtrack.analysis.matching.match_runs`. At a loss, the number of steps takes the place of the loss.
        step: A step in place of the last that all runs have.
        ignore: Settings that are no difference.
        paired: Whether runs of one seed are compared with each other, as the start of this module says.
        site: ``mean``, or a site of the protocol, such as ``L03``, which sentences then name.

    Returns:
        The effects; runs that cannot be compared are named in them.

    Raises:
        ValueError: The runs cannot be grouped or matched, there is no such unit, two runs of a group have the same
            numbers, fewer than two groups are left, or runs are to be paired and a group has no single run of a seed.

    Example:
        >>> from ibtrack.record.trajectory import Point
        >>> runs = {
        ...     f"{lr} {seed}": Trajectory({}, {"config": {"lr": lr, "seed": seed}},
        ...                                [Point(8, {"ib/mean/token/kept": 0.5 - lr + seed / 100})])
        ...     for lr in (0.1, 0.2) for seed in (0, 1, 2)
        ... }
        >>> print(effects(runs)["complexity"].sentence())
        lr=0.2 keeps less than lr=0.1 at step 8: I(X;Z) 0.310 against 0.410 of the ceiling, a difference of -0.100, \
95 % interval -0.123 to -0.077 over 3 runs each.
    """
    check_option("unit", unit, tuple(PLANE_UNITS))
    groups = group_runs(runs, by, ignore=ignore)
    if paired:
        _check_pairs(groups)
    match = match_runs(runs, at, step=step)
    _check_left(groups, match)
    _check_distinct(groups, runs, reader(PLANE_UNITS[unit].complexity, order, site))
    readings = {
        quantity: {name: read(runs[name], place) for name, place in match.places.items()}
        for quantity, read in _readers(unit, order, match, site).items()
    }
    if paired:
        readings = {quantity: _in_all_groups(each, groups) for quantity, each in readings.items()}
    place = "" if site == "mean" else f" in {site}"
    found = (_effect(quantity, unit, each, groups, match, place, paired=paired) for quantity, each in readings.items())
    return Effects(groups=groups, match=match, order=order, effects=tuple(found), site=site)


def which_compresses(runs: Mapping[str, Trajectory], order: str = "token", *, unit: str = "share") -> str:
    """Say which settings compress more, by the fall of I(X;Z) at the last step that all runs have.

    Args:
        runs: Name of each run to its trajectory.
        order: Label set, such as ``token``.
        unit: ``share`` or ``log_k``.

    Returns:
        The sentence; an empty text where the runs do not fall into comparable groups.

    Example:
        >>> which_compresses({"a": Trajectory({}, {}, [])})
        ''
    """
    try:
        found = effects(runs, order=order, unit=unit)["fall"]
    except ValueError:  # the sentence is an extra of a list of runs, which need not be a sweep
        return ""
    return found.sentence() if found.contrasts else ""


def intervals(
    values: Mapping[str, Sequence[float]], *, paired: bool = False
) -> dict[tuple[str, str], tuple[float, float]]:
    """Work out the 95 % intervals of the differences between the means of groups, which hold for all pairs together.

    Args:
        values: Name of each group to its numbers, one or more. A group of one number is taken to spread as the others.
        paired: Whether the first numbers of all groups belong together, the second, and so on.

    Returns:
        Names of two groups to the ends of the interval of the second's mean less the first's; nothing where no group
        has two numbers that differ, as then nothing tells their spread.

    Example:
        >>> for pair, (low, high) in intervals({"a": [1.0, 2.0, 3.0], "b": [2.0, 3.0, 5.0], "c": [9.0]}).items():
        ...     print(*pair, f"{low:.2f} to {high:.2f}")
        a b -2.42 to 5.09
        a c 1.69 to 12.31
        b c 0.35 to 10.98
    """
    means = {name: fmean(group) for name, group in values.items()}
    rests = [[number - means[name] for number in group] for name, group in values.items()]
    if paired:
        rests = [
            [rest - fmean(block) for rest, block in zip(row, zip(*rests, strict=True), strict=True)] for row in rests
        ]
    free = sum(len(group) - 1 for group in rests) - (len(rests[0]) - 1 if paired else 0)
    squares = sum(rest**2 for row in rests for rest in row)
    if free == 0 or squares == 0:
        return {}
    reach = _critical_value(len(values), free) * math.sqrt(squares / free)
    found = {}
    for first, second in combinations(values, 2):
        half = reach * math.sqrt(1 / len(values[first]) + 1 / len(values[second]))
        difference = means[second] - means[first]
        found[first, second] = (difference - half, difference + half)
    return found


@cache
def _critical_value(num_groups: int, free: int) -> float:
    """Half width of the interval in standard errors: the quantile of the studentised range, divided by √2."""
    from scipy.stats import studentized_range  # here, as it takes a second to import, which no other command needs

    return float(studentized_range.ppf(CONFIDENCE, num_groups, free)) / math.sqrt(2)


def _readers(unit: str, order: str, match: Match, site: str) -> dict[str, Callable[[Trajectory, float], Reading]]:
    complexity, expressivity, _ = PLANE_UNITS[unit]
    read: dict[str, Callable[[Trajectory, float], Reading]] = {
        "complexity": partial(read_at, read=reader(complexity, order, site)),
        "expressivity": partial(read_at, read=reader(expressivity, order, site)),
        "optimality": partial(read_at, read=reader("optimality", order, site)),
        "fall": partial(fall_at, read=reader(complexity, order, site)),
    }
    if match.at == "loss":
        return read | {"steps": lambda _, place: Reading(place)}
    return read | {match.loss: partial(read_at, read=reader(match.loss, order))}


def _in_all_groups(readings: Mapping[str, Reading], groups: Groups) -> dict[str, Reading]:
    """Leave out runs of a seed that has no number in one of the groups, and put all in the order of their seeds."""
    lacking = {seed for name, seed in groups.seeds.items() if name not in readings or readings[name].why}
    why = "a run of the same seed has no number"
    return {
        name: Reading(math.nan, why=reading.why or why) if groups.seeds[name] in lacking else reading
        for name, reading in sorted(readings.items(), key=lambda item: groups.seeds[item[0]])
    }


def _effect(
    quantity: str,
    unit: str,
    readings: Mapping[str, Reading],
    groups: Groups,
    match: Match,
    place: str,
    *,
    paired: bool,
) -> Effect:
    there = {name: each for name, each in readings.items() if not each.why}
    values = {
        group: {name: each.value for name, each in there.items() if name in names}
        for group, names in groups.members.items()
    }
    filled = {group: list(runs.values()) for group, runs in values.items() if runs}
    between = intervals(filled, paired=paired) if len(filled) > 1 else {}
    read = {group: [there[name] for name in runs] for group, runs in values.items() if runs}
    moved = {group: _mean_moved_by(each) for group, each in read.items()}
    errors = {group: fmean(each.se for each in own) for group, own in read.items()}
    contrasts = tuple(
        Contrast(
            first=first,
            second=second,
            difference=fmean(filled[second]) - fmean(filled[first]),
            interval=between.get((first, second)),
            **_of_the_probe((moved[first], moved[second]), (errors[first], errors[second])),
        )
        for first, second in combinations(filled, 2)
    )
    return Effect(
        quantity=quantity,
        unit=_unit(quantity, unit),
        values=values,
        contrasts=contrasts,
        left_out={name: each.why for name, each in readings.items() if each.why},
        where=match.words().replace("at", "to", 1)
        if quantity == "steps"
        else match.words() + place * (quantity in OF_A_SITE),
        paired=paired,
    )


def _mean_moved_by(readings: Sequence[Reading]) -> Vector | None:
    """Work out what each cause of error moves a mean of runs by; None where a run does not say."""
    table = stacked([moved_by(reading) for reading in readings])
    return None if table is None else table.mean(0)


def _of_the_probe(moved: tuple[Vector | None, Vector | None], errors: tuple[float, float]) -> dict[str, Any]:
    """Work out the error over documents of the difference of two means, and say whether it is that of pairs."""
    first, second = moved
    if first is None or second is None or first.shape != second.shape:
        return {"probe_se": math.hypot(*errors)}
    return {"probe_se": float(np.linalg.norm(second - first)), "probe_paired": True}


def _unit(quantity: str, unit: str) -> str:
    if quantity in ("complexity", "expressivity", "fall"):
        return f"of {PLANE_UNITS[unit].whole}"
    return "" if quantity == "steps" else QUANTITIES[quantity].unit


def _check_left(groups: Groups, match: Match) -> None:
    """Check that two groups have runs at their places.

    Raises:
        ValueError: They have not.
    """
    left = [group for group, names in groups.members.items() if any(name in match.places for name in names)]
    if len(left) < 2:
        reasons = "; ".join(f"{name}: {why}" for name, why in match.left_out.items())
        raise ValueError(f"only the group {left[0]} has runs {match.words()} ({reasons})")


def _check_pairs(groups: Groups) -> None:
    """Check that each group has one run of each seed.

    Raises:
        ValueError: It has not.
    """
    every = sorted(set(groups.seeds.values()))
    for group, names in groups.members.items():
        if sorted(groups.seeds[name] for name in names) != every:
            own = ", ".join(groups.seeds[name] or "no seed" for name in names)
            raise ValueError(f"pairs need one run of each seed in each group, and {group} has {own}")


def _check_distinct(groups: Groups, runs: Mapping[str, Trajectory], read: Callable[[Point], Reading]) -> None:
    """Check that the runs of a group are different runs; the same numbers twice would pass for seeds that agree.

    Raises:
        ValueError: Two of them have the same numbers at all points.
    """
    for names in groups.members.values():
        seen: dict[tuple[float, ...], str] = {}
        for name in names:
            numbers = tuple(read(point).value for point in runs[name].points)
            first = seen.setdefault(numbers, name)
            if first != name and len(numbers) > 1:
                raise ValueError(
                    f"{first} and {name} have the same numbers at all points: they are one run, or runs of one seed; "
                    "leave one of them out"
                )
