"""Runs are told apart by colour, then by shape; without runs both are dealt out."""

from ibtrack.report.style import PALETTE, SHAPES, Looks
from tests import trajectories


def looks(number):
    made = Looks([trajectories.make(f"r{i}", num_points=2) for i in range(number)], "run")
    return [channel.to_dict()["scale"] for channel in (made.of_run(), made.shape_of_run())]


def test_no_two_of_24_runs_look_alike() -> None:
    colour, shape = looks(24)
    assert len({*zip(colour["range"], shape["range"], strict=True)}) == 24
    assert colour["domain"] == shape["domain"] == [f"r{i}" for i in range(24)]


def test_the_first_runs_differ_in_colour_and_share_a_shape() -> None:
    colour, shape = looks(len(PALETTE))
    assert colour["range"] == [*PALETTE]
    assert {*shape["range"]} == {SHAPES[0]}


def test_without_runs_nothing_is_said_of_their_names() -> None:
    assert looks(0) == [{"range": [*PALETTE]}, {"range": [*SHAPES]}]
