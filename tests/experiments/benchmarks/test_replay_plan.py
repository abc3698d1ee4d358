"""How long the plan of a replay takes."""

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
