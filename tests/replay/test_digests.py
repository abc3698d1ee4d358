"""Digests of files of weights."""

from __future__ import annotations

from pathlib import Path
from unittest.mock import patch

import pytest
import torch

from ibtrack.replay import digests as module
from ibtrack.replay.digests import CHECKSUMS, PIECE, PIECES, SAMPLED, digests


def _files(folder: Path, **contents: bytes) -> dict[str, Path]:
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return {name: folder / name for name in contents}


def test_a_small_file_has_its_sha256(tmp_path: Path) -> None:
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    found = digests(_files(tmp_path, a=b"", b=b"x", c=b"x"))
    assert found["a"] == empty
    assert found["b"] == found["c"] != empty


def test_large_files_are_read_as_a_whole_only_where_their_pieces_agree(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "READ_WHOLE", 1 << 10)
    size = 4 * PIECES * PIECE
    base = bytes(size)
    hidden = bytearray(base)
    hidden[PIECE + 100] = 1  # between the first piece and the second
    other = bytearray(base)
    other[-1] = 1
    paths = _files(tmp_path, one=base, copy=base, hidden=bytes(hidden), other=bytes(other))
    with patch.object(module, "_whole", wraps=module._whole) as whole:
        found = digests(paths)
    assert [call.args[0].name for call in whole.call_args_list] == ["one", "copy", "hidden"]
    assert found["one"] == found["copy"] != found["hidden"]
    assert found["other"].startswith(SAMPLED)
    assert len(set(found.values())) == 3


def test_the_pieces_of_a_file_reach_from_end_to_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "READ_WHOLE", 1 << 10)
    size = PIECES * PIECE + 12345
    different = {"none": bytes(size)}
    for name, place in (("first", 0), ("last", size - 1)):
        content = bytearray(size)
        content[place] = 1
        different[name] = bytes(content)
    found = digests(_files(tmp_path, **different))
    assert all(digest.startswith(SAMPLED) for digest in found.values())
    assert len(set(found.values())) == 3


def test_tensors_are_told_by_their_checksums_whatever_is_saved_beside_them(tmp_path: Path) -> None:
    weights = {"w": torch.arange(1000.0)}
    paths = {name: tmp_path / name for name in ("step-1.ckpt", "last.ckpt", "step-2.ckpt")}
    torch.save({"global_step": 1, "state_dict": weights}, paths["step-1.ckpt"])
    torch.save({"global_step": 1, "state_dict": weights, "name": "a copy"}, paths["last.ckpt"])
    torch.save({"global_step": 2, "state_dict": {"w": weights["w"] + 1}}, paths["step-2.ckpt"])
    found = digests(paths)
    assert found["step-1.ckpt"] == found["last.ckpt"] != found["step-2.ckpt"]
    assert all(digest.startswith(CHECKSUMS) for digest in found.values())


def test_files_without_checksums_are_told_by_their_bytes(tmp_path: Path) -> None:
    paths = {name: tmp_path / name for name in ("one.bin", "two.bin")}
    torch.serialization.set_crc32_options(False)
    try:
        for number, path in enumerate(paths.values()):
            torch.save({"w": torch.full((10,), float(number))}, path)
    finally:
        torch.serialization.set_crc32_options(True)
    one, two = digests(paths).values()
    assert one != two
    assert len(one) == len(two) == 64


def test_a_damaged_archive_has_a_digest_too(tmp_path: Path) -> None:
    path = tmp_path / "whole.ckpt"
    torch.save({"w": torch.arange(1000.0)}, path)
    content = path.read_bytes()
    at = content.rindex(b"PK\x01\x02")  # an entry of the table of contents
    path.write_bytes(content[:at] + b"XX" + content[at + 2 :])
    (digest,) = digests({"a": path}).values()
    assert len(digest) == 64
