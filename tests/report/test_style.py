"""Runs are told apart by colour, then by shape; without runs both are dealt out."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ibtrack.report.style import INK, PALETTE, RAMP, RED, SHAPES, Style, ticks
from tests import trajectories


def scales(number: int) -> list[dict[str, Any]]:
    """Scales of colour and of shape for a number of runs."""
    style = Style([trajectories.make(f"r{i}", num_points=2) for i in range(number)], "run")
    channels = [cast(dict[str, Any], channel.to_dict()) for channel in (style.colour_of_run(), style.shape_of_run())]
    return [channel["scale"] for channel in channels]


def luminance(colour: str) -> float:
    """Relative luminance of sRGB, 0 for black and 1 for white (WCAG 2)."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrasts(colour: str) -> tuple[float, float]:
    """Contrast to white and to black (WCAG 2), from 1 to 21."""
    return 1.05 / (luminance(colour) + 0.05), (luminance(colour) + 0.05) / 0.05


def lightness(colour: str) -> float:
    """L* of CIELAB, for what is not nearly black."""
    return float(116 * luminance(colour) ** (1 / 3) - 16)


def test_no_two_of_24_runs_look_alike() -> None:
    colour, shape = scales(24)
    assert len({*zip(colour["range"], shape["range"], strict=True)}) == 24
    assert colour["domain"] == shape["domain"] == [f"r{i}" for i in range(24)]


def test_the_first_runs_differ_in_colour_and_share_a_shape() -> None:
    colour, shape = scales(len(PALETTE))
    assert colour["range"] == [*PALETTE]
    assert {*shape["range"]} == {SHAPES[0]}


def test_without_runs_nothing_is_said_of_their_names() -> None:
    assert scales(0) == [{"range": [*PALETTE]}, {"range": [*SHAPES]}]


@pytest.mark.parametrize(("colours", "white", "black"), [(PALETTE, 2.2, 4), (RAMP, 2.1, 3.5), ((INK, RED), 3.8, 4.2)])
def test_colours_are_seen_on_white_and_on_black(colours: tuple[str, ...], white: float, black: float) -> None:
    for colour in colours:
        on_white, on_black = contrasts(colour)
        assert on_white >= white
        assert on_black >= black


def test_early_to_late_is_dark_to_light() -> None:
    assert all(lightness(one) < lightness(other) for one, other in pairwise(RAMP))
    assert (lightness(RAMP[0]), lightness(RAMP[-1])) == pytest.approx((43, 72), abs=0.5)


@pytest.mark.parametrize(
    ("last", "first", "expected"),
    [(0, 1, [0]), (1, 1, [0, 1]), (1000, 1, [0, 1, 10, 100, 1000]), (1500, 1, [0, 1, 10, 100, 1500])],
)
def test_ticks_are_powers_of_ten_and_the_end(last: float, first: float, expected: list[float]) -> None:
    assert ticks(last, first) == expected


@given(last=st.integers(1, 10**15), first=st.integers(1, 10**6))
def test_ticks_rise_from_zero_to_the_end_and_none_stands_on_it(last: int, first: int) -> None:
    places = ticks(last, first)
    assert (places[0], places[-1]) == (0, last)
    assert all(one < other for one, other in pairwise(places))
    assert all(place * 1.6 < last for place in places[:-1])
