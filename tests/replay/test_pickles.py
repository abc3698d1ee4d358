"""Files of ``torch.save`` are read without running code that is in them."""

from __future__ import annotations

import functools
import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from ibtrack.replay.errors import LoadingError
from ibtrack.replay.pickles import Unread, read_tensors, unread_in


class _Command:
    """An object whose pickle runs a command when it is read."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (self.command,)


class _Eval:
    def __init__(self, code: str) -> None:
        self.code = code

    def __reduce__(self) -> tuple[Any, ...]:
        return eval, (self.code,)


def test_tensors_and_plain_values_are_read_and_other_classes_are_not(tmp_path: Path) -> None:
    path = tmp_path / "a.ckpt"
    settings = {
        "rate": 0.1,
        "optimizer": functools.partial(torch.optim.AdamW, lr=1.0),
        "path": tmp_path,
        "gelu": nn.GELU,
    }
    torch.save({"state_dict": {"w": torch.arange(3.0)}, "hyper_parameters": settings, "type": torch.bfloat16}, path)
    content = read_tensors(path)
    assert content["state_dict"]["w"].tolist() == [0, 1, 2]
    assert content["type"] is torch.bfloat16
    found = content["hyper_parameters"]
    assert found["rate"] == 0.1
    assert {key: unread_in(value) for key, value in found.items()} == {
        "rate": None,
        "optimizer": "functools.partial",
        "path": "pathlib.PosixPath",
        "gelu": "torch.nn.modules.activation.GELU",
    }
    assert isinstance(found["optimizer"], Unread)
    assert unread_in([1, {"a": (found["path"],)}]) == "pathlib.PosixPath"
    assert unread_in({"a": [1, "text", None]}) is None


def test_classes_that_torch_was_told_are_safe_are_made(tmp_path: Path) -> None:
    path = tmp_path / "a.ckpt"
    torch.save({"state_dict": {}, "path": Path("x")}, path)
    with torch.serialization.safe_globals([type(Path("x"))]):
        assert read_tensors(path)["path"] == Path("x")


@pytest.mark.parametrize("kind", [_Command, _Eval])
def test_code_in_a_file_is_not_run(tmp_path: Path, kind: type) -> None:
    path, mark = tmp_path / "a.ckpt", tmp_path / "mark"
    code = f"touch {mark}" if kind is _Command else f"open({str(mark)!r}, 'w')"
    torch.save({"state_dict": {"w": torch.ones(1)}, "x": kind(code)}, path)
    try:
        content = read_tensors(path)
    except LoadingError as error:  # PyTorch refuses some modules whatever it is told
        assert "a.ckpt could be read only by running code that is in it, and is not loaded" in str(error)
        assert "weights_only" not in str(error)
    else:
        assert unread_in(content["x"]) is not None
    assert not mark.exists()


def test_a_file_of_old_format_is_read_too(tmp_path: Path) -> None:
    path = tmp_path / "old.ckpt"
    torch.save({"w": torch.arange(3.0)}, path, _use_new_zipfile_serialization=False)
    assert read_tensors(path)["w"].tolist() == [0, 1, 2]


@pytest.mark.parametrize("content", [b"", b"text", b"\x80\x02", pickle.dumps({"a": 1}), b"PK\x03\x04"])
def test_what_torch_did_not_write_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.ckpt"
    path.write_bytes(content)
    with pytest.raises(LoadingError, match=r"a\.ckpt is damaged, or was not written by torch\.save"):
        read_tensors(path)


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.ckpt"
    torch.save({"w": torch.arange(3000.0)}, path)
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(LoadingError, match=r"a\.ckpt is damaged, or was not written by torch\.save"):
        read_tensors(path)
