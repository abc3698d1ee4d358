import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.optimize import brentq
from torch import Tensor

from ibtrack import Probe
from ibtrack.information.bottleneck import SLOPES, bottleneck_curve
from tests import models

FINE: dict[str, Any] = {"slopes": tuple(np.arange(0.05, 1.0, 0.05)), "tolerance": 1e-9}


def information(joint: NDArray[np.float64]) -> float:
    rows, columns = joint.sum(1, keepdims=True), joint.sum(0, keepdims=True)
    positive = joint > 0
    return float((joint[positive] * np.log((joint / (rows * columns))[positive])).sum())


def labels_of(counts: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
    """Labels whose empirical joint distribution is a table of counts."""
    x, y = np.nonzero(counts)
    times = counts[x, y]
    return torch.from_numpy(np.repeat(x, times)), torch.from_numpy(np.repeat(y, times))


def heights(points: Sequence[tuple[float, float]], slopes: Sequence[float]) -> NDArray[np.float64]:
    """How high the lines of some slopes that touch the curve from above begin: max of I(T;Y) - s I(X;T)."""
    complexity, expressivity = np.array(points).T
    return np.array([(expressivity - slope * complexity).max() for slope in slopes])


def numpy_state() -> NDArray[np.uint32]:
    """The state of numpy's global generator, as a copy."""
    state: Any = np.random.get_state()  # a tuple by default, but typed as a dictionary too
    return state[1].copy()


def test_a_function_of_x_costs_just_what_it_tells() -> None:
    x = torch.arange(600) % 60
    y = x // 12
    curve = bottleneck_curve(x, y, **FINE)
    assert curve[0] == (0.0, 0.0)
    assert curve[-1] == pytest.approx((math.log(5), math.log(5)))
    assert all(expressivity == pytest.approx(complexity, abs=1e-6) for complexity, expressivity in curve)


def test_the_binary_symmetric_channel_has_its_closed_form() -> None:
    """Mrs. Gerber's lemma (Wyner and Ziv 1973): H(Y|T) = h(a (1 - d) + d (1 - a)) where H(X|T) = h(a)."""

    def h(p: float) -> float:
        return -p * math.log(p) - (1 - p) * math.log(1 - p)

    flip = 0.1
    x, y = labels_of(np.array([[450, 50], [50, 450]]))
    curve = bottleneck_curve(x, y, **FINE)
    assert len(curve) > 8  # slopes below (1 - 2 d)² = .64 each have a point of their own
    for complexity, expressivity in curve[1:-1]:
        a = brentq(lambda p, complexity=complexity: h(p) - (math.log(2) - complexity), 1e-12, 0.5)
        assert expressivity == pytest.approx(math.log(2) - h(a * (1 - flip) + flip * (1 - a)), abs=1e-6)
    assert curve[-1] == pytest.approx((math.log(2), math.log(2) - h(flip)))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 5), st.integers(2, 5))
def test_no_description_lies_above_the_curve(seed: int, rows: int, columns: int) -> None:
    rng = np.random.default_rng(seed)
    row, column = np.indices((rows, columns))
    counts = np.maximum(rng.integers(0, 30, (rows, columns)), (row % columns == column) | (column % rows == row))
    joint = counts / counts.sum()
    curve = bottleneck_curve(*labels_of(counts), **FINE)
    highest = heights(curve, FINE["slopes"])
    for _ in range(200):
        channel = rng.dirichlet(np.full(rows, 0.3), size=rows)
        place = information(joint.sum(1)[:, None] * channel), information(channel.T @ joint)
        # where a code with one more word begins to pay the iteration is slow: seed 628 with 2 x 4 ends 3e-5 below
        assert (heights([place], FINE["slopes"]) <= highest + 1e-4).all()
    complexity, expressivity = np.array(curve).T
    assert expressivity[-1] == pytest.approx(information(joint), abs=1e-9)
    slopes = np.diff(expressivity) / np.diff(complexity)
    assert (np.diff(slopes) <= 1e-6).all()
    assert (slopes <= 1 + 1e-6).all()
    assert (slopes >= 0).all()


def test_independent_labels_have_no_curve() -> None:
    x, y = labels_of(np.full((4, 3), 5))
    assert bottleneck_curve(x, y)[-1] == pytest.approx((0.0, 0.0), abs=1e-9)


def test_the_default_is_near_the_converged_one_and_below_it() -> None:
    sample = models.probe(200)
    labels = sample.label_sets["input/token"], sample.label_sets["output/token"]
    missing = heights(bottleneck_curve(*labels, slopes=SLOPES, tolerance=1e-9), SLOPES)
    missing -= heights(bottleneck_curve(*labels), SLOPES)
    assert (missing > -1e-6).all()
    assert missing.max() < 0.005


def test_many_values_share_their_descriptions(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(0, 40, (4000,), generator=generator)
    y = (x // 4 + torch.randint(0, 3, (4000,), generator=generator)) % 10
    complexity, expressivity = zip(*bottleneck_curve(x, y), strict=True)
    monkeypatch.setattr("ibtrack.information.bottleneck.MAX_CELLS", 40 * 12)
    for a, b in bottleneck_curve(x, y):
        assert b == pytest.approx(np.interp(a, complexity, expressivity), abs=0.01)


def test_names_of_labels_and_order_of_rows_do_not_matter_and_nothing_is_random() -> None:
    sample = models.probe(100)
    x, y = sample.label_sets["input/token"], sample.label_sets["output/token"]
    states = torch.get_rng_state(), numpy_state()
    curve = bottleneck_curve(x, y)
    assert bottleneck_curve(x, y) == curve
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    np.testing.assert_allclose(bottleneck_curve(100 - x[order], 3 * y[order]), curve, atol=1e-4)
    assert torch.get_rng_state().equal(states[0])
    assert (numpy_state() == states[1]).all()


def test_a_probe_gives_fractions_of_log_k() -> None:
    sample = models.probe()
    curve = sample.bottleneck_curve(num_anchors=50)
    assert curve is not None
    assert curve["complexity"][0] == curve["expressivity"][0] == 0
    points = bottleneck_curve(sample.label_sets["input/token"], sample.label_sets["output/token"])
    assert curve["complexity"][-1] == pytest.approx(points[-1][0] / math.log(50), abs=1e-4)
    assert curve["expressivity"][-1] == pytest.approx(points[-1][1] / math.log(50), abs=1e-4)


def test_probes_without_tokens_have_none() -> None:
    assert Probe(models.tokens(8, seed=0), orders=(2,)).bottleneck_curve() is None
    labels = {"input/token": torch.arange(6) % 3, "output/token": torch.arange(6) % 2}
    assert Probe(torch.randn(6, 3), labels=labels).bottleneck_curve() is None


@pytest.mark.parametrize(
    ("x", "y", "options", "sentence"),
    [
        (torch.zeros(3).long(), torch.zeros(2).long(), {}, "labels must be two sets of one length, .* got 3 and 2"),
        (torch.zeros(0).long(), torch.zeros(0).long(), {}, "at least 1, .* got 0 and 0"),
        (torch.tensor([0, -1]), torch.tensor([0, 1]), {}, "values of at least 0, got 2 and 2, from -1"),
        (torch.zeros(3), torch.zeros(3).long(), {}, "labels_x must be a tensor of integers, got torch.float32"),
        (
            torch.arange(3),
            torch.arange(3),
            {"slopes": (0.5, 1.0)},
            r"slopes must lie between 0 and 1, got \(0.5, 1.0\)",
        ),
    ],
)
def test_bad_input(x: Tensor, y: Tensor, options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        bottleneck_curve(x, y, **options)
