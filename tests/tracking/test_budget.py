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
    assert (budget.spent, budget.expected) == (3.0, {"picture": 3.0})
    assert not budget.allows("picture", wall_time=60.0)
    assert budget.allows("picture", wall_time=60.1)


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
