"""Sources of documents, where they stop, and how they are split."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hydra.utils import instantiate

from experiments import documents
from tests.experiments.stories import STORIES
from tests.runs import config


def test_stdlib_reads_sources_and_skips_tests_and_packages(tmp_path: Path) -> None:
    for name in ("ast.py", "json/decoder.py", "test/test_ast.py", "site-packages/torch.py", "json/notes.txt"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(name)
    (tmp_path / "latin.py").write_bytes(b"# caf\xe9")
    assert list(documents.stdlib(str(tmp_path))) == ["ast.py", "json/decoder.py", "# caf�"]


def test_stdlib_finds_the_sources_of_this_interpreter() -> None:
    texts = list(documents.stdlib())
    assert sum(map(len, texts)) > 5_000_000
    assert any("class JSONDecoder" in text for text in texts)


def test_stdlib_says_that_there_are_no_sources(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="must hold the sources of Python's standard library"):
        list(documents.stdlib(str(tmp_path)))


def test_local_takes_a_text_file_as_one_document(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "a.txt").write_text("first line\n\nsecond line\n")
    (tmp_path / "deep" / "b.txt").write_text("another")
    assert list(documents.local(f"{tmp_path}/**/*.txt")) == ["first line\n\nsecond line\n", "another"]
    (tmp_path / "c.md").write_text("# a note")
    assert list(documents.local(f"{tmp_path}/*.md", format="text")) == ["# a note"]


def test_local_takes_a_row_as_one_document_in_several_formats_at_once(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"body": "one"}\n{"body": "two"}\n')
    (tmp_path / "b.json").write_text(json.dumps([{"body": "three"}]))
    pq.write_table(pa.table({"body": ["four"], "id": [4]}), tmp_path / "c.parquet")
    patterns = [f"{tmp_path}/*.json*", f"{tmp_path}/c.parquet", f"{tmp_path}/a.jsonl"]
    assert list(documents.local(patterns, column="body")) == ["one", "two", "three", "four"]


def test_local_says_that_nothing_matches(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"files must match at least one file, got '.*/\*.txt'"):
        list(documents.local(f"{tmp_path}/*.txt"))


def test_local_says_which_endings_it_knows(tmp_path: Path) -> None:
    (tmp_path / "a.docx").write_text("")
    with pytest.raises(ValueError, match=r"files must end in .txt, .json, .jsonl, .parquet, or format must say"):
        list(documents.local(f"{tmp_path}/a.docx"))


def test_a_text_file_can_be_many_documents(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one\ntwo\n\nthree\n")
    assert list(documents.local(f"{tmp_path}/a.txt", sample_by="line")) == ["one", "two", "", "three"]
    assert list(documents.local(f"{tmp_path}/a.txt", sample_by="paragraph")) == ["one\ntwo", "three\n"]
    with pytest.raises(ValueError, match="sample_by must be one of document, paragraph, line, got 'page'"):
        list(documents.local(f"{tmp_path}/a.txt", sample_by="page"))


def test_an_unknown_column_is_answered_with_those_there_are(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"body": "one", "id": 1}\n')
    with pytest.raises(ValueError, match="column must be one of 'body', 'id', got 'text'"):
        list(documents.local(f"{tmp_path}/a.jsonl"))


def test_a_column_without_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"id": 1}\n')
    with pytest.raises(TypeError, match="column 'id' must hold text, got int64"):
        list(documents.local(f"{tmp_path}/a.jsonl", column="id"))


def wikitext_lines(number: int, story: str) -> list[str]:
    return ["", f" = Story {number} = \n", "", f" {story} \n", "", " = = Reception = = \n", "", " It sold . \n"]


HUB_ROWS = {
    "tinystories": [{"text": story} for story in STORIES],
    "c4": [{"text": story, "timestamp": "2019-04-25T12:57:54", "url": "http://example.org"} for story in STORIES],
    "wikitext": [{"text": line} for number, story in enumerate(STORIES) for line in wikitext_lines(number, story)],
}


@pytest.mark.parametrize("source", HUB_ROWS)
@pytest.mark.parametrize("builder", ["json", "parquet"])
def test_sources_of_the_hub_read_files_of_the_same_columns(source: str, builder: str, tmp_path: Path) -> None:
    path = tmp_path / "rows"
    pq.write_table(pa.Table.from_pylist(HUB_ROWS[source]), path)
    if builder == "json":
        path.write_text("\n".join(map(json.dumps, HUB_ROWS[source])))
    files = [f"data.documents.path={builder}", "++data.documents.name=null", f"+data.documents.data_files={path}"]
    data = instantiate(config(f"data={source}", *files).data)
    texts = list(data.documents())
    assert len(texts) == len(STORIES)
    assert all(story in text for story, text in zip(STORIES, texts, strict=True))


def test_an_article_ends_where_the_next_title_follows_an_empty_line() -> None:
    lines = [" = A = \n", "", " text \n", " = not a title = \n", "", " = = Section = = \n", "", " = B = \n", " more \n"]
    assert list(documents.articles(lines)) == ["".join(lines[:7]), "".join(lines[7:])]


def test_a_hub_out_of_reach_is_said_with_what_works_without(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*args: object, **settings: object) -> None:
        raise ConnectionError("Couldn't reach the Hub")

    monkeypatch.setattr(documents, "load_dataset", unreachable)
    with pytest.raises(ConnectionError, match=r"'a/b' must be reachable .* data=stdlib and data=local need no network"):
        list(documents.hub("a/b"))


def test_bounds_stop_the_reading() -> None:
    read: list[int] = []

    def endless() -> Iterator[str]:
        while True:
            read.append(1)
            yield "0123456789"

    assert len(list(documents.bounded(endless(), max_documents=3))) == 3 == len(read)
    assert len(list(documents.bounded(endless(), max_bytes=35))) == 4
