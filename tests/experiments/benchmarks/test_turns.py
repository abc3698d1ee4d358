"""Two loops in turns: which steps are timed, and by which clock."""

from __future__ import annotations

from experiments.benchmarks.turns import Turns


def test_turns_are_timed_by_the_clock_without_the_first() -> None:
    now, waited = [0.0], [0]

    def other() -> None:
        now[0] += 10

    def wait() -> None:
        waited[0] += 1

    turns = Turns(other, turn=2, wait=wait, clock=lambda: now[0])
    for _ in range(7):
        now[0] += 1
        turns.step_ended()
    assert (turns.seconds, turns.others) == ([2, 2], [20, 20])
    assert waited[0] == 6, "before and after each turn of the other loop"
