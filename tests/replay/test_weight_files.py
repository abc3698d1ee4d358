"""The files of a folder in Hugging Face format, looked at without loading them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ibtrack.replay.weight_files import files_of_model, json_object
from tests.replay.saved import llama, save


def _names(folder: Path) -> list[str]:
    return [file.path for file in files_of_model(folder).files]


def test_whole_folders_have_no_problems(tmp_path: Path) -> None:
    single, several = save(llama(), tmp_path / "single"), save(llama(), tmp_path / "several", max_shard_size="8KB")
    (single / "optimizer.pt").write_bytes(b"not needed")
    assert files_of_model(single).problems == files_of_model(several).problems == ()
    assert _names(single) == ["config.json", "generation_config.json", "model.safetensors"]
    assert "model.safetensors.index.json" in _names(several)
    assert len(_names(several)) > 4
    assert sum(file.size for file in files_of_model(single).files) == sum(
        (single / name).stat().st_size for name in _names(single)
    )


@pytest.mark.parametrize("cut", [4, 200, -1])
def test_a_truncated_file_is_found_without_loading_it(tmp_path: Path, cut: int) -> None:
    folder = save(llama(), tmp_path)
    path = folder / "model.safetensors"
    content = path.read_bytes()
    path.write_bytes(content[:cut])
    (problem,) = files_of_model(folder).problems
    assert problem.startswith("its model.safetensors is damaged: ")
    if cut == -1:
        assert problem.endswith(f"it has {len(content) - 1:,} bytes, and {len(content):,} by its header")


@pytest.mark.parametrize(
    "header", [b"[]", b"{", b'{"w": {"data_offsets": [0]}}', b'{"w": 3}', b'{"__metadata__": {}}', b"{" * 100_000]
)
def test_a_header_that_is_none_is_a_problem(tmp_path: Path, header: bytes) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
    assert files_of_model(tmp_path).problems == ("its model.safetensors is damaged: the header cannot be read",)


def test_a_shard_that_is_not_there_is_named(tmp_path: Path) -> None:
    folder = save(llama(), tmp_path, max_shard_size="8KB")
    index = json.loads((folder / "model.safetensors.index.json").read_text())
    shards = sorted(set(index["weight_map"].values()))
    (folder / shards[-1]).unlink()
    assert any(
        problem == f"of the {len(shards)} files that its model.safetensors.index.json names it lacks {shards[-1]}"
        for problem in files_of_model(folder).problems
    )
    for shard in shards[:-1]:
        (folder / shard).unlink()
    assert files_of_model(folder).problems[0].startswith("it has no weights")


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"weight_map": {"w": "../../secret"}}', '{"weight_map": {"w": 1}}'])
def test_an_index_that_is_none_is_a_problem(tmp_path: Path, text: str) -> None:
    folder = save(llama(), tmp_path, max_shard_size="8KB")
    (folder / "model.safetensors.index.json").write_text(text)
    assert "it does not say which file each weight is in" in files_of_model(folder).problems[0]


def test_json_is_read_or_is_none(tmp_path: Path) -> None:
    (tmp_path / "good").write_text('{"a": 1}')
    (tmp_path / "bad").write_bytes(b"\xff{")
    assert json_object(tmp_path / "good") == {"a": 1}
    assert json_object(tmp_path / "bad") is None
    assert json_object(tmp_path / "nothing") is None
