"""The names of what is logged: made, taken apart, refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ibtrack.record.keys import READINGS, Key, metric_key, order_name, parse_key

NAMES = st.from_regex(r"[A-Za-z0-9]{1,8}", fullmatch=True)


@given(
    quantity=NAMES,
    place=st.one_of(st.just((None, None)), st.tuples(NAMES, st.none()), st.tuples(NAMES, NAMES)),
    reading=st.sampled_from(READINGS),
    prefix=NAMES,
)
def test_a_key_taken_apart_has_the_parts_it_was_made_of(
    quantity: str, place: tuple[str | None, str | None], reading: str, prefix: str
) -> None:
    site, order = place
    key = metric_key(quantity, site=site, order=order, reading=reading, prefix=prefix)
    assert parse_key(key) == Key(quantity=quantity, site=site, order=order, reading=reading, prefix=prefix)


def test_a_prefix_may_hold_an_underscore() -> None:
    key = metric_key("entropy", site="L00", reading="null", prefix="ib_second")
    assert parse_key(key) == Key(quantity="entropy", site="L00", reading="null", prefix="ib_second")


@pytest.mark.parametrize("key", ["ib", "", "ib/a/b/c/d"])
def test_what_is_no_key_is_refused(key: str) -> None:
    with pytest.raises(ValueError, match=r"key must look like ib/<site>/<order>/<quantity>, got"):
        parse_key(key)


def test_orders_beyond_quadgram_are_numbered() -> None:
    assert [order_name(k) for k in range(1, 7)] == ["token", "bigram", "trigram", "quadgram", "5gram", "6gram"]
