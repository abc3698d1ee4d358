"""Token ids on disk: their width, what is written, and which parts are read."""

from __future__ import annotations

import hashlib
import pickle
from pathlib import Path

import numpy as np
import pytest

from experiments import token_file
from experiments.token_file import TokenFile, id_type, write_tokens

IDS = np.arange(0, 70_000, 7)


def written(folder: Path, vocab_size: int = 70_000) -> TokenFile:
    number, digest = write_tokens(folder / "a.bin", [IDS[:5], IDS[5:5], IDS[5:]], id_type(vocab_size))
    assert digest == hashlib.sha256((folder / "a.bin").read_bytes()).hexdigest()
    return TokenFile(folder / "a.bin", id_type(vocab_size), number)


def test_ids_take_two_bytes_where_all_fit(tmp_path: Path) -> None:
    row = written(tmp_path)
    assert (row.path.stat().st_size, row.size, row.dtype) == (4 * len(IDS), len(IDS), np.dtype("<u4"))
    number, _ = write_tokens(tmp_path / "b.bin", [IDS[IDS < 1 << 16]], id_type(1 << 16))
    assert (tmp_path / "b.bin").stat().st_size == 2 * number


def test_parts_are_those_of_the_array(tmp_path: Path) -> None:
    row = written(tmp_path)
    for part in (slice(3, 9), slice(None), slice(-4, None), slice(9990, 20_000), slice(9, 3), slice(5, 5)):
        assert row[part].tolist() == IDS[part].tolist()
    assert row.head(4)[:].tolist() == IDS[:4].tolist()
    assert len(row.head(1 << 40)) == len(IDS)


def test_a_system_may_read_less_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = token_file.os.pread  # type: ignore[attr-defined]
    monkeypatch.setattr(token_file.os, "pread", lambda file, size, start: read(file, min(size, 10), start))  # type: ignore[attr-defined]
    assert written(tmp_path)[2:40].tolist() == IDS[2:40].tolist()


def test_a_row_opens_its_file_anew_in_another_process(tmp_path: Path) -> None:
    row = written(tmp_path)
    assert row[:2].tolist() == [0, 7]
    sent = pickle.dumps(row)
    assert len(sent) < 1000
    assert pickle.loads(sent)[:3].tolist() == [0, 7, 14]


def test_a_file_of_another_size_is_refused(tmp_path: Path) -> None:
    row = written(tmp_path)
    with pytest.raises(ValueError, match="must have 9 ids of 4 bytes, got 40000 bytes"):
        TokenFile(row.path, "<u4", 9)


def test_a_file_that_shrinks_is_noticed(tmp_path: Path) -> None:
    row = written(tmp_path)
    with row.path.open("r+b") as file:
        file.truncate(8)
    with pytest.raises(ValueError, match="must not change while it is read, got 8 bytes of 40"):
        row[:10]


def test_every_second_token_is_no_part(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="must have all tokens between two places, got every 2th"):
        written(tmp_path)[::2]
