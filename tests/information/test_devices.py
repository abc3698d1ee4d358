"""What depends on the device."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

from ibtrack.information import devices
from ibtrack.information.devices import ROWS_AT_ONCE, in_pieces, rows_on_accelerator, to_cpu_at_once, to_device


@dataclass(frozen=True)
class _Part:
    values: Tensor
    name: str


def _structure() -> dict[str, Any]:
    return {"a": (_Part(torch.ones(2), "b"), torch.zeros(3, 1)), "c": None, "d": 4}


def test_all_tensors_move_and_the_rest_stays() -> None:
    moved = to_device(_structure(), torch.device("meta"))
    part, table = moved["a"]
    assert part.values.is_meta
    assert table.is_meta
    assert (part.name, moved["c"], moved["d"]) == ("b", None, 4)


def test_what_is_on_the_cpu_is_not_copied() -> None:
    structure = _structure()
    assert to_cpu_at_once(structure) is structure


def test_one_transfer_brings_all_tensors(monkeypatch: pytest.MonkeyPatch) -> None:
    # a tensor on meta has no values; what is brought is put in its place by a stand-in
    numbers = iter([torch.arange(5.0)])
    monkeypatch.setattr(Tensor, "cpu", lambda self: next(numbers))
    structure: dict[str, Any] = {"a": torch.empty(2, device="meta"), "b": (torch.empty(3, 1, device="meta"), "word")}
    moved = to_cpu_at_once(structure)
    assert moved["a"].tolist() == [0, 1]
    assert moved["b"][0].tolist() == [[2], [3], [4]]
    assert moved["b"][1] == "word"


def test_a_cpu_gets_few_rows_at_once_and_an_accelerator_many(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = torch.zeros(ROWS_AT_ONCE + 1, 2)
    assert [len(piece) for piece in in_pieces(rows)] == [ROWS_AT_ONCE, 1]
    assert len(in_pieces(rows.to("meta"))) == 1
    monkeypatch.setattr(devices, "ACCELERATOR_NUMBERS", 20)
    assert [len(piece) for piece in in_pieces(torch.zeros(25, 2, device="meta"))] == [10, 10, 5]
    assert rows_on_accelerator(50) == 1
