"""The budget of a run: tokens of a step and of the run, warm-up and decay, and what is said where these cannot be."""

from __future__ import annotations

from typing import Any

import pytest
from omegaconf import OmegaConf

from experiments.budget import Budget, amount, budget_of, check_processes, count_processes, settled, steps_of
from tests.runs import config

BLOCKS = ["data.batch_size=16", "data.block_size=128"]


def test_without_tokens_nothing_changes() -> None:
    cfg = config()
    plain: Any = OmegaConf.to_container(cfg, resolve=True)
    assert OmegaConf.to_container(settled(cfg, 1), resolve=True) == plain
    assert plain["trainer"]["max_steps"] == 1500
    assert "accumulate_grad_batches" not in plain["trainer"]


def test_tokens_become_steps_and_batches() -> None:
    asked = config("tokens=300M", "tokens_per_step=524_288", "data.block_size=1024", "data.batch_size=8")
    cfg = settled(asked, 4)
    assert cfg.trainer.accumulate_grad_batches == 524_288 // (8 * 1024 * 4) == 16
    assert cfg.trainer.max_steps == 573, "572 steps have less than 300M tokens"
    found = budget_of(asked, 4)
    assert found == Budget(batch_size=8, block_size=1024, processes=4, accumulate=16, steps=573)
    assert found.tokens == 573 * 524_288


def test_the_configuration_that_is_settled_stays_as_it_is() -> None:
    cfg = config("tokens=1M", *BLOCKS)
    before = OmegaConf.to_yaml(cfg)
    settled(cfg, 1)
    assert OmegaConf.to_yaml(cfg) == before


def test_a_run_without_a_last_step_has_none() -> None:
    found = budget_of(config("trainer.max_steps=-1", "trainer.max_epochs=2"), 1)
    assert found.steps is found.tokens is None
    assert settled(config("trainer.max_steps=null"), 1).trainer.max_steps == -1


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (
            ["tokens_per_step=500_000"],
            r"tokens_per_step must be a multiple of 4,096 \(16 blocks of 128 tokens in each of 2 processes\), "
            "such as 499,712 or 503,808, got 500,000",
        ),
        (["tokens_per_step=1000"], "such as 4,096, got 1,000"),
        (
            ["tokens_per_step=8192", "+trainer.accumulate_grad_batches=2"],
            "a step must be given by tokens_per_step or by trainer.accumulate_grad_batches, not by both, got 8,192",
        ),
        (
            ["tokens=5M", "trainer.max_steps=100"],
            "the length of a run must be given by tokens or by trainer.max_steps, not by both, got 5,000,000 and 100; "
            "trainer.max_steps=null",
        ),
        (["experiment=demo", "tokens=5M"], "not by both, got 5,000,000 and 1,200"),
        (["tokens=lots"], "tokens must be a whole number such as 524_288, 5e8, 300M or 2B, got 'lots'"),
        (["tokens=0"], "tokens must be a whole number .* got 0"),
        (["model.warmup_steps=a while"], "model.warmup_steps must be steps, a share such as 1%, or tokens .*'a while'"),
        (["model.warmup_steps=-1"], "model.warmup_steps must be steps, .* got -1"),
        (["model.warmup_steps=0.5M steps"], "model.warmup_steps must be steps, .* got '0.5M steps'"),
        (
            ["model.warmup_steps=1%", "trainer.max_steps=-1"],
            "model.warmup_steps must be steps or tokens in a run without trainer.max_steps or tokens, got 1%",
        ),
    ],
)
def test_a_length_that_cannot_be_had_is_one_sentence(overrides: list[str], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        settled(config(*BLOCKS, *overrides), 2)


def test_patterns_are_not_tokens() -> None:
    with pytest.raises(ValueError, match="tokens must be null for data that are not blocks of tokens, got 5M"):
        settled(config("experiment=tishby", "tokens=5M"), 1)
    assert budget_of(config("experiment=tishby"), 1) == Budget(batch_size=512, block_size=1, steps=10_500)


def test_tokens_take_the_place_of_an_experiments_steps_when_these_are_taken_out() -> None:
    assert settled(config("experiment=demo", "tokens=1M", "trainer.max_steps=null"), 1).trainer.max_steps == 489


def test_warm_up_and_decay_are_parts_of_the_run() -> None:
    parts = ["model.warmup_steps=1%", "model.schedule_settings.num_decay_steps=0.4M tokens"]
    cfg = settled(config("recipe=wsd", "tokens=4M", *BLOCKS, *parts), 1)
    assert cfg.trainer.max_steps == 1954
    assert (cfg.model.warmup_steps, cfg.model.schedule_settings.num_decay_steps) == (20, 196)


def test_amounts_are_exact() -> None:
    assert amount("tokens", "0.3B") == 300_000_000
    assert amount("tokens", "1,000") == amount("tokens", "1k") == amount("tokens", 1e3) == 1000
    for wrong in ("1.0001k", "-5", "2BB", "", None, True, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="tokens must be a whole number"):
            amount("tokens", wrong)


def test_steps_may_be_text() -> None:
    budget = Budget(batch_size=4, block_size=32, steps=10)
    assert steps_of("warmup_steps", "7", budget) == 7
    assert steps_of("warmup_steps", "129 tokens", budget) == 2


@pytest.mark.parametrize(
    ("trainer", "number"),
    [
        ({"accelerator": "cpu", "devices": 2}, 2),
        ({"accelerator": "cpu", "devices": "3", "num_nodes": 2}, 6),
        ({"accelerator": "gpu", "devices": "0,1"}, 2),
        ({"accelerator": "gpu", "devices": "1,"}, 1),
        ({"accelerator": "cpu", "devices": "auto"}, 1),
        ({"accelerator": "gpu", "devices": -1}, 0),
        ({"accelerator": "auto", "devices": "auto", "num_nodes": 2}, 2),
        ({}, 1),
    ],
)
def test_processes_are_counted(trainer: dict[str, object], number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: False)
    assert count_processes(OmegaConf.create(trainer)) == number


def test_all_gpus_of_the_machine_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 4)
    assert count_processes(config("trainer=ddp").trainer) == 4
    assert count_processes(config("trainer=gpu", "trainer.devices=auto").trainer) == 4
    assert count_processes(config("trainer=cpu").trainer) == 1


def test_a_trainer_of_other_processes_is_refused() -> None:
    check_processes(config("tokens=1M"), 1)
    check_processes(config(), 2)
    with pytest.raises(ValueError, match=r"must be for the trainer's processes, got 1 by trainer.devices .* and 2 in"):
        check_processes(config("tokens=1M"), 2)
