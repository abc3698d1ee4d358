"""Documents and rows of a probe, read from files."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from ibtrack.replay.text_files import read_rows, read_texts

ROWS = [{"text": "one", "n": 1}, {"text": "two", "n": 2}]


def test_documents_are_read_from_files_of_each_kind_in_order(tmp_path: Path) -> None:
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "b.txt").write_text("the second\nwith two lines")
    (tmp_path / "texts" / "a.md").write_text("the first")
    (tmp_path / "texts" / "c.bin").write_bytes(b"\xff")
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, ROWS)) + "\n\n")
    (tmp_path / "rows.json").write_text(json.dumps(ROWS[:1]))
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(ROWS[1:]), tmp_path / "rows.parquet")
    paths = [tmp_path / name for name in ("texts", "rows.jsonl", "rows.json", "rows.parquet")]
    assert read_texts(paths) == ["the first", "the second\nwith two lines", "one", "two", "one", "two"]
    assert read_rows(paths[1:]) == [*ROWS, ROWS[0], ROWS[1]]


def test_the_text_can_be_in_another_column(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"content": "a"}\n')
    assert read_texts([path], "content") == ["a"]
    with pytest.raises(ValueError, match=r"rows\.jsonl, row 1 must have a text in the column 'text'; it has 'content'"):
        read_texts([path])


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("a.csv", b"text\n", r"files of a probe must end in \.txt, \.md, \.jsonl, .*; \S+ ends in '\.csv'"),
        ("a.txt", b"\xff\xfe\xff", r"a\.txt is no text in UTF-8"),
        ("a.jsonl", b"{]\n", r"a\.jsonl is not JSON with an object in each row"),
        ("a.jsonl", b"3\n", r"a\.jsonl is not JSON with an object in each row: Expected `object`, got `int`"),
        ("a.json", b"{}", r"a\.json is not JSON with an object in each row: Expected `array`"),
        ("a.parquet", b"no", r"a\.parquet is not a Parquet file"),
        ("a.jsonl", b"{}\n", r"row 1 must have a text in the column 'text'; it has none"),
    ],
)
def test_what_is_no_text_is_refused(tmp_path: Path, name: str, content: bytes, sentence: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ValueError, match=sentence):
        read_texts([path])


def test_a_folder_without_texts_and_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"files of a probe must end in \.jsonl, \.json, \.parquet; \S+ holds none"):
        read_rows([tmp_path])
    with pytest.raises(FileNotFoundError, match=r"there is no file or folder \S+none\.txt"):
        read_texts([tmp_path / "none.txt"])
