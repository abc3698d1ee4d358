"""Replaying the checkpoints that a monitored run has saved gives the points of the run, to the last digit."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch.utils.data import DataLoader

from experiments.checkpoints import MeasuredCheckpoints
from experiments.model import LanguageModel
from ibtrack import InformationPlaneMonitor, Point, Probe, Trajectory, schedules
from ibtrack.integrations.huggingface import InformationPlaneTrainerCallback
from ibtrack.record.protocol import CIRCUMSTANCES, protocol_differences
from ibtrack.replay import find_checkpoints, load_model, replay
from tests.models import tokens
from tests.replay.saved import LENGTH, VOCABULARY, llama
from tests.runs import TRAINING

pytestmark = [
    *TRAINING,
    pytest.mark.filterwarnings("ignore:.*:UserWarning:lightning"),
    pytest.mark.filterwarnings("ignore:.*:UserWarning:transformers"),
    pytest.mark.filterwarnings("ignore:.*:UserWarning:accelerate"),
]
NUMBER = 20  # checkpoints
CLOCK = "ib/overhead_fraction"
SIZE = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}


def _probe() -> Probe:
    return Probe(tokens(24, seed=9, vocabulary=VOCABULARY, length=LENGTH), orders=(1, 2))


def _module(settings: dict[str, Any] | None = None, *, tied: bool = True) -> LanguageModel:
    """The model of the training script; it saves no hyper-parameters, so the factory knows them."""
    size = {**SIZE, "max_position_embeddings": LENGTH, "tie_word_embeddings": tied, "attention_dropout": 0.2}
    return LanguageModel("llama", size, vocab_size=VOCABULARY, block_size=LENGTH, schedule="constant")


class _Save(Callback):
    """Saves a file at every step."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._save(trainer)

    def on_train_batch_end(self, trainer: Trainer, *rest: Any) -> None:
        self._save(trainer)

    def _save(self, trainer: Trainer) -> None:
        trainer.save_checkpoint(self.folder / f"step={trainer.global_step}.ckpt")


def _numbers(point: Point) -> dict[str, str]:
    """Every value to its last digit; ``repr`` makes a missing one equal to itself."""
    return {key: repr(value) for key, value in point.values.items() if key != CLOCK}


def _assert_equal(live: Trajectory, replayed: Trajectory, *, names: bool = True) -> None:
    """Compare all that a point holds but for the clock, and the rules of the measurement.

    ``names`` says whether the modules have equal names, as those of a network without the module around it have not.
    """
    assert [point.failure for point in replayed.points] == [None] * len(live.points)
    for ours, theirs in zip(replayed.points, live.points, strict=True):
        assert ours.step == theirs.step
        assert _numbers(ours) == _numbers(theirs)
        assert ours.notes == theirs.notes
        assert ours.influences is not None
        assert theirs.influences is not None
        assert ours.influences.to_record() == theirs.influences.to_record()
        assert ours.tokens_seen == theirs.tokens_seen
    ignored = CIRCUMSTANCES if names else (*CIRCUMSTANCES, "sites")
    assert protocol_differences({"live": live.protocol, "replay": replayed.protocol}, ignore=ignored) == []


def _replayed(folder: Path, path: Path, *, precision: str | None = None, **loading: Any) -> Trajectory:
    return replay(
        find_checkpoints(folder),
        _probe(),
        path=path / "trajectory.jsonl",
        load=partial(load_model, **loading),
        precision=precision,
        geometry_rows=200,
    )


def _train(folder: Path, precision: str, steps: int = NUMBER - 1) -> Trajectory:
    """Train by Lightning and save each measured step, as files and as folders."""
    monitor = InformationPlaneMonitor(
        _probe(), schedule=schedules.every(1), path=folder / "trajectory.jsonl", geometry_rows=200, verbose=False
    )
    trainer = lightning.Trainer(
        accelerator="cpu",
        precision=precision,  # type: ignore[arg-type]
        max_steps=steps,
        callbacks=[_Save(folder / "files"), MeasuredCheckpoints(folder / "folders"), monitor],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
    )
    torch.manual_seed(0)
    trainer.fit(_module(), DataLoader(tokens(160, seed=1, vocabulary=VOCABULARY, length=LENGTH), batch_size=8))  # type: ignore[arg-type]
    return Trajectory.load(folder)


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed", "bf16-true"])
def test_checkpoints_of_a_run_in_lightning_give_its_points(tmp_path: Path, precision: str) -> None:
    live = _train(tmp_path, precision)
    assert live.steps == list(range(NUMBER))
    assert live.protocol["precision"] == precision
    assert len({point.values["ib/L01/token/complexity"] for point in live.points}) == NUMBER, "it learns"
    files = _replayed(tmp_path / "files", tmp_path / "from_files", precision=precision, factory=_module)
    _assert_equal(live, files)
    folders = _replayed(tmp_path / "folders", tmp_path / "from_folders", precision=precision)
    _assert_equal(live, folders, names=False)


@pytest.mark.parametrize("precision", ["bf16-mixed", "bf16-true"])
def test_without_the_precision_of_the_run_points_are_others(tmp_path: Path, precision: str) -> None:
    live = _train(tmp_path, precision, steps=3)
    replayed = _replayed(tmp_path / "folders", tmp_path / "replayed")  # bf16-true: with rotary frequencies in float32
    assert replayed.steps == live.steps
    assert all(_numbers(ours) != _numbers(theirs) for ours, theirs in zip(replayed.points, live.points, strict=True))


@pytest.mark.parametrize("bf16", [False, True])
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_checkpoints_of_a_run_in_transformers_give_its_points(tmp_path: Path, bf16: bool, attention: str) -> None:
    from transformers import Trainer as TransformersTrainer
    from transformers import TrainingArguments

    rows = [{"input_ids": row, "labels": row} for row in tokens(160, seed=1, vocabulary=VOCABULARY, length=LENGTH)]
    watch = InformationPlaneTrainerCallback(
        _probe(), schedule=schedules.every(1), path=tmp_path / "trajectory.jsonl", geometry_rows=200
    )
    arguments = TrainingArguments(
        str(tmp_path / "run"),
        max_steps=NUMBER,
        save_steps=1,
        learning_rate=1e-2,
        include_num_input_tokens_seen=True,
        bf16=bf16,
        report_to=[],
        use_cpu=True,
        disable_tqdm=True,
    )
    model = llama(attention_dropout=0.2, attn_implementation=attention)
    TransformersTrainer(model, arguments, train_dataset=rows, callbacks=[watch]).train()
    live = watch.trajectory
    replayed = _replayed(
        tmp_path / "run", tmp_path / "replayed", precision="bf16-mixed" if bf16 else None, attention=attention
    )
    assert replayed.steps == list(range(1, NUMBER + 1))
    saved = Trajectory(live.protocol, live.run, [point for point in live.points if point.step > 0], None)
    _assert_equal(saved, replayed)
    if attention == "eager" and not bf16:
        kernel = _replayed(tmp_path / "run", tmp_path / "other_kernel", attention="sdpa")
        assert all(_numbers(one) != _numbers(other) for one, other in zip(kernel.points, saved.points, strict=True))
