"""The callback for ``transformers.Trainer``; that it measures as every loop does is in test_loops."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import torch
from torch import Tensor, nn

from ibtrack import MeasurementWarning, Point, Trajectory
from ibtrack.integrations.huggingface import InformationPlaneTrainerCallback
from tests.integrations.test_loops import SCHEDULE, _rows, _seeded, _WithLoss
from tests.models import probe

pytestmark = pytest.mark.filterwarnings("ignore:.*")  # of transformers and accelerate


def test_transformers_measures_in_the_precision_of_the_run(tmp_path: Path) -> None:
    from transformers import Trainer, TrainingArguments

    model, seen = _WithLoss(_seeded()), set()

    def hook(module: nn.Module, args: Any, output: Tensor) -> None:
        seen.add((module.training, output.dtype))

    model.model.head.register_forward_hook(Mock(side_effect=hook))
    watch = InformationPlaneTrainerCallback(probe(), path=tmp_path / "t.jsonl", schedule=SCHEDULE)
    arguments = TrainingArguments(str(tmp_path), bf16=True, max_steps=2, report_to=[], use_cpu=True, disable_tqdm=True)
    Trainer(model, arguments, train_dataset=_rows(), callbacks=[watch]).train()
    assert {dtype for training, dtype in seen} == {torch.bfloat16}
    assert {training for training, dtype in seen} == {True, False}
    assert watch.trajectory.protocol["precision"] == "bf16-mixed"


def test_a_run_goes_on_from_its_checkpoint_with_every_due_step_once(tmp_path: Path) -> None:
    from transformers import Trainer, TrainingArguments

    steps = []
    for max_steps, resume in ((4, False), (8, True)):
        watch = InformationPlaneTrainerCallback(probe(), path=tmp_path / "t.jsonl", schedule=SCHEDULE)
        arguments = TrainingArguments(
            str(tmp_path / "hf"), max_steps=max_steps, save_steps=4, report_to=[], use_cpu=True, disable_tqdm=True
        )
        trainer = Trainer(_WithLoss(_seeded()), arguments, train_dataset=_rows(), callbacks=[watch])
        trainer.train(resume_from_checkpoint=resume)
        steps.append(watch.trajectory.steps)
    assert steps == [[0, 2, 4], [0, 2, 4, 6, 8]]


def _train(folder: Path, path: Path, *, max_steps: int, checkpoint: Path | None = None) -> list[Point]:
    from transformers import Trainer, TrainingArguments

    watch = InformationPlaneTrainerCallback(probe(), path=path, schedule=SCHEDULE)
    arguments = TrainingArguments(
        str(folder), max_steps=max_steps, save_steps=3, report_to=[], use_cpu=True, disable_tqdm=True
    )
    trainer = Trainer(_WithLoss(_seeded()), arguments, train_dataset=_rows(), callbacks=[watch])
    trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
    return list(watch.trajectory.points)


def test_a_run_from_the_checkpoint_of_an_old_one_leaves_the_file_of_that_alone(tmp_path: Path) -> None:
    old = tmp_path / "old.jsonl"
    _train(tmp_path / "old", old, max_steps=6)
    before = old.read_text()
    checkpoint = tmp_path / "old" / "checkpoint-3"
    with pytest.warns(MeasurementWarning, match=r"new\.jsonl holds no trajectory to go on with: .* begin at step 3"):
        points = _train(tmp_path / "new", tmp_path / "new.jsonl", max_steps=5, checkpoint=checkpoint)
    assert [point.step for point in points] == [3, 4, 5]
    with pytest.warns(UserWarning, match=r"held 3 points up to step 5 of another run than the checkpoint's"):
        points = _train(tmp_path / "newer", tmp_path / "new.jsonl", max_steps=5, checkpoint=checkpoint)
    assert [point.step for point in points] == [3, 4, 5]
    assert Trajectory.load(tmp_path / "new.1.jsonl").steps == [3, 4, 5]
    assert old.read_text() == before


def test_wall_time_goes_on_after_a_restart(tmp_path: Path) -> None:
    path, checkpoint = tmp_path / "t.jsonl", tmp_path / "hf" / "checkpoint-3"
    before = _train(tmp_path / "hf", path, max_steps=4)
    state = checkpoint / "trainer_state.json"
    kept = json.loads(state.read_text())
    kept["stateful_callbacks"]["ibtrack"]["seconds"] += 1e6  # as after eleven days of training
    state.write_text(json.dumps(kept))
    with pytest.warns(UserWarning, match=r"held 1 point after step 3, .* kept in t\.1\.jsonl"):
        points = _train(tmp_path / "hf", path, max_steps=6, checkpoint=checkpoint)
    assert [point.step for point in points] == [0, 2, 4, 6]
    assert points[:2] == before[:2]
    assert points[2].wall_time > 1e6


def test_points_have_the_loss_where_the_trainer_logs_that_of_every_step(tmp_path: Path) -> None:
    from transformers import Trainer, TrainingArguments

    losses, readings = [], []
    for logging_steps in (1, 3):
        watch = InformationPlaneTrainerCallback(probe(), schedule=SCHEDULE)
        arguments = TrainingArguments(
            str(tmp_path), logging_steps=logging_steps, max_steps=5, report_to=[], use_cpu=True, disable_tqdm=True
        )
        trainer = Trainer(_WithLoss(_seeded()), arguments, train_dataset=_rows(), callbacks=[watch])
        trainer.train()
        assert watch.trajectory.steps == [0, 2, 4, 5]
        losses.append([point.loss for point in watch.trajectory.points])
        readings.append(watch.trajectory.values("ib/mean/token/complexity"))
        if logging_steps == 1:
            logged = {entry["step"]: entry["loss"] for entry in trainer.state.log_history if "loss" in entry}
    assert losses == [[None, logged[2], logged[4], logged[5]], [None] * 4]
    assert readings[0] == readings[1]
    trainer.evaluate(_rows())  # type: ignore[arg-type]  # rows are as good as a data set
    assert watch.trajectory.steps == [0, 2, 4, 5]
