"""The values of a point: a mapping in 8 bytes a number, whose keys are kept once."""

import copy
import math
import pickle
import tracemalloc

import numpy as np
import pytest

from ibtrack import Point
from ibtrack.record.values import LONGEST_KEY, Values, columns, columns_at

NUMBERS = {"ib/mean/entropy": 0.5, "ib/L00/entropy": math.nan, "ib/loss": 2.0}


def test_values_are_read_like_the_mapping_that_they_were() -> None:
    values = Values.of(NUMBERS)
    assert list(values) == list(NUMBERS)
    assert dict(values) == NUMBERS == values
    assert {**values, "ib/loss": 1.0} == NUMBERS | {"ib/loss": 1.0}
    assert values.get("ib/none", -1.0) == -1.0
    assert "ib/loss" in values
    assert ("ib/none" in values, None in values, len(values)) == (False, False, 3)
    assert all(type(value) is float for value in values.values())
    with pytest.raises(KeyError, match="ib/none"):
        values["ib/none"]


def test_points_with_equal_values_are_equal_also_where_there_is_none() -> None:
    assert Point(0, Values.of(NUMBERS)) == Point(0, Values.of(NUMBERS)) == Point(0, NUMBERS)
    for key, value in (("ib/loss", 2.5), ("ib/loss", math.nan), ("ib/L00/entropy", 0.0), ("ib/other", 1.0)):
        assert Values.of(NUMBERS) != Values.of(NUMBERS | {key: value})
    assert Values.of(NUMBERS) != 3


def test_values_cannot_be_changed_and_are_copied_with_their_keys_shared() -> None:
    numbers = np.array([0.5, math.nan, 2.0])
    values = Values(columns(tuple(NUMBERS)), numbers)
    numbers[0] = 9.0
    assert values["ib/mean/entropy"] == 0.5
    with pytest.raises(ValueError, match="read-only"):
        values.numbers[0] = 1.0
    for again in (copy.deepcopy(values), pickle.loads(pickle.dumps(values)), Values.of(dict(values))):
        assert again == values
        assert again.columns is values.columns


def test_none_is_no_number() -> None:
    assert math.isnan(Values(columns(("ib/loss",)), [None])["ib/loss"])


def test_values_of_some_sites_are_kept_with_those_of_the_run() -> None:
    assert dict(Values.of(NUMBERS).at(frozenset({"mean"}))) == {"ib/mean/entropy": 0.5, "ib/loss": 2.0}
    kept, places = columns_at(columns(tuple(NUMBERS)), frozenset())
    assert (kept.keys, places) == (("ib/loss",), (2,))


def test_further_values_are_added() -> None:
    assert Values.of({"ib/loss": 2.0}).extended({"ib/probe_loss": 3.0}) == {"ib/loss": 2.0, "ib/probe_loss": 3.0}
    with pytest.raises(ValueError, match="the key 'ib/loss' stands there twice"):
        Values.of({"ib/loss": 2.0}).extended({"ib/loss": 3.0})


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        ("loss", "key must look like"),
        ("a/b/c/d/e", "key must look like"),
        ("ib/\x1b[31m", "a key must be printable"),
        (f"ib/{'x' * LONGEST_KEY}", f"a key must be printable and have at most {LONGEST_KEY} letters"),
    ],
)
def test_what_is_no_key_is_refused(key: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        Values.of({key: 1.0})


def test_a_point_more_takes_little_more_than_its_numbers() -> None:
    wide = {f"ib/L{i:02}/token/x{j}": float(i * j) for i in range(25) for j in range(80)}
    points = [Point(0, Values.of(wide))]
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    points += [Point(i, Values.of(dict(wide))) for i in range(1, 101)]
    per_point = (tracemalloc.get_traced_memory()[0] - before) / 100
    tracemalloc.stop()
    assert 8 * len(wide) < per_point < 8 * len(wide) + 1500
    assert len(points) == 101
