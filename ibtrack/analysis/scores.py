"""Whether the readings of runs go with their scores, and what of it is more than their loss or their size says.

Scores come from files (`read_scores`), are joined to the points of runs (`join_scores`), and each reading is correlated
by ranks with each score: as they are, with the loss held fixed, and with the size held fixed (`relate`). Intervals are
over families of runs, see `ibtrack.analysis.rank_correlations`. A correlation over models that others have made is no
effect: what sets families apart changes readings and scores at once. It says what goes with what, and the lines with
the loss and the size held fixed say what of that either of them does not explain already. Even this is bounded by how
well they are measured: a noisy loss leaves a part of itself behind.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

import numpy as np

from ibtrack._checks import check_option
from ibtrack.analysis.comparison import refusal, why_not_comparable
from ibtrack.analysis.groups import listed, resolved_setting
from ibtrack.analysis.rank_correlations import MIN_FAMILIES, NUM_DRAWS, Question, RankCorrelation, rank_correlations
from ibtrack.analysis.score_files import SIZE_COLUMNS, ScoreRow, read_scores
from ibtrack.record.keys import metric_key, parse_key
from ibtrack.record.protocol import as_text, flat
from ibtrack.record.quantities import QUANTITIES, quantity_key
from ibtrack.record.trajectory import Point, Trajectory

__all__ = ["Joined", "JoinedRow", "Relation", "Relations", "ScoreRow", "join_scores", "read_scores", "relate"]

DEFAULT_QUANTITIES = ("kept", "told", "optimality", "regularity")  # those that width and number of anchors move little
GIVEN = ("loss", "size")
OWN_FAMILY = (
    "Each run counts as a family of its own; runs that share data or a recipe are not independent, and --by names the "
    "column or the setting that groups them."
)
ALONG_TRAINING = (
    "Some runs have several rows: whatever rises along training goes with whatever else does, so hold the loss fixed."
)
NO_SIZE = "Nothing says how large the models are; --size names the column or the setting that does."
MIXED = "The runs were measured under different protocols, so that their readings may differ for that reason alone."
_MAX_SENTENCES = 10


@dataclass(frozen=True, kw_only=True)
class JoinedRow:
    """The readings and the scores of one run at one step.

    Attributes:
        run: Name of the run.
        step: Step of the point.
        family: Name of the family that the run belongs to.
        readings: Metric key to value; ``nan`` where the point has none.
        scores: Name of each score to its value; ``nan`` where the table has none.
        loss: Loss in nats, on the probe or in training; ``nan`` where there is none.
        size: Number of parameters, or whatever number stands for the size; ``nan`` where there is none.
    """

    run: str
    step: int
    family: str
    readings: Mapping[str, float]
    scores: Mapping[str, float]
    loss: float = math.nan
    size: float = math.nan


@dataclass(frozen=True, kw_only=True)
class Joined:
    """Readings of runs beside their scores.

    Attributes:
        rows: One for each run and step that has scores.
        by: Column or setting that makes the families, or None where each run is its own.
        left_out: Name of each run or row of scores that has no counterpart to the reason.
        remarks: Sentences on what is to be known of the rows.
    """

    rows: tuple[JoinedRow, ...]
    by: str | None
    left_out: Mapping[str, str] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Relation:
    """How one reading goes with one score.

    Attributes:
        reading: Metric key of the reading.
        score: Name of the score.
        alone: Spearman's ρ of both.
        given: ``loss`` and ``size`` to the partial ρ with it held fixed.
    """

    reading: str
    score: str
    alone: RankCorrelation
    given: Mapping[str, RankCorrelation]

    def sentence(self) -> str:
        """Say what can be told of it, with intervals that hold for all relations together.

        Example:
            >>> alone = RankCorrelation(value=0.62, together=(0.21, 0.88), num_families=9)
            >>> given = RankCorrelation(value=0.05, together=(-0.4, 0.5), num_families=9)
            >>> key = "ib/mean/bigram/told"
            >>> print(Relation(reading=key, score="hellaswag/acc", alone=alone, given={"loss": given}).sentence())
            told of bigrams goes with hellaswag/acc: ρ 0.62, 0.21 to 0.88 over 9 families; given loss 0.05, -0.40 to \
0.50: no more can be told than loss says.
        """
        name = reading_words(self.reading)
        if self.alone.together is None:
            shown = "" if math.isnan(self.alone.value) else f" ρ {two_digits(self.alone.value)};"
            return f"{name} and {self.score}:{shown} {self.alone.why}."
        if not self.alone.is_told:
            head = f"{name} cannot be told to go with {self.score}"
        else:
            head = f"{name} goes {'with' if self.alone.value > 0 else 'against'} {self.score}"
        parts = [f"{head}: ρ {_with_interval(self.alone)} over {self.alone.num_families} families"]
        if self.alone.is_told:
            parts += [self._given(name, each) for name, each in self.given.items()]
        return "; ".join(parts) + "."

    def _given(self, name: str, partial: RankCorrelation) -> str:
        if partial.together is None:
            return f"given {name} nothing can be told: {partial.why}"
        if not partial.is_told:
            words = f"no more can be told than {name} says"
        elif partial.value * self.alone.value > 0:
            words = f"more than {name} says"
        else:
            words = "the other way round"
        return f"given {name} {_with_interval(partial)}: {words}"


@dataclass(frozen=True, kw_only=True)
class Relations:
    """How readings go with scores.

    Attributes:
        joined: Rows behind it.
        relations: One for each reading and score, those of the same score together.
    """

    joined: Joined
    relations: tuple[Relation, ...]

    @property
    def num_families(self) -> int:
        """Number of families of the rows."""
        return len({row.family for row in self.joined.rows})

    def sentences(self) -> list[str]:
        """Say what was joined, for each score what can be told, and what cannot."""
        rows, runs = self.joined.rows, {row.run for row in self.joined.rows}
        steps = f" at {len(rows)} steps in all" if len(rows) > len(runs) else ""
        families = f" in {self.num_families} families, by {self.joined.by}," if self.joined.by else ""
        head = f"{len(runs)} run{'s' * (len(runs) != 1)}{steps}{families} with scores."
        left = [f"{name} is left out: {why}." for name, why in self.joined.left_out.items()]
        shown = left if len(left) <= _MAX_SENTENCES else [f"{len(left)} runs or rows have no counterpart: {left[0]}"]
        return [head, *self.joined.remarks, *shown, *self._findings()]

    def rows(self) -> Iterator[dict[str, Any]]:
        """Make one row per reading, score and what is held fixed.

        Yields:
            Column to value; None where there is none.
        """
        for each in self.relations:
            parts = parse_key(each.reading)
            for given, found in {"": each.alone, **each.given}.items():
                low, high = found.interval or (None, None)
                low_together, high_together = found.together or (None, None)
                yield {
                    "score": each.score,
                    "key": each.reading,
                    "quantity": parts.quantity,
                    "site": parts.site,
                    "order": parts.order,
                    "reading": parts.reading,
                    "given": given,
                    "rho": None if math.isnan(found.value) else found.value,
                    "low": low,
                    "high": high,
                    "low_together": low_together,
                    "high_together": high_together,
                    "told": found.is_told,
                    "families": found.num_families,
                    "rows": found.num_rows,
                    "why": found.why,
                }

    def _findings(self) -> list[str]:
        if self.num_families < MIN_FAMILIES:
            number = self.num_families
            are = "family is" if number == 1 else "families are"
            return [f"Nothing can be told: {number} {are} fewer than the {MIN_FAMILIES} that an interval needs."]
        by_score: dict[str, list[Relation]] = {}
        for each in self.relations:
            by_score.setdefault(each.score, []).append(each)
        answered = {name: own for name, own in by_score.items() if any(each.alone.together for each in own)}
        told = {name: [each for each in own if each.alone.is_told] for name, own in answered.items()}
        lines = [self._of_score(answered[name], own) for name, own in told.items() if own]
        if len(lines) > _MAX_SENTENCES:
            lines[_MAX_SENTENCES:] = [f"So it is for {len(lines) - _MAX_SENTENCES} more scores."]
        untold = [name for name in answered if not told[name]]
        if len(untold) == 1:
            lines.append(self._of_score(answered[untold[0]], []))
        elif untold:
            lines.append(f"No reading can be told to go with {listed(untold)}.")
        lines += _reasons({name: own for name, own in by_score.items() if name not in answered})
        number = sum(each is not None for each in self._together())
        return [*lines, *([f"Intervals hold for all {number} together, with 95 %, over families."] if number else [])]

    def _together(self) -> list[tuple[float, float] | None]:
        return [found.together for each in self.relations for found in (each.alone, *each.given.values())]

    @staticmethod
    def _of_score(own: Sequence[Relation], told: Sequence[Relation]) -> str:
        with_interval = [each for each in own if each.alone.together is not None]
        strongest = max(told or with_interval, key=lambda each: abs(each.alone.value))
        others = (
            f" {len(told) - 1} of the {len(own) - 1} other readings can be told to go with or against it too."
            if len(told) > 1
            else ""
        )
        of = "" if told or len(own) == 1 else f" It is the strongest of {len(own)} readings."
        return strongest.sentence() + others + of


def join_scores(
    runs: Mapping[str, Trajectory],
    scores: Sequence[ScoreRow],
    *,
    quantities: Sequence[str] = DEFAULT_QUANTITIES,
    sites: Sequence[str] = ("mean",),
    orders: Sequence[str] | None = None,
    reading: str = "debiased",
    by: str | None = None,
    size: str | None = None,
    only: Sequence[str] | None = None,
    allow_mixed: bool = False,
) -> Joined:
    """Put scores beside the points of runs: at the step of the scores, or at the last one where they name none.

    A row belongs to the run whose name, label or folder is that of the row's model; of names with a slash, such as
    ``EleutherAI/pythia-70m``, the last part is enough. A replay is known by the repository that it measured as well,
    and where several runs are of one model, the row belongs to the one that has a point at its step.

    Args:
        runs: Name of each run to its trajectory.
        scores: Rows of scores, as `read_scores` gives them.
        quantities: Names in `ibtrack.record.quantities.QUANTITIES`, except ``loss`` and others of the whole run.
        sites: ``mean`` or sites such as ``L03``.
        orders: Label sets; None takes all that the runs have.
        reading: ``debiased``, ``plugin`` or ``null``.
        by: Column of the table, or else setting of the runs, that names the family of a run.
        size: Column or setting that is the size of a model; None looks for one that is called like the number of
            parameters, see `ibtrack.analysis.score_files.SIZE_COLUMNS`.
        only: Names of the scores to take; None takes all. Each one more makes the intervals that hold for all wider.
        allow_mixed: Whether runs of different protocols may be put beside each other.

    Returns:
        The rows; runs without scores and scores without a point are named.

    Raises:
        ValueError: The runs were measured under different protocols, no row fits a run, a row fits several or two rows
            fit one point, a family or a size is missing or not a number, or there is no such quantity or reading.

    Example:
        >>> runs = {"a": Trajectory({}, {"name": "a"}, [Point(8, {"ib/mean/token/kept": 0.5, "ib/probe_loss": 2.0})])}
        >>> scores = [ScoreRow(model="org/a", scores={"hellaswag/acc": 0.3})]
        >>> (row,) = join_scores(runs, scores, quantities=["kept"], orders=["token"]).rows
        >>> row.step, dict(row.readings), dict(row.scores), row.loss
        (8, {'ib/mean/token/kept': 0.5}, {'hellaswag/acc': 0.3}, 2.0)
    """
    mixed = why_not_comparable(runs)
    if mixed and not allow_mixed:
        raise ValueError(refusal(mixed, "--allow-mixed joins them all the same, with a line that says so"))
    keys = _keys(runs, quantities, sites, orders, reading)
    pairs, left_out = _pairs(runs, scores)
    configs = {name: flat(run.run.get("config") or {}) for name, run in runs.items()}
    families = _families(pairs, configs, by)
    sizes, size_name = _sizes(pairs, configs, size)
    losses, loss_remark = _losses([point for _, point, _ in pairs])
    names = _score_names(pairs, only, aside=[each for each in (by, size_name) if each])
    rows = tuple(
        JoinedRow(
            run=name,
            step=point.step,
            family=families[name],
            readings={key: point.values.get(key, math.nan) for key in keys},
            scores={each: row.scores.get(each, math.nan) for each in names},
            loss=loss,
            size=own_size,
        )
        for (name, point, row), loss, own_size in zip(pairs, losses, sizes, strict=True)
    )
    has_steps = len({row.run for row in rows}) < len(rows)
    size_remark = f"The size is {size_name}." if size_name else NO_SIZE
    remarks = [OWN_FAMILY if by is None else "", ALONG_TRAINING if has_steps else "", loss_remark, size_remark]
    remarks += [MIXED] if mixed else []
    return Joined(rows=rows, by=by, left_out=left_out, remarks=tuple(filter(None, remarks)))


def relate(joined: Joined, *, num_draws: int = NUM_DRAWS, seed: int = 0) -> Relations:
    """Correlate every reading with every score, alone, given the loss, and given the size where the rows have one.

    Args:
        joined: Rows of readings and scores.
        num_draws: Number of draws of the weights of families.
        seed: Seed of the draws.

    Example:
        >>> rows = tuple(
        ...     JoinedRow(run=f"r{i}", step=8, family=f"r{i}", readings={"ib/mean/token/told": i / 10},
        ...               scores={"arc": (i ^ 1) / 20}, loss=3 - i / 8)
        ...     for i in range(10)
        ... )
        >>> (relation,) = relate(Joined(rows=rows, by=None)).relations
        >>> print(relation.sentence())
        told of tokens goes with arc: ρ 0.94, 0.69 to 0.99 over 10 families; given loss nothing can be told: loss \
orders the rows as one of the two does, so nothing is left.
    """
    rows = joined.rows
    held = {name: np.array([getattr(row, name) for row in rows]) for name in GIVEN}
    held = {name: column for name, column in held.items() if np.isfinite(column).any()}
    readings = {key: np.array([row.readings[key] for row in rows]) for key in rows[0].readings}
    scores = {name: np.array([row.scores[name] for row in rows]) for name in rows[0].scores}
    pairs = [(key, name) for name in scores for key in readings]
    questions = [
        Question(
            first=readings[key],
            second=scores[name],
            given=held.get(given),
            names=(reading_words(key), name, given),
        )
        for key, name in pairs
        for given in ("", *held)
    ]
    answers = iter(rank_correlations(questions, [row.family for row in rows], num_draws=num_draws, seed=seed))
    relations = tuple(
        Relation(reading=key, score=name, alone=next(answers), given={given: next(answers) for given in held})
        for key, name in pairs
    )
    return Relations(joined=joined, relations=relations)


def reading_words(key: str) -> str:
    """Name a reading in a sentence.

    Args:
        key: Metric key.

    Example:
        >>> reading_words("ib/mean/bigram/told"), reading_words("ib_plugin/L03/entropy")
        ('told of bigrams', 'entropy in L03 (plugin)')
    """
    parts = parse_key(key)
    words = parts.quantity.replace("_", " ") + (f" of {parts.order}s" if parts.order else "")
    words += "" if parts.site in (None, "mean") else f" in {parts.site}"
    return words + ("" if parts.reading == "debiased" else f" ({parts.reading})")


def two_digits(value: float) -> str:
    """Write a correlation with two digits, and never as -0.00.

    Args:
        value: Number in [-1, 1].

    Example:
        >>> two_digits(-0.001), two_digits(0.957)
        ('0.00', '0.96')
    """
    return f"{round(value, 2) + 0.0:.2f}"


def _with_interval(found: RankCorrelation) -> str:
    low, high = found.together or (math.nan, math.nan)
    return f"{two_digits(found.value)}, {two_digits(low)} to {two_digits(high)}"


def _reasons(without: Mapping[str, Sequence[Relation]]) -> list[str]:
    """Say of scores that nothing can be told of why that is, those of one reason together."""
    reasons: dict[str, list[str]] = {}
    for name, own in without.items():
        reasons.setdefault(own[0].alone.why, []).append(name)
    return [f"Nothing can be told of {listed(names)}: {why}." for why, names in reasons.items()]


def _keys(
    runs: Mapping[str, Trajectory],
    quantities: Sequence[str],
    sites: Sequence[str],
    orders: Sequence[str] | None,
    reading: str,
) -> list[str]:
    """List the metric keys that are asked for, and check that a run has each of them.

    Raises:
        ValueError: There is no such quantity, or no point of any run has a value at a key.
    """
    known = tuple(name for name, each in QUANTITIES.items() if each.scope != "run")
    for quantity in quantities:
        check_option("quantity", quantity, known)
    every = dict.fromkeys(order for run in runs.values() for order in run.protocol.get("orders") or ())
    chosen = list(orders) if orders else list(every) or ["token"]
    keys = dict.fromkeys(
        quantity_key(name, site, order, reading) for name in quantities for site in sites for order in chosen
    )
    measured = {key for run in runs.values() for point in run.points for key in point.values}
    if lacking := [key for key in keys if key not in measured]:
        raise ValueError(f"no point of a run has {listed(lacking)}")
    return list(keys)


def _score_names(
    pairs: Sequence[tuple[str, Point, ScoreRow]], only: Sequence[str] | None, *, aside: Sequence[str]
) -> list[str]:
    """List the scores that are asked for.

    Raises:
        ValueError: One of them is none, or there are none.
    """
    names = list(dict.fromkeys(name for _, _, row in pairs for name in row.scores if name not in aside))
    if not names:
        raise ValueError(f"the runs have no scores besides {listed(aside)}" if aside else "the runs have no scores")
    if lacking := [name for name in only or () if name not in names]:
        near = get_close_matches(lacking[0], names, n=3) or names
        raise ValueError(f"there is no score {lacking[0]!r}; {listed(near)} there is")
    return list(dict.fromkeys(only)) if only else names


def _pairs(
    runs: Mapping[str, Trajectory], scores: Sequence[ScoreRow]
) -> tuple[list[tuple[str, Point, ScoreRow]], dict[str, str]]:
    """Find the run and the point of each row of scores.

    Raises:
        ValueError: No row fits a run, a row fits several, or two rows fit one point.
    """
    found: dict[tuple[str, int], tuple[str, Point, ScoreRow]] = {}
    left_out: dict[str, str] = {}
    for row in scores:
        name = _run_of(row, runs)
        if name is None:
            left_out[f"{row.words}, of the scores,"] = "no run is called so"
            continue
        point = _point_of(runs[name], row.step)
        if point is None:
            left_out[f"{row.words}, of the scores,"] = f"{name} {_steps_of(runs[name])}"
            continue
        other = found.setdefault((name, point.step), (name, point, row))[2]
        if other is not row:
            raise ValueError(f"two rows of scores fit {name} at step {point.step}: {other.words} and {row.words}")
    if not found:
        theirs = listed(list(dict.fromkeys(row.words for row in scores)))
        raise ValueError(f"no scores fit a run: the scores are of {theirs}, the runs are {listed(list(runs))}")
    with_scores = {name for name, _ in found}
    left_out |= {name: "it has no scores" for name in runs if name not in with_scores}
    return list(found.values()), left_out


def _run_of(row: ScoreRow, runs: Mapping[str, Trajectory]) -> str | None:
    """Find the run that a row of scores is about, by its whole name and then by the last part of it.

    Raises:
        ValueError: Several runs are called so.
    """
    names = {label: _names_of(label, run) for label, run in runs.items()}
    models = {label: _models_of(run) for label, run in runs.items()}
    wanted = dict.fromkeys(part for name in (row.model, *row.also) for part in (name, _last_part(name)))
    for known in (names, models):
        for name in wanted:
            fitting = [label for label, own in known.items() if name in own]
            if len(fitting) > 1 and name in fitting:
                fitting = [name]
            if len(fitting) > 1 and row.step is not None:
                fitting = [label for label in fitting if row.step in runs[label].steps] or fitting
            if len(fitting) > 1:
                raise ValueError(f"scores of {row.model} fit the runs {listed(fitting)}: give each a name of its own")
            if fitting:
                return fitting[0]
    return None


def _names_of(label: str, run: Trajectory) -> set[str]:
    folder = run.path.resolve().parent.name if run.path else ""
    whole = {label, run.name, str(run.run.get("name") or ""), folder} - {""}
    return whole | set(map(_last_part, whole))


def _models_of(run: Trajectory) -> set[str]:
    """Name the model that a replay has measured, which its configuration says, without the revision."""
    source = flat(run.run.get("config") or {}).get("replay.source")
    model = source.partition("@")[0] if isinstance(source, str) else ""
    return {model, _last_part(model)} - {""}


def _last_part(name: str) -> str:
    return name.rpartition("/")[2]


def _point_of(run: Trajectory, step: int | None) -> Point | None:
    if step is None:
        return run.points[-1] if run.points else None
    return next((point for point in run.points if point.step == step), None)


def _steps_of(run: Trajectory) -> str:
    if not run.points:
        return "has no points"
    return f"has no point at that step, its {len(run.steps)} are from {run.steps[0]} to {run.steps[-1]}"


def _families(
    pairs: Sequence[tuple[str, Point, ScoreRow]], configs: Mapping[str, Mapping[str, Any]], by: str | None
) -> dict[str, str]:
    """Name the family of each run.

    Raises:
        ValueError: A run has no family, or two.
    """
    names = list(dict.fromkeys(name for name, _, _ in pairs))
    if by is None:
        return {name: name for name in names}
    families: dict[str, str] = {}
    for (name, _, row), value in zip(pairs, _column(pairs, configs, by), strict=True):
        if value is None:
            raise ValueError(f"{row.words} has no {by}, so its family is not known")
        family = as_text(value)
        if families.setdefault(name, family) != family:
            raise ValueError(f"{name} has two values of {by}, {families[name]} and {family}: a run has one family")
    return families


def _sizes(
    pairs: Sequence[tuple[str, Point, ScoreRow]], configs: Mapping[str, Mapping[str, Any]], size: str | None
) -> tuple[list[float], str | None]:
    """Find the size of the model of each pair, and what it is called; ``nan`` where nothing says it.

    Raises:
        ValueError: A size is no finite number.
    """
    if size is None:
        size = next(
            (name for name in _known_columns(pairs, configs) if name.rpartition(".")[2].lower() in SIZE_COLUMNS), None
        )
    if size is None:
        return [math.nan] * len(pairs), None
    sizes = []
    for (_, _, row), value in zip(pairs, _column(pairs, configs, size), strict=True):
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
        if value is not None and not is_number:
            raise ValueError(f"{size} of {row.words} must be a number, got {as_text(value)!r}")
        sizes.append(math.nan if value is None else float(value))
    return sizes, size


def _known_columns(pairs: Sequence[tuple[str, Point, ScoreRow]], configs: Mapping[str, Mapping[str, Any]]) -> list[str]:
    of_table = [name for _, _, row in pairs for name in (*row.others, *row.scores)]
    return list(dict.fromkeys([*of_table, *(key for name, _, _ in pairs for key in configs[name])]))


def _column(
    pairs: Sequence[tuple[str, Point, ScoreRow]], configs: Mapping[str, Mapping[str, Any]], column: str
) -> list[Any]:
    """Take a column of the table of scores, or the setting of the runs that is meant."""
    rows = [{**row.others, **row.scores} for _, _, row in pairs]
    if any(column in row for row in rows):
        return [row.get(column) for row in rows]
    key = resolved_setting(column, configs)
    return [configs[name].get(key) for name, _, _ in pairs]


def _losses(points: Sequence[Point]) -> tuple[list[float], str]:
    """Take the loss on the probe where all points have it, else that of training, with a sentence that says so."""
    on_probe = [point.values.get(metric_key("probe_loss"), math.nan) for point in points]
    if all(math.isfinite(value) for value in on_probe):
        return on_probe, ""
    in_training = [math.nan if point.loss is None else point.loss for point in points]
    if not any(math.isfinite(value) for value in in_training):
        return in_training, "No point has a loss, so none can be held fixed."
    return in_training, "The loss is that of training batches, as not all points have one on the probe."
