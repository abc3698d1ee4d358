"""Scores while a model trains: where they stand, when they are taken, and that training does not notice."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra.utils import instantiate
from lightning.pytorch import Trainer
from lightning.pytorch.strategies import ModelParallelStrategy
from transformers import PreTrainedTokenizerFast

from experiments import train
from experiments.downstream import Downstream, in_transformers
from experiments.tokenizer import train_tokenizer
from ibtrack import Trajectory, schedules
from ibtrack.analysis.score_files import read_scores, scores_beside
from tests.runs import TRAINING, config

pytest.importorskip("lm_eval")
pytestmark = [
    *TRAINING,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # of the harness and of what it imports
    pytest.mark.filterwarnings("ignore:.*of the probe stand"),
]

TASK = """
task: colours
dataset_path: json
dataset_kwargs: {{data_files: {{test: "{file}"}}}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{{{question}}}}"
doc_to_choice: "{{{{choices}}}}"
doc_to_target: "{{{{answer}}}}"
metric_list: [{{metric: acc}}, {{metric: acc_norm}}]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a task of three questions and with a text, beside which there is room for runs."""
    tmp_path = tmp_path / "tasks"
    tmp_path.mkdir()
    questions = [
        {"question": f"the colour of {thing} is", "choices": [" red", " a very deep blue"], "answer": i % 2}
        for i, thing in enumerate(["blood", "the sea", "a rose"])
    ]
    (tmp_path / "colours.jsonl").write_text("".join(json.dumps(each) + "\n" for each in questions))
    (tmp_path / "colours.yaml").write_text(TASK.format(file=tmp_path / "colours.jsonl"))
    (tmp_path / "prose.txt").write_text("The sea is blue, and so is the sky above it. " * 5)
    return tmp_path


def overrides(folder: Path, run_dir: Path) -> list[str]:
    scored = ["downstream=zero_shot", "callbacks.downstream.tasks=[colours]", "callbacks.downstream.schedule.steps=3"]
    scored += [f"callbacks.downstream.task_folder={folder}", f"+callbacks.downstream.texts.prose={folder}/prose.txt"]
    return ["experiment=tiny", "trainer.max_steps=5", "monitor=dense", "monitor.schedule.steps=2", "logger=csv",
            f"run_dir={run_dir}", *scored]  # fmt: skip


def weights(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, torch.Tensor]]:
    """Keep the weights that each fit ends with."""
    kept: list[dict[str, torch.Tensor]] = []
    fit = Trainer.fit

    def kept_fit(self: Trainer, model: Any, **options: Any) -> None:
        fit(self, model, **options)
        kept.append({name: value.clone() for name, value in model.state_dict().items()})

    monkeypatch.setattr(Trainer, "fit", kept_fit)
    return kept


def test_scores_stand_beside_the_readings_and_training_does_not_notice(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ends = weights(monkeypatch)
    given = overrides(folder, folder.parent / "scored")
    value = train.train(config(*given, "objective=scores/colours/acc"))
    train.train(config(*[each for each in given if "downstream" not in each], f"run_dir={folder.parent / 'plain'}"))
    scored, plain = ends
    assert all(torch.equal(scored[name], plain[name]) for name in plain), "bit for bit"
    trajectory, other = Trajectory.load(folder.parent / "scored"), Trajectory.load(folder.parent / "plain")
    assert trajectory.steps == [0, 2, 4, 5]
    assert [point.loss for point in trajectory.points] == [point.loss for point in other.points]
    assert trajectory.path is not None
    rows = scores_beside(trajectory.path, "mine")
    assert [(row.model, row.step) for row in rows] == [("mine", 0), ("mine", 4), ("mine", 5)], "due at 3, measured at 4"
    assert set(rows[0].scores) == {"colours/acc", "colours/acc_norm", "prose/bits_per_byte"}
    assert value == rows[-1].scores["colours/acc"]
    assert rows[0].scores["prose/bits_per_byte"] > rows[-1].scores["prose/bits_per_byte"] > 0
    table = (folder.parent / "scored" / "csv" / "metrics.csv").read_text()
    assert "scores/prose/bits_per_byte" in table
    assert "scores/seconds" in table
    assert "colours" not in capsys.readouterr().err


def test_bits_per_byte_are_those_of_the_model_itself(folder: Path) -> None:
    cfg = config(*overrides(folder, folder.parent / "run"), "trainer.max_steps=1")
    data = instantiate(cfg.data)
    data.setup()
    torch.manual_seed(0)
    model = instantiate(cfg.model, **data.model_settings)
    scorer = instantiate(cfg.callbacks.downstream, _convert_="all")
    trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
    scorer.setup(trainer, model, "fit")
    found = scorer._evaluate(model.eval(), in_transformers(data.tokenizer))["results"]["prose"]["bits_per_byte,none"]
    text = (folder / "prose.txt").read_text()
    ids = [data.tokenizer.token_to_id("<|endoftext|>"), *data.tokenizer.encode(text, add_special_tokens=False).ids]
    nats = 0.0
    for start in range(1, len(ids), 32):  # windows of the model's context, each with one token before it
        window = torch.tensor([ids[max(0, min(start - 1, len(ids) - 33)) : start + 32]])
        with torch.no_grad():
            log_p = model(window[:, :-1]).logits.log_softmax(-1)[0]
        targets = ids[start : start + 32]
        nats -= float(sum(log_p[len(log_p) - len(targets) + i, target] for i, target in enumerate(targets)))
    assert found == pytest.approx(nats / len(text.encode()) / torch.log(torch.tensor(2.0)).item(), rel=1e-4)


def test_a_fault_while_scoring_is_a_warning(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fault(*_: Any) -> None:
        raise RuntimeError("out of luck")

    monkeypatch.setattr(Downstream, "_evaluate", fault)
    with pytest.warns(UserWarning, match="step [02] could not be scored: .*out of luck.*; training goes on"):
        train.train(config(*overrides(folder, folder.parent / "run"), "trainer.max_steps=2"))
    assert Trajectory.load(folder.parent / "run").steps == [0, 2]
    assert not (folder.parent / "run" / "scores").exists()


def test_a_score_that_is_no_number_is_left_out(folder: Path) -> None:
    scorer = Downstream(["colours"], schedule=schedules.every(2), folder=folder / "scores", name="a")
    results = {"results": {"colours": {"acc,none": 0.5, "acc_norm,none": float("nan")}}, "versions": {}}
    with pytest.warns(UserWarning, match="step 2 has no colours/acc_norm,none: no finite number came out"):
        assert scorer._write(results, 2, 0.1) == {"colours/acc": 0.5}
    (row,) = read_scores(folder / "scores")
    assert (row.model, row.step) == ("a", 2)


def test_scores_of_steps_that_come_again_are_dropped(folder: Path) -> None:
    scorer = Downstream(["colours"], schedule=schedules.every(2), folder=folder, name="a")
    for step in (0, 2, 4):
        (folder / f"step-{step}.json").write_text("{}")

    class Resumed:
        global_step, is_global_zero, strategy, callbacks = 2, True, None, ()

    trainer: Any = Resumed()
    scorer.on_train_start(trainer, None)  # type: ignore[arg-type]  # no scores are due, so the module is not asked for
    assert sorted(path.name for path in folder.glob("step-*")) == ["step-0.json", "step-2.json"]


def test_what_cannot_be_scored_is_said_before_training(folder: Path) -> None:
    every = schedules.every(2)
    with pytest.raises(ValueError, match="tasks or texts must name something to score, got neither"):
        Downstream(schedule=every, folder=folder, name="a")
    with pytest.raises(ValueError, match="schedule must depend on the step alone"):
        Downstream(["colours"], schedule=schedules.tokens(100), folder=folder, name="a")
    scorer = Downstream(["colors"], schedule=every, folder=folder, name="a", task_folder=str(folder))
    trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
    with pytest.raises(
        ValueError, match="tasks must be those of lm-evaluation-harness or of task_folder, got 'colors'"
    ):
        scorer.setup(trainer, None, "fit")  # type: ignore[arg-type]
    missing = Downstream(texts={"prose": str(folder / "nothing.txt")}, schedule=every, folder=folder, name="a")
    with pytest.raises(FileNotFoundError, match=r"nothing\.txt"):
        missing.setup(trainer, None, "fit")  # type: ignore[arg-type]
    trainer._accelerator_connector.strategy = ModelParallelStrategy()
    with pytest.raises(ValueError, match="scores need the whole model in each process"):
        scorer.setup(trainer, None, "fit")  # type: ignore[arg-type]


def test_scores_without_the_harness_say_how_to_install_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "lm_eval.tasks", None)
    scorer = Downstream(["colours"], schedule=schedules.every(2), folder=folder, name="a")
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'ibtrack\[downstream\]'"):
        scorer.setup(Trainer(accelerator="cpu", logger=False), None, "fit")  # type: ignore[arg-type]


def test_the_tokenizer_of_the_data_is_not_changed() -> None:
    make: Any = PreTrainedTokenizerFast  # which has no types
    own = make(tokenizer_object=train_tokenizer(["abc"], vocab_size=257), eos_token="<|endoftext|>")
    taken = in_transformers(own)
    taken.pad_token = "<|endoftext|>"
    assert own.pad_token is None
