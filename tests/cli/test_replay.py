"""The command that replays: from a folder and from a hub on this machine, with its plan, its progress and refusals."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from ibtrack import Point, Probe, Trajectory
from ibtrack.cli import app
from ibtrack.cli.progress import Lines
from ibtrack.cli.replay import outcome_sentences
from ibtrack.replay import fetching
from tests import saved_models
from tests.hub_server import Hub

pytestmark = [pytest.mark.usefixtures("one_thread"), pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")]
Run = Callable[..., Result]
STEPS = [0, 1, 2, 4, 8]
REPOSITORY = "owner/tiny"


@pytest.fixture
def run() -> Run:
    """Call the command; the exit code is as expected."""

    def invoke(*arguments: Any, code: int = 0) -> Result:
        result = CliRunner().invoke(app, ["replay", *map(str, arguments)])
        assert result.exit_code == code, result.output
        return result

    return invoke


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders with checkpoints of a model, and texts beside them."""
    folder = tmp_path_factory.mktemp("saved")
    for seed, step in enumerate(STEPS):
        saved_models.save(folder / "checkpoints" / f"step{step}", "neox", 32, seed=seed)
    saved_models.write_texts(folder / "texts.jsonl")
    return folder


@pytest.fixture
def hub(saved: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub that has them, one of them under the name of another step as well."""
    monkeypatch.setattr(fetching, "FIRST_WAIT", 0.0)
    revisions = {
        f"step{step}": {path.name: path.read_bytes() for path in (saved / "checkpoints" / f"step{step}").iterdir()}
        for step in STEPS
    }
    with Hub() as hub:
        hub.add(REPOSITORY, revisions | {"step3": revisions["step8"]})
        with hub.instead():
            yield hub


def cut(saved: Path) -> list[Any]:
    return ["--texts", saved / "texts.jsonl", "--num-blocks", 6, "--block-size", 24]


def error(result: Result) -> str:
    """The line of an error, the last on stderr."""
    line = result.stderr.splitlines()[-1]
    assert line.startswith("error: ")
    return line


def test_a_folder_of_checkpoints_becomes_a_run_and_goes_on(run: Run, saved: Path, tmp_path: Path) -> None:
    first = run(saved / "checkpoints", *cut(saved), "-o", tmp_path / "run", "--max", 5, "--name", "mine")
    assert first.stdout == f"wrote {tmp_path}/run/trajectory.jsonl\n5 of 5 checkpoints were measured.\n"
    assert "5 to be measured" in first.stderr
    assert [line for line in first.stderr.splitlines() if line.startswith("ibtrack step 8: H ")]
    trajectory = Trajectory.load(tmp_path / "run")
    assert trajectory.steps == STEPS
    assert trajectory.name == "mine"
    assert trajectory.protocol["attention"] == "sdpa"
    assert trajectory.protocol["probe"]["blocks"] == 6
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["trajectory.jsonl"]
    again = run(saved / "checkpoints", *cut(saved), "-o", tmp_path / "run", "--max", 5, "--name", "mine")
    assert again.stdout == first.stdout
    assert "ibtrack step" not in again.stderr, "nothing is measured again"
    other = run(saved / "checkpoints", *cut(saved), "--seed", 1, "-o", tmp_path / "run", code=2)
    assert "holds a replay that was measured otherwise (probe.hash:" in error(other)
    typed = run(saved / "checkpoints", *cut(saved), "--dtype", "bfloat16", "-o", tmp_path / "run", code=2)
    assert "holds a replay that was measured otherwise (" in error(typed)
    assert "loading.dtype" in error(typed)
    fewer = run(saved / "checkpoints", *cut(saved), "--max", 3, "-o", tmp_path / "run", code=2)
    assert "holds points of other checkpoints: number 3 is step2 of step 2, and here it is step8" in error(fewer)


@pytest.mark.parametrize(
    ("options", "positions"), [([], "all"), (["--positions", "last"], "last"), (["--protocol", "paper"], "last")]
)
def test_preferences_are_measured_at_the_positions_that_are_asked_for(
    run: Run, saved: Path, tmp_path: Path, options: list[str], positions: str
) -> None:
    pairs = saved_models.write_pairs(saved / "pairs.jsonl")
    sizes = ["--num-blocks", 12, "--block-size", 24]
    run(saved / "checkpoints", "--preferences", pairs, *sizes, *options, "-o", tmp_path / "run", "--max", 2)
    replayed = Trajectory.load(tmp_path / "run")
    assert replayed.steps == [0, 8]
    assert replayed.protocol["probe"]["blocks"] == 24
    assert (replayed.protocol["probe"]["positions"] == 24) == (positions == "last")
    assert "ib/mean/preference_information" in replayed.points[0].values


def test_the_plan_is_shown_and_nothing_is_downloaded(run: Run, hub: Hub, tmp_path: Path) -> None:
    shown = run(REPOSITORY, "--dry-run", "--bandwidth", 100, "--schedule", "powers(2)", "-o", tmp_path / "run").stdout
    lines = shown.splitlines()
    assert lines[0].split() == ["step", "name", "commit", "size", "what", "is", "wrong"]
    assert [line.split()[:3] for line in lines[1:7]] == [
        ["+", "0", "step0"],
        ["+", "1", "step1"],
        ["+", "2", "step2"],
        ["!", "3", "step3"],
        ["+", "4", "step4"],
        ["+", "8", "step8"],
    ]
    assert "At 100 MB/s, which is an assumption, the download alone takes" in shown
    assert not hub.count("safetensors")
    assert not (tmp_path / "run").exists()


def test_the_plan_is_written_as_json(run: Run, hub: Hub, tmp_path: Path) -> None:
    plan = json.loads(run(REPOSITORY, "--dry-run", "--json", "-").stdout)
    assert [each["step"] for each in plan["checkpoints"]] == [0, 1, 2, 3, 4, 8]
    assert [label.partition("@")[0] for label in plan["chosen"]] == [f"step{step}" for step in STEPS]
    path = tmp_path / "plans" / "plan.json"
    assert f"wrote {path}" in run(REPOSITORY, "--dry-run", "--json", path).stdout
    assert json.loads(path.read_text()) == plan


def test_a_repository_becomes_a_run_whatever_its_hub_does(run: Run, hub: Hub, saved: Path, tmp_path: Path) -> None:
    hub.fail("GET /cdn/", 503, times=2)
    result = run(REPOSITORY, *cut(saved), "-o", tmp_path / "run")
    assert "again in 0 s" in result.stderr
    trajectory = Trajectory.load(tmp_path / "run")
    assert trajectory.steps == STEPS
    assert [point.failure for point in trajectory.points] == [None] * len(STEPS)
    assert [point.checkpoint for point in trajectory.points] == [
        f"step{step}@{hub.commit(REPOSITORY, f'step{step}')[:8]}" for step in STEPS
    ]
    (left_out,) = trajectory.run["replay"]["left_out"].items()
    assert left_out[0].startswith("step3@")
    assert trajectory.run["config"] == {"replay": {"source": REPOSITORY}}
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["trajectory.jsonl"]
    local = run(saved / "checkpoints", *cut(saved), "-o", tmp_path / "local")
    assert local.exit_code == 0
    here = Trajectory.load(tmp_path / "local")
    clock = "ib/overhead_fraction"
    for one, other in zip(trajectory.points, here.points, strict=True):
        assert {**one.values, clock: 0} == {**other.values, clock: 0}


def test_marked_checkpoints_are_measured_if_asked_for_and_then_suspected(
    run: Run, hub: Hub, saved: Path, tmp_path: Path
) -> None:
    result = run(REPOSITORY, *cut(saved), "--include-marked", "-o", tmp_path / "run", "--keep")
    assert "6 of 6 checkpoints were measured." in result.stdout
    commit = hub.commit(REPOSITORY, "step3")[:8]
    sentence = f"step3@{commit} is probably mislabelled: all its numbers equal those of step8"
    assert sentence in result.stdout
    assert len(list((tmp_path / "run" / "checkpoints").iterdir())) == 6
    shown = CliRunner().invoke(app, ["show", str(tmp_path / "run")]).stdout
    assert sentence in shown


def test_a_repository_that_is_not_there_is_one_line(run: Run, hub: Hub, tmp_path: Path) -> None:
    result = run("owner/none", "--texts", "texts.txt", "-o", tmp_path / "run", code=2)
    assert "there is no repository owner/none" in error(result)
    assert len(result.stderr.splitlines()) == 1
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "SOURCE must name a repository or a folder, or --models a file of models"),
        (["{saved}"], "--out must name a folder for the run, or --dry-run shows the plan"),
        (["{saved}", "-o", "{out}"], "--probe must name a saved probe, --texts documents to cut one from, or --"),
        (["{saved}", "-o", "{out}", "--probe", "p", "--texts", "t"], "give one of them"),
        (["{saved}", "-o", "{out}", "--preferences", "p", "--texts", "t"], "give one of them"),
        (["{saved}", "-o", "{out}", "--texts", "t", "--positions", "last"], "--positions is for --preferences"),
        (["{saved}", "-o", "{out}", "--probe", "p", "--num-blocks", "3"], "--num-blocks is for --texts"),
        (["{saved}", "-o", "{out}", "--probe", "{saved}/none.pt"], "none.pt"),
        (
            ["{saved}", "-o", "{out}", "--texts", "{saved}/../texts.png"],
            "a probe is cut from a file or folder on this machine",
        ),
        (["{saved}", "--dry-run", "--schedule", "often"], "a schedule must be every(1000)"),
        (["{saved}", "--dry-run", "--max", "1"], "max_points"),
        (["{saved}", "--dry-run", "--family", "mamba"], "mamba"),
        (["{saved}", "-o", "{out}", "--texts", "t", "--protocol", "secret"], "protocol must be one of"),
        (
            ["{saved}", "-o", "{out}", "--texts", "{texts}", "--device", "abacus"],
            "--device must be one of this machine",
        ),
        (
            ["{saved}", "-o", "{out}", "--texts", "{texts}", "--tokenizer", "{texts}"],
            "tokenizer must be a tokenizer.json",
        ),
        (["{saved}", "--models", "m.yaml"], "SOURCE must be left out with --models"),
        (["--models", "m.yaml"], "--out must name a folder for the runs of the models"),
        (["--models", "{saved}/m.yaml", "-o", "{out}"], "m.yaml"),
        (["--models", "m.yaml", "-o", "{out}", "--dry-run"], "--dry-run must be left out with --models"),
        (["--models", "m.yaml", "-o", "{texts}"], "--out must name a folder, and"),
        (["{saved}", "-o", "{texts}", "--texts", "{texts}"], "--out must name a folder, and"),
        (["owner/none", "-o", "{out}"], "--probe must name a saved probe"),
        (
            ["{saved}", "-o", "{out}", "--texts", "{texts}", "--max-memory", "inf"],
            "--max-memory must be a number of GB",
        ),
        (["{saved}", "-o", "{out}", "--texts", "{texts}", "--max-memory", "0"], "greater than 0, got 0"),
        (["{saved}", "-o", "{out}", "--texts", "{saved}/none.jsonl"], "none.jsonl to cut a probe from"),
        (["{saved}", "--dry-run", "--json", "{saved}"], "checkpoints cannot be used: Is a directory"),
    ],
)
def test_a_mistake_is_one_line_and_nothing_is_left(
    run: Run, saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], sentence: str
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    names = {"saved": saved / "checkpoints", "out": tmp_path / "run", "texts": saved / "texts.jsonl"}
    result = run(*[argument.format(**names) for argument in arguments], code=2)
    assert sentence in error(result)
    assert "Traceback" not in result.output
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("probe", [["--texts", "{texts}"], ["--probe", "probe.pt"]])
def test_a_plan_of_which_nothing_is_left_says_why(run: Run, saved: Path, tmp_path: Path, probe: list[str]) -> None:
    shutil.copytree(saved / "checkpoints" / "step1", tmp_path / "saved" / "step1")
    (tmp_path / "saved" / "step1" / "config.json").unlink()
    given = [each.format(texts=saved / "texts.jsonl") for each in probe]
    refused = run(tmp_path / "saved", *given, "-o", tmp_path / "run", code=2)
    found = error(refused)
    assert found.startswith(f"error: none of the 1 checkpoints of {tmp_path / 'saved'} can be measured; of step1: it ")
    assert not (tmp_path / "run").exists()


def test_a_bandwidth_of_nothing_is_refused_before_the_table(run: Run, saved: Path) -> None:
    refused = run(saved / "checkpoints", "--dry-run", "--bandwidth", 0, code=2)
    assert "bandwidth must be greater than 0" in error(refused)
    assert refused.stdout == ""


def test_a_saved_probe_is_taken_as_it_is(run: Run, saved: Path, tmp_path: Path) -> None:
    texts = [json.loads(line)["text"] for line in (saved / "texts.jsonl").read_text().splitlines()]
    probe = Probe.from_texts(texts, saved_models.tokenizer(), num_blocks=5, block_size=20)
    probe.save(tmp_path / "probe.pt")
    run(
        saved / "checkpoints",
        "--probe",
        tmp_path / "probe.pt",
        "-o",
        tmp_path / "run",
        "--max",
        2,
        "--layers",
        "*.layers.1",
    )
    read = Trajectory.load(tmp_path / "run")
    assert read.protocol["probe"]["hash"] == probe.hash
    assert list(read.protocol["sites"].values()) == ["gpt_neox.layers.1"]
    other = Probe.from_texts(texts, saved_models.tokenizer(backwards=True), num_blocks=5, block_size=20)
    other.save(tmp_path / "other.pt")
    refused = run(saved / "checkpoints", "--probe", tmp_path / "other.pt", "-o", tmp_path / "no", "--max", 2, code=2)
    assert "none of the 2 checkpoints could be measured" in error(refused)
    assert "its tokenizer (hash" in error(refused)


def test_a_tokenizer_may_be_named(run: Run, saved: Path, tmp_path: Path) -> None:
    named = saved / "checkpoints" / "step0" / "tokenizer.json"
    run(saved / "checkpoints", *cut(saved), "--tokenizer", named, "-o", tmp_path / "run", "--max", 2)
    assert Trajectory.load(tmp_path / "run").steps == [0, 8]


def test_it_stops_by_a_key_and_says_what_goes_on(
    run: Run, saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(self: Lines, metrics: dict[str, float], step: int) -> None:
        if step == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(Lines, "log_metrics", stop)
    stopped = run(saved / "checkpoints", *cut(saved), "-o", tmp_path / "run", code=130)
    assert stopped.stderr.splitlines()[-1] == f"stopped; the same command goes on with {tmp_path / 'run'}"
    assert Trajectory.load(tmp_path / "run").steps == [0, 1]
    monkeypatch.undo()
    run(saved / "checkpoints", *cut(saved), "-o", tmp_path / "run")
    assert Trajectory.load(tmp_path / "run").steps == STEPS


def test_many_models_are_measured_from_a_file(run: Run, saved: Path, tmp_path: Path) -> None:
    file = tmp_path / "models.yaml"
    file.write_text(
        f"texts: [{saved / 'texts.jsonl'}]\nprobe: {{num_blocks: 5, block_size: 20}}\n"
        f"models:\n  - source: {saved / 'checkpoints' / 'step0'}\n  - source: {saved / 'checkpoints' / 'step8'}\n"
    )
    result = run("--models", file, "-o", tmp_path / "runs")
    assert "2 of 2 models are in" in result.stdout
    assert len(list((tmp_path / "runs").glob("*/trajectory.jsonl"))) == 2


def test_failed_and_suspected_checkpoints_are_named_at_the_end() -> None:
    losses = {0: 3.0, 1: 10.7, 8: 8.0, 64: 6.0, 1000: 3.0}
    points = [
        Point(step, {"ib/probe_loss": loss, "ib/loss": step}, checkpoint=f"step{step}") for step, loss in losses.items()
    ]
    points.insert(2, Point(4, failure="it is damaged", checkpoint="step4"))
    lines = outcome_sentences(Trajectory({}, {}, points))
    assert lines[:2] == ["5 of 6 checkpoints were measured.", "step4: it is damaged."]
    assert lines[2].startswith("step0 is probably mislabelled: its probe loss is 3.000")
    assert len(lines) == 3


def test_the_plan_needs_no_torch(saved: Path) -> None:
    code = (
        "import sys; from ibtrack.cli import app\n"
        f"try: app(['replay', {str(saved / 'checkpoints')!r}, '--dry-run'])\n"
        "except SystemExit: print([name for name in ('torch', 'transformers') if name in sys.modules])"
    )
    shown = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
    )
    assert shown.stdout.splitlines()[-1] == "[]"
