from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from huggingface_hub import constants
from huggingface_hub.utils import (  # type: ignore[attr-defined]  # it has no __all__
    are_progress_bars_disabled,
    disable_progress_bars,
    enable_progress_bars,
)

from ibtrack.replay.checkpoint import File
from ibtrack.replay.hub_download import quiet, what_differs

CONTENT = b"weights"


def test_a_file_is_compared_by_size_then_by_hash(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(CONTENT)
    sha256, git = hashlib.sha256(CONTENT).hexdigest(), hashlib.sha1(b"blob 7\0" + CONTENT).hexdigest()
    assert what_differs(path, File("a", 7, sha256)) is None
    assert what_differs(path, File("a", 7, f"git:{git}")) is None
    assert what_differs(path, File("a", 7)) is None
    assert what_differs(path, File("a", 9000, sha256)) == "has 7 bytes, and the hub lists 9,000"
    assert what_differs(path, File("a", 7, "0" * 64)) == "is not the file that the hub lists, by its hash"
    assert what_differs(path, File("a", 7, f"git:{'0' * 40}")) == "is not the file that the hub lists, by its hash"


def test_no_bars_are_drawn_inside_and_afterwards_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_PROGRESS_BARS", None)
    enable_progress_bars()
    with quiet():
        assert are_progress_bars_disabled()
    assert not are_progress_bars_disabled()
    disable_progress_bars()
    with quiet():
        pass
    assert are_progress_bars_disabled()
    enable_progress_bars()


def test_what_the_user_has_set_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_PROGRESS_BARS", False)
    with quiet():
        assert not are_progress_bars_disabled()
