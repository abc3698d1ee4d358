"""Sweeps: names, groups and folders of their jobs, jobs that die, and a second launch."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import wandb
from hydra.utils import instantiate
from omegaconf import OmegaConf

from experiments import sweep
from ibtrack import Trajectory
from tests.runs import CONF, SCRIPT, SMALL, TRAINING, config, inspect, launch, process_state, wandb_records

pytestmark = TRAINING


SWEEPS = {"corpora": 3, "recipes": 5, "seeds": 5, "sizes": 3, "tiny_sweep": 6}  # jobs


def test_a_sweep_is_one_group_of_runs_and_leaves_nothing_behind(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = process_state()
    launch("-m", "experiment=tiny_sweep", "tags=[a,b]", "seed=0,1", *SMALL, f"hydra.sweep.dir={tmp_path}/sweep")
    assert process_state() == before
    assert wandb.run is None
    jobs = [(recipe, seed) for recipe in ("constant", "cosine") for seed in (0, 1)]
    lines = [line for line in capsys.readouterr().out.splitlines() if "ibtrack step 0:" in line]
    heads = [f"[recipe={recipe} seed={seed}] ibtrack" for recipe, seed in jobs]
    assert [line.partition(" step")[0] for line in lines] == heads
    folders = [tmp_path / "sweep" / f"recipe={recipe},seed={seed}" for recipe, seed in jobs]
    names = [f"tiny_sweep recipe={recipe} seed={seed}" for recipe, seed in jobs]
    runs = [Trajectory.load(folder).run for folder in folders]
    assert [run["name"] for run in runs] == names
    assert [run["config"]["seed"] for run in runs] == [seed for _, seed in jobs]
    assert [run["config"]["choices"]["recipe"] for run in runs] == [recipe for recipe, _ in jobs]
    assert runs[0]["config"]["choices"]["model"] == "llama_0.3M"
    assert not any(group.startswith("hydra/") for group in runs[0]["config"]["choices"])
    records = [wandb_records(folder, "run")[0] for folder in folders]
    assert [record["display_name"] for record in records] == names
    assert {record["run_group"] for record in records} == {"sweep"}
    assert all(record["tags"] == ["a", "b"] for record in records)
    assert len({record["run_id"] for record in records}) == 4
    for folder, run in zip(folders, runs, strict=True):
        assert run["config"].items() <= json.loads(inspect(folder, "--summary", "--json"))["config"].items()


def test_a_job_that_dies_leaves_the_others_and_is_alone_in_the_next_launch(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bomb = ["+callbacks.bomb._target_=tests.runs.Bomb", f"+callbacks.bomb.fuse='{tmp_path}/${{seed}}'"]
    arguments = ["-m", "experiment=tiny", "seed=0,1,2", "logger=none", *bomb, f"hydra.sweep.dir={tmp_path}/sweep"]
    jobs = [tmp_path / "sweep" / f"seed={seed}" for seed in (0, 1, 2)]
    (tmp_path / "1").touch()
    before = process_state()
    with pytest.raises(SystemExit):
        launch(*arguments)
    assert process_state() == before
    assert [Trajectory.load(job).steps for job in jobs] == [[0, 1, 2, 4, 8], [0, 1, 2, 4], [0, 1, 2, 4, 8]]
    assert "seed=1 died" in (jobs[1] / "train.log").read_text()
    assert "the bomb went off" in (jobs[1] / "train.log").read_text()

    (tmp_path / "1").unlink()
    files = [(job / "trajectory.jsonl").read_bytes() for job in jobs]
    capsys.readouterr()
    launch(*arguments)
    assert capsys.readouterr().out.count("has finished before") == 2
    assert [Trajectory.load(job).steps for job in jobs] == [[0, 1, 2, 4, 8]] * 3
    assert [(job / "trajectory.jsonl").read_bytes() == file for job, file in zip(jobs, files, strict=True)] == [
        *(True, False, True),
    ]
    assert (jobs[1] / "attempt_1" / "trajectory.jsonl").read_bytes() == files[1], "what it had measured is still there"


@pytest.mark.slow
def test_a_sweep_over_two_processes_is_not_started_anew_by_the_second(tmp_path: Path) -> None:
    two = ["trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2", "trainer.max_steps=1", "logger=none"]
    script = [sys.executable, str(SCRIPT), "-m", "experiment=tiny", "seed=0,1", *two]
    subprocess.run([*script, f"hydra.sweep.dir={tmp_path}/sweep"], check=True, cwd=tmp_path, capture_output=True)
    runs = [Trajectory.load(tmp_path / "sweep" / job).run for job in ("seed=0", "seed=1")]
    assert [run["name"] for run in runs] == ["tiny seed=0", "tiny seed=1"]
    assert {run["config"]["group"] for run in runs} == {"sweep"}
    assert [path.name for path in tmp_path.iterdir()] == ["sweep"], "no further folder beside it"


@pytest.mark.parametrize("name", SWEEPS)
def test_every_job_of_a_sweep_has_its_parts(name: str) -> None:
    params = OmegaConf.load(CONF / "experiment" / f"{name}.yaml").hydra.sweeper.params
    jobs: list[list[str]] = [[]]
    for key, values in params.items():
        jobs = [[*job, f"{key}={value}"] for job in jobs for value in values.split(",")]
    assert len(jobs) == SWEEPS[name]
    for job in jobs:
        cfg = config(f"experiment={name}", *job)
        instantiate(cfg.data)
        model = instantiate(cfg.model, vocab_size=64, block_size=128)
        optimizer = model.optimizer(model._parameter_groups())
        assert optimizer.param_groups[0]["lr"] == cfg.model.optimizer.lr


def test_names_do_not_depend_on_the_process_that_a_job_is_in() -> None:
    shared = sweep.shared_keys(["model=a,b", "seed=0", "seed=range(3)", "+x=1", "logger=csv"])
    assert shared == ["x", "logger"]
    assert sweep.shared_keys(["seed=0", "logger=csv"]) == [], "nothing varies: all of it is the name"


def test_a_folder_has_a_name_that_a_file_system_takes() -> None:
    names = [sweep.folder_name("x" * 400 + end) for end in "ab"]
    assert len(set(names)) == 2
    assert max(map(len, names)) < 255
    assert sweep.folder_name("") == "all"
