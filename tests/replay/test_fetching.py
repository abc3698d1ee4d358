"""The cache of two checkpoints, tries after errors, and work that is done one ahead."""

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from ibtrack.replay.checkpoint import Checkpoint, File
from ibtrack.replay.fetching import Cache, FetchError, Outcome, fetch_again, one_ahead
from ibtrack.replay.hub_errors import HubError

SERIES = [
    Checkpoint(f"step{n}", "owner/name", n, commit="0" * 40, files=(File("model.safetensors", 100 * n),))
    for n in range(1, 6)
]


def fill(cache: Cache, checkpoint: Checkpoint) -> Path:
    place = cache.place(checkpoint)
    place.mkdir(parents=True)
    (place / "model.safetensors").write_bytes(b"weights")
    return place


def test_checkpoints_of_one_name_have_places_of_their_own(tmp_path: Path) -> None:
    cache = Cache(tmp_path, SERIES)
    others = [
        Checkpoint("step1", "owner/other", 1, commit="0" * 40),
        Checkpoint("step1", "owner/name", 1, commit="0" * 8 + "1" * 32),
        Checkpoint("step1", "owner/name", 1, folder="a", commit="0" * 40),
        Checkpoint("../../step1", "owner/name", 1),
        Checkpoint("s" * 400, "owner/name", 1),
        Checkpoint("\ud800", "owner/name", 1),
    ]
    places = [cache.place(each) for each in (SERIES[0], *others)]
    assert len(set(places)) == len(places)
    assert all(place.parent == tmp_path and len(place.name) < 200 for place in places)


def test_what_has_been_measured_is_dropped_unless_it_is_kept(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "a", SERIES)
    place = fill(cache, SERIES[0])
    assert cache.holds(place / "model.safetensors")
    assert not cache.holds(tmp_path / "runs" / "checkpoint-1")
    cache.drop(SERIES[0])
    assert not place.exists()
    cache.drop(SERIES[0])  # again, as after a kill
    cache.close()
    assert not (tmp_path / "a").exists()
    keeping = Cache(tmp_path / "b", SERIES, keep=True)
    place = fill(keeping, SERIES[0])
    keeping.drop(SERIES[0])
    keeping.sweep(SERIES[1:3])
    keeping.close()
    assert place.exists()


def test_leftovers_that_are_not_next_are_removed_and_nothing_else_is(tmp_path: Path) -> None:
    cache = Cache(tmp_path, SERIES)
    places = [fill(cache, each) for each in SERIES[:4]]
    (tmp_path / "mine").mkdir()
    cache.sweep(SERIES[2:4])
    assert [place.exists() for place in places] == [False, False, True, True]
    assert (tmp_path / "mine").exists()
    cache.close()
    assert tmp_path.exists(), "it is not empty"


def test_the_disk_must_hold_two_neighbours_or_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free = 0

    class Usage:
        @property
        def free(self) -> int:
            return free

    monkeypatch.setattr("shutil.disk_usage", lambda path: Usage())
    cache, keeping = Cache(tmp_path / "new", SERIES), Cache(tmp_path / "new", SERIES, keep=True)
    assert cache.bytes_needed(SERIES) == 900
    assert keeping.bytes_needed(SERIES) == 1500
    assert cache.bytes_needed(SERIES[4:]) == 500
    assert cache.bytes_needed([]) == 0
    free = 900
    cache.check_room(SERIES)
    with pytest.raises(OSError, match=r"has 900 B free, and all checkpoints need 1\.5 kB; name a folder"):
        keeping.check_room(SERIES)
    free = 899
    with pytest.raises(OSError, match="two checkpoints at a time need 900 B"):
        cache.check_room(SERIES)
    assert not (tmp_path / "new").exists()
    local = [Checkpoint(f"checkpoint-{n}", "runs/a", n, files=(File("a", 1 << 60),)) for n in (1, 2)]
    Cache(tmp_path, local).check_room(local)  # they are here already


class Flaky:
    """Fails so many times, then brings the checkpoint."""

    def __init__(self, *errors: Exception) -> None:
        self.errors, self.calls = list(errors), 0

    def __call__(self, checkpoint: Checkpoint, folder: Path) -> Path:
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return folder


class Clock(threading.Event):
    """Notes how long it was to wait for a stop, and waits no longer."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[float] = []

    def wait(self, timeout: float | None = None) -> bool:
        self.waits.append(timeout or 0.0)
        return self.is_set()


def fetch(flaky: Flaky, retries: int = 3) -> tuple[Path, list[float], list[str]]:
    clock, lines = Clock(), list[str]()
    path = fetch_again(flaky, SERIES[0], Path("a"), retries=retries, stop=clock, say=lines.append)
    return path, clock.waits, lines


def test_errors_that_pass_are_tried_again_after_longer_and_longer_waits() -> None:
    path, waits, lines = fetch(Flaky(ConnectionError("reset"), TimeoutError("late"), ConnectionError("reset")))
    assert path == Path("a")
    assert waits == [1, 2, 4]
    assert lines[0] == "ibtrack: step1@00000000 could not be fetched (ConnectionError: reset); again in 1 s"
    _, waits, _ = fetch(Flaky(*[ConnectionError("reset")] * 8), retries=8)
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60]


def test_errors_that_stay_end_the_tries() -> None:
    with pytest.raises(FetchError, match="it could not be fetched after 4 tries: ConnectionError: reset") as caught:
        fetch(Flaky(*[ConnectionError("reset")] * 9))
    assert caught.value.passes
    once = Flaky(FileNotFoundError("no such file"))
    with pytest.raises(FetchError, match="it could not be fetched: FileNotFoundError: no such file") as caught:
        fetch(once)
    assert not caught.value.passes
    assert once.calls == 1
    with pytest.raises(FetchError, match="it could not be fetched: it is gated"):
        fetch(Flaky(HubError("it is gated")))
    with pytest.raises(FetchError, match=r"it could not be fetched: ConnectionError: reset"):
        fetch(Flaky(ConnectionError("reset")), retries=0)


def test_nothing_is_tried_again_or_said_once_it_is_to_stop() -> None:
    flaky, stopped, lines = Flaky(*[ConnectionError("reset")] * 2), Clock(), list[str]()
    stopped.set()
    with pytest.raises(FetchError, match="before the replay was stopped"):
        fetch_again(flaky, SERIES[0], Path("a"), retries=9, stop=stopped, say=lines.append)
    assert flaky.calls == 1
    assert lines == []


def test_each_work_begins_when_the_outcome_before_is_given_and_not_earlier() -> None:
    events: list[str] = []
    begun = [threading.Event() for _ in range(4)]

    def work(number: int) -> Callable[[], int]:
        def run() -> int:
            events.append(f"begin {number}")
            begun[number].set()
            return number

        return run

    for expected, outcome in enumerate(one_ahead([work(n) for n in range(4)])):
        assert outcome.take() == expected
        if expected < 3:
            assert begun[expected + 1].wait(60), "the next one is done while this one is in hand"
        assert not any(each.is_set() for each in begun[expected + 2 :])
        events.append(f"end {expected}")
    assert events == ["begin 0", "begin 1", "end 0", "begin 2", "end 1", "begin 3", "end 2", "end 3"]
    assert list(one_ahead([])) == []


def test_an_error_of_a_work_is_raised_where_its_outcome_is_taken() -> None:
    def fail() -> int:
        raise ValueError("damaged")

    first, second = one_ahead([fail, lambda: 2])
    with pytest.raises(ValueError, match="damaged"):
        first.take()
    assert second.take() == 2


def test_an_outcome_lets_go_of_what_was_taken() -> None:
    outcome = Outcome([1])
    assert outcome.take() == [1]
    assert outcome.result is None


def test_nobody_waits_for_a_work_when_the_caller_stops() -> None:
    stuck = threading.Event()
    works = one_ahead([lambda: True, stuck.wait])
    assert next(works).take()
    works.close()  # and this test ends
    stuck.set()
