"""Every option of every group of the configuration, and what is said of an option that there is none of."""

from __future__ import annotations

from pathlib import Path

import pytest
from hydra.errors import ConfigCompositionException
from hydra.utils import instantiate
from lightning.pytorch import Trainer

from experiments import train
from experiments.data import TextData
from experiments.hmm import HmmData
from experiments.isolation import isolated
from ibtrack.replay.settings import protocol_settings
from ibtrack.schedules import Schedule
from tests.runs import TRAINING, config, options

pytestmark = TRAINING


@pytest.mark.parametrize("name", options("data"))
def test_every_data_config_has_its_parts(name: str) -> None:
    parts = ["data.documents={_target_: experiments.documents.stdlib, _partial_: true}"] if name == "base" else []
    files = ["data.documents.files=a.txt"] if name == "local" else []
    assert isinstance(instantiate(config(f"data={name}", *parts, *files).data), TextData | HmmData)


@pytest.mark.parametrize("name", options("trainer"))
def test_every_trainer_config_makes_a_trainer(name: str) -> None:
    cfg = config(f"trainer={name}", "trainer.accelerator=cpu", "trainer.devices=1", "trainer.precision=32-true")
    with isolated():
        assert isinstance(instantiate(cfg.trainer, logger=False), Trainer)


@pytest.mark.parametrize("name", options("logger"))
def test_every_logger_config_makes_loggers(name: str, tmp_path: Path) -> None:
    cfg = config(f"logger={name}", f"run_dir={tmp_path}")
    with isolated():
        loggers = train._loggers(cfg.logger)
    assert len(loggers) == {"none": 0, "several": 2}.get(name, 1)


def test_the_configurations_of_the_paper_are_its_named_protocol() -> None:
    cfg = config("monitor=paper", "probe=paper", "data.block_size=512")
    paper = protocol_settings("paper")
    assert instantiate(cfg.monitor.options) == paper.options
    assert tuple(cfg.monitor.layers) == paper.layers
    assert {**cfg.probe, "orders": tuple(cfg.probe.orders)}.items() >= paper.text_options.items()


@pytest.mark.parametrize("name", sorted(set(options("monitor")) - {"base"}))
def test_every_monitor_config_has_a_schedule(name: str) -> None:
    assert isinstance(instantiate(config(f"monitor={name}").monitor.schedule, _convert_="all"), Schedule)


def test_a_wrong_option_is_answered_with_those_there_are() -> None:
    with pytest.raises(ConfigCompositionException, match=r"(?s)Could not find 'data/nothing'.*stdlib.*wikitext"):
        config("data=nothing")
