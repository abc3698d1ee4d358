"""How long the plan of a replay takes."""

from pathlib import Path

import pytest

from experiments.benchmarks import replay_plan


def test_a_plan_asks_once_for_each_revision_and_finds_nothing_wrong() -> None:
    row = replay_plan.measure(30, 0.02)
    assert row["requests"] == 30 + 3  # access, refs and one index for all
    assert row["at_once"] > 2
    assert row["faulty"] == 0
    figure = replay_plan._figure(row, 30, 0.02)
    assert figure.name == "plan for 30 revisions, a hub that answers in 20 ms"
    assert (figure.bound, figure.note) == (30.0, "1.10 requests a revision")


def test_a_checkpoint_is_of_real_size() -> None:
    sizes = [content.size for content in replay_plan.checkpoint(1).values() if not isinstance(content, bytes)]
    assert sum(sizes) == 29_220_000_000


def test_the_figure_is_shown_and_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    replay_plan.main(5, 0.0, tmp_path / "plan.json")
    assert "5 revisions of 6 shards of 4.87 GB each, none of which is downloaded; 8 requests" in capsys.readouterr().out
    assert '"delay": 0.0' in (tmp_path / "plan.json").read_text()
