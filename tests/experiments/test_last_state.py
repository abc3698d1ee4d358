"""The last state of a run on disk: whole or not there, one at a time, and read back with all that it holds."""

from __future__ import annotations

import random
import shutil
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import pytest
import torch
from lightning.pytorch import Callback

from experiments import last_state
from experiments.last_state import STATE, LastState, newest_state
from tests import models

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings("ignore:.*:UserWarning:lightning", "ignore:.*LeafSpec:FutureWarning"),
]


def fit(folder: Path, *callbacks: Callback, ckpt_path: Path | None = None, **options: Any) -> lightning.Trainer:
    trainer = models.trainer(folder, callbacks=list(callbacks), **{"max_steps": 6, **options})
    torch.manual_seed(0)
    trainer.fit(models.Module(), models.loader(shuffle=False), ckpt_path=ckpt_path)
    return trainer


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


class Watch(Callback):
    """Writes down which states there are after each step."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.seen = folder, list[list[str]]()

    def on_train_batch_start(self, *rest: object) -> None:
        self.seen.append(names(self.folder) if self.folder.exists() else [])


def test_the_last_state_takes_the_place_of_the_one_before(tmp_path: Path) -> None:
    watch = Watch(tmp_path / "last")
    fit(tmp_path, watch, LastState(tmp_path / "last", steps=2))
    assert watch.seen == [[], [], ["step-2"], ["step-2"], ["step-4"], ["step-4"]]
    assert names(tmp_path / "last") == ["step-6"]
    assert newest_state(tmp_path / "last") == tmp_path / "last" / "step-6" / STATE


def test_by_default_the_last_step_alone_is_saved_and_by_minutes_when_they_are_over(tmp_path: Path) -> None:
    watch = Watch(tmp_path / "often")
    fit(tmp_path, LastState(tmp_path / "last"), LastState(tmp_path / "rare", minutes=1e6))
    assert names(tmp_path / "last") == names(tmp_path / "rare") == ["step-6"]
    fit(tmp_path, watch, LastState(tmp_path / "often", minutes=1e-9))
    assert watch.seen == [[], *([f"step-{step}"] for step in range(1, 6))]


def test_the_last_step_of_epochs_is_saved(tmp_path: Path) -> None:
    fit(tmp_path, LastState(tmp_path / "last"), max_steps=-1, max_epochs=2)
    assert names(tmp_path / "last") == ["step-16"]


def test_a_cut_while_a_state_is_written_leaves_the_one_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flush = last_state._flush

    def cut(folder: Path) -> None:
        if folder.name == ".step-4":
            raise RuntimeError("cut")
        flush(folder)

    monkeypatch.setattr(last_state, "_flush", cut)
    with pytest.raises(RuntimeError, match="cut"):
        fit(tmp_path, LastState(tmp_path / "last", steps=2))
    assert names(tmp_path / "last") == [".step-4", "step-2"]
    state = newest_state(tmp_path / "last")
    assert state is not None
    assert state.parent.name == "step-2"
    monkeypatch.undo()
    fit(tmp_path, LastState(tmp_path / "last", steps=2), ckpt_path=state)
    assert names(tmp_path / "last") == ["step-6"], "what was half written is cleared away"


def test_of_two_states_the_later_counts_and_what_has_another_name_does_not(tmp_path: Path) -> None:
    for name in ("step-9", "step-10", ".step-11", "step-12.tmp"):
        (tmp_path / name).mkdir()
    assert newest_state(tmp_path) == tmp_path / "step-10" / STATE
    shutil.rmtree(tmp_path / "step-10")
    assert newest_state(tmp_path) == tmp_path / "step-9" / STATE
    assert newest_state(tmp_path / "none") is None


class Draw(Callback):
    """Draws from every random state at the beginning of a batch."""

    def __init__(self) -> None:
        self.drawn: list[tuple[float, float, float]] = []

    def on_train_batch_start(self, *rest: object) -> None:
        self.drawn.append((random.random(), float(np.random.random()), float(torch.rand(()))))


def test_random_states_go_on_as_if_nothing_had_been(tmp_path: Path) -> None:
    draws = Draw(), Draw()
    fit(tmp_path, draws[0], LastState(tmp_path / "last", steps=4), max_steps=4)
    shutil.copytree(tmp_path / "last", tmp_path / "kept")
    going_on = [random.random(), float(np.random.random()), float(torch.rand(()))]
    random.seed(9)
    np.random.seed(9)
    fit(tmp_path, draws[1], LastState(tmp_path / "kept"), ckpt_path=newest_state(tmp_path / "kept"), max_steps=5)
    assert draws[1].drawn == [tuple(going_on)]


def test_a_state_is_loaded_without_running_code_and_by_a_trainer_without_the_callback(tmp_path: Path) -> None:
    fit(tmp_path, LastState(tmp_path / "last"), max_steps=2)
    state = newest_state(tmp_path / "last")
    assert state is not None
    assert torch.load(state, weights_only=True)["global_step"] == 2
    assert fit(tmp_path, ckpt_path=state).global_step == 6


def test_a_state_that_only_some_processes_see_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(last_state, "of_every_process", lambda value, device: [value, "step-3"])
    with pytest.raises(ValueError, match=r"must see one folder of states .* none on process 0, step-3 on process 1"):
        fit(tmp_path, LastState(tmp_path / "last"))


@pytest.mark.parametrize("name", ["minutes", "steps"])
def test_what_is_not_positive_is_refused(name: str, tmp_path: Path) -> None:
    options: dict[str, Any] = {name: 0}
    with pytest.raises(ValueError, match=f"{name} must be positive or null, got 0"):
        LastState(tmp_path, **options)
