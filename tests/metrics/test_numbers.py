"""What the plane keeps of its estimates beside the numbers."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch

from ibtrack import Probe, SoftOptions
from ibtrack.metrics import InformationPlane
from ibtrack.record.influences import Influences
from ibtrack.record.keys import READINGS


def filled(probe: Probe, *, anchor_draws: int = 1, readings: Sequence[str] = READINGS) -> InformationPlane:
    plane = InformationPlane(
        probe,
        {"embed": 8, "L00": 8, "L01": 8},
        options=SoftOptions(num_anchors=20, anchor_draws=anchor_draws),
        readings=readings,
    )
    draw = torch.Generator().manual_seed(1)
    for site in plane.sites:
        rows = torch.randn(probe.num_positions, 8, generator=draw)
        plane.update(site, rows, torch.arange(probe.num_positions))
    return plane


@pytest.fixture(name="probe", scope="module")
def made_probe() -> Probe:
    tokens = torch.randint(0, 6, (16, 24), generator=torch.Generator().manual_seed(0))
    return Probe(tokens, orders=(1, 2))


def kept(plane: InformationPlane, sites: list[str] | None = None) -> Influences:
    influences = plane.influences(plane.readings(), sites or plane.sites)
    assert influences is not None
    return influences


def test_influences_are_those_of_the_estimates_in_fractions_of_log_k(probe: Probe) -> None:
    plane = filled(probe)
    readings, influences = plane.readings(), kept(plane)
    assert influences.sites == ("mean", "embed", "L00", "L01")
    names = ("entropy", "ceiling", "token/complexity", "token/expressivity", "bigram/complexity", "bigram/expressivity")
    assert set(influences.quantities) == set(names)
    estimate = readings.debiased["output/bigram"]
    for index, site in enumerate(plane.sites):
        found = influences.of(f"ib/{site}/bigram/expressivity")
        assert found is not None
        expected = (estimate.influence[index] / math.log(20)).numpy()
        assert found.by_document == pytest.approx(expected, abs=2e-3 * np.abs(expected).max())
        assert found.systematic == pytest.approx(float(estimate.systematic[index]) / math.log(20))
        assert found.by_draw.shape == (0,)


def test_the_mean_is_that_of_the_sites_without_the_embedding(probe: Probe) -> None:
    influences = kept(filled(probe))
    rows = [influences.of(f"ib/{site}/ceiling") for site in ("mean", "L00", "L01")]
    mean, one, other = (row.by_document for row in rows if row is not None)
    assert mean == pytest.approx((one + other) / 2, abs=3e-3 * np.abs(mean).max())


def test_each_draw_of_the_anchors_is_kept_and_their_mean_is_the_value(probe: Probe) -> None:
    plane = filled(probe, anchor_draws=3)
    influences, values = kept(plane), plane.compute()
    for key in ("ib/mean/token/complexity", "ib/L01/entropy"):
        found = influences.of(key)
        assert found is not None
        assert found.by_draw.mean() == pytest.approx(float(values[key]), rel=1e-5)
        assert found.by_draw.std(ddof=1) == pytest.approx(float(values[f"{key}_anchor_sd"]), rel=1e-3)


def test_a_plane_without_the_debiased_reading_keeps_none(probe: Probe) -> None:
    plane = filled(probe, readings=("plugin",))
    assert plane.influences(plane.readings(), plane.sites) is None


def test_the_information_of_preferences_has_influences() -> None:
    draw = torch.Generator().manual_seed(0)
    letters = ["".join(chr(97 + int(i)) for i in torch.randint(0, 9, (10,), generator=draw)) for _ in range(24)]
    pairs = [{"chosen": one, "rejected": other} for one, other in zip(letters[::2], letters[1::2], strict=True)]
    probe = Probe.from_preferences(
        pairs, lambda text: [ord(letter) - 97 for letter in text], num_pairs=12, block_size=12
    )
    influences = kept(filled(probe))
    assert "preference_information" in influences.quantities
