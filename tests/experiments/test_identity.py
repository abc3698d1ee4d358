"""What makes a run the same: what is compared, and the sentence that refuses to go on with another run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from experiments.identity import RUN, beginning, differences, identity
from experiments.isolation import isolated
from experiments.last_state import STATES
from tests.experiments.resumed import BATCH, TINY, fit
from tests.runs import TRAINING, config, measured

pytestmark = TRAINING

KNOWN = {"seed": 0, "batch": 16, "corpus": "ab" * 32, "tokenizer": "2:" + "cd" * 32, "block_size": 128}
CONFIG = {"name": "run", "tags": []}


def with_state(folder: Path) -> Path:
    beginning(folder, KNOWN, CONFIG, resume="auto")
    (folder / STATES / "step-7").mkdir()
    return folder


def test_a_run_begins_and_goes_on_from_its_state_with_the_configuration_it_began_with(tmp_path: Path) -> None:
    assert beginning(tmp_path, KNOWN, CONFIG, resume="auto").state is None
    with_state(tmp_path)
    for resume in ("auto", True):
        begun = beginning(tmp_path, KNOWN, {"name": "other"}, resume=resume)
        assert begun.state == tmp_path / STATES / "step-7" / "state.ckpt"
        assert begun.config == CONFIG


def test_without_resume_it_begins_anew_and_keeps_what_there_was(tmp_path: Path) -> None:
    with_state(tmp_path)
    (tmp_path / "trajectory.jsonl").write_text("points")
    assert beginning(tmp_path, {**KNOWN, "seed": 1}, CONFIG, resume=False).state is None
    assert (tmp_path / "attempt_1" / STATES / "step-7").is_dir()
    assert (tmp_path / "attempt_1" / "trajectory.jsonl").read_text() == "points"
    assert json.loads((tmp_path / STATES / RUN).read_text())["identity"]["seed"] == 1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"batch": 8}, "batch: 16 before, 8 now"),
        ({"seed": 1}, "seed: 0 before, 1 now"),
        ({"corpus": "ef" * 32}, "corpus: abababab before, efefefef now"),
        ({"corpus": "ef" * 32, "tokenizer": "2:" + "ef" * 32}, "tokenizer: cdcdcdcd before, efefefef now"),
        ({"model.optimizer.lr": 0.1}, r"model.optimizer.lr: — before, 0.1 now"),
    ],
)
def test_another_run_is_refused_in_a_sentence_that_names_what_differs(
    change: dict[str, object], said: str, tmp_path: Path
) -> None:
    with_state(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ValueError, match=rf"step-7 lies in .*, but differs in {said}; resume=false begins it anew"):
        beginning(tmp_path, KNOWN | change, CONFIG, resume="auto")
    assert sorted(tmp_path.rglob("*")) == before, "nothing was touched"


def test_a_state_that_has_to_be_there_and_is_not(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"resume=true must find a state in .*last, and none .* by run_dir=ITS_FOLDER"):
        beginning(tmp_path, KNOWN, CONFIG, resume=True)
    with pytest.raises(ValueError, match="resume must be auto, true or false, got 'yes'"):
        beginning(tmp_path, KNOWN, CONFIG, resume="yes")


def test_equal_runs_do_not_differ() -> None:
    assert differences(KNOWN, dict(KNOWN)) == ""


def known(*settings: str) -> dict[str, object]:
    """Make the identity of a run of the test's size."""
    from hydra.utils import instantiate
    from omegaconf import OmegaConf

    with isolated():
        cfg = config(*TINY, *settings)
        data = instantiate(cfg.data)
        data.setup()
        container: dict[str, object] = OmegaConf.to_container(cfg, resolve=True)  # type: ignore[assignment]
        return identity(container, data, instantiate(cfg.trainer, logger=False))


def test_what_decides_the_weights_is_in_the_identity_and_nothing_else_is() -> None:
    before = known()
    assert before["batch"] == BATCH
    for same in (
        ["name=x", "workers=2"],
        ["callbacks.last.steps=9"],
        ["monitor=light"],
        ["trainer.log_every_n_steps=5"],
    ):
        assert differences(before, known(*same)) == ""
    for setting, key in {
        "seed=1": "seed",
        "data.batch_size=2": "batch",
        "data.source_seed=4": "corpus",
        "data.block_size=8": "block_size",
        "model.optimizer.lr=1": "model.optimizer.lr",
        "model.settings.hidden_size=16": "model.settings.hidden_size",
        "trainer.gradient_clip_val=2": "gradient_clip_val",
        "trainer.max_steps=99": "max_steps",
        "+trainer.accumulate_grad_batches=2": "accumulate_grad_batches",
    }.items():
        assert f"{key}: " in differences(before, known(setting)), setting
    half = ["trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2", f"data.batch_size={BATCH // 2}"]
    assert differences(before, known(*half)) == "", "as many blocks in a batch of all processes"
    constant = ["model.schedule=constant", "model.schedule_settings=null"]
    longer = known(*constant, "trainer.max_steps=99")
    assert differences(known(*constant), longer) == "", "a constant rate does not depend on the length"


def test_data_of_another_kind_are_known_by_their_settings() -> None:
    from hydra.utils import instantiate
    from omegaconf import OmegaConf

    with isolated():
        cfg = config("experiment=tishby")
        container: Any = OmegaConf.to_container(cfg, resolve=True)
        found = identity(container, instantiate(cfg.data), instantiate(cfg.trainer, logger=False))
    assert found["data.batch_size"] == 512
    assert found["processes"] == 1


def test_a_run_that_has_ended_is_shown_again_and_refused_to_another_seed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    short = ["trainer.max_steps=3", "callbacks.last.steps=null"]
    fit(tmp_path, *short)
    points = measured(tmp_path)
    capsys.readouterr()
    fit(tmp_path, *short)
    assert "has come to its end before; resume=false begins it anew" in capsys.readouterr().out
    assert measured(tmp_path) == points
    files = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(ValueError, match="differs in seed: 0 before, 1 now"):
        fit(tmp_path, *short, "seed=1")
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == files, "nothing half done"
