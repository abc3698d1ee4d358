"""The training script: a smoke run of every experiment, its callbacks and its objective."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from lightning.pytorch import LightningModule

from experiments import train
from experiments.data import TextData
from experiments.summary import table
from ibtrack import Point, Probe, Trajectory
from tests.runs import SMALL, TRAINING, config, inspect, options

pytestmark = TRAINING


LENGTHS_OF_ITS_OWN = ["tokens=null", "tokens_per_step=256"]  # two batches of four blocks of 32 tokens

# what makes an experiment small enough to be run here; a new one needs its line
SMOKE = {
    "corpora": SMALL,
    "demo": [*SMALL, "model.settings.num_hidden_layers=2"],
    "pretrain": [*SMALL, "data=stdlib", "model=llama_0.3M", "trainer=cpu", "workers=0", *LENGTHS_OF_ITS_OWN],
    "recipes": SMALL,
    "search": SMALL,
    "seeds": SMALL,
    "sizes": [*SMALL, "model=llama_0.3M"],
    "tiny": ["trainer.max_steps=2"],
    "tiny_sweep": SMALL,
    "tishby": ["trainer.max_steps=2", "trainer.val_check_interval=2"],
}


def test_every_experiment_has_a_smoke_run() -> None:
    assert options("experiment") == sorted(SMOKE)


@pytest.mark.parametrize("name", SMOKE)
def test_experiment_runs(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cfg = config(f"experiment={name}", f"run_dir={tmp_path}", *SMOKE[name])
    value = train.train(cfg)
    trajectory = Trajectory.load(tmp_path)
    last = trajectory.points[-1]
    assert trajectory.steps[0] == 0
    assert last.step == trajectory.run["config"]["trainer"]["max_steps"]
    assert [point.failure for point in trajectory.points] == [None] * len(trajectory.points)
    assert value == last.values[cfg.objective]
    assert trajectory.name == name
    printed = capsys.readouterr().out
    for file in ("trajectory.jsonl", "plane.png", "report.html"):
        assert (tmp_path / file).stat().st_size > 0
        assert str(tmp_path / file) in printed
    assert "wandb leet run" in printed
    assert table(trajectory) in printed
    run = json.loads(inspect(tmp_path, "--summary", "--json"))
    assert run["exit_code"] == 0
    assert trajectory.run["config"].items() <= run["config"].items(), "wandb has the resolved configuration"
    assert run["summary"][cfg.objective] == value


@pytest.mark.filterwarnings("ignore:.*of the probe stand")  # 32 tokens are one passage, which others share
def test_the_paper_is_measured_by_its_own_probe_and_monitor(tmp_path: Path) -> None:
    settings = ["monitor=paper", "probe=paper", "trainer.max_steps=1"]
    train.train(config("experiment=tiny", f"run_dir={tmp_path}", *settings))
    trajectory = Trajectory.load(tmp_path)
    assert trajectory.protocol["temperature"] == "bounds"
    assert trajectory.protocol["label_weights"] == "both"
    assert trajectory.protocol["probe"]["blocks"] == 8
    assert list(trajectory.protocol["sites"]) == ["embed", "L00", "L01", "final"]
    values = trajectory.points[-1].values
    assert 0 < values["ib_plugin/mean/token/complexity_equal"] < values["ib_plugin/mean/token/complexity"]


def test_callbacks_can_watch_the_measured_values(tmp_path: Path) -> None:
    stop = ["+callbacks.stop._target_=lightning.pytorch.callbacks.EarlyStopping", "+callbacks.stop.patience=1"]
    watch = ["+callbacks.stop.monitor=ib/mean/entropy", "+callbacks.stop.mode=max"]
    validate = ["trainer.limit_val_batches=1", "trainer.val_check_interval=2", "objective=val/loss"]
    cfg = config("experiment=tiny", f"run_dir={tmp_path}", "logger=csv", *stop, *watch, *validate)
    assert 0 < train.train(cfg) < 10
    assert Trajectory.load(tmp_path).steps[-1] == 4, "entropy falls from the start, so the second check is the last"


def test_an_objective_there_is_none_of_is_answered_with_those_there_are() -> None:
    trajectory = Trajectory({}, {}, [Point(0, {"ib/mean/token/optimality": float("nan"), "ib/L00/entropy": 0.5})])
    with pytest.raises(ValueError, match="objective must be one of ib/mean/token/optimality, val/loss, got 'x'"):
        train.objective(trajectory, {"val/loss": 1.0}, "x")
    with pytest.raises(ValueError, match="objective ib/mean/token/optimality must be finite"):
        train.objective(trajectory, {}, "ib/mean/token/optimality")


def leaking() -> tuple[Probe, TextData]:
    """Return data in which one document of the probe is one that is trained on, but for its last word."""
    words = [f"w{i * i % 97}x{i}" for i in range(3000)]
    texts = [" ".join(words[start : start + 60]) for start in range(0, 2940, 60)]
    data = TextData(lambda: texts, vocab_size=300, block_size=32, batch_size=4, held_out=0.3)
    data.setup()
    trained = data.tokenizer.decode(data.train_blocks.stacked()[3:8].flatten().tolist())
    held_out = [data.probe_texts[0], data.probe_texts[1], f"{trained} end"]
    return Probe.from_texts(held_out, data.tokenizer, num_blocks=3, block_size=64, orders=(1, 2)), data


def test_a_probe_in_the_training_text_is_found(capsys: pytest.CaptureFixture[str]) -> None:
    probe, data = leaking()
    with pytest.warns(
        UserWarning, match="1 of 3 documents of the probe stands in the .* measured all the same; contained"
    ):
        assert train.searched(probe, data, "warn") is probe
    assert probe.overlap is not None
    (contained,) = probe.overlap.documents
    with pytest.warns(UserWarning, match="1 of 3 documents .*: not measured"):
        left = train.searched(probe, data, "leave_out")
    assert left.hash == probe.without([contained]).hash
    with pytest.raises(ValueError, match=r"1 of 3 documents .*; contained=leave_out trains and does not measure them"):
        train.searched(probe, data, "refuse")
    with pytest.raises(ValueError, match="contained must be one of warn, leave_out, refuse, got 'x'"):
        train.searched(probe, data, "x")
    assert capsys.readouterr().out == ""
    assert train.searched(left, data, "refuse") is left
    assert capsys.readouterr().out.startswith("no document of the probe stands in the training text")


def test_the_header_of_a_run_says_whether_its_probe_was_trained_on(tmp_path: Path) -> None:
    train.train(config("experiment=tiny", f"run_dir={tmp_path}", "logger=csv", "trainer.max_steps=1"))
    overlap = Trajectory.load(tmp_path).protocol["overlap"]
    assert overlap["documents"] == []
    assert overlap["tokens"] > 10_000
    assert overlap["sentence"].startswith("no document of the probe stands in the training text")


def trained(folder: Path, *overrides: str) -> tuple[Trajectory, dict[str, torch.Tensor]]:
    """Train the tiny experiment, and return its trajectory and its last weights."""
    keep = [
        "+callbacks.keep._target_=lightning.pytorch.callbacks.ModelCheckpoint",
        f"+callbacks.keep.dirpath={folder}/kept",
    ]
    keep += ["+callbacks.keep.every_n_train_steps=1", "trainer.enable_checkpointing=true"]
    train.train(config("experiment=tiny", f"run_dir={folder}", "logger=none", *keep, *overrides))
    (file,) = folder.glob("kept/*.ckpt")
    return Trajectory.load(folder), torch.load(file, weights_only=False)["state_dict"]


def test_tokens_give_a_run_its_steps_and_its_warm_up(tmp_path: Path) -> None:
    budget = ["tokens=1k", "trainer.max_steps=null", "tokens_per_step=256", "model.warmup_steps=25%"]
    trajectory, _ = trained(tmp_path, *budget)
    settings = trajectory.run["config"]
    assert (settings["trainer"]["max_steps"], settings["trainer"]["accumulate_grad_batches"]) == (4, 2)
    assert settings["model"]["warmup_steps"] == 1
    assert [point.tokens_seen for point in trajectory.points] == [256 * step for step in trajectory.steps]
    assert trajectory.steps[-1] == 4


def test_a_compiled_model_is_measured_and_left_alone_like_any_other(tmp_path: Path) -> None:
    compiled = [
        "compile=aot_eager",
        "trainer.max_steps=5",
    ]  # the backend that needs no compiler of C++
    often, weights = trained(tmp_path / "often", *compiled, "monitor=dense", "monitor.schedule.steps=1")
    rarely, same = trained(tmp_path / "rarely", *compiled, "monitor=dense", "monitor.schedule.steps=5")
    assert [point.failure for point in often.points] == [None] * 6
    assert rarely.steps == [0, 5]
    assert weights.keys() == same.keys()
    assert all(torch.equal(weights[name], same[name]) for name in weights), "measuring changes nothing, bit for bit"
    eager, _ = trained(tmp_path / "eager", "trainer.max_steps=5", "monitor=dense", "monitor.schedule.steps=5")
    assert rarely.points[-1].loss == pytest.approx(eager.points[-1].loss, rel=1e-4), "sums are taken in another order"


def test_what_cannot_be_compiled_is_said() -> None:
    with pytest.raises(ValueError, match=r"compile must be true, false or one of .*aot_eager.*, got 'no_backend'"):
        train.compiled(LightningModule(), "no_backend")
    with pytest.raises(ValueError, match="compile must be false for LightningModule, which is no LanguageModel, got T"):
        train.compiled(LightningModule(), True)
