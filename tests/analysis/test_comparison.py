"""What makes runs incomparable, and what tells them apart."""

from ibtrack.analysis.comparison import most_telling, telling_settings, why_not_comparable
from tests import trajectories


def test_depth_width_and_versions_are_no_difference_of_protocol() -> None:
    runs = [trajectories.make(f"l{n}", num_layers=n, num_points=1, versions={"torch": f"2.{n}"}) for n in (2, 4)]
    assert why_not_comparable({run.name: run for run in runs}) == []


def test_of_another_probe_only_its_hash_is_told() -> None:
    run = trajectories.make(num_points=1)
    probe = {**run.protocol["probe"], "hash": "0000", "name": "other"}
    runs = {"a": run, "b": trajectories.make(num_points=1, probe=probe)}
    (difference,) = why_not_comparable(runs)
    assert difference.startswith("probe.hash: 5f3a")
    assert difference.endswith("in 'a', 0000 in 'b'")


def test_each_value_is_told_with_the_first_run_that_has_it() -> None:
    anchors = {"a": 100, "b": 50, "c": 50}
    runs = {name: trajectories.make(num_points=1, num_anchors=number) for name, number in anchors.items()}
    assert why_not_comparable(runs) == ["num_anchors: 100 in 'a', 50 in 'b'"]


def test_settings_that_only_name_the_run_are_left_out() -> None:
    configs = [{"run": name, "folder": f"/out/{name}", "lr": lr} for name, lr in (("a", 1), ("b", 2))]
    assert telling_settings(configs, ["a", "b"]) == ["lr"]


def test_the_most_telling_setting_has_few_groups_and_parts_the_numbers() -> None:
    runs = [(w, lr, s) for w in (1, 2, 3) for lr in (1, 2) for s in (0, 1)]
    configs = [{"width": w, "lr": lr, "run": f"{w} {lr} {s}"} for w, lr, s in runs]
    by_width = [w + 0.1 * lr for w, lr, _ in runs]
    by_lr = [lr + 0.1 * w for w, lr, _ in runs]
    assert most_telling(["width", "lr", "run"], configs, by_width) == "width"
    assert most_telling(["width", "lr", "run"], configs, by_lr) == "lr"
    assert most_telling(["run"], configs[:4], by_width[:4]) is None  # as many groups as runs


def test_another_version_of_the_estimator_is_told_and_so_is_a_run_that_names_none() -> None:
    runs = {str(version): trajectories.make(num_points=1, estimator=version) for version in (1, 2)}
    (difference,) = why_not_comparable(runs | {"old": trajectories.make(num_points=1)})
    assert difference.startswith("estimator: 1 in '1', 2 in '2', — in 'old' (each version of the estimator gives")
