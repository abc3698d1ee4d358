"""Frameworks that put other weights in place: the last point is of those that were trained, and nothing is changed."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
import torchmetrics
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import EMAWeightAveraging, StochasticWeightAveraging, WeightAveraging
from torch import Tensor, nn

from ibtrack import InformationPlaneMonitor, InformationPlaneTracker, schedules
from ibtrack.integrations.huggingface import InformationPlaneTrainerCallback
from ibtrack.integrations.lightning import EXCHANGED
from tests.integrations.test_loops import _rows, _WithLoss
from tests.models import Model, Module, loader, probe, trainer

pytestmark = pytest.mark.filterwarnings("ignore:.*")  # of the frameworks, about each other and about small data
SCHEDULE = schedules.at(3)  # the last step is not due


class _LoggedInForward(Module):
    """Its forward logs, and updates a metric that its training step logs."""

    def __init__(self) -> None:
        super().__init__()
        self.mean = torchmetrics.MeanMetric()

    def forward(self, ids: Tensor) -> Tensor:
        logits = super().forward(ids)
        if self._trainer is not None:
            self.log("largest", logits.detach().max(), reduce_fx="max", on_epoch=True, on_step=True)
            self.mean.update(logits.detach().std())
        return logits

    def training_step(self, batch: list[Tensor], index: int) -> Tensor:
        loss = super().training_step(batch, index)
        self.log("mean", self.mean.compute())
        return loss


class _NoNorm(Module):
    """Without batch norm, for which averaged weights need no further epoch."""

    def __init__(self) -> None:
        super().__init__()
        for block in self.model.blocks:  # type: ignore[union-attr]
            block.norm = nn.Identity()


WAYS: dict[str, tuple[Callable[[], LightningModule], Callable[[], list[Callback]]]] = {
    "Lightning: a module whose `forward` calls `self.log` and updates a metric": (_LoggedInForward, list),
    "Lightning: `WeightAveraging`": (Module, lambda: [WeightAveraging()]),
    "Lightning: `EMAWeightAveraging`": (Module, lambda: [EMAWeightAveraging(decay=0.9)]),
    "Lightning: `StochasticWeightAveraging`": (
        _NoNorm,
        lambda: [StochasticWeightAveraging(swa_lrs=1e-2, swa_epoch_start=1)],
    ),
    "Lightning: `StochasticWeightAveraging` of a model with batch norm": (
        Module,
        lambda: [StochasticWeightAveraging(swa_lrs=1e-2, swa_epoch_start=1)],
    ),
}
IN_TRANSFORMERS = "transformers: `load_best_model_at_end`"


class _Keep(Callback):
    """Keeps the weights after every step."""

    def __init__(self) -> None:
        self.trained: dict[str, Tensor] = {}
        self.logged: dict[str, float] = {}

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        if not trainer.fit_loop._skip_backward:
            self.trained = copy.deepcopy(dict(pl_module.state_dict()))

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.logged = {key: float(value) for key, value in trainer.logged_metrics.items() if "ib/" not in key}


def _fit(
    folder: Path, name: str, watch: InformationPlaneMonitor | None, *, watch_first: bool = False, **options: Any
) -> tuple[LightningModule, _Keep]:
    lightning.seed_everything(5, verbose=False)
    make, callbacks = WAYS[name]
    module, keep, watching = make(), _Keep(), [] if watch is None else [watch]
    order = [*watching, *callbacks()] if watch_first else [*callbacks(), *watching]
    fit = trainer(folder, callbacks=[keep, *order], max_steps=-1, max_epochs=2, log_every_n_steps=1, **options)
    fit.fit(module, loader(), loader(blocks=16, seed=3, shuffle=False))
    return module, keep


def _values(module: nn.Module, weights: dict[str, Tensor]) -> dict[str, float]:
    """Measure a module with these weights."""
    module.load_state_dict(weights)
    return dict(InformationPlaneTracker(probe()).measure(module).values)


@pytest.mark.parametrize("name", WAYS)
@pytest.mark.parametrize("watch_first", [False, True])
def test_the_last_point_is_of_the_trained_weights_and_training_is_the_same(
    tmp_path: Path, name: str, watch_first: bool
) -> None:
    watch = InformationPlaneMonitor(probe(), schedule=SCHEDULE, path=tmp_path / "t.jsonl", verbose=False)
    without, kept_without = _fit(tmp_path, name, None)
    with_it, kept = _fit(tmp_path, name, watch, watch_first=watch_first)
    torch.testing.assert_close(with_it.state_dict(), without.state_dict(), rtol=0, atol=0)
    assert kept.logged == kept_without.logged
    assert "train_loss" in kept.logged
    assert watch.trajectory.steps == [0, 3, 16]
    assert watch.trajectory.protocol["weights"] == "as trained"
    found = {key: value for key, value in watch.trajectory.points[-1].values.items() if "overhead" not in key}
    assert found == _values(with_it, kept.trained)
    if "Averaging" in name:  # so that the test can fail
        assert found != _values(with_it, dict(without.state_dict()))


class _Stop(Module):
    """Training ends in a validation."""

    def validation_step(self, batch: list[Tensor], index: int) -> None:
        if self.global_step > 4:
            raise KeyError("a bug in validation")


@pytest.mark.parametrize("averaging", [False, True])
def test_weights_that_only_a_validation_has_are_not_taken_for_the_last(tmp_path: Path, averaging: bool) -> None:
    watch = InformationPlaneMonitor(probe(), schedule=SCHEDULE, path=tmp_path / "t.jsonl", verbose=False)
    callbacks = [EMAWeightAveraging(decay=0.9)] if averaging else []
    fit = trainer(tmp_path, callbacks=[*callbacks, watch], max_steps=12, val_check_interval=5)
    with pytest.raises(KeyError, match="a bug"):
        fit.fit(_Stop(), loader(), loader(blocks=16, seed=3, shuffle=False))
    assert watch.trajectory.steps == [0, 3, 5]
    assert watch.trajectory.points[-1].failure == (EXCHANGED if averaging else None)


def _early(first: bool, watch: Any) -> list[Any]:
    from transformers import EarlyStoppingCallback

    stop = EarlyStoppingCallback(early_stopping_patience=1, early_stopping_threshold=100.0)  # the first is the best
    return [stop, watch] if first else [watch, stop]


def _train(folder: Path, watch: Any, *, stop: str, **options: Any) -> tuple[_WithLoss, list[dict[str, Tensor]]]:
    """Train; the model at the end, and the weights after each step."""
    from transformers import Trainer, TrainerCallback, TrainingArguments

    trained: list[dict[str, Tensor]] = []

    class Keep(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
            trained.append(copy.deepcopy(rest["model"].state_dict()))

    torch.manual_seed(3)
    model = _WithLoss(Model())
    arguments = TrainingArguments(
        str(folder),
        load_best_model_at_end=True,
        metric_for_best_model="loss",
        greater_is_better=True,  # so that the first, and not the last, is the best
        report_to=[],
        use_cpu=True,
        disable_tqdm=True,
        learning_rate=1e-2,
        **options,
    )
    watching = [] if watch is None else [watch]
    callbacks = {"": watching, "before": _early(True, watch), "after": _early(False, watch)}[stop]
    Trainer(
        model,
        arguments,
        train_dataset=_rows(),
        eval_dataset=_rows()[:8],
        callbacks=[Keep(), *callbacks],
    ).train()
    return model, trained


STEPWISE = {"eval_strategy": "steps", "save_strategy": "steps", "eval_steps": 2, "save_steps": 2}
BY_EPOCH = {"eval_strategy": "epoch", "save_strategy": "epoch", "num_train_epochs": 4}


@pytest.mark.parametrize(
    ("stop", "options"),
    [
        ("", {**STEPWISE, "max_steps": 5}),
        ("", {**STEPWISE, "max_steps": 5, "logging_steps": 1}),
        ("before", {**STEPWISE, "max_steps": 20}),
        ("after", {**STEPWISE, "max_steps": 20}),
        ("before", BY_EPOCH),
        ("after", BY_EPOCH),
        ("before", {**BY_EPOCH, "save_strategy": "best"}),
    ],
)
def test_the_last_step_is_measured_before_the_best_model_is_loaded(
    tmp_path: Path, stop: str, options: dict[str, Any]
) -> None:
    watch = InformationPlaneTrainerCallback(probe(), schedule=SCHEDULE)
    model, trained = _train(tmp_path, watch, stop=stop, **options)
    assert watch.trajectory.steps == [0, 3, len(trained)]
    point = watch.trajectory.points[-1]
    assert point.failure is None
    found = {key: value for key, value in point.values.items() if "overhead" not in key}
    at_the_end = dict(model.state_dict())
    assert found != _values(model, copy.deepcopy(at_the_end))
    assert found == _values(model, trained[-1])


def test_a_last_step_that_is_gone_is_said_to_be(tmp_path: Path) -> None:
    watch = InformationPlaneTrainerCallback(probe(), schedule=SCHEDULE)
    _train(tmp_path, watch, stop="after", **{**BY_EPOCH, "save_strategy": "best"})
    assert "has loaded its best checkpoint" in str(watch.trajectory.points[-1].failure)
    assert watch.trajectory.points[-1].values.keys() == {"ib/overhead_fraction"}


def test_transformers_trains_the_same_with_and_without(tmp_path: Path) -> None:
    watch = InformationPlaneTrainerCallback(probe(), schedule=schedules.every(1))
    without, _ = _train(tmp_path / "a", None, stop="", **STEPWISE, max_steps=5)
    with_it, _ = _train(tmp_path / "b", watch, stop="", **STEPWISE, max_steps=5)
    torch.testing.assert_close(with_it.state_dict(), without.state_dict(), rtol=0, atol=0)
