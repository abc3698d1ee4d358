"""Runs grouped by settings: what makes a group, how it is called, and which sweeps are refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ibtrack.analysis.groups import EQUAL_SEEDS, Groups, group_runs, is_seed, listed
from ibtrack.record.trajectory import Trajectory
from tests import trajectories

Config = dict[str, Any]


def runs_of(*configs: Config) -> dict[str, Trajectory]:
    """Runs without points that have these settings."""
    return {f"r{i}": Trajectory({}, {"name": f"run {i}", "config": each}, []) for i, each in enumerate(configs)}


def sweep() -> dict[str, Trajectory]:
    """Two recipes with two seeds each, as Hydra writes them."""
    return runs_of(
        *(
            {
                "choices": {"recipe": recipe},
                "model": {"schedule": f"{recipe}_with_warmup", "optimizer": {"lr": 0.1}},
                "seed": seed,
                "probe": {"seed": 0},
                "run_dir": f"out/{recipe},{seed}",
                "name": f"run {2 * i + seed}",
            }
            for i, recipe in enumerate(("cosine", "constant"))
            for seed in (0, 1)
        )
    )


@pytest.mark.parametrize("by", [None, "recipe", "choices.recipe"])
def test_seeds_names_and_paths_make_no_groups(by: str | None) -> None:
    groups = group_runs(sweep(), by)
    assert groups == Groups(
        by=("choices.recipe",),
        along=("model.schedule",),
        members={"cosine": ("r0", "r1"), "constant": ("r2", "r3")},
        seeds={"r0": "seed=0", "r1": "seed=1", "r2": "seed=0", "r3": "seed=1"},
    )
    assert groups.sentence() == (
        "Groups by choices.recipe: cosine (2 runs), constant (2 runs). They also differ in model.schedule: an effect "
        "is that of all together."
    )


def test_a_name_is_no_setting_in_the_file_of_a_further_monitor_either() -> None:
    runs = {name: replace(run, path=Path(f"{name}/trajectory_code.jsonl")) for name, run in sweep().items()}
    assert runs["r0"].name == "run 0 · code"
    assert group_runs(runs).by == ("choices.recipe",)


def test_several_settings_make_groups_together_and_as_few_as_tell_them_apart_name_them() -> None:
    configs = [
        {"width": w, "lr": lr, "num_heads": w // 8, "seed": s} for w in (64, 32) for lr in (0.1, 0.01) for s in (0, 1)
    ]
    groups = group_runs(runs_of(*configs))
    assert groups.by == ("width", "lr")
    assert groups.along == ("num_heads",)
    assert {name: len(each) for name, each in groups.members.items()} == {
        "width=32 lr=0.01": 2,
        "width=32 lr=0.1": 2,
        "width=64 lr=0.01": 2,
        "width=64 lr=0.1": 2,
    }


def test_groups_of_numbers_ascend_and_carry_their_setting() -> None:
    groups = group_runs(runs_of(*({"model": {"lr": lr}, "seed": 0} for lr in (10, 9, 0.5))), "lr")
    assert list(groups.members) == ["lr=0.5", "lr=9", "lr=10"]


def test_a_setting_that_only_some_runs_have_makes_groups_too() -> None:
    groups = group_runs(runs_of({"decay": "linear"}, {}, {"decay": "linear"}), "decay")
    assert groups.members == {"decay=linear": ("r0", "r2"), "decay=—": ("r1",)}


def test_settings_that_differ_within_a_group_are_refused_unless_ignored() -> None:
    runs = runs_of(*({"recipe": r, "lr": lr, "host": f"{r}{lr}"} for r in "ab" for lr in (1, 2)))
    sentence = r"lr and host differ within the group a: compare the runs of one value at a time, group by all settings"
    with pytest.raises(ValueError, match=sentence):
        group_runs(runs, "recipe")
    with pytest.raises(ValueError, match=r"^lr differs within the group a: "):
        group_runs(runs, "recipe", ignore=["host"])
    assert len(group_runs(runs, "recipe", ignore=["host", "lr"]).members) == 2
    assert group_runs(runs, ignore=["host"]).by == ("recipe", "lr")


def test_an_unknown_setting_is_answered_with_near_ones() -> None:
    with pytest.raises(ValueError, match=r"^no run has a setting 'recipes'; near are choices.recipe$"):
        group_runs(sweep(), "recipes")
    with pytest.raises(ValueError, match=r"^no run has a setting 'zzz'$"):
        group_runs(sweep(), "zzz")
    with pytest.raises(ValueError, match=r"^no run has a setting 'hosts'$"):
        group_runs(sweep(), "recipe", ignore=["hosts"])


def test_a_last_part_must_mean_one_setting_among_those_that_differ() -> None:
    configs = [{"a": {"lr": x}, "b": {"lr": y}, "c": {"lr": 5}, "d": {"e": {"lr": x}}} for x, y in ((1, 1), (2, 1))]
    assert group_runs(runs_of(*configs), "lr").by == ("a.lr",)
    configs = [{"a": {"lr": x}, "b": {"lr": y}} for x, y in ((1, 1), (2, 1), (2, 2))]
    with pytest.raises(ValueError, match=r"^'lr' may be a.lr, b.lr; name one of them in full$"):
        group_runs(runs_of(*configs), "lr")


def test_one_group_is_no_comparison() -> None:
    with pytest.raises(
        ValueError, match=r"^model.optimizer.lr is 0.1 in all runs; an effect needs two groups or more$"
    ):
        group_runs(sweep(), "lr")
    with pytest.raises(ValueError, match=r"^the runs differ in no setting but seeds, names and paths; an effect needs"):
        group_runs(runs_of({"seed": 0}, {"seed": 1}))
    with pytest.raises(ValueError, match=r"^the runs have no settings on file; an effect needs two groups or more$"):
        group_runs(runs_of({}, {}))
    with pytest.raises(ValueError, match=r"^an effect needs two groups of runs or more, got 1 run$"):
        group_runs(runs_of({"lr": 1}))
    with pytest.raises(ValueError, match=r"^an effect needs two groups of runs or more, got 0 runs$"):
        group_runs({})


def test_seeds_are_repetitions() -> None:
    with pytest.raises(ValueError, match=r"^seed is a seed, and runs of several seeds are repetitions: name another"):
        group_runs(sweep(), "seed")
    assert [key for key in ("seed", "a.Seed", "data_seed.x", "noise_seed") if is_seed(key)] == [
        *("seed", "a.Seed", "noise_seed"),
    ]


def test_replicates_of_one_seed_are_said_to_be_such() -> None:
    assert group_runs(sweep()).remark == ""
    for configs in ([{"lr": lr, "seed": 0} for lr in (1, 1, 2)], [{"lr": lr} for lr in (1, 1, 2)]):
        groups = group_runs(runs_of(*configs))
        assert groups.remark == EQUAL_SEEDS
        assert groups.sentence() == f"Groups by lr: lr=1 (2 runs), lr=2 (1 run). {EQUAL_SEEDS}"


def test_runs_of_two_protocols_are_refused() -> None:
    runs = {name: trajectories.make(name, num_points=1, num_anchors=k) for name, k in (("a", 50), ("b", 100))}
    with pytest.raises(ValueError, match=r"num_anchors: 50 in 'a', 100 in 'b' .an effect needs runs of one protocol"):
        group_runs(runs)


def test_a_list_is_cut_where_it_is_long() -> None:
    assert [listed(list("abcdefg")[:n]) for n in (1, 2, 5, 6)] == [
        *("a", "a and b", "a, b, c, d and e", "a, b, c, d and 2 more"),
    ]
