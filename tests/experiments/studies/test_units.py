"""The study of the units: its cloud, what it reads, and the program itself."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from experiments.studies import units
from experiments.studies.units import Cell, decoded, make_cloud, mean_cosine, range_of, read

PROGRAM = Path(units.__file__)


@pytest.fixture(scope="module")
def cloud() -> units.Cloud:
    return make_cloud(1200, 30)


def test_labels_tell_what_they_should_of_a_large_cloud() -> None:
    assert make_cloud(40_000, 40).explained == pytest.approx(units.EXPLAINED, abs=0.02)  # the means vary by 1 / √(40 D)


def test_a_place_adds_nothing_but_what_it_says(cloud: units.Cloud) -> None:
    placed = cloud.placed(128, offset=3.0, noise=2.0)
    torch.testing.assert_close(placed[:, :32] - 3.0 * cloud.direction, cloud.rows, atol=1e-5, rtol=0)
    assert float(placed[:, 32:64].std()) == pytest.approx(2.0, rel=0.02)
    assert not placed[:, 64:].any()


def test_the_offsets_reach_the_cones_that_they_are_said_to_reach() -> None:
    cosines = [mean_cosine(make_cloud().placed(32, offset)) for offset in units.OFFSETS]
    assert cosines == pytest.approx([0.0, 0.22, 0.53, 0.82, 0.97], abs=0.03)


def test_the_cosine_is_that_of_all_pairs() -> None:
    rows = torch.randn(40, 8, generator=torch.Generator().manual_seed(0)) + 0.5
    unit = torch.nn.functional.normalize(rows.double(), dim=1)
    pairs = (unit @ unit.T)[~torch.eye(40, dtype=torch.bool)]
    assert mean_cosine(rows) == pytest.approx(float(pairs.mean()))


def test_a_cone_moves_the_fraction_by_a_factor_and_the_share_by_less_than_a_fifth(cloud: units.Cloud) -> None:
    wide, cone = read(cloud), read(cloud, offset=32.0)
    assert wide.fraction > 15 * cone.fraction
    assert wide.share < cone.share < 1.2 * wide.share
    assert cone.share < cloud.explained + 3 * units._error(cone)


def test_width_and_anchors_move_the_share_within_noise(cloud: units.Cloud) -> None:
    cells = [read(cloud, width=width, num_anchors=number) for width in (32, 512) for number in (20, 200)]
    shares, fractions = [cell.share for cell in cells], [cell.fraction for cell in cells]
    assert max(shares) - min(shares) < 0.03
    assert max(fractions) > 1.2 * min(fractions)


def test_a_softer_assignment_brings_the_share_to_r_squared(cloud: units.Cloud) -> None:
    sharp, soft = read(cloud), read(cloud, softer=8.0)
    assert soft.ceiling < sharp.ceiling / 10
    assert sharp.share < soft.share - 0.03
    assert soft.share == pytest.approx(cloud.explained, abs=0.03)


def test_noise_that_no_label_sees_moves_both_units_and_no_label_is_lost(cloud: units.Cloud) -> None:
    clean, noisy = read(cloud), read(cloud, noise=4.0)
    assert noisy.share < clean.share / 5
    assert noisy.fraction < clean.fraction / 5
    assert decoded(cloud) > 0.9  # and along these axes the noise adds nothing


def test_a_range_goes_from_the_least_to_the_most() -> None:
    names = ("width", "num_anchors", "offset", "noise", "softer", "fraction", "fraction_se", "share_se", "anchor_se")
    cells = [Cell(share=share, ceiling=0.5, **dict.fromkeys(names, 1)) for share in (0.41, 0.38, 0.40)]
    assert range_of(cells, lambda cell: cell.share) == "0.380 to 0.410, range 0.030"


def test_the_program_runs() -> None:
    done = subprocess.run([sys.executable, PROGRAM, "--quick"], capture_output=True, text=True, check=True)
    shares = re.search(r"^all .* (0\.\d+) to (0\.\d+), range (0\.\d+)$", done.stdout, re.MULTILINE)
    assert shares is not None
    low, high, width = map(float, shares.groups())
    assert 0.3 < low < high < 0.5
    assert width == pytest.approx(high - low, abs=0.0011)
    assert "what neither unit can say" in done.stdout
