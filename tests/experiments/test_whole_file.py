"""Files that are whole or not there."""

from pathlib import Path

import pytest

from experiments.whole_file import write_whole


def test_an_earlier_file_gives_way(tmp_path: Path) -> None:
    for text in ("one", "zwölf"):
        write_whole(tmp_path / "note.txt", text)
    assert (tmp_path / "note.txt").read_text(encoding="utf-8") == "zwölf"
    assert [path.name for path in tmp_path.iterdir()] == ["note.txt"]


def test_a_disk_that_fills_leaves_the_earlier_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_whole(tmp_path / "note.txt", "one")
    write_text = Path.write_text

    def half(path: Path, text: str, **options: str) -> None:
        write_text(path, text[:1], **options)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", half)
    with pytest.raises(OSError, match="No space left"):
        write_whole(tmp_path / "note.txt", "two")
    assert (tmp_path / "note.txt").read_text() == "one"
    assert [path.name for path in tmp_path.iterdir()] == ["note.txt"]
