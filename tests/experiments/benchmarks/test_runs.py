"""The runs of the benchmarks, by the configuration of the training script."""

from __future__ import annotations

from pathlib import Path

from experiments.benchmarks.runs import configuration, plain
from tests.runs import config


def test_configuration_is_that_of_the_script_in_another_folder(tmp_path: Path) -> None:
    own = configuration(tmp_path, "experiment=tiny", "seed=3")
    assert own.run_dir == str(tmp_path)
    own.run_dir = "."
    assert plain(own) == plain(config("experiment=tiny", "seed=3"))


def test_a_plain_configuration_is_resolved_and_has_nothing_of_hydra(tmp_path: Path) -> None:
    content = plain(configuration(tmp_path, "experiment=tiny"))
    assert "hydra" not in content
    assert content["monitor"]["path"] == f"{tmp_path}/trajectory.jsonl"
    assert content["trainer"]["max_steps"] == 8
    assert type(content["monitor"]["schedule"]) is dict
