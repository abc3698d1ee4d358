"""Rows of a dataset as texts: divided into shares, and gone on with from any place."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path

import pytest
from datasets import Dataset, IterableDataset, load_dataset

from experiments import hub_rows
from experiments.hub_rows import HubRows


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    for number in range(4):
        rows = [{"text": None if row == 3 else f"{number} {row}"} for row in range(20)]
        (tmp_path / f"{number}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return [str(tmp_path / f"{number}.jsonl") for number in range(4)]


def rows_of(files: list[str]) -> HubRows:
    def load() -> IterableDataset:
        return load_dataset("json", data_files=files, split="train", streaming=True)

    return HubRows(load, "text")


ALL = [f"{number} {row}" for number in range(4) for row in range(20) if row != 3]


def test_rows_without_a_text_are_left_out(files: list[str]) -> None:
    assert list(rows_of(files)) == ALL


@pytest.mark.parametrize("taken", [0, 1, 3, 4, 7, 30, 76])
def test_reading_goes_on_with_the_very_next_row(files: list[str], taken: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_rows, "BATCH", 7)
    rows = rows_of(files)
    assert list(islice(rows, taken)) == ALL[:taken]
    again = rows_of(files)
    again.load_state_dict(json.loads(json.dumps(rows.state_dict())))
    assert list(again) == ALL[taken:]
    assert list(again) == ALL, "the next time it begins anew"


def test_shares_are_files_of_their_own(files: list[str]) -> None:
    shares = [rows_of(files).sharded(2, index) for index in range(2)]
    texts = [list(share) for share in shares if share is not None]
    assert sorted(texts[0] + texts[1]) == sorted(ALL)
    assert {text[0] for text in texts[0]}.isdisjoint(text[0] for text in texts[1])
    assert rows_of(files).sharded(5, 0) is None, "there are four files"


def test_a_dataset_that_was_downloaded_can_be_divided_too() -> None:
    rows = HubRows(lambda: Dataset.from_dict({"text": ALL}), "text")
    shares = [rows.sharded(3, index) for index in range(3)]
    assert sorted(text for share in shares if share is not None for text in share) == sorted(ALL)
