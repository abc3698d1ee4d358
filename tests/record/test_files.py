"""Which files below a folder are trajectories, and the words for one that cannot be read."""

from __future__ import annotations

from pathlib import Path

from ibtrack.record.files import named_so, trajectory_files, why_not_read


def test_files_are_found_however_deep_and_earlier_starts_are_left_out(tmp_path: Path) -> None:
    for name in ("b/trajectory.jsonl", "a/deep/trajectory_code.jsonl", "a/trajectory.1.jsonl", "a/events.jsonl"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = [str(path.relative_to(tmp_path)) for path in trajectory_files(tmp_path)]
    assert found == ["a/deep/trajectory_code.jsonl", "b/trajectory.jsonl"]
    assert trajectory_files(tmp_path / "none") == []
    assert named_so([Path("trajectory.jsonl"), Path("trajectory_a.2.jsonl")]) == [Path("trajectory.jsonl")]


def test_why_a_file_cannot_be_read(tmp_path: Path) -> None:
    reasons = []
    for error in (
        FileNotFoundError(2, "No such file or directory", "a.jsonl"),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
        KeyError("protocol"),
        ValueError("a.jsonl, line 2 is damaged"),
    ):
        reasons.append(why_not_read(error))
    assert reasons == [
        "a.jsonl cannot be used: No such file or directory",
        "not a trajectory file: it is not text",
        "the file is damaged: 'protocol' is missing",
        "a.jsonl, line 2 is damaged",
    ]
