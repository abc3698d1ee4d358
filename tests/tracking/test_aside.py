"""Work beside the training."""

import subprocess
import sys
import threading

from ibtrack.tracking.aside import Aside


def test_work_is_done_in_turn_and_nobody_waits_for_it() -> None:
    aside, gate = Aside(), threading.Event()
    done: list[int] = []

    def first() -> None:
        gate.wait(300)
        done.append(1)

    aside.start(first)
    aside.start(lambda: done.append(2))
    assert aside.busy
    assert not aside.wait(0.0)
    assert (done, aside.outcomes()) == ([], [])
    gate.set()
    assert aside.wait(300)
    assert done == [1, 2]
    assert [outcome.error for outcome in aside.outcomes()] == [None, None]
    assert aside.outcomes() == []


def test_what_fails_is_told_and_the_rest_is_done() -> None:
    aside = Aside()
    done: list[int] = []
    aside.start(lambda: print(1 / 0))
    aside.start(lambda: done.append(2))
    assert aside.wait(300)
    first, second = aside.outcomes()
    assert isinstance(first.error, ZeroDivisionError)
    assert (second.error, done) == (None, [2])


def test_waiting_is_no_work() -> None:
    aside, gate = Aside(), threading.Event()
    aside.start(lambda: print(gate.wait(0.5)))
    assert aside.wait(300)
    (outcome,) = aside.outcomes()
    assert outcome.seconds >= 0.5
    assert outcome.working < outcome.seconds


def test_python_ends_though_work_does_not() -> None:
    code = "import threading; from ibtrack.tracking.aside import Aside; Aside().start(threading.Event().wait)"
    assert subprocess.run([sys.executable, "-c", code], timeout=300, check=False).returncode == 0


def test_no_work_is_no_waiting() -> None:
    assert Aside().wait(0.0)
    assert not Aside().busy
