"""Command lines of runs whose processes are started from outside, and the folders that are made."""

from __future__ import annotations

from typing import Any

import pytest
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import OmegaConf

from experiments.launch import check_folder, with_own_folder


@pytest.mark.parametrize(
    "arguments",
    [
        ["seed=1"],
        ["-m", "run_dir=a", "seed=0,1"],
        ["run_dir=a", "hydra.mode=MULTIRUN"],
        ["run_dir=a", "hydra.run.dir=b"],
    ],
)
def test_folders_of_sweeps_and_those_that_are_given_are_left_alone(arguments: list[str]) -> None:
    assert with_own_folder(arguments, {"RANK": "1"}) == arguments


def test_only_the_first_process_writes_what_hydra_writes() -> None:
    for environment in ({"RANK": "0"}, {"SLURM_PROCID": "0"}):
        assert with_own_folder(["run_dir='a b'"], environment) == ["run_dir='a b'", "hydra.run.dir='a b'"]
    added = with_own_folder(["run_dir=a"], {"SLURM_PROCID": "2"})[2:]
    assert added == ["hydra.output_subdir=null", "hydra.job.name=process_2"]


def checked(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], mode: RunMode, *task: str) -> None:
    hydra: Any = OmegaConf.create({"mode": mode, "overrides": {"task": list(task), "hydra": []}})
    monkeypatch.setattr(HydraConfig, "initialized", lambda: True)
    monkeypatch.setattr(HydraConfig, "get", lambda: hydra)
    check_folder(OmegaConf.create({"run_dir": "outputs/now"}), environment)


def test_a_folder_with_the_time_in_its_name_is_refused_where_each_process_has_its_own_clock(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    torchrun = {"TORCHELASTIC_RUN_ID": "none", "WORLD_SIZE": "2"}
    slurm = {"SLURM_JOB_ID": "1", "SLURM_NTASKS": "16"}
    for environment in (torchrun, slurm):
        with pytest.raises(ValueError, match=r"run_dir must be given where torchrun or SLURM .* got outputs/now"):
            checked(monkeypatch, environment, RunMode.RUN, "seed=1")
        checked(monkeypatch, environment, RunMode.RUN, "run_dir=a")
        checked(monkeypatch, environment, RunMode.MULTIRUN, "seed=1")
    checked(monkeypatch, {"SLURM_JOB_ID": "1", "SLURM_NTASKS": "1"}, RunMode.RUN)
    checked(monkeypatch, {}, RunMode.RUN)
