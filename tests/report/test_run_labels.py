"""Short names that tell runs apart."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ibtrack.record.trajectory import Trajectory
from ibtrack.report.run_labels import run_labels
from tests import trajectories


def named(*names: str) -> list[Trajectory]:
    return [Trajectory({}, {"name": name}, []) for name in names]


def test_runs_of_one_name_get_their_folder_or_a_number(tmp_path: Path) -> None:
    runs = [trajectories.make("same", num_points=1) for _ in range(2)]
    folders = [trajectories.write(run, tmp_path / name) for run, name in zip(runs, ("a", "b"), strict=True)]
    assert run_labels([Trajectory.load(folder) for folder in folders]) == ["same (a)", "same (b)"]
    assert run_labels([*runs, *runs]) == ["same", "same (2)", "same (3)", "same (4)"]


@pytest.mark.parametrize(
    ("names", "labels"),
    [
        (["one run alone"], ["one run alone"]),
        (["tiny lr=1 s=0", "tiny lr=2 s=0"], ["lr=1", "lr=2"]),
        (["a", "a b"], ["a", "a b"]),  # no name is left without a word
        ([], []),
    ],
)
def test_words_that_all_names_share_at_an_end_are_left_out(names: list[str], labels: list[str]) -> None:
    assert run_labels(named(*names)) == labels


@given(st.lists(st.text(alphabet="ab (2)", max_size=8), max_size=6))
def test_no_two_runs_share_a_label(names: list[str]) -> None:
    labels = run_labels(named(*names))
    assert len(set(labels)) == len(names)
