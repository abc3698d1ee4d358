"""The hidden Markov model against slow sums, and readings and training against its exact numbers."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from experiments import train
from experiments.hmm import HiddenMarkov, HmmData, information_through
from ibtrack import Probe, Trajectory
from ibtrack.information.assignments import assign, draw_anchors, temperature
from ibtrack.metrics import InformationPlane
from tests.runs import TRAINING, config

pytestmark = TRAINING

ORDERS = {"token": 1, "bigram": 2, "trigram": 3, "quadgram": 4}
SMALL = HiddenMarkov.draw(3, 2, seed=1)


def by_paths(source: HiddenMarkov, string: tuple[int, ...]) -> float:
    """Return p(string) as the sum over all paths of states."""
    total = 0.0
    for path in itertools.product(range(len(source.transition)), repeat=len(string)):
        p = float(source.stationary[path[0]])
        for i, (state, symbol) in enumerate(zip(path, string, strict=True)):
            p *= float(source.emission[state, symbol])
            p *= float(source.transition[state, path[i + 1]]) if i + 1 < len(path) else 1.0
        total += p
    return total


def strings(length: int) -> list[tuple[int, ...]]:
    return list(itertools.product(range(2), repeat=length))


def entropy(probabilities: list[float]) -> float:
    return -sum(p * math.log(p) for p in probabilities)


def test_probabilities_of_strings_are_sums_over_paths() -> None:
    for k in (1, 2, 3):
        expected = torch.tensor([by_paths(SMALL, s) for s in strings(k)], dtype=torch.float64)
        torch.testing.assert_close(SMALL.past(k).sum(1), expected, rtol=1e-12, atol=0)
    joint = SMALL.past(2) @ SMALL.future(3).T
    expected = torch.tensor([by_paths(SMALL, s) for s in strings(5)], dtype=torch.float64)
    torch.testing.assert_close(joint.flatten(), expected, rtol=1e-12, atol=0)


def test_informations_are_sums_over_pairs() -> None:
    pairs = {s: by_paths(SMALL, s) for s in strings(5)}
    joint = entropy(list(pairs.values()))
    expected = (
        entropy([by_paths(SMALL, s) for s in strings(2)]) + entropy([by_paths(SMALL, s) for s in strings(3)]) - joint
    )
    assert SMALL.information(2, 3) == pytest.approx(expected, abs=1e-12)
    assert SMALL.entropy(3) == pytest.approx(entropy([by_paths(SMALL, s) for s in strings(3)]), abs=1e-12)


def test_bounds_of_the_entropy_rate_close_in() -> None:
    bounds = [SMALL.entropy_rate(gap=gap) for gap in (1.0, 1e-1, 1e-3, 1e-6, 1e-9)]
    for (low, high), (lower, higher) in zip(bounds[1:], bounds, strict=False):
        assert lower <= low <= high <= higher
    assert [high - low < gap for (low, high), gap in zip(bounds, (1.0, 1e-1, 1e-3, 1e-6, 1e-9), strict=True)] == [
        True
    ] * 5
    assert bounds[0][1] == pytest.approx(SMALL.entropy(1), abs=1e-12)  # of n = 1
    nine_more = SMALL.entropy(10) - SMALL.entropy(9)
    assert bounds[-1][1] <= nine_more + 1e-9
    assert nine_more == pytest.approx(bounds[-1][0], abs=1e-6)


def test_the_likelihood_is_that_of_the_strings() -> None:
    tokens = torch.tensor(strings(4))
    total = SMALL.log_likelihood(tokens).sum(1)
    expected = [math.log(by_paths(SMALL, s)) for s in strings(4)]
    assert total.tolist() == pytest.approx(expected, abs=1e-12)


def test_samples_follow_the_source() -> None:
    source = HiddenMarkov.draw(6, 8, seed=3)
    tokens, states = source.sample(400, 64, generator=torch.Generator().manual_seed(0))
    share = torch.bincount(states.flatten(), minlength=6) / states.numel()
    torch.testing.assert_close(share.double(), source.stationary, rtol=0, atol=0.02)
    low, high = source.entropy_rate()
    per_block = -source.log_likelihood(tokens)[:, 16:].mean(1)  # the blocks are long enough to forget their beginning
    error = float(per_block.std()) / 20
    assert low - 4 * error < float(per_block.mean()) < high + 4 * error


@pytest.mark.parametrize("hidden", ["token", "state"])
def test_readings_of_representations_whose_information_is_known(hidden: str) -> None:
    """Embeddings of the last token, or of the state: the information through the soft assignment is a sum."""
    source, width = HiddenMarkov.draw(6, 8, seed=3), 64
    generator = torch.Generator().manual_seed(1)
    tokens, states = source.sample(64, 128, generator=generator)
    probe = Probe(tokens)
    values, num_values = (tokens, 8) if hidden == "token" else (states, 6)
    embedding = torch.randn(num_values, width, generator=generator)
    plane = InformationPlane(probe, {"L00": width})
    plane.update("L00", embedding[values.flatten()], torch.arange(probe.num_positions), rows=probe.positions)
    measured = plane.compute()
    channel = assign(embedding, draw_anchors(width), temperature(width))
    errors, plugin_errors = [], []
    for order, k in ORDERS.items():
        for quantity, joint in zip(("complexity", "expressivity"), _joints(source, hidden, k), strict=True):
            truth = information_through(channel, joint) / math.log(100)
            error = float(measured[f"ib/L00/{order}/{quantity}"]) - truth
            assert abs(error) < 0.003 + 3 * float(measured[f"ib/L00/{order}/{quantity}_se"]), (order, quantity)
            errors.append(abs(error))
            plugin_errors.append(float(measured[f"ib_plugin/L00/{order}/{quantity}"]) - truth)
    assert sum(errors) / len(errors) < 0.004
    assert max(errors) < 0.01
    assert max(plugin_errors) > 0.06  # what there is to correct


def _joints(source: HiddenMarkov, hidden: str, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return p(hidden value, input k-gram) and p(hidden value, output k-gram)."""
    if hidden == "state":
        return source.past(k).T, source.stationary.unsqueeze(1) * source.future(k).T
    strings = torch.arange(source.vocab_size**k)
    ends = torch.zeros(source.vocab_size, len(strings), dtype=torch.float64)
    ends[strings % source.vocab_size, strings] = source.past(k).sum(1)
    return ends, source.past(1) @ source.future(k).T


TINY = ["data.block_size=32", "data.num_blocks=4000", "model=llama_0.3M", "model.settings.hidden_size=32"]
TINY += ["model.settings.num_hidden_layers=2", "model.settings.intermediate_size=64", "model.optimizer.lr=1e-2"]
TINY += ["trainer.max_steps=200", "trainer.limit_val_batches=16", "trainer.val_check_interval=200", "logger=none"]
TINY += ["monitor=dense", "monitor.schedule.steps=200"]  # only the last point is looked at


def test_a_model_learns_the_source_and_nothing_beats_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    loss = train.train(config(f"run_dir={tmp_path}", "data=hmm", "objective=val/loss", *TINY))
    trajectory = Trajectory.load(tmp_path)
    truth, last = trajectory.run["config"]["truth"], trajectory.points[-1].values
    assert f'"token_entropy": {truth["token_entropy"]}' in capsys.readouterr().out

    data = HmmData(block_size=32, num_blocks=4000)
    data.setup()
    assert data.truth == truth
    best = -data.source.log_likelihood(data.held_out_blocks.stacked())[:, 1:]
    error = float(best.mean(1).std()) / math.sqrt(len(best))
    assert float(best.mean()) > truth["entropy_rate"]["low"] - 4 * error
    assert float(best.mean()) < loss < truth["token_entropy"] - 0.5 * truth["input_and_next_token"]["1"]

    probe = Probe.from_texts(data.probe_texts, data.tokenizer, block_size=32)
    share = torch.bincount(probe.label_sets["output/token"]) / probe.num_positions
    following = -data.source.log_likelihood(probe.inputs).flatten()[probe.positions + 1]
    most = float(torch.special.entr(share).sum() - following.mean())  # what the past tells in this sample
    assert 0 < last["ib/variational_floor"] < most < truth["past_and_next_token"]["high"] + 0.05


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (
            lambda: HiddenMarkov(torch.eye(2).double(), torch.eye(3).double()),
            r"shape \(num_states, num_states\) and \(num_states, V\), got",
        ),
        (lambda: HiddenMarkov(torch.eye(2), torch.eye(2)), "transition must be float64 with rows that are distrib"),
        (lambda: HiddenMarkov(torch.eye(2).double(), torch.ones(2, 2).double()), "emission must be float64 with rows"),
        (lambda: SMALL.information(12, 13), "at most 16777216 pairs of strings, got 33554432; ask for shorter ones"),
    ],
)
def test_bad_input(make: Callable[[], object], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        make()
