"""Effects of settings on made-up runs whose means and spread are known, and against scipy's own test."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import fmean

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import ttest_rel, tukey_hsd

from ibtrack.analysis import effects as module
from ibtrack.analysis.effects import (
    AS_INDEPENDENT,
    NO_SPREAD,
    ONE_EACH,
    SOME_ONE,
    Contrast,
    effects,
    intervals,
    which_compresses,
)
from ibtrack.record.influences import Influences
from ibtrack.record.trajectory import Point, Trajectory
from tests import trajectories

SE = 0.01  # of every number of the made-up runs


def made(numbers: Mapping[str, Sequence[float]], *, fall: float = 0.1) -> dict[str, Trajectory]:
    """Runs of several recipes: what each keeps at its last step, to which it has fallen by as much."""
    return {
        f"{recipe}{seed}": run_of({0: 0.2, 4: kept + fall, 8: kept}, recipe, seed)
        for recipe, group in numbers.items()
        for seed, kept in enumerate(group)
    }


def run_of(kept: dict[int, float], recipe: str, seed: int, *, per_step: int = 100) -> Trajectory:
    points = [Point(step, values_of(value, step), tokens_seen=per_step * step) for step, value in kept.items()]
    return Trajectory({}, {"name": f"{recipe} {seed}", "config": {"recipe": recipe, "seed": seed}}, points)


def values_of(kept: float, step: int) -> dict[str, float]:
    numbers = {"kept": kept, "told": kept / 2, "optimality": 0.5 + kept / 10}
    errors = {f"ib/mean/token/{name}_se": SE for name in numbers}
    return (
        {f"ib/mean/token/{name}": value for name, value in numbers.items()} | errors | {"ib/probe_loss": 7 - step / 2}
    )


def without(run: Trajectory, at: int, failure: str = "out of memory") -> Trajectory:
    """The run, whose point at a place has failed."""
    points = [Point(p.step, failure=failure) if i == at else p for i, p in enumerate(run.points)]
    return replace(run, points=points)


def test_the_difference_of_two_groups_has_their_means_and_the_pooled_interval() -> None:
    runs = made({"constant": [0.41, 0.42, 0.43], "cosine": [0.37, 0.39, 0.41]})
    found = effects(runs)
    assert [each.quantity for each in found.effects] == [
        *("complexity", "expressivity", "optimality", "fall", "probe_loss"),
    ]
    effect = found["complexity"]
    assert effect.means == pytest.approx({"constant": 0.42, "cosine": 0.39})
    (contrast,) = effect.contrasts
    half = 2.7764 * math.sqrt((0.0002 + 0.0008) / 4 * 2 / 3)  # the t of four degrees of freedom
    assert contrast.difference == pytest.approx(-0.03)
    assert contrast.interval == pytest.approx((-0.03 - half, -0.03 + half), abs=1e-6)
    assert contrast.probe_se == pytest.approx(math.hypot(SE, SE))
    assert not contrast.is_told
    assert found["expressivity"].contrasts[0].difference == pytest.approx(-0.015)
    assert found["fall"].contrasts[0].difference == pytest.approx(0)
    with pytest.raises(
        KeyError, match="quantity must be one of complexity, expressivity, optimality, fall, probe_loss"
    ):
        found["entropy"]


def with_influences(run: Trajectory, by_document: Sequence[NDArray[np.float64]]) -> Trajectory:
    """The run, each of whose points says what the documents add to complexity, under a ceiling of 1 that none moves."""
    points = []
    for point, influence in zip(run.points, by_document, strict=True):
        kept = point.values["ib/mean/token/kept"]
        values = {**point.values, "ib/mean/token/complexity": kept, "ib/mean/ceiling": 1.0}
        rows = np.stack([influence, np.zeros_like(influence)])[None]
        names = ("token/complexity", "ceiling")
        known = Influences.pack(("mean",), names, rows, np.zeros((1, 2)), np.zeros((1, 2, 0)))
        points.append(replace(point, values=values, influences=known))
    return replace(run, points=points)


def test_what_documents_do_to_all_runs_alike_is_no_error_of_their_difference() -> None:
    draw = np.random.default_rng(0)
    runs, own = made({"a": [0.41, 0.42], "b": [0.37, 0.39, 0.40]}), {}
    common = draw.normal(size=40)
    for name, run in runs.items():
        own[name] = [0.1 * draw.normal(size=40) for _ in run.points]
        runs[name] = with_influences(run, [SE * (common + each) for each in own[name]])
    found = effects(runs)
    scale = SE * math.sqrt(40 / 39)
    means = [np.mean([own[name][-1] for name in runs if name[0] == group], axis=0) for group in "ab"]
    (contrast,) = found["complexity"].contrasts
    assert contrast.probe_paired
    assert contrast.probe_se == pytest.approx(scale * np.linalg.norm(means[1] - means[0]), rel=2e-3)
    falls = [np.mean([own[n][1] - own[n][2] for n in runs if n[0] == group], axis=0) for group in "ab"]
    (contrast,) = found["fall"].contrasts
    assert contrast.probe_se == pytest.approx(scale * np.linalg.norm(falls[1] - falls[0]), rel=2e-3)
    between = effects({name: run for name, run in runs.items() if name != "b2"}, at="loss")
    assert between["complexity"].contrasts[0].probe_paired
    assert not found["expressivity"].contrasts[0].probe_paired  # of which no influence is on file
    assert found.sentences()[-1] == AS_INDEPENDENT


def test_one_point_that_does_not_say_what_documents_add_makes_all_independent() -> None:
    runs = made({"a": [0.41], "b": [0.37]})
    runs["a0"] = with_influences(runs["a0"], [np.eye(8)[0] - 0.125] * 3)
    (contrast,) = effects(runs)["complexity"].contrasts
    assert not contrast.probe_paired
    assert contrast.probe_se == pytest.approx(math.hypot(SE, SE))


def test_sentences_say_what_is_lower_and_how_sure_that_is() -> None:
    told = effects(made({"constant": [0.42, 0.43, 0.44], "cosine": [0.37, 0.38, 0.39]}))
    assert told["complexity"].sentence() == (
        "cosine keeps less than constant at step 8: I(X;Z) 0.380 against 0.430 of the ceiling, a difference "
        "of -0.050, 95 % interval -0.073 to -0.027 over 3 runs each."
    )
    open_ = effects(made({"constant": [0.42, 0.46], "cosine": [0.40, 0.43, 0.45]}))
    assert open_["optimality"].sentence() == (
        "cosine cannot be told from constant at step 8: optimality 0.543 against 0.544, a difference of "
        "-0.001, 95 % interval -0.009 to +0.006 over 3 and 2 runs."
    )
    single = effects(made({"constant": [0.42], "cosine": [0.44]}))
    assert single["complexity"].sentence() == (
        "cosine keeps more than constant at step 8: I(X;Z) 0.440 against 0.420 of the ceiling, a difference of +0.020. "
        f"{ONE_EACH}"
    )
    assert single["complexity"].contrasts[0].interval is None
    assert ONE_EACH == "One seed each: differences may be chance."


def test_of_several_groups_those_that_are_told_apart_are_named() -> None:
    found = effects(made({"a": [0.40, 0.41], "b": [0.405, 0.415], "c": [0.50, 0.51]}))
    assert found["complexity"].sentence() == (
        "I(X;Z) at step 8: from 0.405 (a) to 0.505 (c). Told apart at 5 % for all 3 pairs together: c keeps more than "
        "a (+0.100) and c keeps more than b (+0.095)."
    )
    near = effects(made({"a": [0.40, 0.45], "b": [0.41, 0.44], "c": [0.42, 0.46]}))["complexity"].sentence()
    assert near.endswith(" to 0.440 (c). No two of the 3 groups can be told apart.")
    assert found["probe_loss"].sentence() == f"Loss on the probe at step 8: from 3.000 (a) to 3.000 (c). {NO_SPREAD}"
    single = effects(made({"a": [0.4], "b": [0.5], "c": [0.6]}))["complexity"].sentence()
    assert single == f"I(X;Z) at step 8: from 0.400 (a) to 0.600 (c). {ONE_EACH}"


def test_a_group_of_one_run_borrows_the_spread_of_the_others() -> None:
    found = effects(made({"a": [0.40, 0.42], "b": [0.5]}))
    (contrast,) = found["complexity"].contrasts
    half = 12.7062 * math.sqrt(0.0002) * math.sqrt(1.5)  # one degree of freedom
    assert contrast.interval == pytest.approx((0.09 - half, 0.09 + half), abs=1e-5)
    assert SOME_ONE in found.sentences()
    assert SOME_ONE not in effects(made({"a": [0.40, 0.42], "b": [0.5, 0.51]})).sentences()
    assert SOME_ONE not in effects(made({"a": [0.40], "b": [0.5]})).sentences()


def test_runs_that_do_not_differ_have_no_interval() -> None:
    assert intervals({"a": [0.0, 0.0], "b": [0.0, 0.0]}) == {}
    found = effects(made({"a": [0.40, 0.42], "b": [0.5, 0.51]}, fall=-0.1))["fall"]
    assert found.sentence() == (
        "b does not differ from a at step 8: fall of I(X;Z) 0.000 against 0.000 of the ceiling, a difference of "
        "+0.000. Runs of one group do not differ, so there is no interval."
    )


@pytest.mark.parametrize("sizes", [(3, 3), (2, 4, 3), (2, 2, 2, 2, 2)])
def test_intervals_are_those_of_scipy(sizes: Sequence[int]) -> None:
    draw = random.Random(0)
    values = {f"g{i}": [draw.gauss(i, 1) for _ in range(size)] for i, size in enumerate(sizes)}
    theirs = tukey_hsd(*values.values()).confidence_interval(0.95)
    for (first, second), (low, high) in intervals(values).items():
        i, j = int(first[1:]), int(second[1:])
        assert (low, high) == pytest.approx((theirs.low[j, i], theirs.high[j, i]), abs=1e-6)


@pytest.mark.parametrize("sizes", [(3, 3), (3, 3, 3), (3, 1)])
def test_intervals_cover_the_truth_in_95_of_100_sweeps(sizes: Sequence[int]) -> None:
    """Of 4000 sweeps 95 % cover all pairs, give or take 0.35 %: three of these are the tolerance."""
    draw, truth, covered = random.Random(1), (0.40, 0.43, 0.35), 0
    for _ in range(4000):
        values = {str(i): [draw.gauss(truth[i], 0.02) for _ in range(size)] for i, size in enumerate(sizes)}
        covered += all(
            low <= truth[int(second)] - truth[int(first)] <= high
            for (first, second), (low, high) in intervals(values).items()
        )
    assert covered / 4000 == pytest.approx(0.95, abs=0.0105)


@pytest.mark.parametrize("num_groups", [2, 3])
def test_intervals_in_pairs_cover_the_truth_though_runs_of_one_seed_go_together(num_groups: int) -> None:
    """Of 4000 sweeps 95 % cover all pairs, and the intervals are narrower by what a seed does to all groups."""
    draw, truth, covered, widths = random.Random(3), (0.40, 0.43, 0.35)[:num_groups], 0, [0.0, 0.0]
    for _ in range(4000):
        seeds = [draw.gauss(0, 0.1) for _ in range(3)]
        values = {str(i): [mean + seed + draw.gauss(0, 0.02) for seed in seeds] for i, mean in enumerate(truth)}
        found = intervals(values, paired=True)
        covered += all(low <= truth[int(b)] - truth[int(a)] <= high for (a, b), (low, high) in found.items())
        for i, each in enumerate((found, intervals(values))):
            widths[i] += each["0", "1"][1] - each["0", "1"][0]
    assert covered / 4000 == pytest.approx(0.95, abs=0.0105)
    assert widths[0] < widths[1] / 2


def test_two_groups_in_pairs_are_the_paired_t_test() -> None:
    values = {"a": [1.0, 2.0, 4.0, 3.0], "b": [1.5, 2.2, 4.9, 3.1]}
    theirs = ttest_rel(values["b"], values["a"]).confidence_interval(0.95)
    assert intervals(values, paired=True)["a", "b"] == pytest.approx((theirs.low, theirs.high), abs=1e-6)
    assert intervals({"a": [1.0], "b": [2.0]}, paired=True) == {}


def test_runs_are_paired_by_their_seed_and_not_by_their_order() -> None:
    runs = made({"a": [0.40, 0.45, 0.50], "b": [0.43, 0.481, 0.529]})
    turned = {name: runs[name] for name in ("b2", "a0", "b0", "a1", "a2", "b1")}
    for each in (runs, turned):
        (contrast,) = effects(each, paired=True, by="recipe")["complexity"].contrasts
        assert contrast.interval is not None
        sign = 1 if contrast.second == "b" else -1
        assert sorted(sign * end for end in contrast.interval) == pytest.approx([0.0275, 0.0325], abs=2e-4)
    sentence = effects(runs, paired=True)["complexity"].sentence()
    assert sentence.endswith("95 % interval +0.028 to +0.032 over 3 seeds, compared seed by seed.")
    wide = effects(runs)["complexity"].contrasts[0].interval
    assert wide is not None
    assert wide[0] < 0


def test_a_pair_that_lacks_one_run_is_left_out() -> None:
    runs = made({"a": [0.40, 0.45, 0.50], "b": [0.43, 0.481, 0.529]})
    runs["a0"] = without(runs["a0"], at=2)
    runs["b1"] = replace(runs["b1"], points=[])
    found = effects(runs, paired=True)
    assert found["complexity"].values == {"a": {"a2": 0.5}, "b": {"b2": 0.529}}
    assert found["complexity"].sentence().endswith(ONE_EACH)
    assert found.sentences()[-4:] == [
        "b1 is left out at step 8: it has no points yet.",
        "a0 is left out at step 8: its point at step 8 has no value: out of memory.",
        "b0 is left out at step 8: a run of the same seed has no number.",
        "a1 is left out at step 8: a run of the same seed has no number.",
    ]


def test_pairs_need_the_same_seeds_in_all_groups() -> None:
    runs = made({"a": [0.40, 0.45], "b": [0.43]})
    with pytest.raises(ValueError, match=r"^pairs need one run of each seed in each group, and b has seed=0$"):
        effects(runs, paired=True)
    bare = {name: replace(run, run={"config": {"recipe": name[0]}}) for name, run in runs.items()}
    with pytest.raises(
        ValueError, match=r"^pairs need one run of each seed in each group, and a has no seed, no seed$"
    ):
        effects(bare, paired=True)


def test_a_whole_sweep_covers_the_truth_as_well() -> None:
    """From trajectories to intervals: 0.95 of 600 sweeps, give or take 0.009; the tolerance keeps to 93 to 97 %."""
    draw, covered = random.Random(2), 0
    for _ in range(600):
        numbers = {name: [draw.gauss(mean, 0.01) for _ in range(3)] for name, mean in (("a", 0.4), ("b", 0.37))}
        low, high = effects(made(numbers))["complexity"].contrasts[0].interval or (0, 0)
        covered += low <= -0.03 <= high
    assert 0.93 <= covered / 600 <= 0.97


def test_at_matched_tokens_and_losses_other_places_are_read() -> None:
    slow = {f"slow{seed}": run_of({0: 0.2, 4: 0.4, 8: 0.6 + seed / 100}, "slow", seed) for seed in (0, 1)}
    fast = {f"fast{seed}": run_of({0: 0.2, 4: 0.5, 8: 0.7}, "fast", seed, per_step=200) for seed in (2, 3)}
    fast["fast3"] = replace(fast["fast3"], points=fast["fast3"].points[:2])
    runs = slow | fast
    assert effects(runs)["complexity"].values["fast"] == {"fast2": 0.5, "fast3": 0.5}
    at_tokens = effects(runs, at="tokens")
    assert (at_tokens.match.target, at_tokens.match.places["fast2"]) == (800, 4.0)
    assert at_tokens["complexity"].means == pytest.approx({"slow": 0.605, "fast": 0.5})
    at_loss = effects(runs, at="loss")
    assert [each.quantity for each in at_loss.effects][-1] == "steps"
    assert at_loss["steps"].means == {"slow": 4.0, "fast": 4.0}
    assert (
        at_loss["steps"]
        .sentence()
        .startswith(
            "fast does not differ from slow to a loss on the probe of 5.000: steps 4 against 4, a difference of +0."
        )
    )


def test_the_training_loss_stands_in_for_that_on_the_probe() -> None:
    runs = {
        name: replace(
            run,
            points=[
                replace(p, values={k: v for k, v in p.values.items() if "loss" not in k}, loss=3.0 + i)
                for p in run.points
            ],
        )
        for i, (name, run) in enumerate(made({"a": [0.4], "b": [0.5]}).items())
    }
    assert (
        effects(runs)["loss"]
        .sentence()
        .startswith(
            "b has a higher training loss than a at step 8: training loss 4.000 against 3.000 nats, a difference of +1"
        )
    )


def test_runs_that_are_left_out_are_named_with_the_reason() -> None:
    runs = made({"a": [0.40, 0.41, 0.42], "b": [0.50, 0.51, 0.52]})
    runs["a0"] = without(runs["a0"], at=2)
    runs["b0"] = replace(runs["b0"], points=[])
    found = effects(runs)
    assert found["complexity"].values == {
        "a": pytest.approx({"a1": 0.41, "a2": 0.42}),
        "b": pytest.approx({"b1": 0.51, "b2": 0.52}),
    }
    assert found.sentences()[-2:] == [
        "b0 is left out at step 8: it has no points yet.",
        "a0 is left out at step 8: its point at step 8 has no value: out of memory.",
    ]
    given = effects(made({"a": [0.40, 0.41], "b": [0.50]}) | {"b9": run_of({0: 0.2, 4: 0.4}, "b", 9)}, step=8)
    assert given.sentences()[-1] == "b9 is left out at step 8: it has no point at step 8, its last is 4."


def test_a_number_that_one_group_lacks_is_no_comparison() -> None:
    runs = made({"a": [0.40, 0.41], "b": [0.50, 0.51]})
    for name in ("b0", "b1"):
        last = runs[name].points[-1]
        values = {**last.values, "ib/mean/token/optimality": math.nan}
        lacking = replace(last, values=values, notes={"token/optimality": "both are 0"})
        runs[name] = replace(runs[name], points=[*runs[name].points[:-1], lacking])
    found = effects(runs)
    effect = found["optimality"]
    assert effect.contrasts == ()
    assert effect.sentence() == "Optimality at step 8: fewer than two groups have a number."
    why = "its point at step 8 has no value: both are 0"
    assert effect.left_out == {"b0": why, "b1": why}
    assert found.sentences()[-2:] == [f"{name} is left out of optimality at step 8: {why}." for name in ("b0", "b1")]
    assert found["complexity"].contrasts


def test_groups_without_runs_at_the_place_are_refused() -> None:
    runs = made({"a": [0.40, 0.41]}) | {"b0": run_of({0: 0.2}, "b", 0)}
    with pytest.raises(ValueError, match=r"^only the group a has runs at step 8 \(b0: it has no point at step 8"):
        effects(runs, step=8)


def test_one_run_twice_is_no_two_seeds() -> None:
    runs = made({"a": [0.40, 0.40], "b": [0.5, 0.6]})
    with pytest.raises(ValueError, match=r"^a0 and a1 have the same numbers at all points: they are one run, or runs"):
        effects(runs)


def test_units_and_orders() -> None:
    runs = {run.name: run for run in trajectories.sweep(2)}
    share, log_k = (effects(runs, order="bigram", unit=unit)["complexity"] for unit in ("share", "log_k"))
    assert (share.unit, log_k.unit) == ("of the ceiling", "of log K")
    last = [run.points[-1].values for run in runs.values()]
    for effect, quantity in ((share, "kept"), (log_k, "complexity")):
        numbers = [values[f"ib/mean/bigram/{quantity}"] for values in last]
        assert effect.means == pytest.approx({"width=32": fmean(numbers[:2]), "width=64": fmean(numbers[2:])})
    with pytest.raises(ValueError, match="unit must be one of 'share', 'log_k', got 'bits'"):
        effects(runs, unit="bits")


def test_which_setting_compresses_more() -> None:
    runs = {run.name: run for run in trajectories.sweep(3)}
    in_shares = which_compresses(runs)
    assert in_shares.startswith("width=64 compresses more than width=32 at step 4000: fall of I(X;Z) 0.2")
    assert " of the ceiling, a difference of +0.0" in in_shares
    in_log_k = which_compresses(runs, unit="log_k")
    assert in_log_k.startswith("width=64 falls more than width=32 at step 4000: fall of I(X;Z) 0.")
    assert ", a difference of +0." in in_log_k
    assert "compress" not in in_log_k  # as clouds that narrow fall too
    one_each = {run.name: run for run in trajectories.sweep(1)}
    assert which_compresses(one_each).endswith(ONE_EACH)
    seeds_only = {name: run for name, run in runs.items() if "w32" in name}
    assert which_compresses(seeds_only) == ""
    assert which_compresses({}) == ""


def test_a_contrast_is_told_where_its_interval_leaves_out_0() -> None:
    def of(low: float, high: float) -> Contrast:
        return Contrast(first="a", second="b", difference=0.0, interval=(low, high))

    assert [of(*ends).is_told for ends in ((-1, 1), (0, 1), (0.1, 1), (-1, -0.1))] == [False, False, True, True]
    assert not Contrast(first="a", second="b", difference=1.0).is_told


def test_the_quantile_is_worked_out_once(monkeypatch: pytest.MonkeyPatch) -> None:
    module._critical_value.cache_clear()
    for _ in range(3):
        intervals({"a": [1.0, 2.0], "b": [1.0, 2.0]})
    assert module._critical_value.cache_info().misses == 1
