"""One tracker, four loops: the same weights give the same points."""

import warnings
from pathlib import Path
from typing import Any, Literal
from unittest.mock import Mock

import pytest
import torch
from lightning.fabric import Fabric
from torch import Tensor, nn

from ibtrack import InformationPlaneMonitor, InformationPlaneTracker, Trajectory, schedules
from tests.models import Model, Module, loader, probe, trainer

STEPS = 5
SCHEDULE = schedules.every(2)


def _seeded() -> Model:
    torch.manual_seed(3)
    return Model()


def _loss(model: nn.Module, ids: Tensor) -> Tensor:
    return nn.functional.cross_entropy(model(ids)[:, :-1].flatten(0, 1), ids[:, 1:].flatten())


def _plain(path: Path) -> None:
    model = _seeded()
    tracker = InformationPlaneTracker(probe(), path=path, schedule=SCHEDULE)
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2)
    tracker.step(model, 0)
    for step, (ids,) in zip(range(1, STEPS + 1), loader(), strict=False):
        optimizer.zero_grad()
        _loss(model, ids).backward()
        optimizer.step()
        tracker.step(model, step)
    tracker.finish(model, STEPS)


def _fabric(path: Path) -> None:
    fabric = Fabric(accelerator="cpu", devices=1)
    bare = _seeded()
    model, optimizer = fabric.setup(bare, torch.optim.AdamW(bare.parameters(), 1e-2))
    tracker = InformationPlaneTracker(probe(), path=path, schedule=SCHEDULE)
    tracker.step(model, 0)
    for step, (ids,) in zip(range(1, STEPS + 1), fabric.setup_dataloaders(loader()), strict=False):
        optimizer.zero_grad()
        fabric.backward(_loss(model, ids))
        optimizer.step()
        tracker.step(model, step)
    tracker.finish(model, STEPS)


def _lightning(path: Path) -> None:
    watch = InformationPlaneMonitor(probe(), path=path, schedule=SCHEDULE, verbose=False)
    trainer(path.parent, callbacks=[watch], max_steps=STEPS, limit_val_batches=0).fit(Module(_seeded()), loader())


class _WithLoss(nn.Module):
    """What ``transformers.Trainer`` wants: a loss beside the logits."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor, labels: Tensor | None = None) -> dict[str, Tensor]:
        logits = self.model(input_ids)
        loss = nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), input_ids[:, 1:].flatten())
        return {"loss": loss, "logits": logits}


def _rows() -> list[dict[str, Tensor]]:
    """The blocks of the loader, as ``transformers.Trainer`` wants them."""
    blocks: Any = loader().dataset  # not every data set can be iterated over; this one can
    return [{"input_ids": ids, "labels": ids} for (ids,) in blocks]


def _transformers(path: Path) -> None:
    from transformers import Trainer, TrainingArguments

    from ibtrack.integrations.huggingface import InformationPlaneTrainerCallback

    watch = InformationPlaneTrainerCallback(probe(), path=path, schedule=SCHEDULE)
    arguments = TrainingArguments(
        str(path.parent / "hf"),
        include_num_input_tokens_seen="all",
        disable_tqdm=True,
        report_to=[],
        max_steps=STEPS,
        per_device_train_batch_size=8,
        use_cpu=True,
    )
    Trainer(_WithLoss(_seeded()), arguments, train_dataset=_rows(), callbacks=[watch]).train()


@pytest.fixture(scope="module")
def trajectories(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Trajectory]:
    found = {}
    for loop in (_plain, _fabric, _lightning, _transformers):
        path = tmp_path_factory.mktemp(loop.__name__) / "trajectory.jsonl"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the four frameworks about small loaders and each other
            loop(path)
        found[loop.__name__] = Trajectory.load(path)
    return found


@pytest.mark.parametrize("loop", ["_plain", "_fabric", "_lightning", "_transformers"])
def test_every_loop_measures_the_due_steps(trajectories: dict[str, Trajectory], loop: str) -> None:
    assert trajectories[loop].steps == [0, 2, 4, 5]
    assert not any(point.failure for point in trajectories[loop].points)


@pytest.mark.parametrize("loop", ["_fabric", "_lightning", "_transformers"])
def test_the_same_weights_give_the_same_points(trajectories: dict[str, Trajectory], loop: str) -> None:
    readings = [dict(trajectories[name].points[0].values) for name in ("_plain", loop)]
    for found in readings:
        del found["ib/overhead_fraction"]
    assert readings[0] == readings[1]


def test_sites_have_the_names_of_the_bare_model(trajectories: dict[str, Trajectory]) -> None:
    sites = {name: trajectory.protocol["sites"] for name, trajectory in trajectories.items()}
    assert sites["_fabric"] == sites["_plain"] == {"embed": "embed", "L00": "blocks.0", "L01": "blocks.1"}


def test_transformers_counts_the_tokens(trajectories: dict[str, Trajectory]) -> None:
    assert [point.tokens_seen for point in trajectories["_transformers"].points] == [None, 256, 512, 640]


@pytest.mark.parametrize("precision", ["bf16-mixed", "bf16-true"])
def test_fabric_measures_in_the_precision_of_the_run(precision: Literal["bf16-mixed", "bf16-true"]) -> None:
    bare, hook = _seeded(), Mock(return_value=None)
    bare.head.register_forward_hook(hook)
    model = Fabric(accelerator="cpu", devices=1, precision=precision).setup_module(bare)
    tracker = InformationPlaneTracker(probe())
    assert tracker.measure(model).failure is None
    assert {call.args[2].dtype for call in hook.call_args_list} == {torch.bfloat16}
    assert tracker.protocol["precision"] == precision
