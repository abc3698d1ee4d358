"""Many models measured on one probe: six small ones of three families, two tokenizers."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from typer.testing import CliRunner, Result

from ibtrack import Trajectory
from ibtrack.analysis.scores import MIXED
from ibtrack.cli import app
from ibtrack.probe.probe import Probe
from ibtrack.replay import models as module
from ibtrack.replay.loading import load_model
from ibtrack.replay.models import ModelsReplay, count_parameters, replay_models
from tests import saved_models
from tests.hub_server import Hub

pytestmark = pytest.mark.filterwarnings("ignore:.*:FutureWarning", "ignore:.*:DeprecationWarning")

PROBE = {"num_blocks": 16, "block_size": 16, "orders": [1, 2]}


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with six models, texts and pairs."""
    folder = tmp_path_factory.mktemp("saved")
    for family in saved_models.FAMILIES:
        for width in (16, 32):
            saved_models.save(folder / f"{family}-{width}", family, width)
    saved_models.write_texts(folder / "texts.jsonl")
    saved_models.write_pairs(folder / "pairs.jsonl")
    return folder


def _write(folder: Path, saved: Path, **content: Any) -> Path:
    """Write a list of all models, of which ``content`` changes entries."""
    models = [
        {"source": str(saved / f"{family}-{width}"), "family": family}
        for family in saved_models.FAMILIES
        for width in (16, 32)
    ]
    path = folder / "models.yaml"
    whole = {"texts": str(saved / "texts.jsonl"), "probe": PROBE, "models": models, **content}
    path.write_text(yaml.safe_dump({key: value for key, value in whole.items() if value is not None}))
    return path


def test_six_models_of_three_families_are_six_runs(saved: Path, tmp_path: Path) -> None:
    lines: list[str] = []
    found = replay_models(_write(tmp_path, saved), tmp_path / "runs", report=lines.append)
    assert found.failed == {}
    names = [f"{family}-{width}" for family in saved_models.FAMILIES for width in (16, 32)]
    assert list(found.done) == sorted(names) == sorted(path.name for path in (tmp_path / "runs").iterdir())
    for name in names:
        family, _, width = name.partition("-")
        run = Trajectory.load(tmp_path / "runs" / name)
        assert run.name == name
        assert run.steps == [0]
        assert run.run["config"]["family"] == family
        size = sum(each.numel() for each in saved_models.model(family, int(width)).parameters())
        assert run.run["config"]["num_parameters"] == size
        assert 0 < run.values("ib/mean/token/complexity")[0] < 1
        assert not list((tmp_path / "runs" / name).glob("checkpoints*"))
    assert sorted(map(sorted, found.tokenizers.values())) == [
        ["llama-16", "llama-32", "neox-16", "neox-32"],
        ["stablelm-16", "stablelm-32"],
    ]
    hashes = {name: Trajectory.load(tmp_path / "runs" / name).protocol["probe"]["hash"] for name in names}
    assert len(set(hashes.values())) == 2
    first, mixed = found.sentences()
    assert first == f"6 of 6 models are in {tmp_path / 'runs'}."
    assert mixed.startswith("6 models have 2 tokenizers. Each read the same texts in its own tokens, so their probes")
    assert [line for line in lines if line.startswith("[6/6] stablelm-32: 1 point in ")]


def test_what_is_done_is_not_measured_again_and_what_failed_is(
    saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(saved / "llama-16", broken)
    (broken / "model.safetensors").write_bytes(b"no weights")
    models = [{"source": str(saved / "llama-16")}, {"source": str(broken)}, {"source": str(saved / "llama-32")}]
    models += [{"source": "no/such model"}]
    path = _write(tmp_path, saved, models=models)
    loaded: list[str] = []
    load = load_model

    def counted(where: Path, *args: Any, **options: Any) -> torch.nn.Module:
        loaded.append(where.name)
        return load(where, *args, **options)

    monkeypatch.setattr(module, "load_model", counted)
    found = replay_models(path, tmp_path / "runs", report=None)
    assert list(found.done) == ["llama-16", "llama-32"]
    assert list(found.failed) == ["broken", "such model"]
    assert "broken" in found.failed["broken"]
    assert found.failed["such model"].startswith("there is no file or folder no/such model")
    assert found.sentences()[0] == f"2 of 4 models are in {tmp_path / 'runs'}."
    assert found.sentences()[1].startswith("broken failed: ")
    assert loaded[-1] == "llama-32"
    before = (tmp_path / "runs" / "llama-16" / "trajectory.jsonl").read_bytes()

    shutil.rmtree(broken)
    shutil.copytree(saved / "llama-16", broken)
    loaded.clear()
    again = replay_models(path, tmp_path / "runs", report=None)
    assert loaded == ["broken"]
    assert list(again.done) == ["llama-16", "broken", "llama-32"]
    assert (tmp_path / "runs" / "llama-16" / "trajectory.jsonl").read_bytes() == before
    copies = [again.done[name].values("ib/mean/token/complexity") for name in ("llama-16", "broken")]
    assert copies[0] == copies[1]


def test_models_of_one_tokenizer_share_a_probe_that_is_made_once(
    saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []
    of_texts = Probe.from_texts

    def counted(*args: Any, **options: Any) -> Any:
        made.append(options)
        return of_texts(*args, **options)

    monkeypatch.setattr(Probe, "from_texts", counted)
    replay_models(_write(tmp_path, saved, protocol="standard"), tmp_path / "runs", report=None)
    assert len(made) == 2
    assert made[0]["num_blocks"] == 16
    assert made[0]["orders"] == [1, 2]


def test_a_model_can_have_a_trajectory(saved: Path, tmp_path: Path) -> None:
    for step in (1, 10, 100, 1000):
        saved_models.save(tmp_path / "series" / f"checkpoint-{step}", "llama", 16, seed=step)
    series = str(tmp_path / "series")
    models = [
        {"source": series, "name": "all", "trajectory": True, "size": "1.5k"},
        {"source": series, "name": "three", "trajectory": 3},
        {"source": series, "name": "last"},
        {"source": str(tmp_path / "series" / "checkpoint-10"), "name": "one"},
        {"source": str(saved / "llama-16"), "name": "told", "step": 77},
    ]
    found = replay_models(_write(tmp_path, saved, models=models), tmp_path / "runs", report=None)
    assert found.failed == {}
    steps = {name: run.steps for name, run in found.done.items()}
    assert len(steps.pop("three")) == 3
    assert steps == {"all": [1, 10, 100, 1000], "last": [1000], "one": [10], "told": [77]}
    assert found.done["all"].run["config"]["num_parameters"] == 1500


def test_preferences_take_the_place_of_texts(saved: Path, tmp_path: Path) -> None:
    models = [{"source": str(saved / "llama-16")}]
    probe = {"num_pairs": 12, "block_size": 32}
    path = _write(tmp_path, saved, models=models, texts=None, preferences=str(saved / "pairs.jsonl"), probe=probe)
    found = replay_models(path, tmp_path / "runs", report=None)
    assert found.failed == {}
    assert len(found.done["llama-16"].values("ib/mean/preference_information")) == 1


def test_defaults_hold_for_each_model_that_does_not_say_otherwise(saved: Path, tmp_path: Path) -> None:
    models = [{"source": str(saved / "llama-16"), "dtype": "float32"}, {"source": str(saved / "llama-32")}]
    path = _write(tmp_path, saved, models=models, defaults={"dtype": "bfloat16", "family": "tiny"})
    found = replay_models(path, tmp_path / "runs", report=None)
    assert found.failed == {}
    precisions = [run.protocol["precision"] for run in found.done.values()]
    assert precisions == ["32-true", "bf16-true"]
    assert {run.run["config"]["family"] for run in found.done.values()} == {"tiny"}


def test_an_option_that_does_not_exist_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"replay_models has no option 'devise'; it has .*device"):
        replay_models(tmp_path / "nothing.yaml", tmp_path, devise="cuda")


def test_a_probe_setting_of_the_other_kind_is_refused(saved: Path, tmp_path: Path) -> None:
    path = _write(tmp_path, saved, probe={**PROBE, "num_pairs": 4})
    with pytest.raises(ValueError, match=r"probe: num_pairs is for a probe of preferences, and this one is of texts"):
        replay_models(path, tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_texts_that_are_not_there_are_said_before_any_model(saved: Path, tmp_path: Path) -> None:
    path = _write(tmp_path, saved, texts="none.jsonl")
    with pytest.raises(FileNotFoundError, match=r"there is no file none\.jsonl to cut a probe from"):
        replay_models(path, tmp_path / "runs", report=None)
    assert not (tmp_path / "runs").exists()


def test_a_model_whose_texts_are_too_few_fails_by_itself(saved: Path, tmp_path: Path) -> None:
    path = _write(tmp_path, saved, probe={**PROBE, "num_blocks": 4000}, models=[{"source": str(saved / "llama-16")}])
    found = replay_models(path, tmp_path / "runs", report=None)
    assert found.failed["llama-16"].startswith("the probe needs 4000 documents of at least 16 tokens")


@pytest.mark.parametrize(
    ("entry", "sentence"),
    [
        (
            {"source": "llama-16", "revision": "main"},
            r"revision is for repositories of a hub, and .*llama-16 is a fold",
        ),
        ({"source": "several", "step": 7}, r"step is for a single checkpoint, and .*several holds 2"),
        ({"source": "empty"}, r"a source must hold checkpoints"),
        ({"source": "half"}, r"none of its checkpoints can be measured; of half: it has no config\.json"),
        ({"source": "logs/last.ckpt", "name": "a"}, r"tokenizer must be named, as \S+ is not in Hugging Face format"),
    ],
)
def test_what_is_wrong_with_a_model_is_said(saved: Path, tmp_path: Path, entry: dict[str, Any], sentence: str) -> None:
    shutil.copytree(saved / "llama-16", tmp_path / "llama-16")
    shutil.copytree(saved / "llama-16", tmp_path / "half")
    (tmp_path / "half" / "config.json").unlink()
    for step in (1, 2):
        shutil.copytree(saved / "llama-16", tmp_path / "several" / f"step{step}")
    (tmp_path / "empty").mkdir()
    (tmp_path / "logs").mkdir()
    torch.save({"state_dict": {"a": torch.zeros(1)}, "global_step": 3}, tmp_path / "logs" / "last.ckpt")
    found = replay_models(_write(tmp_path, saved, models=[entry]), tmp_path / "runs", report=None)
    (why,) = found.failed.values()
    assert re.search(sentence, why), why


def test_a_run_with_failed_points_is_done_and_said(tmp_path: Path) -> None:
    from ibtrack.record.trajectory import Point

    result = ModelsReplay(tmp_path)
    good, bad = Point(0, {"ib/probe_loss": 2.0}), Point(8, failure="it is damaged")
    module._sort_in(result, "a", Trajectory({}, {}, [good, bad]))
    module._sort_in(result, "b", Trajectory({}, {}, [bad]))
    assert list(result.done) == ["a"]
    assert result.failed["a"] == "1 of its 2 points, the first at step 8: it is damaged"
    assert result.sentences()[0] == f"1 of 2 models are in {tmp_path}."


def test_parameters_that_layers_share_count_once(tmp_path: Path) -> None:
    made = saved_models.model("llama", 16)
    made.config.tie_word_embeddings = True
    made.tie_weights()
    made.config.save_pretrained(tmp_path)
    assert count_parameters(tmp_path) == sum(each.numel() for each in made.parameters())
    (tmp_path / "config.json").write_text('{"model_type": "no such type"}')
    assert count_parameters(tmp_path) is None


def test_from_a_list_of_models_to_scores_and_a_page(saved: Path, tmp_path: Path) -> None:
    path, out = _write(tmp_path, saved), tmp_path / "runs"
    done = _run("replay", "--models", path, "-o", out)
    assert done.exit_code == 0
    assert done.stdout.startswith(f"6 of 6 models are in {out}.\n6 models have 2 tokenizers.")
    names = [f"{family}-{width}" for family in saved_models.FAMILIES for width in (16, 32)]
    rows = [f"{name},{0.2 + 0.03 * number}" for number, name in enumerate(names)]
    (tmp_path / "scores.csv").write_text("\n".join(["run,arc", *rows]))
    refused = _run("scores", out, "--table", tmp_path / "scores.csv", "--by", "family", "--order", "token")
    assert refused.exit_code == 2
    assert "--allow-mixed" in refused.stderr
    options = ["--by", "family", "--allow-mixed"]
    told = _run("scores", out, "--table", tmp_path / "scores.csv", *options, "--quantity", "told")
    assert told.exit_code == 0
    lines = told.stdout.splitlines()
    assert "6 runs in 3 families, by family, with scores." in lines
    assert "The size is num_parameters." in lines
    assert MIXED in lines
    assert "Nothing can be told: 3 families are fewer than the 5 that an interval needs." in lines
    page, table = tmp_path / "report.html", tmp_path / "scores.csv"
    runs = [out / name for name in names]
    made = _run("report", *runs, "-o", page, "--scores", table, *options, "--quantity", "told", "--score", "arc")
    assert made.exit_code == 0, made.stderr
    text = page.read_text()
    assert "6 runs in 3 families, by family, with scores." in text
    assert 'id="scores-data"' in text
    without = _run("report", *runs, "-o", page, "--allow-mixed", "--by", "family")
    assert without.exit_code == 2
    assert without.stderr == "error: --by is about scores; name their table by --scores\n"


def _files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_models_come_from_a_hub(saved: Path, tmp_path: Path) -> None:
    with Hub() as hub:
        hub.add("org/one", {"main": _files(saved / "llama-16")})
        saved_models.save(tmp_path / "later", "neox", 16, seed=1)
        hub.add("org/series", {"step16": _files(saved / "neox-16"), "step32": _files(tmp_path / "later")})
        models = [
            {"source": "org/one"},
            {"source": "org/one", "step": 500, "name": "told"},
            {"source": "org/series", "trajectory": True},
            {"source": "org/series", "revision": "step16", "name": "early"},
            {"source": "org/nothing"},
        ]
        path = _write(tmp_path, saved, models=models)
        found = replay_models(path, tmp_path / "runs", report=None, endpoint=hub.url, token=False)
        steps = {name: run.steps for name, run in found.done.items()}
        assert steps == {"one": [0], "told": [500], "series": [16, 32], "early": [16]}
        assert list(found.failed) == ["nothing"]
        assert "org/nothing" in found.failed["nothing"]
        assert str(found.done["one"].points[0].checkpoint).startswith("main@")
        assert found.done["one"].run["config"]["replay"]["source"] == "org/one"
        asked = hub.count(r"org/one/resolve/.*model\.safetensors")
        replay_models(path, tmp_path / "runs", report=None, endpoint=hub.url, token=False)
        assert hub.count(r"org/one/resolve/.*model\.safetensors") == asked  # as it is not measured again
    assert not list((tmp_path / "runs").glob("*/checkpoints/*"))


def test_the_command_ends_with_an_error_where_a_model_failed(saved: Path, tmp_path: Path) -> None:
    models = [{"source": str(saved / "llama-16")}, {"source": "no/such model"}]
    done = _run("replay", "--models", _write(tmp_path, saved, models=models), "-o", tmp_path / "runs")
    assert done.exit_code == 1
    assert "1 of 2 models are in" in done.stdout
    assert "such model failed: there is no file or folder" in done.stdout


def _run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(each) for each in arguments])
