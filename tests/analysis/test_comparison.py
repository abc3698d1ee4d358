"""What makes runs incomparable, and what tells them apart."""

from ibtrack.analysis.comparison import most_telling, telling_settings, why_not_comparable
from tests import trajectories


def test_depth_width_and_versions_are_no_difference_of_protocol():
    runs = [trajectories.make(f"l{n}", num_layers=n, num_points=1, versions={"torch": f"2.{n}"}) for n in (2, 4)]
    assert why_not_comparable({run.name: run for run in runs}) == []


def test_of_another_probe_only_its_hash_is_told():
    runs = {name: trajectories.make(name, num_points=1) for name in "ab"}
    runs["b"].protocol["probe"] |= {"hash": "0000", "name": "other"}
    (difference,) = why_not_comparable(runs)
    assert difference.startswith("probe.hash: 5f3a") and difference.endswith("in 'a', 0000 in 'b'")


def test_each_value_is_told_with_the_first_run_that_has_it():
    runs = {name: trajectories.make(name, num_points=1, seed=0) for name in "abc"}
    for name, anchors in zip("abc", (100, 50, 50), strict=True):
        runs[name].protocol["num_anchors"] = anchors
    assert why_not_comparable(runs) == ["num_anchors: 100 in 'a', 50 in 'b'"]


def test_settings_that_only_name_the_run_are_left_out():
    configs = [{"run": name, "folder": f"/out/{name}", "lr": lr} for name, lr in (("a", 1), ("b", 2))]
    assert telling_settings(configs, ["a", "b"]) == ["lr"]


def test_the_most_telling_setting_has_few_groups_and_parts_the_numbers():
    configs = [{"width": w, "lr": lr, "run": f"{w} {lr} {s}"} for w in (1, 2, 3) for lr in (1, 2) for s in (0, 1)]
    by_width = [config["width"] + 0.1 * config["lr"] for config in configs]
    by_lr = [config["lr"] + 0.1 * config["width"] for config in configs]
    assert most_telling(["width", "lr", "run"], configs, by_width) == "width"
    assert most_telling(["width", "lr", "run"], configs, by_lr) == "lr"
    assert most_telling(["run"], configs[:4], by_width[:4]) is None  # as many groups as runs
