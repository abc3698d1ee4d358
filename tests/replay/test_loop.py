"""The loop of a replay: the numbers of the run itself, one checkpoint ahead, and a reason for each that fails."""

from __future__ import annotations

import multiprocessing as mp
import threading
import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, models
from torch import Tensor, nn

from ibtrack import InformationPlaneTracker, MeasurementWarning, Point, Probe, SoftOptions, Trajectory, schedules
from ibtrack.record.lock import LockState, lock_state
from ibtrack.replay import fetching, loop
from ibtrack.replay.checkpoint import Checkpoint
from ibtrack.replay.errors import LoadingError
from ibtrack.replay.loop import replay
from ibtrack.replay.memory import Room
from tests.models import VOCABULARY, Model, probe
from tests.saved_series import WEIGHTS, SavedSeries, load, model_after

pytestmark = pytest.mark.usefixtures("one_thread")
STEPS = [0, 1, 2, 4, 8, 16]
CLOCK = "ib/overhead_fraction"
Replay = Callable[..., Trajectory]


@pytest.fixture
def series(tmp_path: Path) -> SavedSeries:
    return SavedSeries(tmp_path / "hub", STEPS)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "run" / "trajectory.jsonl"


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "FIRST_WAIT", 0.0)


def quietly(series: Any, file: Path | None, **options: Any) -> Trajectory:
    """Replay without the warnings of points that failed and of documents."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MeasurementWarning)
        return replay(series, options.pop("on", probe(8)), path=file, **{"load": load, **options})


def numbers(point: Point) -> dict[str, str]:
    return {key: repr(value) for key, value in point.values.items() if key != CLOCK}


def failures(trajectory: Trajectory) -> dict[int, str]:
    return {point.step: point.failure for point in trajectory.points if point.failure is not None}


def test_the_numbers_are_those_of_a_tracker_that_was_there(series: SavedSeries, file: Path) -> None:
    live = InformationPlaneTracker(probe(8), schedule=schedules.every(1), geometry_rows=64)
    model = model_after(0)
    for step in STEPS:
        model.load_state_dict(model_after(step).state_dict())
        live.step(model, step, tokens_seen=1000 * step)
    replayed = quietly(series, file, geometry_rows=64)
    for one, other in zip(live.trajectory.points, replayed.points, strict=True):
        assert numbers(one) == numbers(other)
        assert one.influences is not None
        assert other.influences is not None
        assert one.influences.to_record() == other.influences.to_record()
        assert (one.step, one.tokens_seen, one.notes) == (other.step, other.tokens_seen, other.notes)
    assert {**replayed.protocol, "versions": 0} == {**live.trajectory.protocol, "versions": 0}


def test_points_are_named_and_the_header_says_where_they_come_from(tmp_path: Path, file: Path) -> None:
    series = SavedSeries(tmp_path / "hub", STEPS, {4: "It equals step 16.", 2: "It is damaged."})
    chosen = [each for each in series.checkpoints if each.step != 4]  # step 2 is wanted all the same
    replayed = quietly(series, file, checkpoints=chosen, config={"family": "tiny"})
    assert [point.checkpoint for point in replayed.points] == [each.label for each in chosen]
    assert replayed.run["config"] == {"replay": {"source": "owner/tiny"}, "family": "tiny"}
    assert replayed.run["replay"] == {
        "checkpoints": 5,
        "left_out": {"step4@40000000": "It equals step 16."},
        "missing": [7],
        "tokenizer_hash": "",
    }
    read = Trajectory.load(file)
    assert read.run == replayed.run
    assert read.points == replayed.points
    assert read.name == "tiny"


def test_no_number_depends_on_the_memory(series: SavedSeries) -> None:
    forwards = count()

    def forward(model: nn.Module, inputs: Tensor) -> Any:
        next(forwards)
        return model(inputs)

    once = quietly(series, None, forward=forward)
    in_one_pass = next(forwards)
    by_site = quietly(series, None, forward=forward, max_memory=1)
    assert next(forwards) > 2 * in_one_pass
    for one, other in zip(once.points, by_site.points, strict=True):
        expected = {key: value for key, value in one.values.items() if key != CLOCK}
        found = {key: value for key, value in other.values.items() if key != CLOCK}
        assert found == pytest.approx(expected, rel=1e-12, nan_ok=True)  # float64, whose sums are in another order


def test_the_memory_of_the_device_is_shared_out(series: SavedSeries, monkeypatch: pytest.MonkeyPatch) -> None:
    shared: list[nn.Module] = []

    def share_out(model: nn.Module) -> Room:
        shared.append(model)
        return Room(1, beside=True)

    monkeypatch.setattr(loop, "share_out", share_out)
    trackers: list[InformationPlaneTracker] = []

    class Tracker(InformationPlaneTracker):
        def start(self, *arguments: Any, **options: Any) -> None:
            trackers.append(self)
            super().start(*arguments, **options)

    monkeypatch.setattr(loop, "InformationPlaneTracker", Tracker)
    quietly(series, None)
    quietly(series, None, max_memory=1 << 20)
    assert [tracker.max_memory for tracker in trackers] == [1, 1 << 20]
    assert len(shared) == 2, "the first model of each"


def test_the_next_model_is_loaded_while_one_is_measured(series: SavedSeries) -> None:
    loaded = {step: threading.Event() for step in STEPS}
    order = iter(STEPS)

    def tell(path: Path, checkpoint: Checkpoint) -> nn.Module:
        model = load(path, checkpoint)
        loaded[checkpoint.step or 0].set()
        return model

    class Log:
        def log_metrics(self, metrics: dict[str, float], step: int) -> None:
            after = next((each for each in STEPS if each > step), step)
            assert next(order) == step
            assert loaded[after].wait(60), "it is there before the point of this one is done with"
            assert not any(loaded[each].is_set() for each in STEPS if each > after), "and no other one is"

    quietly(series, None, load=tell, loggers=[Log()])


@pytest.mark.parametrize("why", ["type", "memory", "an error"])
def test_a_model_that_must_not_be_beside_is_loaded_when_the_one_before_is_gone(
    series: SavedSeries, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    alive: set[str] = set()
    threads: list[bool] = []

    class Counted(Model):
        label = ""

        def __del__(self) -> None:
            alive.discard(self.label)

    def load_counted(path: Path, checkpoint: Checkpoint) -> nn.Module:
        on_main = threading.current_thread() is threading.main_thread()
        if why == "an error" and alive and not on_main:
            raise torch.OutOfMemoryError("out of memory")
        threads.append(on_main)
        assert not alive, "the one before is gone"
        model = Counted()
        model.label = checkpoint.label
        alive.add(checkpoint.label)
        model.load_state_dict(torch.load(path / WEIGHTS, weights_only=True))
        return model.double() if why == "type" else model

    if why == "memory":
        monkeypatch.setattr(loop, "share_out", lambda model: Room(1 << 30, beside=False))
    replayed = quietly(series, None, load=load_counted)
    assert failures(replayed) == {}
    assert threads == [False, *[True] * (len(STEPS) - 1)]


def test_never_more_than_two_are_in_the_cache(series: SavedSeries, file: Path) -> None:
    series.errors = {2: [ConnectionError("reset")] * 2, 4: [FileNotFoundError("gone")]}
    quietly(series, file)
    assert series.fetched == ["step0", "step1", "step2", "step2", "step2", "step4", "step8", "step16"]
    assert set(series.in_cache) == {1, 2}
    assert [path.name for path in file.parent.iterdir()] == ["trajectory.jsonl"]


def test_what_a_killed_process_has_left_is_taken_up_or_removed(series: SavedSeries, file: Path) -> None:
    quietly(series, file, checkpoints=series.choose()[:2])
    cache = fetching.Cache(file.parent / "checkpoints", series.checkpoints)
    measured, following = (series.fetch(series.checkpoints[i], cache.place(series.checkpoints[i])) for i in (1, 2))
    series.in_cache.clear()
    order: list[tuple[bool, bool]] = []

    def look(step: int) -> None:
        if step == 2:
            order.append((measured.exists(), following.exists()))

    series.before_fetch = look
    assert quietly(series, file).steps == STEPS
    assert order == [(False, True)]
    assert set(series.in_cache) <= {1, 2}


def test_a_kept_checkpoint_is_not_fetched_again(series: SavedSeries, file: Path, tmp_path: Path) -> None:
    quietly(series, file, keep=True, cache=tmp_path / "kept")
    assert len(list((tmp_path / "kept").iterdir())) == len(STEPS)
    assert not (file.parent / "checkpoints").exists()


def test_checkpoints_of_this_machine_are_read_where_they_are(series: SavedSeries, file: Path) -> None:
    class Local(SavedSeries):
        def fetch(self, checkpoint: Checkpoint, folder: Path) -> Path:
            return self.folder / checkpoint.name

    local = Local(series.folder, STEPS)
    quietly(local, file)
    assert sorted(path.name for path in series.folder.iterdir()) == sorted(f"step{step}" for step in STEPS)
    assert [path.name for path in file.parent.iterdir()] == ["trajectory.jsonl"]


def test_without_a_file_the_cache_is_a_temporary_folder(series: SavedSeries) -> None:
    replayed = quietly(series, None)
    assert replayed.path is None
    assert replayed.steps == STEPS
    assert set(series.in_cache) == {1, 2}


def test_what_cannot_be_measured_is_a_point_that_says_why(series: SavedSeries, file: Path) -> None:
    series.errors = {0: [FileNotFoundError("gone")], 2: [ConnectionError("reset")] * 9}
    (series.folder / "step1" / WEIGHTS).write_bytes(b"no weights")
    series.save(8, model_after(8, blocks=3))
    lines: list[str] = []
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always")
        replayed = replay(series, probe(8), path=file, load=load, retries=2, report=lines.append)
    assert [str(each.message).split(":")[1] for each in shown] == [
        f" step {step} could not be measured" for step in (0, 1, 2, 8)
    ]
    assert all(str(each.message).endswith("; the replay goes on") for each in shown)
    assert replayed.steps == STEPS
    assert failures(replayed) == {
        0: "it could not be fetched: FileNotFoundError: gone",
        1: "step1@10000000 is damaged",
        2: "it could not be fetched after 3 tries: ConnectionError: reset",
        8: "its model has other blocks than that of the first checkpoint: they differ in blocks.2",
    }
    assert [point.checkpoint for point in replayed.points] == [each.label for each in series.checkpoints]
    assert [line for line in lines if "again in" in line] == [
        "ibtrack: step2@20000000 could not be fetched (ConnectionError: reset); again in 0 s"
    ] * 2
    assert Trajectory.load(file).points == replayed.points


def test_a_model_of_another_width_is_a_point_that_failed(series: SavedSeries) -> None:
    class Wide(Model):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.narrow = nn.Embedding(VOCABULARY, 32), nn.Linear(32, 16)

        def forward(self, ids: Tensor) -> Tensor:
            hidden = self.narrow(self.embed(ids))
            for block in self.blocks:
                hidden = block(hidden)
            logits: Tensor = self.head(hidden)
            return logits

    replayed = quietly(series, None, load=lambda path, each: Wide() if each.step == 4 else load(path, each))
    assert list(failures(replayed)) == [4]
    assert "the model hands over embed of width 32" in failures(replayed)[4]


def with_tokenizer(series: SavedSeries, step: int, *words: str) -> Tokenizer:
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token=words[0]))
    tokenizer.save(str(series.folder / f"step{step}" / "tokenizer.json"))
    return tokenizer


@pytest.fixture
def _small_tokenizers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "load_tokenizer", lambda path: Tokenizer.from_file(str(path / "tokenizer.json")))


@pytest.mark.usefixtures("_small_tokenizers")
def test_a_tokenizer_that_changes_along_the_series_is_a_point_that_failed(series: SavedSeries, file: Path) -> None:
    for step in STEPS:
        with_tokenizer(series, step, "[unk]", *("ab" if step != 4 else "ba"))
    (series.folder / "step2" / "tokenizer.json").unlink()  # of such a one nothing is known
    replayed = quietly(series, file, checkpoints=series.choose()[:4])
    assert list(failures(replayed)) == [4]
    assert "is another one than that of the probe or of the checkpoints before" in failures(replayed)[4]
    with_tokenizer(series, 8, "[unk]", *"ba")  # the first one after a restart has been seen by the file
    assert list(failures(quietly(series, file))) == [4, 8]


@pytest.mark.usefixtures("_small_tokenizers")
def test_the_tokenizer_must_be_that_of_the_probe(series: SavedSeries) -> None:
    tokenizer, *_ = [with_tokenizer(series, step, "[unk]", *"ab") for step in STEPS]
    texts = ["a b b a b a a a b a b a b b b a"[start:] for start in range(0, 12, 2)]
    own = Probe.from_texts(
        texts,
        lambda text: [" ab".index(letter) for letter in text if letter != " "],
        num_blocks=4,
        block_size=4,
        orders=(1,),
        keep_copies=True,
    )
    own.tokenizer_hash = "0" * 64
    with pytest.raises(ValueError, match=r"none of the 6 checkpoints could be measured; of the first, .*tokenizer"):
        quietly(series, None, on=own)
    assert tokenizer.get_vocab_size() == 3


def test_three_in_a_row_that_cannot_be_reached_end_the_replay_and_are_tried_again(
    series: SavedSeries, file: Path
) -> None:
    series.errors = {step: [ConnectionError("no route")] for step in (1, 4, 8, 16)}
    with pytest.raises(OSError, match=r"3 checkpoints in a row could not be reached; of the last, step16.*no route"):
        quietly(series, file, retries=0)
    assert failures(Trajectory.load(file)) == {1: "it could not be fetched: ConnectionError: no route"}
    assert Trajectory.load(file).steps == [0, 1, 2]
    replayed = quietly(series, file, retries=0)
    assert replayed.steps == STEPS
    assert list(failures(replayed)) == [1], "it stays as it was"


def test_two_at_the_end_that_cannot_be_reached_are_points_that_failed(series: SavedSeries, file: Path) -> None:
    series.errors = {step: [ConnectionError("no route")] for step in (8, 16)}
    assert list(failures(quietly(series, file, retries=0))) == [8, 16]


def test_nothing_is_left_where_no_checkpoint_can_be_measured(series: SavedSeries, file: Path) -> None:
    series.errors = {step: [FileNotFoundError("gone")] for step in STEPS}
    with pytest.raises(
        ValueError, match="none of the 6 checkpoints could be measured; of the first, step0@00000000: it"
    ):
        quietly(series, file)
    assert not file.parent.exists()


def test_the_last_ones_of_a_restart_may_all_fail(series: SavedSeries, file: Path) -> None:
    first = quietly(series, file, checkpoints=series.choose()[:4])
    series.errors = {step: [FileNotFoundError("gone")] for step in (8, 16)}
    replayed = quietly(series, file)
    assert failures(replayed) == dict.fromkeys((8, 16), "it could not be fetched: FileNotFoundError: gone")
    assert replayed.points[:4] == first.points
    assert [point.checkpoint for point in replayed.points] == [each.label for each in series.checkpoints]
    assert [point.tokens_seen for point in replayed.points] == [1000 * step for step in STEPS]


def test_a_series_that_has_grown_goes_on_and_a_whole_one_is_read(series: SavedSeries, file: Path) -> None:
    first = quietly(series, file, checkpoints=series.choose()[:2])
    second = quietly(series, file)
    assert second.points[:2] == first.points
    assert second.steps == STEPS
    series.fetched.clear()
    assert quietly(series, file).points == second.points
    assert series.fetched == []


def test_points_that_failed_are_measured_again_if_asked_for(series: SavedSeries, file: Path) -> None:
    series.errors = {2: [FileNotFoundError("gone")]}
    first = quietly(series, file)
    assert list(failures(quietly(series, file))) == [2]
    with pytest.warns(UserWarning, match="held 4 points after step 1"):
        again = quietly(series, file, retry_failed=True)
    assert failures(again) == {}
    assert again.steps == STEPS
    assert Trajectory.load(file.with_name("trajectory.1.jsonl")).points == first.points[2:]
    assert quietly(series, file, retry_failed=True).points == again.points


def test_a_first_point_that_failed_is_measured_again(series: SavedSeries, file: Path) -> None:
    series.errors = {0: [FileNotFoundError("gone")]}
    quietly(series, file)
    with pytest.warns(UserWarning, match="held 6 points after step -1"):
        assert failures(quietly(series, file, retry_failed=True)) == {}


def test_a_file_with_a_header_alone_goes_on(series: SavedSeries, file: Path) -> None:
    """As of a process that was killed before its first point."""
    whole = quietly(series, file)
    header = file.read_bytes().split(b"\n")[0]
    file.write_bytes(header + b"\n")
    assert list(map(numbers, quietly(series, file).points)) == list(map(numbers, whole.points))


def test_another_precision_is_refused_by_the_first_model(series: SavedSeries, file: Path) -> None:
    quietly(series, file, checkpoints=series.choose()[:2])
    with pytest.raises(ValueError, match=r"under another protocol .precision: 32-true in 'the file', bf16-mixed"):
        quietly(series, file, precision="bf16-mixed")
    assert Trajectory.load(file).steps == [0, 1]
    assert quietly(series, file).steps == STEPS


def test_the_precision_of_the_run_is_that_of_the_measurement(series: SavedSeries) -> None:
    mixed, cast = (quietly(series, None, precision=each) for each in ("bf16-mixed", "bf16-true"))
    whole = quietly(series, None)
    assert [run.protocol["precision"] for run in (mixed, cast, whole)] == ["bf16-mixed", "bf16-true", "32-true"]
    assert len({numbers(run.points[0])["ib/probe_loss"] for run in (mixed, cast, whole)}) == 3


def test_an_argument_that_fits_no_checkpoint_ends_the_replay(series: SavedSeries, file: Path) -> None:
    def wrong(path: Path, checkpoint: Checkpoint) -> nn.Module:
        raise ValueError("factory must say what makes the model")

    with pytest.raises(ValueError, match="factory must say"):
        quietly(series, file, load=wrong)
    with pytest.raises(ValueError, match="layers"):
        quietly(series, file, layers="nothing.*")
    with pytest.raises(ValueError, match="precision must be one of"):
        quietly(series, file, precision="fp8")
    with pytest.raises(ValueError, match="retries must be an integer of at least 0, got -1"):
        quietly(series, file, retries=-1)
    assert not file.exists()
    assert set(series.in_cache) <= {1, 2}, "what was fetched is there for the next start"

    def wrong_later(path: Path, checkpoint: Checkpoint) -> nn.Module:
        if checkpoint.step:
            raise ValueError("of this one alone")
        return load(path, checkpoint)

    assert list(failures(quietly(series, None, load=wrong_later))) == STEPS[1:]


def test_checkpoints_must_have_rising_steps(series: SavedSeries) -> None:
    first, second = series.checkpoints[:2]
    with pytest.raises(ValueError, match="checkpoints must name at least one, got none"):
        quietly(series, None, checkpoints=[])
    with pytest.raises(ValueError, match="must have steps, got step1@10000000 of owner/tiny, whose step is not known"):
        quietly(series, None, checkpoints=[first, replace(second, step=None)])
    with pytest.raises(ValueError, match="must have rising steps, got step0@00000000 of step 0 after step1@10000000"):
        quietly(series, None, checkpoints=[second, first])
    assert series.fetched == []


def test_a_full_disk_is_said_before_anything_is_fetched(
    series: SavedSeries, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = type("Usage", (), {"free": 10})
    monkeypatch.setattr("shutil.disk_usage", lambda path: full)
    with pytest.raises(OSError, match="has 10 B free, and two checkpoints at a time need"):
        quietly(series, file)
    assert series.fetched == []
    assert not file.parent.exists()


def test_a_key_stops_it_and_the_next_start_goes_on(series: SavedSeries, file: Path) -> None:
    class Key:
        def log_metrics(self, metrics: dict[str, float], step: int) -> None:
            if step == 2:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        quietly(series, file, loggers=[Key()])
    assert lock_state(file) is LockState.LEFT, "another process may have it"
    assert Trajectory.load(file).steps == [0, 1, 2]
    replayed = quietly(series, file)
    assert replayed.steps == STEPS
    assert set(series.in_cache) <= {1, 2, 3}


def test_a_stop_ends_the_waiting_for_the_network(series: SavedSeries, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "FIRST_WAIT", 3600.0)
    series.errors = {1: [ConnectionError("reset")]}
    tries: list[threading.Thread] = []
    waits = threading.Event()

    class Key:
        def log_metrics(self, metrics: dict[str, float], step: int) -> None:
            assert waits.wait(60)
            raise KeyboardInterrupt

    def say(line: str) -> None:
        if "again in" in line:
            tries.append(threading.current_thread())
            waits.set()

    with pytest.raises(KeyboardInterrupt):
        quietly(series, None, loggers=[Key()], report=say)
    tries[0].join(60)
    assert not tries[0].is_alive()
    assert series.fetched == ["step0", "step1"], "nothing is tried again once it has stopped"


def _replay_elsewhere(folder: Path) -> None:
    series = SavedSeries(folder / "hub", STEPS)
    try:
        quietly(series, folder / "run" / "trajectory.jsonl")
    except FileExistsError as error:
        (folder / "refused").write_text(f"{error} {series.fetched}")


def test_a_second_process_is_refused_before_it_touches_the_cache(
    series: SavedSeries, file: Path, tmp_path: Path
) -> None:
    class Log:
        def log_metrics(self, metrics: dict[str, float], step: int) -> None:
            if step == 1:
                process = mp.get_context("forkserver").Process(target=_replay_elsewhere, args=(tmp_path,))
                process.start()
                process.join()

    assert quietly(series, file, loggers=[Log()]).steps == STEPS
    refusal = (tmp_path / "refused").read_text()
    assert "is being written by process" in refusal
    assert refusal.endswith("[]")


def test_the_path_is_a_file(series: SavedSeries, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"path must name a trajectory file, got the folder {tmp_path}"):
        quietly(series, tmp_path)


def test_options_are_those_of_the_tracker(series: SavedSeries) -> None:
    replayed = quietly(series, None, options=SoftOptions(num_anchors=20), layers=["blocks.1"], name="mine")
    assert replayed.protocol["num_anchors"] == 20
    assert list(replayed.protocol["sites"].values()) == ["blocks.1"]
    assert replayed.name == "mine"


def test_a_loading_error_keeps_its_own_words(series: SavedSeries) -> None:
    def strange(path: Path, checkpoint: Checkpoint) -> nn.Module:
        if checkpoint.step == 2:
            raise LoadingError("step2 lacks the weights head.weight")
        if checkpoint.step == 4:
            raise RuntimeError("a bad shape")
        return load(path, checkpoint)

    found = failures(quietly(series, None, load=strange))
    assert found == {2: "step2 lacks the weights head.weight", 4: "RuntimeError: a bad shape"}


def test_load_may_be_any_callable(series: SavedSeries) -> None:
    assert quietly(series, None, load=partial(load)).steps == STEPS
