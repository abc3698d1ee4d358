"""What a run writes, in bytes; that its files have these sizes is shown by `test_plan`."""

from __future__ import annotations

import pytest
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import ModelCheckpoint

from experiments.checkpoints import MeasuredCheckpoints
from experiments.last_state import LastState
from experiments.run_disk import checkpoint_bytes, trajectory_bytes


def test_more_of_anything_takes_more_up_to_the_groups_of_documents() -> None:
    base = {"sites": 6, "orders": 2, "documents": 64}
    size = trajectory_bytes(10, **base)
    for name, more in (("sites", 7), ("orders", 3), ("documents", 65)):
        assert trajectory_bytes(10, **{**base, name: more}) > size
    assert trajectory_bytes(11, **base) > size
    assert trajectory_bytes(10, **{**base, "documents": 128}) == trajectory_bytes(10, **{**base, "documents": 10_000})


@pytest.mark.parametrize(
    ("callback", "expected"),
    [
        (Callback(), 0),
        (MeasuredCheckpoints("x"), 7 * 100),
        (LastState("x", minutes=10), 2 * 300),
        (ModelCheckpoint(), 300),
        (ModelCheckpoint(save_top_k=3, monitor="val/loss", save_last=True), 4 * 300),
        (ModelCheckpoint(save_top_k=-1, every_n_train_steps=20), 5 * 300),
        (ModelCheckpoint(save_top_k=0, save_last=True, save_weights_only=True), 100),
        (ModelCheckpoint(save_top_k=-1, every_n_epochs=1), None),
    ],
)
def test_checkpoints_hold_weights_and_what_it_takes_to_go_on(callback: Callback, expected: int | None) -> None:
    assert checkpoint_bytes(callback, weights=100, states=200, steps=100, measurements=7) == expected


def test_checkpoints_of_a_run_without_an_end_are_not_counted() -> None:
    every = ModelCheckpoint(save_top_k=-1, every_n_train_steps=20)
    assert checkpoint_bytes(every, weights=100, states=200, steps=None, measurements=None) is None
    assert checkpoint_bytes(MeasuredCheckpoints("x"), weights=1, states=2, steps=None, measurements=None) is None
