"""Preference information: what is read of a probe of preference pairs, by itself and beside a second monitor."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from ibtrack import InformationPlaneMonitor, InformationPlaneTracker, Probe, SoftOptions, Trajectory, schedules
from ibtrack.information import assign, draw_anchors, temperature
from ibtrack.information.entropy import entropy
from tests import models
from tests.models import Model, Module
from tests.probe.test_preferences import ROWS, letters


def test_preference_information_of_answers_that_differ_and_of_a_coin() -> None:
    model, quantity = Model().eval(), "preference_information"
    options: dict[str, Any] = {"num_pairs": 40, "block_size": 48}
    told = InformationPlaneTracker(Probe.from_preferences(ROWS, letters, **options)).measure(model)
    assert not told.notes
    assert told.failure is None
    for site in ("mean", "embed", "L00", "L01"):
        value, error = told.values[f"ib/{site}/{quantity}"], told.values[f"ib/{site}/{quantity}_se"]
        assert value > 0.03
        assert 0 < error < value / 4
        plugin, null = (told.values[f"ib_{reading}/{site}/{quantity}"] for reading in ("plugin", "null"))
        assert value == pytest.approx(plugin - null)
    assert told.values[f"ib/embed/{quantity}"] < math.log(2) / math.log(100)
    assert not any("complexity" in key or "variational" in key for key in told.values)
    generator = torch.Generator().manual_seed(0)
    coin = [
        {"chosen": row["rejected"], "rejected": row["chosen"]} if torch.rand((), generator=generator) < 0.5 else row
        for row in ROWS
    ]
    nothing = InformationPlaneTracker(Probe.from_preferences(coin, letters, **options)).measure(model).values
    assert abs(nothing[f"ib/mean/{quantity}"]) < 2.5 * nothing[f"ib/mean/{quantity}_se"] < 0.02


def test_errors_and_bias_know_that_a_response_is_one() -> None:
    """Documents with a tint of their own, and a label by coin: reading and error over many coins."""
    generator = torch.Generator().manual_seed(0)
    pairs, length = 24, 30
    tint = torch.randn(2 * pairs, 1, 8, generator=generator)
    embedding = (tint + torch.randn(2 * pairs, length, 8, generator=generator)).flatten(0, 1)
    lookup = nn.Embedding(len(embedding), 8, _weight=embedding, _freeze=True)
    model = nn.Sequential(lookup, nn.Identity())
    tokens = torch.arange(2 * pairs * length).view(2 * pairs, length)
    ratios: list[float] = []
    plugins: list[float] = []
    for _ in range(40):
        coins = torch.randint(2, (pairs,), generator=generator)
        labels = torch.stack([coins, 1 - coins], 1).flatten().unsqueeze(1).expand(-1, length)
        probe = Probe(tokens, labels={"preference": labels}, documents=torch.arange(pairs).repeat_interleave(2))
        readings = InformationPlaneTracker(probe, layers=["1"]).measure(model).values
        ratios.append(readings["ib/L00/preference_information"] / readings["ib/L00/preference_information_se"])
        plugins.append(readings["ib_plugin/L00/preference_information"])
    each = torch.tensor(ratios)
    assert each.mean().abs() < 0.5
    assert (each.abs() < 2.0).double().mean() >= 0.9
    assert min(plugins) > 0.001  # what would be read without the correction


def test_the_last_token_of_responses_that_differ_and_of_a_coin() -> None:
    model, key = Model().eval(), "preference_information"
    options: dict[str, Any] = {"num_pairs": 40, "block_size": 48, "positions": "last"}
    generator = torch.Generator().manual_seed(0)
    coin = [
        {"chosen": row["rejected"], "rejected": row["chosen"]} if torch.rand((), generator=generator) < 0.5 else row
        for row in ROWS
    ]
    told, nothing = (
        InformationPlaneTracker(Probe.from_preferences(rows, letters, **options)).measure(model)
        for rows in (ROWS, coin)
    )
    assert not told.notes
    assert told.values[f"ib/mean/{key}"] > 4 * told.values[f"ib/mean/{key}_se"] > 0
    assert abs(nothing.values[f"ib/mean/{key}"]) < 2.5 * nothing.values[f"ib/mean/{key}_se"]


@pytest.mark.parametrize("known", [0.0, 0.5, 1.0])
def test_last_tokens_read_the_information_that_is_in_them(known: float) -> None:
    """One of two directions at the last token; a share of the pairs shows their label, in the others a coin does."""
    generator = torch.Generator().manual_seed(1)
    pairs, length = 1500, 5
    label = torch.tensor([1, 0]).repeat(pairs)
    shown = torch.where(torch.rand(2 * pairs, generator=generator) < known, label,
                        torch.randint(2, (2 * pairs,), generator=generator))  # fmt: skip
    directions = torch.nn.functional.one_hot(shown, 32).float()
    noise = torch.randn(2 * pairs, length, 32, generator=generator)  # all tokens but the last
    noise[:, -1] = directions
    lookup = nn.Embedding(noise[..., 0].numel(), 32, _weight=noise.flatten(0, 1), _freeze=True)
    tokens = torch.arange(2 * pairs * length).view(2 * pairs, length)
    preference = torch.full_like(tokens, -1)
    preference[:, -1] = label
    probe = Probe(
        tokens, labels={"preference": preference}, documents=torch.arange(pairs).repeat_interleave(2), keep_copies=True
    )
    options = SoftOptions(num_anchors=50, temperature="bounds")
    values = InformationPlaneTracker(probe, layers=["1"], options=options).measure(nn.Sequential(lookup, nn.Identity()))
    rows = assign(torch.eye(32)[:2], draw_anchors(32, 50), temperature(32, 50, "bounds")).double()
    right = (1 + known) / 2
    of_chosen, of_rejected = (
        entropy(share @ rows) for share in torch.tensor([[1 - right, right], [right, 1 - right]]).double()
    )
    truth = float(entropy(rows.mean(0)) - (of_chosen + of_rejected) / 2) / math.log(50)
    value, error = (values.values[f"ib/L00/preference_information{suffix}"] for suffix in ("", "_se"))
    assert abs(value - truth) < 3 * error
    assert error < 0.01


def test_token_ids_are_compared_with_the_models_vocabulary() -> None:
    probe = Probe.from_preferences(ROWS, lambda text: [*letters(text), 23], num_pairs=2, block_size=64)
    with pytest.raises(ValueError, match="must lie below the model's vocabulary of 23, got 23"):
        InformationPlaneTracker(probe).start(Model())


@pytest.mark.filterwarnings("ignore:.*does not have many workers", "ignore:.*LeafSpec:FutureWarning")
def test_a_second_monitor_follows_it_through_a_run(tmp_path: Path) -> None:
    preferences = Probe.from_preferences(ROWS, letters, num_pairs=20, block_size=48)
    schedule = schedules.every(3)
    monitors = [
        InformationPlaneMonitor(models.probe(), schedule=schedule, path=tmp_path / "plane.jsonl"),
        InformationPlaneMonitor(preferences, prefix="pref", schedule=schedule, path=tmp_path / "preferences.jsonl"),
    ]
    trainer = models.trainer(tmp_path, callbacks=monitors, max_steps=6)
    trainer.fit(Module(), models.loader(), models.loader(blocks=16, seed=3, shuffle=False))
    trajectory = Trajectory.load(tmp_path / "preferences.jsonl")
    assert trajectory.steps == [0, 3, 6]
    assert trajectory.protocol["orders"] == []
    assert all(math.isfinite(value) for value in trajectory.values("ib/mean/preference_information"))
    assert float(trainer.callback_metrics["pref/mean/preference_information"]) == pytest.approx(
        trajectory.values("ib/mean/preference_information")[-1]
    )
    assert "ib/mean/token/optimality" in trainer.callback_metrics
