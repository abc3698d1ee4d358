"""Influences survive packing, and what is damaged is refused."""

import base64
import json
import tracemalloc
import zlib
from typing import Any

import numpy as np
import pytest

from ibtrack.record.influences import MOST_GROUPS, Influence, Influences

SITES, NAMES = ["mean", "L00"], ["entropy", "token/complexity", "token/expressivity"]


def packed(documents: int = 64, draws: int = 0, seed: int = 0) -> tuple[Influences, np.ndarray[Any, Any]]:
    draw = np.random.default_rng(seed)
    by_document = draw.standard_normal((2, 3, documents)) * 10.0 ** draw.uniform(-6, 0, (2, 3, 1))
    influences = Influences.pack(SITES, NAMES, by_document, np.full((2, 3), 0.25), draw.random((2, 3, draws)))
    return influences, by_document


def sure(influence: Influence | None) -> Influence:
    assert influence is not None
    return influence


def test_every_row_survives_to_two_thousandths_of_its_error() -> None:
    influences, by_document = packed()
    for s, site in enumerate(SITES):
        for q, name in enumerate(NAMES):
            found = sure(influences.of(f"ib/{site}/{name}"))
            off = np.linalg.norm(found.by_document - by_document[s, q]) / np.linalg.norm(by_document[s, q])
            assert off < 2e-3
            assert found.systematic == 0.25
            assert found.by_draw.shape == (0,)


def test_draws_are_kept() -> None:
    influences = packed(draws=3)[0]
    assert sure(influences.of("ib/L00/token/complexity")).by_draw.shape == (3,)
    assert sure(influences.of("ib/L00/entropy")).by_draw.std() > 0


def test_numbers_that_follow_from_others_and_other_readings_are_not_kept() -> None:
    influences = packed()[0]
    for key in ("ib/mean/token/kept", "ib_plugin/mean/token/complexity", "ib/L01/entropy", "ib/probe_loss"):
        assert influences.of(key) is None
    assert influences.keys()[:2] == ["ib/mean/entropy", "ib/mean/token/complexity"]


def test_a_row_that_is_no_number_stays_none_and_a_row_of_zeros_stays_zero() -> None:
    by_document = np.array([[[0.0, 0.0], [np.nan, 1.0]]])
    influences = Influences.pack(["mean"], ["entropy", "ceiling"], by_document, np.zeros((1, 2)), np.zeros((1, 2, 0)))
    assert list(sure(influences.of("ib/mean/entropy")).by_document) == [0, 0]
    assert np.isnan(sure(influences.of("ib/mean/ceiling")).by_document).all()


def test_more_documents_are_grouped_and_the_error_stays_that_of_documents() -> None:
    influences, by_document = packed(documents=1000)
    assert influences.num_groups == MOST_GROUPS
    grouped = sure(influences.of("ib/mean/entropy")).by_document
    assert grouped.sum() == pytest.approx(by_document[0, 0].sum(), abs=2e-3 * np.abs(by_document[0, 0]).sum())
    error = np.linalg.norm(grouped) / np.linalg.norm(by_document[0, 0])
    assert 0.8 < error < 1.25  # the spread of 128 groups is known to 6 %


def test_a_record_goes_through_json_and_back() -> None:
    influences = packed(draws=2)[0]
    again = Influences.from_record(json.loads(json.dumps(influences.to_record())))
    assert again == influences
    assert hash(again) == hash(influences)


def test_the_size_for_twelve_sites_four_orders_and_64_documents_is_below_20_kb() -> None:
    draw = np.random.default_rng(0)
    names = ["entropy", "ceiling", *(f"{order}/{side}" for order in "1234" for side in ("complexity", "expressivity"))]
    rows = draw.standard_normal((13, 10, 64))
    influences = Influences.pack(["mean", *map(str, range(12))], names, rows, np.ones((13, 10)), np.zeros((13, 10, 0)))
    assert len(json.dumps(influences.to_record())) < 20_000
    mean = Influences.pack(["mean"], names, rows[:1], np.ones((1, 10)), np.zeros((1, 10, 0)))
    assert len(json.dumps(mean.to_record())) < 2000


def test_some_sites_can_be_kept_alone() -> None:
    influences = packed(draws=2)[0]
    mean = influences.at(["mean", "L09"])
    assert mean.sites == ("mean",)
    for name in NAMES:
        kept, all_of_it = (sure(each.of(f"ib/mean/{name}")) for each in (mean, influences))
        assert (kept.by_document == all_of_it.by_document).all()
        assert (kept.by_draw == all_of_it.by_draw).all()
        assert kept.systematic == all_of_it.systematic
    assert mean.of("ib/L00/entropy") is None
    assert Influences.from_record(mean.to_record()) == mean
    none = influences.at([])
    assert (none.sites, none.keys(), none.of("ib/mean/entropy")) == ((), [], None)
    assert Influences.from_record(none.to_record()) == none


def test_what_unpacks_to_more_than_it_says_is_not_unpacked() -> None:
    record = packed()[0].to_record()
    bomb = base64.b64encode(zlib.compress(b"\0" * (1 << 28))).decode()
    tracemalloc.start()
    with pytest.raises(ValueError, match=f"damaged .*{2 * 3 * (8 + 2 * 64) + 1} bytes in place of"):
        Influences.from_record({**record, "data": bomb})
    with pytest.raises(ValueError, match="bytes, more than"):
        Influences.from_record({**record, "num_groups": 1 << 40, "data": bomb})
    assert tracemalloc.get_traced_memory()[1] < 1 << 22
    tracemalloc.stop()


@pytest.mark.parametrize(
    "change",
    [
        {"data": "no base64!"},
        {"data": base64.b64encode(b"no zlib").decode()},
        {"data": base64.b64encode(zlib.compress(b"too short")).decode()},
        {"num_groups": 65},
        {"num_groups": None},
        {"sites": ["mean"]},
        {"sites": None},
    ],
    ids=["no base64", "no zlib", "too short", "more documents", "no number", "a site is missing", "no sites"],
)
def test_damaged_influences_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="the influences of the documents are damaged"):
        Influences.from_record({**packed()[0].to_record(), **change})


def test_influences_without_their_data_are_refused() -> None:
    record = packed()[0].to_record()
    del record["data"]
    with pytest.raises(ValueError, match=r"damaged \('data'\)"):
        Influences.from_record(record)
