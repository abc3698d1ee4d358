"""The timing of tasks in turn."""

from __future__ import annotations

from experiments.benchmarks import timing


def test_tasks_are_timed_in_turn_after_a_round_to_warm_up() -> None:
    calls: list[str] = []
    tasks = {"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}
    seconds = timing.interleaved(tasks, 3, wait=lambda: calls.append("."))
    assert "".join(calls) == "a.b." * 4
    assert [len(each) for each in seconds.values()] == [3, 3]
