import math
from pathlib import Path

import pytest
import torch
from torch import nn

from experiments.tishby import bins, patterns
from experiments.tishby.bins import binned_information
from experiments.tishby.network import Network
from experiments.tishby.patterns import PatternData
from experiments.tishby.picture import picture, read
from ibtrack import Trajectory
from ibtrack.report.charts import to_png
from tests.experiments.test_experiments import config, train

pytestmark = pytest.mark.filterwarnings("ignore:.*does not have many workers")


def test_corners_are_evenly_spread():
    cosines = patterns.corners() @ patterns.corners().T
    near = 1 / math.sqrt(5)
    expected = torch.tensor([-1] + [-near] * 5 + [near] * 5 + [1], dtype=torch.float64)
    torch.testing.assert_close(cosines.sort(1).values, expected.expand(12, 12))


def test_the_power_spectrum_is_that_of_the_spherical_harmonics():
    """Degree 1: the harmonics are x, y and z, so P_1 is the squared length of the sum of lit corners."""
    lit = patterns.patterns() @ patterns.corners()
    torch.testing.assert_close(patterns.power_spectrum()[:, 1], lit.square().sum(1))


def test_a_rotation_changes_neither_function_nor_orbit():
    turn = torch.tensor([[0.0, 0, 1], [1, 0, 0], [0, 1, 0]], dtype=torch.float64)  # about the axis (1, 1, 1)
    cosines = patterns.corners() @ (patterns.corners() @ turn).T
    moved = cosines.argmax(1)  # corner to the corner it comes to lie on
    ids = (patterns.patterns()[:, moved] @ (2.0 ** torch.arange(12)).double()).long()
    function, orbits = patterns.symmetric_function()
    assert not ids.equal(torch.arange(4096)) and ids.unique().numel() == 4096
    assert orbits[ids].equal(orbits)
    torch.testing.assert_close(function[ids], function)


def test_labels_are_as_the_paper_has_them():
    function, orbits = patterns.symmetric_function()
    probability = patterns.label_probability(function)
    assert int(orbits.max()) + 1 == 64
    assert float(probability.mean()) == pytest.approx(0.5, abs=1e-9)
    assert patterns.label_information(probability) == pytest.approx(0.99, abs=1e-6)


def test_the_split_holds_every_pattern_once_and_labels_do_not_depend_on_the_run():
    data, again = PatternData(batch_size=512), PatternData(batch_size=100)
    data.setup(), again.setup()
    seen = torch.cat([batch[0] for loader in (data.train_dataloader(), data.val_dataloader()) for batch in loader])
    assert len(seen) == len(seen.unique(dim=0)) == 4096
    assert data.labels.equal(again.labels)
    with pytest.raises(ValueError, match="train_share must lie between 0 and 1, got 1"):
        PatternData(batch_size=1, train_share=1)


def test_bins_against_a_slow_count():
    generator = torch.Generator().manual_seed(0)
    activations = torch.rand(200, 2, generator=generator) * 2 - 1
    labels = (activations[:, 0] > 0).long()
    cells = [tuple(math.ceil((float(value) + 1) / 2 * 30) for value in row) for row in activations]

    def entropy(things):
        shares = [things.count(thing) / len(things) for thing in set(things)]
        return -sum(share * math.log2(share) for share in shares)

    known = entropy(cells)
    joint = entropy(list(zip(cells, labels.tolist(), strict=True)))
    told = known + entropy(labels.tolist()) - joint
    assert binned_information(activations, labels, -1, 1) == pytest.approx((known, told))


def test_a_layer_that_tells_nothing_and_one_that_tells_all():
    labels = torch.arange(64) % 2
    assert binned_information(torch.zeros(64, 3), labels, 0, 0) == (0, 0)
    assert binned_information(torch.linspace(-1, 1, 64)[:, None], labels, -1, 1)[0] == pytest.approx(
        math.log2(30), abs=0.1
    )
    assert binned_information(labels[:, None].float(), labels, 0, 1) == pytest.approx((1, 1))


def test_bins_reach_as_far_as_the_activation_does():
    seen = [torch.tensor([[0.0, 3.0]]), torch.tensor([[7.0, 1.0]])]
    assert bins.bounds(nn.Tanh(), seen) == (-1, 1)
    assert bins.bounds(nn.Softmax(-1), seen) == (0, 1)
    assert bins.bounds(nn.ReLU(), seen) == (0, 7)


def test_an_unknown_activation_is_answered_with_the_known():
    with pytest.raises(ValueError, match="activation must be one of tanh, relu, got 'gelu'"):
        Network("gelu", optimizer=torch.optim.SGD)


def test_a_run_leaves_bins_at_every_point_and_a_picture(tmp_path: Path):
    for activation in ("tanh", "relu"):
        options = [f"model.activation={activation}", f"run_dir={tmp_path / activation}", "logger=none"]
        train.train(config("experiment=tishby", "trainer.max_steps=5", "trainer.val_check_interval=5", *options))
        rows, trajectory = read(tmp_path / activation), Trajectory.load(tmp_path / activation)
        assert {row.step for row in rows} == set(trajectory.steps) == {0, 1, 2, 3, 4, 5}
        assert [row.layer for row in rows if row.step == 0] == ["L00", "L01", "L02", "L03", "L04", "L05"]
        assert all(
            -1e-9 <= row.label <= min(row.input, 1) + 1e-9 and row.input <= 12 + 1e-9 for row in rows
        )  # rounding
        assert not any(point.failure for point in trajectory.points)
    assert to_png(picture([tmp_path / "tanh", tmp_path / "relu"])).startswith(b"\x89PNG")
