"""The plan of a run, against what the run then is: parameters, operations, measurements, files."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hydra.utils import instantiate
from torch.utils.flop_counter import FlopCounterMode

from experiments import train
from experiments.budget import Budget
from experiments.model import LanguageModel
from experiments.plan import due, flops_per_token, make_plan
from ibtrack import Trajectory, schedules
from tests.runs import TRAINING, config

pytestmark = TRAINING


@pytest.mark.parametrize("model", ["llama_1M", "gpt2", "olmo2", "gpt_neox"])
def test_the_parameters_are_those_of_the_model(model: str) -> None:
    cfg = config(f"model={model}", "data.vocab_size=1000", "data.block_size=64")
    plan = make_plan(cfg)
    real = instantiate(cfg.model, vocab_size=1000, block_size=64)
    assert plan.parameters is not None
    assert plan.memory is not None
    assert plan.parameters.total == sum(parameter.numel() for parameter in real.parameters())
    assert plan.memory.gradients == sum(parameter.nbytes for parameter in real.parameters())


@pytest.mark.parametrize("tied", [False, True])
def test_operations_are_those_that_are_counted(tied: bool) -> None:
    settings = {"hidden_size": 64, "intermediate_size": 176, "num_hidden_layers": 3, "num_attention_heads": 4}
    settings |= {"num_key_value_heads": 4, "max_position_embeddings": 128, "tie_word_embeddings": tied}
    model = LanguageModel("llama", settings, vocab_size=500, block_size=128, attention="eager")
    multiplied = sum(parameter.numel() for parameter in model.parameters()) - (0 if tied else 64 * 500)
    with FlopCounterMode(display=False) as counter:
        model._loss(torch.zeros(2, 128, dtype=torch.long)).backward()
    expected = counter.get_total_flops() / (2 * 128)
    norms = 6 * 7 * 64  # the weights of norms are no products of matrices
    # a gradient for the embedding is not a product, and neither is one for the scores' own inputs
    assert flops_per_token(model.network, multiplied, 128) - norms == pytest.approx(expected, rel=0.01)


@pytest.mark.filterwarnings("ignore:.*of the probe stand")
def test_what_is_due_is_measured_and_what_is_written_has_its_size(tmp_path: Path) -> None:
    sizes = ["probe.num_blocks=24", "data.max_documents=120", "data.block_size=64", "data.batch_size=8"]
    length = [
        "tokens=10k",
        "trainer.max_steps=null",
        "model.warmup_steps=20%",
        "checkpoints=measured",
        "~callbacks.last",
    ]
    schedule = ["monitor=tokens", "monitor.schedule.number=1500"]
    cfg = config("experiment=tiny", f"run_dir={tmp_path}", "logger=none", *sizes, *length, *schedule)
    plan = make_plan(cfg)
    assert (plan.budget.steps, plan.warmup_steps) == (20, 4)
    assert not [*tmp_path.iterdir()], "a plan writes nothing"
    train.train(cfg)
    trajectory = Trajectory.load(tmp_path)
    assert plan.measurements == len(trajectory.points) == 8
    assert plan.measured_share == 8 * 24 * 64 / (20 * 512)
    assert plan.disk["trajectory"] == pytest.approx((tmp_path / "trajectory.jsonl").stat().st_size, rel=0.15)
    saved = sum(file.stat().st_size for file in (tmp_path / "checkpoints").rglob("*.safetensors"))
    assert plan.disk["checkpoints"] == pytest.approx(saved, rel=0.05), "and names and shapes in their headers"


def test_measurements_are_counted_as_the_tracker_makes_them() -> None:
    budget = Budget(batch_size=4, block_size=8, steps=100)
    assert due(schedules.powers(2) | schedules.every(50), budget) == 1 + 7 + 2
    assert due(schedules.tokens(64), budget) == 1 + 50
    assert due(schedules.every(30), budget) == 1 + 3 + 1, "before the first and after the last step as well"
    assert due(schedules.seconds(5), budget) is None
    assert due(schedules.every(30), Budget(batch_size=4, block_size=8)) is None


def test_what_is_not_known_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    epochs = make_plan(config("trainer.max_steps=-1", "trainer.max_epochs=1", "model.schedule=constant"))
    assert epochs.flops is epochs.epochs is epochs.measured_share is epochs.hours(1e12, 0.5) is None
    assert "depends on the clock or on the length of the run" in epochs.notes[0]
    odd = make_plan(config("trainer=gpu", "trainer.precision=transformer-engine", "monitor=light"))
    assert odd.memory is None
    assert odd.disk["checkpoints"] is None
    assert "the memory of precision transformer-engine is not known" in odd.notes
    assert any("left out where they would take more than 1.00% of time" in note for note in odd.notes)
    deep = make_plan(config("trainer.strategy=deepspeed", "trainer.devices=2"))
    assert deep.strategy == "deepspeed"
    assert any("what deepspeed adds to the memory of a process" in note for note in deep.notes)
    patterns = make_plan(config("experiment=tishby"))
    assert patterns.parameters is None
    assert patterns.notes == ("the model is not looked at, as PatternData has no blocks of tokens",)
    guess = make_plan(config("trainer=ddp"))
    assert "trainer.devices takes all GPUs, and this machine has none" in guess.notes[0]


def test_symbols_of_a_made_up_source_are_planned() -> None:
    plan = make_plan(config("data=hmm", "model=llama_0.3M"))
    assert plan.corpus_tokens == 20_000 * 128
    assert plan.parameters is not None


def test_devices_share_what_can_be_shared() -> None:
    big = ["model=llama_4M", "trainer.accelerator=cpu"]
    alone = make_plan(config(*big)).memory
    copies = make_plan(config(*big, "trainer=ddp", "trainer.devices=4")).memory
    shards = make_plan(config(*big, "trainer=fsdp", "trainer.devices=4")).memory
    assert alone
    assert copies
    assert shards
    assert copies.peak == alone.peak + alone.gradients
    assert 4 * shards.optimizer == pytest.approx(alone.optimizer, rel=0.01)
    assert shards.peak < alone.peak


def test_time_is_work_over_speed() -> None:
    plan = make_plan(config("trainer.devices=2", "trainer.strategy=ddp"))
    assert plan.flops is not None
    hours = plan.hours(1e12, 0.25)
    assert hours == pytest.approx(plan.flops / (2 * 0.25e12) / 3600)
