"""Launchers and sweepers: the same jobs in other processes give the same trajectories, each a wandb run of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from tests.runs import SCRIPT, SMALL, TRAINING, launch, measured, wandb_records

pytestmark = [
    *TRAINING,
    pytest.mark.filterwarnings("ignore:.*declarative_base"),  # optuna 2.10, which the sweeper asks for, on SQLAlchemy 2
]

LAUNCHERS = {
    "joblib": ["hydra.launcher.n_jobs=2"],
    "submitit_local": [],
    "ray": ["+hydra.launcher.ray.init.num_cpus=2", "+hydra.launcher.ray.init.include_dashboard=false"],
}
SWEEP = ["-m", "experiment=tiny", "seed=0,1", "trainer.max_steps=2"]


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("launchers")


@pytest.fixture(scope="module")
def launched(workplace: Path) -> Iterator[dict[str, subprocess.Popen[bytes]]]:
    """Start all launchers side by side, as most of what they do is to start processes and wait for them."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "XDG_CACHE_HOME": str(workplace / "cache")}
    environment |= {"RAY_worker_niceness": "0"}  # Ray's workers give way to all others, and these would wait
    environment.pop("PYTHONPATH", None)  # nor has a user who has just cloned the project
    launched = {}
    for name, arguments in LAUNCHERS.items():
        command = [sys.executable, str(SCRIPT), *SWEEP, f"hydra.sweep.dir={name}/sweep", f"hydra/launcher={name}"]
        with (workplace / f"{name}.log").open("wb") as log:
            launched[name] = subprocess.Popen(
                [*command, *arguments], cwd=workplace, env=environment, stdout=log, stderr=subprocess.STDOUT
            )
    yield launched
    for process in launched.values():
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def here(launched: object, workplace: Path, one_thread: None) -> Path:
    """Return the folder of the same sweep as this process runs it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(workplace / "cache"))
        launch(*SWEEP, "logger=none", f"hydra.sweep.dir={workplace}/here")
    return workplace / "here"


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_other_processes_give_the_same_trajectories(
    launcher: str, launched: dict[str, subprocess.Popen[bytes]], here: Path, workplace: Path
) -> None:
    assert launched[launcher].wait(timeout=500) == 0, (workplace / f"{launcher}.log").read_text()
    jobs = [workplace / launcher / "sweep" / f"seed={seed}" for seed in (0, 1)]
    assert [measured(folder) for folder in jobs] == [measured(here / folder.name) for folder in jobs]
    runs = [wandb_records(folder, "run")[0] for folder in jobs]
    assert [(run["display_name"], run["run_group"]) for run in runs] == [
        ("tiny seed=0", "sweep"),
        ("tiny seed=1", "sweep"),
    ]
    assert len({run["run_id"] for run in runs}) == 2
    for folder in jobs:
        rows = [row["item"] for row in wandb_records(folder, "history")]
        steps = [row["trainer/global_step"] for row in rows if "ib/mean/token/kept" in row]
        assert steps == [0, 1, 2], "every due step, once, on one axis"


SMALL_SEARCH = ["-m", "experiment=search", *SMALL, "logger=none"]


def test_optuna_searches_and_goes_on_where_it_has_ended(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    search = [*SMALL_SEARCH, f"hydra.sweep.dir={tmp_path}"]
    launch(*search, "hydra.sweeper.n_trials=2")
    values = [json.loads(mark.read_text())["value"] for mark in tmp_path.glob("*/finished.json")]
    assert len(values) == 2
    assert OmegaConf.load(tmp_path / "optimization_results.yaml").best_value == max(values)
    capsys.readouterr()
    launch(*search, "hydra.sweeper.n_trials=3")
    assert capsys.readouterr().out.count("has finished before") == 2, "the third is new"
    assert len(list(tmp_path.glob("*/finished.json"))) == 3


def test_optuna_minimizes_the_validation_loss(tmp_path: Path) -> None:
    loss = ["objective=val/loss", "hydra.sweeper.direction=minimize", "hydra.sweeper.n_trials=2"]
    validate = ["trainer.limit_val_batches=1", "trainer.val_check_interval=1"]
    launch(*SMALL_SEARCH, *loss, *validate, f"hydra.sweep.dir={tmp_path}")
    values = [json.loads(mark.read_text())["value"] for mark in tmp_path.glob("*/finished.json")]
    best = OmegaConf.load(tmp_path / "optimization_results.yaml").best_value
    assert best == min(values)
    assert 4 < best < 7, "nats, of a model that knows nothing yet"
