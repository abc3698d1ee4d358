"""A share of wall time."""

import pytest

from ibtrack.tracking.budget import Budget


def test_what_was_spent_counts_and_the_last_time_is_expected_again(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("ibtrack.tracking.budget.time.monotonic", lambda: now[0])
    budget = Budget(0.1, picture=1.0)
    assert not budget.allows("picture", wall_time=10.0)
    assert budget.allows("picture", wall_time=10.1)
    with budget.spend("picture"):
        now[0] += 3.0
    assert (budget.spent, budget.expects("picture")) == (3.0, 3.0)
    assert not budget.allows("picture", wall_time=60.0)
    assert budget.allows("picture", wall_time=60.1)


def test_more_to_do_is_expected_to_take_longer_and_less_not_shorter() -> None:
    budget = Budget(0.1, table=1.0)
    assert budget.expects("table", size=1000) == 1.0
    budget.charge("table", 2.0, size=10)
    assert [budget.expects("table", size=size) for size in (1, 10, 100)] == [2.0, 2.0, 20.0]
    assert not budget.allows("table", wall_time=200.0, size=100)
    assert budget.allows("table", wall_time=200.0, size=10)


def test_what_was_spent_waiting_does_not_grow() -> None:
    budget = Budget(0.1, table=1.0)
    budget.charge("table", 20.0, size=10, growing=0.5)
    assert budget.expects("table", size=100) == 24.5


def test_what_fails_is_spent_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("ibtrack.tracking.budget.time.monotonic", lambda: now[0])
    budget = Budget(0.1, picture=1.0)

    def fail() -> None:
        with budget.spend("picture"):
            now[0] += 2.0
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert budget.spent == 2.0
