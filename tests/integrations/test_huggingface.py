"""The callback for ``transformers.Trainer``; that it measures as every loop does is in test_loops."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import torch
from torch import Tensor, nn

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
