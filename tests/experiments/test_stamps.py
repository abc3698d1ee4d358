"""Stamps of sources: equal where the text is, different where it may differ."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

import pytest

from experiments import documents, parts
from experiments.stamps import source_files, source_name, stamp


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "a.txt").write_text("one")
    (tmp_path / "b.txt").write_text("two")
    return tmp_path


def test_files_are_known_by_path_size_and_time(folder: Path) -> None:
    source = partial(documents.local, files=f"{folder}/*.txt")
    before = stamp(source)
    assert stamp(partial(documents.local, files=[f"{folder}/a.txt", f"{folder}/b.txt"])) == before
    assert stamp(partial(documents.local, files=f"{folder}/*.txt", sample_by="line")) != before
    assert source_files(source) == [folder / "a.txt", folder / "b.txt"]
    os.utime(folder / "a.txt", ns=(1, 1))
    touched = stamp(source)
    (folder / "c.txt").write_text("three")
    assert len({str(each) for each in (before, touched, stamp(source))}) == 3


def test_a_standard_library_is_known_by_its_files(tmp_path: Path) -> None:
    (tmp_path / "ast.py").write_text("1")
    before = stamp(partial(documents.stdlib, str(tmp_path)))
    assert before == stamp(partial(documents.stdlib, folder=str(tmp_path)))
    (tmp_path / "ast.py").write_text("12")
    assert stamp(partial(documents.stdlib, str(tmp_path))) != before


def test_a_dataset_of_the_hub_is_known_by_what_is_asked_for_and_never_read() -> None:
    c4 = partial(documents.hub, path="allenai/c4", name="en")
    assert stamp(c4) == stamp(partial(documents.hub, name="en", path="allenai/c4", streaming=False))
    assert stamp(c4) != stamp(partial(documents.hub, path="allenai/c4", name="en", revision="abc"))
    assert stamp(partial(documents.wikitext, path="a/b")) != stamp(partial(documents.hub, path="a/b"))
    assert source_files(c4) is None


def test_other_sources_are_read_in_any_order(folder: Path) -> None:
    rows = partial(documents.hub, "text", data_files=f"{folder}/*.txt")
    assert list(stamp(rows)) == ["read"]
    assert stamp(lambda: ["one", "two"]) == stamp(lambda: ["two", "one"]) == stamp(rows)
    assert stamp(lambda: ["one", "two"], read=lambda: ["one"]) == stamp(lambda: ["one"])


def test_a_part_is_known_by_its_function_and_its_code(monkeypatch: pytest.MonkeyPatch) -> None:
    source = partial(documents.stdlib)
    assert stamp(source, parts.code) == stamp(source, partial(parts.code)) != stamp(source, parts.prose)
    assert stamp(source) != stamp(source, parts.code)
    before = stamp(source, parts.code)
    monkeypatch.setattr("experiments.stamps.inspect.getsource", lambda module: "another version")
    assert stamp(source, parts.code) != before


def test_a_part_that_is_made_at_run_time_is_tried_on_the_documents() -> None:
    texts = lambda: ["one", "two"]  # noqa: E731
    assert stamp(texts, lambda text: text[:1]) == stamp(texts, lambda text: text[0]) != stamp(texts, str.upper)
    assert list(stamp(texts, str.upper)) == ["read"]


def test_a_source_is_named_as_it_is_called() -> None:
    assert source_name(partial(documents.local, "a.txt", column="body")) == "local('a.txt', column='body')"
