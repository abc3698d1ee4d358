"""Preference pairs: their blocks, their probe, and what is read of them."""

from __future__ import annotations

import json
import math

import datasets
import pytest
import torch
from torch import nn

from ibtrack import InformationPlaneMonitor, InformationPlaneTracker, Probe, Trajectory, schedules
from ibtrack.probe.preferences import preference_blocks
from tests import models
from tests.models import Model, Module


def letters(text):
    """A token per character, below the 23 of the test models."""
    return [ord(character) % 23 for character in text]


def rows(number=40, seed=0):
    """HH as it is: whole dialogues, which begin alike. Chosen answers are of even words, the others of odd ones."""
    generator = torch.Generator().manual_seed(seed)

    def answer(words):
        return " ".join(words[i] for i in torch.randint(len(words), (6,), generator=generator).tolist())

    for i in range(number):
        prompt = f"\n\nHuman: question {i}?\n\nAssistant: "
        yield {"chosen": prompt + answer(["bdf", "hjl", "npr"]), "rejected": prompt + answer(["ace", "gik", "moq"])}


ROWS = list(rows())
OPTIONS = {"chosen": "chosen", "rejected": "rejected", "block_size": 16}
MESSAGES = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yo"}]


def blocks(*pairs, **options):
    return preference_blocks(pairs, letters, **{**OPTIONS, "num_pairs": 1, **options})


def test_positions_are_those_after_the_common_beginning():
    found = blocks({"chosen": "question: yes", "rejected": "question: no."}, block_size=24)
    padding = [0] * 11
    assert found.tokens.tolist() == [letters(text) + padding for text in ("question: yes", "question: no.")]
    assert found.preference.tolist() == [[-1] * 10 + [label] * 3 + [-1] * 11 for label in (1, 0)]
    assert found.pairs.tolist() == [0, 0]


def test_a_long_prompt_leaves_half_of_the_block_to_the_response():
    found = blocks({"chosen": "q" * 50 + "a" * 30, "rejected": "q" * 50 + "bb"})
    assert found.tokens[0].tolist() == letters("q" * 8 + "a" * 8)
    assert found.preference[1].tolist() == [-1] * 8 + [0] * 2 + [-1] * 6


@pytest.mark.parametrize(
    ("row", "text"),
    [
        ({"prompt": "Why? ", "chosen": "So.", "rejected": "x"}, "Why? So."),
        ({"prompt": "Why? ", "chosen": "Why? So.", "rejected": "x"}, "Why? So."),
        ({"prompt": None, "chosen": "So.", "rejected": "x"}, "So."),
        ({"chosen": MESSAGES, "rejected": MESSAGES[:1]}, "user: Hi\n\nassistant: Yo"),
        ({"prompt": "Hi", "chosen": MESSAGES, "rejected": MESSAGES[:1]}, "user: Hi\n\nassistant: Yo"),
        ({"prompt": "Hi", "chosen": MESSAGES[1:], "rejected": "x"}, "user: Hi\n\nassistant: Yo"),
        ({"prompt": MESSAGES[:1], "chosen": MESSAGES[1:], "rejected": "x"}, "user: Hi\n\nassistant: Yo"),
        ({"prompt": MESSAGES[:1], "chosen": "Yo", "rejected": "x"}, "user: Hi\n\nassistant: Yo"),
    ],
)
def test_columns_of_several_kinds(row, text):
    texts = []

    def encode(text):
        texts.append(text)
        return letters(text)

    preference_blocks([row, *ROWS], encode, **{**OPTIONS, "num_pairs": 1})
    assert texts[0] == text


def test_a_response_without_a_token_of_its_own_is_skipped():
    same = {"chosen": "same", "rejected": "same"}
    longer = {"chosen": "same and more", "rejected": "same"}
    found = blocks(same, longer, {"chosen": "ab", "rejected": "ac"})
    assert found.tokens[:, :2].tolist() == [letters("ab"), letters("ac")]
    with pytest.raises(ValueError, match="needs 1 pairs of responses that differ, got 0 among 2"):
        blocks(same, longer)


@pytest.mark.parametrize("kind", ["rows", "dataset", "stream"])
def test_the_probe_from_a_local_file(tmp_path, kind):
    path = tmp_path / "pairs.jsonl"
    path.write_text("\n".join(map(json.dumps, ROWS)))
    data = datasets.load_dataset("json", data_files=str(path), split="train", cache_dir=str(tmp_path))
    source = {"rows": ROWS, "dataset": data, "stream": data.to_iterable_dataset()}[kind]
    options = {"num_pairs": 12, "block_size": 48}
    probe, again = (Probe.from_preferences(source, letters, seed=1, **options) for _ in range(2))
    assert probe.hash == again.hash != Probe.from_preferences(source, letters, seed=2, **options).hash
    assert probe.label_sets.keys() == {"preference"} and probe.orders == ()
    assert (probe.num_blocks, probe.num_documents, probe.label_counts) == (24, 12, {"preference": 2})
    at = probe.inputs.flatten()[probe.positions]
    liked = {int(token) for token in at[probe.label_sets["preference"] == 1]}
    assert liked == set(letters("bdfhjlnpr "))
    probe.save(tmp_path / "probe.pt")
    assert Probe.load(tmp_path / "probe.pt").protocol() == probe.protocol()


def test_preference_information_of_answers_that_differ_and_of_a_coin():
    model, quantity = Model().eval(), "preference_information"
    options = {"num_pairs": 40, "block_size": 48}
    told = InformationPlaneTracker(Probe.from_preferences(ROWS, letters, **options)).measure(model)
    assert not told.notes and told.failure is None
    for site in ("mean", "embed", "L00", "L01"):
        value, error = told.values[f"ib/{site}/{quantity}"], told.values[f"ib/{site}/{quantity}_se"]
        assert value > 0.03 and 0 < error < value / 4
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


def test_errors_and_bias_know_that_a_response_is_one():
    """Documents with a tint of their own, and a label by coin: reading and error over many coins."""
    generator = torch.Generator().manual_seed(0)
    pairs, length = 24, 30
    tint = torch.randn(2 * pairs, 1, 8, generator=generator)
    embedding = (tint + torch.randn(2 * pairs, length, 8, generator=generator)).flatten(0, 1)
    model = nn.Sequential(nn.Embedding.from_pretrained(embedding), nn.Identity())
    tokens = torch.arange(2 * pairs * length).view(2 * pairs, length)
    ratios, plugins = [], []
    for _ in range(40):
        coins = torch.randint(2, (pairs,), generator=generator)
        labels = torch.stack([coins, 1 - coins], 1).flatten().unsqueeze(1).expand(-1, length)
        probe = Probe(tokens, labels={"preference": labels}, documents=torch.arange(pairs).repeat_interleave(2))
        readings = InformationPlaneTracker(probe, layers=["1"]).measure(model).values
        ratios.append(readings["ib/L00/preference_information"] / readings["ib/L00/preference_information_se"])
        plugins.append(readings["ib_plugin/L00/preference_information"])
    ratios = torch.tensor(ratios)
    assert ratios.mean().abs() < 0.5 and (ratios.abs() < 2.0).double().mean() >= 0.9
    assert min(plugins) > 0.001  # what would be read without the correction


def test_token_ids_are_compared_with_the_models_vocabulary():
    probe = Probe.from_preferences(ROWS, lambda text: [*letters(text), 23], num_pairs=2, block_size=64)
    with pytest.raises(ValueError, match="must lie below the model's vocabulary of 23, got 23"):
        InformationPlaneTracker(probe).start(Model())


@pytest.mark.filterwarnings("ignore:.*does not have many workers", "ignore:.*LeafSpec:FutureWarning")
def test_a_second_monitor_follows_it_through_a_run(tmp_path):
    preferences = Probe.from_preferences(ROWS, letters, num_pairs=20, block_size=48)
    schedule = schedules.every(3)
    monitors = [
        InformationPlaneMonitor(models.probe(), schedule=schedule, path=tmp_path / "plane.jsonl"),
        InformationPlaneMonitor(preferences, prefix="pref", schedule=schedule, path=tmp_path / "preferences.jsonl"),
    ]
    trainer = models.trainer(tmp_path, callbacks=monitors, max_steps=6)
    trainer.fit(Module(), models.loader(), models.loader(blocks=16, seed=3, shuffle=False))
    trajectory = Trajectory.load(tmp_path / "preferences.jsonl")
    assert trajectory.steps == [0, 3, 6] and trajectory.protocol["orders"] == []
    assert all(math.isfinite(value) for value in trajectory.values("ib/mean/preference_information"))
    assert float(trainer.callback_metrics["pref/mean/preference_information"]) == pytest.approx(
        trajectory.values("ib/mean/preference_information")[-1]
    )
    assert "ib/mean/token/optimality" in trainer.callback_metrics


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: Probe.from_preferences(ROWS, letters, num_pairs=41), "needs 41 pairs of responses .* got 40 among 40"),
        (
            lambda: Probe.from_preferences(ROWS, letters, chosen="best"),
            "rows must have a column 'best', got 'chosen', 're",
        ),
        (lambda: blocks({"chosen": 3, "rejected": "x"}), "column 'chosen' must hold a text or a list of mess.* got 3"),
        (lambda: blocks({"chosen": "a", "rejected": [{"text": "x"}]}), r"column 'rejected' must .* got \[\{'text'"),
        (lambda: blocks({"prompt": 7, "chosen": MESSAGES[1:], "rejected": "x"}), "column 'prompt' must hold a text"),
        (
            lambda: Probe.from_preferences(ROWS, letters, num_pairs=0),
            "num_pairs must be an integer of at least 1, got 0",
        ),
        (
            lambda: Probe(torch.zeros(2, 3), labels={"preference": torch.tensor([1, 2])}),
            r"preference must be 1 and 0, at some positions each, and negative elsewhere, got \[1, 2\]",
        ),
        (lambda: Probe(torch.zeros(2, 3), labels={"taste": torch.tensor([1, 0])}), "or be 'preference', got"),
    ],
)
def test_bad_input(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make()
