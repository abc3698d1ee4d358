"""Checkpoints of ``torch.distributed.checkpoint`` read by one process, without running code that is in them."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.distributed.checkpoint.state_dict_saver import save
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

from ibtrack.replay import load_model
from ibtrack.replay.distributed_files import METADATA, read_into, stored_weights
from ibtrack.replay.errors import LoadingError
from tests.processes import join, leave, spawn_bounded
from tests.replay.saved import Network, distributed_checkpoint, save_distributed


class _Evil:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return open, (str(self.mark), "w")


def test_tensors_are_listed_and_read_into_those_given(tmp_path: Path) -> None:
    model = Network()
    folder = save_distributed({"state_dict": model.state_dict(), "epoch": 3}, tmp_path / "a")
    weights = {weight.name: weight for weight in stored_weights(folder, label="x")}
    assert set(weights) == {f"state_dict.{name}" for name in model.state_dict()}
    assert weights["state_dict.embed.weight"].shape == model.embed.weight.shape
    assert weights["state_dict.embed.weight"].dtype == torch.float32
    one, other = torch.zeros(64, 4), torch.zeros(4, dtype=torch.bfloat16)
    read_into({"state_dict.embed.weight": one, "state_dict.blocks.0.bias": other}, folder, label="x")
    assert torch.equal(one, model.embed.weight)
    assert torch.equal(other, model.state_dict()["blocks.0.bias"].bfloat16())


def test_code_in_a_table_of_contents_is_not_run(tmp_path: Path) -> None:
    folder = save_distributed({"w": torch.ones(2)}, tmp_path / "a")
    (folder / METADATA).write_bytes(pickle.dumps(_Evil(tmp_path / "mark")))
    with pytest.raises(
        LoadingError, match=r"the \.metadata of step-5 is damaged \(UnpicklingError: it needs _?io\.open"
    ):
        stored_weights(folder, label="step-5")
    assert not (tmp_path / "mark").exists()


@pytest.mark.parametrize("name", ["torch.distributed.checkpoint.filesystem:io.open", "torch:hub", "builtins:eval"])
def test_nothing_but_what_a_table_consists_of_is_made(tmp_path: Path, name: str) -> None:
    module, _, member = name.partition(":")
    strings = [b"\x8c" + bytes([len(text)]) + text.encode() for text in (module, member)]
    (tmp_path / METADATA).write_bytes(b"\x80\x04" + b"".join(strings) + b"\x93.")  # STACK_GLOBAL takes dotted names
    with pytest.raises(LoadingError, match="which could run code"):
        stored_weights(tmp_path, label="x")


def _save_sharded(rank: int, world: int, port: int, folder: Path) -> None:
    """Save a network that FSDP has cut into parts, as a process of a training does."""
    join(rank, world, port)
    torch.manual_seed(0)
    model = Network(6)
    fully_shard(model, mesh=init_device_mesh("cpu", (world,)))
    save({"state_dict": model.state_dict()}, checkpoint_id=folder / "step-3")
    leave()


def test_parts_that_two_processes_have_saved_are_put_together(tmp_path: Path) -> None:
    spawn_bounded(_save_sharded, 2, tmp_path)
    assert len(list((tmp_path / "step-3").glob("*.distcp"))) == 2
    torch.manual_seed(0)
    expected = Network(6).state_dict()
    loaded = load_model(tmp_path / "step-3", distributed_checkpoint(tmp_path / "step-3"), factory=lambda: Network(6))
    assert loaded.state_dict().keys() == expected.keys()
    assert all(torch.equal(loaded.state_dict()[name], value) for name, value in expected.items())


@pytest.mark.parametrize("content", [b"", b"text", pickle.dumps({"a": 1})])
def test_a_damaged_table_of_contents_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / METADATA).write_bytes(content)
    with pytest.raises(LoadingError, match=r"the \.metadata of step-5 is damaged"):
        stored_weights(tmp_path, label="step-5")


@pytest.mark.parametrize("keep", [None, 100])
def test_a_part_that_is_missing_or_cut_is_refused(tmp_path: Path, keep: int | None) -> None:
    folder = save_distributed({"w": torch.ones(2000)}, tmp_path / "a")
    (part,) = folder.glob("*.distcp")
    content = part.read_bytes()
    part.unlink()
    if keep is not None:
        part.write_bytes(content[:keep])
    with pytest.raises(LoadingError, match=r"^step-5 cannot be read \("):
        read_into({"w": torch.zeros(2000)}, folder, label="step-5")
