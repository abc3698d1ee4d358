"""Documents from files, folders and data sets."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import datasets
import pytest

from ibtrack.replay.documents import check_there, documents, preference_rows


def test_blank_lines_part_the_documents_of_a_text_file(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("\n\none\nstill one\n \n\ntwo\n\n\n\nthree")
    assert documents(tmp_path / "a.txt") == ["one\nstill one", "two", "three"]


def test_files_of_a_folder_are_whole_documents(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one\n\nstill one")
    (tmp_path / "b.jsonl").write_text('{"body": "two"}\n')
    assert documents(tmp_path, column="body") == ["one\n\nstill one", "two"]


def test_a_data_set_is_streamed_in_an_order_of_the_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def load(name: str, subset: str | None, *, split: str, streaming: bool) -> datasets.IterableDataset:
        asked.append((name, subset, split, streaming))

        def rows() -> Iterator[dict[str, str]]:
            yield from ({"text": f"document {index}"} for index in range(50))

        return datasets.IterableDataset.from_generator(rows)

    monkeypatch.setattr(datasets, "load_dataset", load)
    found = [list(documents("allenai/c4", subset="en", seed=seed)) for seed in (0, 0, 1)]
    assert asked == [("allenai/c4", "en", "validation", True)] * 3
    assert found[0] == found[1] != found[2]
    assert sorted(found[0]) == sorted(found[2]) == sorted(f"document {index}" for index in range(50))


def test_what_is_neither_here_nor_at_the_hub_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(*arguments: Any, **options: Any) -> Any:
        raise ConnectionError("no route")

    monkeypatch.setattr(datasets, "load_dataset", load)
    with pytest.raises(
        ValueError, match=r"there is no texts.png here, and the hub does not give it .ConnectionError: no"
    ):
        documents("texts.png")


def test_pairs_come_from_files_or_from_a_data_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pairs.jsonl").write_text('{"chosen": "yes", "rejected": "no"}\n')
    assert preference_rows(tmp_path / "pairs.jsonl") == [{"chosen": "yes", "rejected": "no"}]
    asked: list[Any] = []

    def load(*arguments: Any, **options: Any) -> str:
        asked.append((arguments, options))
        return "rows"

    monkeypatch.setattr(datasets, "load_dataset", load)
    assert preference_rows("owner/pairs", subset="en") == "rows"
    assert asked == [(("owner/pairs", "en"), {"split": "train", "streaming": True})]


@pytest.mark.parametrize("name", ["none.jsonl", "a/none.TXT", "none.parquet"])
def test_a_file_that_is_not_there_is_not_asked_of_a_hub(name: str) -> None:
    with pytest.raises(FileNotFoundError, match=f"there is no file {name} to cut a probe from"):
        documents(name)


def test_names_of_data_sets_and_files_that_are_there_may_be_asked_for(tmp_path: Path) -> None:
    (tmp_path / "there.txt").write_text("text")
    for name in ("owner/set", "wikitext", tmp_path / "there.txt", tmp_path):
        check_there(name)
