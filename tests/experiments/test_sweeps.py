"""Sweeps: their jobs' names, groups and folders, jobs that die, and a second launch."""

from __future__ import annotations

import doctest
import fcntl
import json
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import wandb
from hydra.errors import MissingConfigException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from experiments import finished, suggestions, sweep
from experiments.finished import once
from experiments.suggestions import EXTRAS, suggestion
from ibtrack import Trajectory
from tests.runs import CONF, SCRIPT, SMALL, config, inspect, launch, options, process_state, wandb_records

pytestmark = [
    pytest.mark.usefixtures("one_thread", "own_cache"),
    pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning"),  # Lightning 2.6 on torch 2.13
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),  # the data lies in memory
]

SWEEPS = {"corpora": 3, "recipes": 5, "seeds": 5, "sizes": 3, "tiny_sweep": 6}  # jobs


@pytest.mark.parametrize("module", [finished, suggestions, sweep])
def test_examples_hold(module: ModuleType):
    found = doctest.testmod(module)
    assert found.attempted > 0 and found.failed == 0


# one sweep, from its launch to its files


def test_a_sweep_is_one_group_of_runs_and_leaves_nothing_behind(tmp_path: Path):
    before = process_state()
    launch("-m", "experiment=tiny_sweep", "tags=[a,b]", "seed=0,1", *SMALL, f"hydra.sweep.dir={tmp_path}/sweep")
    assert process_state() == before
    assert wandb.run is None
    jobs = [(recipe, seed) for recipe in ("constant", "cosine") for seed in (0, 1)]
    folders = [tmp_path / "sweep" / f"recipe={recipe},seed={seed}" for recipe, seed in jobs]
    names = [f"tiny_sweep recipe={recipe} seed={seed}" for recipe, seed in jobs]
    runs = [Trajectory.load(folder).run for folder in folders]
    assert [run["name"] for run in runs] == names
    assert [run["config"]["seed"] for run in runs] == [seed for _, seed in jobs]
    records = [wandb_records(folder, "run")[0] for folder in folders]
    assert [record["display_name"] for record in records] == names
    assert {record["run_group"] for record in records} == {"sweep"}
    assert all(record["tags"] == ["a", "b"] for record in records)
    assert len({record["run_id"] for record in records}) == 4
    for folder, run in zip(folders, runs, strict=True):
        assert run["config"].items() <= json.loads(inspect(folder, "--summary", "--json"))["config"].items()


def test_a_job_that_dies_leaves_the_others_and_is_alone_in_the_next_launch(tmp_path: Path, capsys):
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
def test_a_sweep_over_two_processes_is_not_started_anew_by_the_second(tmp_path: Path):
    two = ["trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2", "trainer.max_steps=1", "logger=none"]
    script = [sys.executable, str(SCRIPT), "-m", "experiment=tiny", "seed=0,1", *two]
    subprocess.run([*script, f"hydra.sweep.dir={tmp_path}/sweep"], check=True, cwd=tmp_path, capture_output=True)
    runs = [Trajectory.load(tmp_path / "sweep" / job).run for job in ("seed=0", "seed=1")]
    assert [run["name"] for run in runs] == ["tiny seed=0", "tiny seed=1"]
    assert {run["config"]["group"] for run in runs} == {"sweep"}
    assert [path.name for path in tmp_path.iterdir()] == ["sweep"], "no further folder beside it"


@pytest.mark.parametrize("name", SWEEPS)
def test_every_job_of_a_sweep_has_its_parts(name: str):
    params = OmegaConf.load(CONF / "experiment" / f"{name}.yaml").hydra.sweeper.params
    jobs = [[]]
    for key, values in params.items():
        jobs = [[*job, f"{key}={value}"] for job in jobs for value in values.split(",")]
    assert len(jobs) == SWEEPS[name]
    for job in jobs:
        cfg = config(f"experiment={name}", *job)
        instantiate(cfg.data)
        model = instantiate(cfg.model, vocab_size=64, block_size=128)
        optimizer = model.optimizer(model._parameter_groups())
        assert optimizer.param_groups[0]["lr"] == cfg.model.optimizer.lr


def test_names_do_not_depend_on_the_process_that_a_job_is_in():
    shared = sweep.shared_keys(["model=a,b", "seed=0", "seed=range(3)", "+x=1", "logger=csv"])
    assert shared == ["x", "logger"]
    assert sweep.shared_keys(["seed=0", "logger=csv"]) == [], "nothing varies: all of it is the name"


def test_a_folder_has_a_name_that_a_file_system_takes():
    names = [sweep.folder_name("x" * 400 + end) for end in "ab"]
    assert len(set(names)) == 2 and max(map(len, names)) < 255
    assert sweep.folder_name("") == "all"


# once


def job(folder: Path, **values: Any) -> DictConfig:
    return OmegaConf.create({"name": "job", "objective": "loss", "run_dir": str(folder), **values})


def test_a_run_is_made_once(tmp_path: Path, capsys):
    values = iter([0.25, 0.5])
    assert once(job(tmp_path), lambda cfg: next(values)) == 0.25
    assert once(job(tmp_path), lambda cfg: next(values)) == 0.25
    assert "job: has finished before, loss 0.25" in capsys.readouterr().out
    moved = tmp_path.rename(tmp_path.with_name("moved"))
    assert once(job(moved), lambda cfg: next(values)) == 0.25, "wherever the folder lies"


def test_a_finished_run_is_not_taken_for_another(tmp_path: Path):
    once(job(tmp_path, trainer={"max_steps": 8}), lambda cfg: 0.25)
    with pytest.raises(
        ValueError, match=r"another configuration \(trainer.max_steps: 8 before, 9 now\); give this sweep"
    ):
        once(job(tmp_path, trainer={"max_steps": 9}), lambda cfg: 0.5)


def test_attempts_that_did_not_finish_are_kept(tmp_path: Path):
    def die(cfg: DictConfig) -> float:
        (tmp_path / "trajectory.jsonl").write_text(attempt)
        raise RuntimeError(attempt)

    for attempt in ("first", "second"):
        with pytest.raises(RuntimeError, match=attempt):
            once(job(tmp_path), die)
    assert once(job(tmp_path), lambda cfg: 0.25) == 0.25
    assert [(tmp_path / f"attempt_{number}/trajectory.jsonl").read_text() for number in (1, 2)] == ["first", "second"]
    assert not (tmp_path / "trajectory.jsonl").exists(), "the last attempt began in an empty folder"


def test_a_run_that_another_process_is_at_is_left_alone(tmp_path: Path):
    with (tmp_path / finished.LOCK).open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(RuntimeError, match="is being written to by another process"):
            once(job(tmp_path), lambda cfg: 0.25)
    assert once(job(tmp_path), lambda cfg: 0.25) == 0.25


def test_a_file_system_without_locks_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def refuse(file: object, operation: int) -> None:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.warns(UserWarning, match=r"cannot be locked .*Function not implemented.*; launch this sweep from one"):
        assert once(job(tmp_path), lambda cfg: 0.25) == 0.25


# what is said of a wrong override


@pytest.mark.parametrize(
    "override, said",
    [
        ("trainer.max_step=5", "trainer has accelerator, .*max_steps.*; did you mean max_steps?"),
        ("modle=gpt2", "the configuration has callbacks, .*; did you mean model?"),
        ("model=gpt3", "Could not find 'model/gpt3'.*gpt2.*llama_0.3M"),
    ],
)
@pytest.mark.parametrize("mode", ["--run", "-m"])
def test_a_wrong_override_is_answered_with_those_there_are(override, said, mode, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        launch(mode, override)
    assert re.search(said, capsys.readouterr().err, re.DOTALL)


@pytest.mark.parametrize("choice", EXTRAS)
def test_a_choice_that_is_an_extra_says_which_to_install(choice: str):
    missing = MissingConfigException(f"Could not find '{choice}'", choice)
    assert suggestion(missing) == f"{choice} is an extra: pip install --editable '.[{EXTRAS[choice]}]'"
    assert suggestion(MissingConfigException("Could not find 'data/x'", "data/x")) is None


def test_help_shows_every_group_and_how_to_sweep(capsys):
    with pytest.raises(SystemExit):
        launch("--help")
    text = capsys.readouterr().out
    for group in ("data", "model", "trainer", "monitor", "logger", "recipe", "experiment"):
        assert f"\n{group}: {', '.join(options(group))}\n" in text
    assert "-m experiment=tiny_sweep" in text and "hydra/launcher=joblib" in text
