"""How the memory of a device is shared out between the rows of the sites and two models."""

from pathlib import Path

import pytest
import torch
from torch import nn

from ibtrack.replay import memory
from ibtrack.replay.memory import free_memory, has_usual_type, share_out, size_of

GIB = 1 << 30


def shared(monkeypatch: pytest.MonkeyPatch, free: int, model: nn.Module, device: str = "cpu") -> memory.Room:
    monkeypatch.setattr(memory, "free_memory", lambda asked: free)
    monkeypatch.setattr(memory, "device_of", lambda asked: torch.device(device))
    return share_out(model)


def test_rows_take_a_quarter_of_a_cpu_and_half_of_an_accelerator(monkeypatch: pytest.MonkeyPatch) -> None:
    model = nn.Linear(2, 2)
    assert shared(monkeypatch, 40 * GIB + size_of(model), model) == (10 * GIB, True)
    assert shared(monkeypatch, 40 * GIB + size_of(model), model, "cuda") == (20 * GIB, True)
    assert shared(monkeypatch, 2 * GIB, model).row_bytes == GIB, "as much as a monitored run takes"


def test_the_next_model_needs_room_beside_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    model = nn.Linear(1 << 14, 1 << 10)
    half, size = nn.Linear(1 << 14, 1 << 10, dtype=torch.bfloat16), size_of(model)
    assert shared(monkeypatch, 4 * size, model).beside
    assert not shared(monkeypatch, 4 * size - 1, model).beside
    rows = [shared(monkeypatch, 40 * GIB, each, "cuda").row_bytes for each in (model, half)]
    assert rows == [20 * GIB - size // 2, 20 * GIB], "memory for a model that is not there goes to the rows"


def test_models_of_another_type_are_not_loaded_beside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Transformers changes the default type of the process while it makes such a model."""
    assert shared(monkeypatch, 40 * GIB, nn.Linear(2, 2)).beside
    assert not shared(monkeypatch, 40 * GIB, nn.Linear(2, 2, dtype=torch.bfloat16)).beside
    mixed = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2, dtype=torch.bfloat16))
    assert not has_usual_type(mixed)
    assert has_usual_type(nn.ReLU())


def test_a_machine_says_what_it_has() -> None:
    assert free_memory(torch.device("cpu")) > 1 << 20


def test_a_container_may_have_less(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_CGROUP", tmp_path)
    machine = free_memory(torch.device("cpu"))
    assert machine > 2000
    (tmp_path / "memory.current").write_text("3000\n")
    (tmp_path / "memory.stat").write_text("anon 1\ninactive_file 500\n")
    (tmp_path / "memory.max").write_text("max\n")
    assert free_memory(torch.device("cpu")) > 2000
    (tmp_path / "memory.max").write_text("4000\n")
    assert free_memory(torch.device("cpu")) == 1500
    (tmp_path / "memory.max").write_text("2000\n")
    assert free_memory(torch.device("cpu")) == 0


def test_other_systems_say_what_they_have_in_all(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_file(path: Path) -> str:
        raise FileNotFoundError(path)

    monkeypatch.setattr(Path, "read_text", no_file)
    assert free_memory(torch.device("cpu")) > 1 << 20
    monkeypatch.delattr("os.sysconf")
    assert free_memory(torch.device("cpu")) == 0, "and then the rows take what a monitored run takes"
