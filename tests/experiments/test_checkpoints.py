"""Checkpoints of measured steps, and the README's two commands: a run that keeps them, and its replay."""

from __future__ import annotations

import json
from pathlib import Path

import lightning
import pytest
import torch
from lightning.pytorch import Callback
from torch.utils.data import DataLoader
from typer.testing import CliRunner

from experiments import train
from experiments.checkpoints import MeasuredCheckpoints
from experiments.model import LanguageModel
from ibtrack import InformationPlaneMonitor, Probe, Trajectory, schedules
from ibtrack.cli import app
from tests import models
from tests.runs import TRAINING, config, measured

pytestmark = [
    *TRAINING,
    pytest.mark.filterwarnings("ignore:.*:UserWarning:lightning"),
]
SIZE = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}


def _trainer(folder: Path, *callbacks: Callback) -> lightning.Trainer:
    return models.trainer(folder, max_steps=5, callbacks=list(callbacks))


def _monitor(folder: Path) -> InformationPlaneMonitor:
    return InformationPlaneMonitor(
        models.probe(8), schedule=schedules.every(2), path=folder / "trajectory.jsonl", verbose=False
    )


def _module() -> LanguageModel:
    torch.manual_seed(0)
    size = {**SIZE, "max_position_embeddings": models.LENGTH}
    return LanguageModel("llama", size, vocab_size=models.VOCABULARY, block_size=models.LENGTH, schedule="constant")


def _blocks() -> DataLoader[torch.Tensor]:
    return DataLoader(models.tokens(64, seed=0), batch_size=8)  # type: ignore[arg-type]


def test_a_run_that_keeps_its_checkpoints_is_replayed_to_its_own_points(tmp_path: Path) -> None:
    run, replayed = tmp_path / "run", tmp_path / "replayed"
    train.train(config("experiment=tiny", "checkpoints=measured", "logger=none", f"run_dir={run}"))
    command = ["replay", str(run / "checkpoints"), "--probe", str(run / "probe.pt"), "-o", str(replayed)]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    assert _points(replayed) == _points(run)
    assert Trajectory.load(replayed).steps == Trajectory.load(run).steps == [0, 1, 2, 4, 8]


def _points(folder: Path) -> list[tuple[int, int | None, dict[str, str]]]:
    points = Trajectory.load(folder).points
    clock = "ib/overhead_fraction"
    return [
        (each.step, each.tokens_seen, {key: repr(value) for key, value in each.values.items() if key != clock})
        for each in points
    ]


def test_keeping_checkpoints_changes_nothing_and_is_off_by_default(tmp_path: Path) -> None:
    small = ["experiment=tiny", "logger=none", "trainer.max_steps=2"]
    train.train(config(*small, f"run_dir={tmp_path / 'without'}"))
    train.train(config(*small, "checkpoints=measured", f"run_dir={tmp_path / 'with'}"))
    assert not (tmp_path / "without" / "checkpoints").exists()
    assert repr(measured(tmp_path / "without")) == repr(measured(tmp_path / "with"))
    one, other = (Probe.load(tmp_path / name / "probe.pt") for name in ("without", "with"))
    assert one.hash == other.hash == Trajectory.load(tmp_path / "with").protocol["probe"]["hash"]


def test_every_measured_step_is_saved_and_no_other(tmp_path: Path) -> None:
    keep = MeasuredCheckpoints(tmp_path / "checkpoints")
    _trainer(tmp_path, keep, _monitor(tmp_path)).fit(_module(), _blocks())
    names = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert names == ["step-0", "step-2", "step-4", "step-5"]
    assert Trajectory.load(tmp_path).steps == [0, 2, 4, 5]
    state = json.loads((tmp_path / "checkpoints" / "step-4" / "trainer_state.json").read_text())
    assert state == {"global_step": 4, "num_input_tokens_seen": 4 * 8 * models.LENGTH}


def test_a_run_that_begins_again_takes_the_place_of_what_it_saved(tmp_path: Path) -> None:
    keep = MeasuredCheckpoints(tmp_path / "checkpoints")
    left = tmp_path / "checkpoints" / ".step-2"
    left.mkdir(parents=True)
    (left / "model.safetensors").write_bytes(b"half")
    for folder in ("first", "second"):
        _trainer(tmp_path, keep, _monitor(tmp_path / folder)).fit(_module(), _blocks())
    names = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert names == ["step-0", "step-2", "step-4", "step-5"]


def test_the_last_step_of_an_interrupted_run_is_saved(tmp_path: Path) -> None:
    class Stop(Callback):
        def on_train_batch_end(self, trainer: lightning.Trainer, *rest: object) -> None:
            if trainer.global_step == 3:
                raise RuntimeError("stopped")

    keep = MeasuredCheckpoints(tmp_path / "checkpoints")
    with pytest.raises(RuntimeError, match="stopped"):
        _trainer(tmp_path, keep, Stop(), _monitor(tmp_path)).fit(_module(), _blocks())
    assert Trajectory.load(tmp_path).steps == [0, 2, 3]
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == ["step-0", "step-2", "step-3"]


def test_without_a_monitor_there_is_nothing_to_save_at(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="checkpoints of measured steps need an InformationPlaneMonitor among the"):
        _trainer(tmp_path, MeasuredCheckpoints(tmp_path)).fit(_module(), _blocks())


def test_a_module_without_a_model_of_transformers_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="need a model of transformers, and Module holds none; Lightning's ModelCheck"):
        _trainer(tmp_path, MeasuredCheckpoints(tmp_path), _monitor(tmp_path)).fit(models.Module(), models.loader())
