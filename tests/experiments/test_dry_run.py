"""``--dry-run``: the plan of one run or of every run of a sweep, with nothing run, written or asked for."""

from __future__ import annotations

import re
import socket
from pathlib import Path
from typing import Any

import pytest
from hydra.errors import InstantiationException

from experiments import train
from experiments.dry_run import hardware_of
from tests.runs import TRAINING, config, launch

pytestmark = TRAINING


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stay in an empty folder, with an empty cache, no GPU and no network."""

    def no_socket(*arguments: Any) -> Any:
        raise AssertionError("a plan asked the network")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    monkeypatch.setattr(socket, "create_connection", no_socket)
    monkeypatch.setattr(socket.socket, "connect", no_socket)
    return tmp_path


def test_a_run_on_a_corpus_of_the_web_is_planned_without_gpu_network_or_file(
    nowhere: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    machine = ["trainer.devices=8", "trainer.accelerator=gpu", "trainer.precision=bf16-mixed"]
    length = ["tokens=2.5B", "tokens_per_step=524_288", "data.block_size=1024", "model.warmup_steps=1%"]
    time = ["--hardware", "H100", "--mfu", "0.4"]
    assert launch("data=c4", "model=llama_125M", "trainer=ddp", "--dry-run", *machine, *length, *time) is None
    text = capsys.readouterr().out
    assert [*nowhere.iterdir()] == []
    for said in (
        r"corpus +hub\(path='allenai/c4'.*about 12.0 GB of text",
        r"parameters +123,551,232: 38,597,376 of",
        r"a step +524,288 tokens: 16 blocks of 1,024 tokens x 8 processes x 4 batches",
        r"the run +4,769 steps, 2,500,329,472 tokens; warm-up 48 steps",
        r"work +2\.1\de\+18 FLOPs",
        r"time +\d+ min \d+ s at 40% of the 9.89e\+14 FLOP/s of each H100",
        r"weights +494 MB",
        r"optimizer +988 MB",
        r"peak +\d+\.?\d* GB",
        r"corpus +6 GB",
        r"the tokenizer gpt2 is not on this machine: its vocabulary is the published one",
    ):
        assert re.search(said, text), said


def test_the_demo_is_planned(nowhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    launch("--dry-run", "experiment=demo")
    text = capsys.readouterr().out
    assert text.startswith("demo\n")
    assert "1,200 steps, 2,457,600 tokens" in text
    assert "in all" not in text
    assert [*nowhere.iterdir()] == []


def test_a_sweep_is_one_plan_for_each_job_and_a_total(nowhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    launch("-m", "experiment=tiny", "seed=0,1", "data.batch_size=4,8", "--dry-run")
    text = capsys.readouterr().out
    assert re.findall("^tiny.*", text, re.MULTILINE) == [
        f"tiny seed={seed} batch_size={size}" for seed in (0, 1) for size in (4, 8)
    ]
    assert text.count("a step ") == 4
    assert re.search(r"in all: 4 runs, 6,144 tokens", text)
    assert [*nowhere.iterdir()] == []


def test_the_values_of_an_experiment_make_a_sweep(nowhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    launch("-m", "experiment=seeds", "--dry-run")
    assert re.findall("^seeds.*", capsys.readouterr().out, re.MULTILINE) == [f"seeds seed={seed}" for seed in range(5)]


def test_a_search_is_one_plan_so_many_times(nowhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    launch("-m", "experiment=search", "--dry-run")
    text = capsys.readouterr().out
    assert text.count("a step ") == 1
    assert "in all: 12 runs, 9,830,400 tokens" in text
    assert [*nowhere.iterdir()] == []


@pytest.mark.parametrize(
    "overrides",
    [
        ["tokens=5M", "trainer.max_steps=3"],
        ["data.attention=nowhere"],
        ["model.architecture=nothing"],
        ["model.settings.max_position_embeddings=16"],
        ["monitor=dense", "trainer.max_steps=5"],
        ["monitor.options.num_anchors=0"],
        ["trainer.precision=7"],
    ],
)
def test_a_wrong_configuration_is_answered_as_the_run_does(overrides: list[str], nowhere: Path) -> None:
    with pytest.raises(SystemExit) as ended:
        launch("--dry-run", "experiment=tiny", *overrides)
    with pytest.raises((ValueError, InstantiationException)) as failed:
        train.train(config("experiment=tiny", f"run_dir={nowhere}/run", "logger=none", *overrides))
    assert str(ended.value.code) in str(failed.value.__cause__ or failed.value)
    assert len(str(ended.value.code)) > 20


@pytest.mark.parametrize("mode", ["--run", "-m"])
def test_a_wrong_override_is_answered_as_hydra_does(
    mode: str, nowhere: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        launch(mode, "--dry-run", "trainer.max_step=5")
    assert ended.value.code == 1
    assert "did you mean max_steps?" in capsys.readouterr().err
    assert [*nowhere.iterdir()] == []


@pytest.mark.parametrize(
    ("name", "mfu", "said"),
    [
        ("H100", None, "--hardware and --mfu must be given together"),
        (None, 0.4, "--hardware and --mfu must be given together"),
        ("H100", 1.5, "--mfu must be above 0 and at most 1, got 1.5"),
        ("TPU", 0.4, "--hardware must be one of A100, .*, or FLOP/s such as 312e12, got 'TPU'"),
        ("-1", 0.4, "--hardware must be one of .* got '-1'"),
        ("nan", 0.4, "--hardware must be one of .* got 'nan'"),
    ],
)
def test_devices_that_are_not_known_are_answered(name: str | None, mfu: float | None, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        hardware_of(name, mfu)


def test_a_number_is_hardware_too() -> None:
    hardware = hardware_of("312e12", 0.5)
    assert hardware is not None
    assert (hardware.name, hardware.peak) == ("device", 312e12)
    assert hardware_of(None, None) is None


def test_the_speed_of_a_device_is_that_of_half_precision(nowhere: Path) -> None:
    with pytest.raises(SystemExit, match="--hardware must be FLOP/s for precision 32-true, as those of H100 are known"):
        launch("--dry-run", "--hardware", "H100", "--mfu", "0.4")
