"""The callback in trainers of TRL: fine-tuning and preference optimisation of a small Llama on small files."""

from __future__ import annotations

import math
import random
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch

from ibtrack import MeasurementWarning, Trajectory, schedules
from ibtrack.integrations.huggingface import InformationPlaneTrainerCallback
from tests import post_training
from tests.docs.pages import ROOT, blocks

pytestmark = pytest.mark.filterwarnings("ignore:.*")  # of transformers, accelerate and TRL

SCHEDULE = schedules.every(2)
PREFERENCE = "ib/mean/preference_information"
LONGER = {"max_steps": 32, "learning_rate": 3e-3}  # steps until the model tells answers apart


def _callbacks(folder: Path, **options: Any) -> list[InformationPlaneTrainerCallback]:
    """One for a text and one for preferences."""
    options = {"schedule": SCHEDULE, "strict": True, **options}
    texts, preferences = folder / "trajectory.jsonl", folder / "trajectory_pref.jsonl"
    return [
        InformationPlaneTrainerCallback(post_training.text_probe(), path=texts, **options),
        InformationPlaneTrainerCallback(post_training.preference_probe(), path=preferences, prefix="pref", **options),
    ]


def _weights(trainer: Any) -> dict[str, torch.Tensor]:
    return {name: weight.detach().clone() for name, weight in trainer.model.state_dict().items()}


def _equal(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_fine_tuning_is_followed_by_two_probes_at_once_and_not_changed_by_them(tmp_path: Path) -> None:
    watches = _callbacks(tmp_path / "run")
    watched = post_training.sft(tmp_path / "watched", list(watches))
    watched.train()
    alone = post_training.sft(tmp_path / "alone", [])
    alone.train()
    assert _equal(_weights(watched), _weights(alone))
    assert not _equal(_weights(alone), post_training.model().state_dict())
    logged = [{entry["step"]: entry["loss"] for entry in each.state.log_history if "loss" in entry}
              for each in (watched, alone)]  # fmt: skip
    assert logged[0] == logged[1]
    for watch in watches:
        points = watch.trajectory.points
        assert [point.step for point in points] == [0, 2, 4, 6]
        assert [point.loss for point in points] == [None, *(logged[0][step] for step in (2, 4, 6))]
        seen = [point.tokens_seen for point in points]
        assert seen[0] is None
        assert seen == [None, *sorted(point.tokens_seen or 0 for point in points[1:])]
        assert seen[-1] == watched.state.num_input_tokens_seen
        assert not any(point.failure for point in points)
        assert list(watch.trajectory.protocol["sites"]) == ["embed", "L00", "L01"]
    assert all(map(math.isfinite, watches[0].trajectory.values("ib/mean/bigram/complexity")))
    assert all(map(math.isfinite, watches[1].trajectory.values(PREFERENCE)))


def test_preference_optimisation_goes_on_in_the_file_of_the_fine_tuning(tmp_path: Path) -> None:
    first = _callbacks(tmp_path / "run", stage="sft")
    fine_tuned = post_training.sft(tmp_path / "sft", list(first))
    fine_tuned.train()
    fine_tuned.save_model(str(tmp_path / "model"))
    alone = post_training.dpo(tmp_path / "alone", [], str(tmp_path / "model"), **LONGER)
    alone.train()
    then = _callbacks(tmp_path / "run", stage="dpo", schedule=schedules.powers(2))
    optimised = post_training.dpo(
        tmp_path / "dpo", list(then), str(tmp_path / "model"), **LONGER, save_steps=12, save_strategy="steps"
    )
    reference = {name: weight.clone() for name, weight in optimised.ref_model.state_dict().items()}
    optimised.train()
    assert _equal(_weights(optimised), _weights(alone))
    assert _equal(optimised.ref_model.state_dict(), reference)
    assert not _equal(_weights(optimised), reference)
    losses = {entry["step"]: entry["loss"] for entry in optimised.state.log_history if "loss" in entry}
    for name, own in zip(("trajectory.jsonl", "trajectory_pref.jsonl"), then, strict=True):
        trajectory = Trajectory.load(tmp_path / "run" / name)
        assert trajectory.steps == own.trajectory.steps == [0, 2, 4, 6, 7, 8, 10, 14, 22, 38]
        assert trajectory.stages == {"sft": 0, "dpo": 6}
        assert [point.loss for point in trajectory.points[4:]] == [losses[step] for step in (1, 2, 4, 8, 16, 32)]
        tokens = [point.tokens_seen or 0 for point in trajectory.points[1:]]
        assert tokens == sorted(tokens)
        assert tokens[-1] == fine_tuned.state.num_input_tokens_seen + optimised.state.num_input_tokens_seen
        assert not any("stage" in point.notes or point.failure for point in trajectory.points)
        times = [point.wall_time for point in trajectory.points]
        assert times == sorted(times)
        shares = trajectory.values("ib/overhead_fraction")
        assert all(0 < share <= 1 for share in shares)
    information = then[1].trajectory.values(PREFERENCE)
    errors = then[1].trajectory.values(f"{PREFERENCE}_se")
    assert abs(information[3] - information[0]) < 2 * (errors[3] + errors[0])  # which no text could teach
    assert information[-1] - information[3] > 2 * (errors[-1] + errors[3])  # and the pairs do

    again = _callbacks(tmp_path / "run", stage="dpo", schedule=schedules.powers(2))
    resumed = post_training.dpo(tmp_path / "dpo", list(again), str(tmp_path / "model"), **LONGER)
    resumed.train(resume_from_checkpoint=str(tmp_path / "dpo" / "checkpoint-12"))
    assert _equal(_weights(resumed), _weights(alone))
    for name in ("trajectory.jsonl", "trajectory_pref.jsonl"):
        trajectory = Trajectory.load(tmp_path / "run" / name)
        assert trajectory.steps == [0, 2, 4, 6, 7, 8, 10, 14, 22, 38]
        assert trajectory.stages == {"sft": 0, "dpo": 6}
    assert then[1].trajectory.values(PREFERENCE) == pytest.approx(again[1].trajectory.values(PREFERENCE), abs=1e-6)


def test_adapters_of_peft_go_on_with_the_sites_of_the_bare_model(tmp_path: Path) -> None:
    from peft import LoraConfig

    first = _callbacks(tmp_path / "run", stage="sft")
    fine_tuned = post_training.sft(tmp_path / "sft", list(first))
    fine_tuned.train()
    fine_tuned.save_model(str(tmp_path / "model"))
    then = _callbacks(tmp_path / "run", stage="dpo")
    adapters = LoraConfig(task_type="CAUSAL_LM", target_modules=["q_proj", "v_proj"])
    with warnings.catch_warnings():
        warnings.simplefilter("error", MeasurementWarning)  # that the model is another one, for one
        post_training.dpo(tmp_path / "dpo", list(then), str(tmp_path / "model"), peft_config=adapters).train()
    trajectory = Trajectory.load(tmp_path / "run")
    assert trajectory.steps == [0, 2, 4, 6, 8, 10, 12]
    assert trajectory.protocol["sites"] == {
        "embed": "model.embed_tokens",
        "L00": "model.layers.0",
        "L01": "model.layers.1",
    }
    first_and_last = [trajectory.at(step).values("ib/L01/token/complexity") for step in (6, 12)]
    assert first_and_last[0] != first_and_last[1]


@pytest.mark.parametrize("options", [{"packing": True, "packing_strategy": "wrapped"}, {"assistant_only_loss": False}])
def test_how_batches_are_packed_is_nothing_to_the_probe(tmp_path: Path, options: dict[str, Any]) -> None:
    watches = _callbacks(tmp_path / "run")
    trainer = post_training.sft(tmp_path / "packed", list(watches), max_steps=2, **options)
    trainer.train()
    plain = _callbacks(tmp_path / "plain")
    post_training.sft(tmp_path / "plain_sft", list(plain), max_steps=2).train()
    for packed, usual in zip(watches, plain, strict=True):
        assert packed.trajectory.steps == [0, 2]
        at_start = [dict(each.trajectory.points[0].values) for each in (packed, usual)]
        for values in at_start:
            values.pop("ib/overhead_fraction")
        assert at_start[0] == at_start[1]


def test_two_callbacks_of_one_prefix_are_refused(tmp_path: Path) -> None:
    watches = [InformationPlaneTrainerCallback(post_training.text_probe(), schedule=SCHEDULE) for _ in range(2)]
    trainer = post_training.sft(tmp_path / "sft", list(watches))
    with pytest.raises(ValueError, match=r"two callbacks of one trainer have the prefix 'ib'; give each a prefix="):
        trainer.train()


def test_the_code_of_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    post_training.write(tmp_path)
    names: dict[str, Any] = {
        "held_out_texts": [post_training.sentence(random.Random(seed), 40) for seed in range(64)],
        "held_out_pairs": post_training.pairs(48, seed=3),
        "tokenizer": post_training.tokenizer(),
        "model": post_training.model(),
    }
    page = [block for block in blocks(ROOT / "docs" / "howto" / "post_training.md", "python") if block.reason]
    assert len(page) == 3
    for block in page:
        exec(block.code.replace('"report_to": []', '"report_to": [], "use_cpu": True'), names)
    assert names["run"].steps == [0, 1, 2, 4, 8, 9, 10, 12, 16]
    assert names["run"].stages == {"sft": 0, "dpo": 8}
    assert Trajectory.load("runs/post").steps == names["run"].steps
