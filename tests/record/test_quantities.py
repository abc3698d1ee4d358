"""The one table of quantities."""

import pytest

from ibtrack.record.keys import parse_key
from ibtrack.record.quantities import QUANTITIES, quantity_key


@pytest.mark.parametrize("quantity", QUANTITIES)
def test_a_key_has_the_parts_of_its_scope(quantity: str) -> None:
    key = parse_key(quantity_key(quantity, "L01", "bigram", "plugin"))
    scope = QUANTITIES[quantity].scope
    assert key.quantity == quantity
    assert (key.site, key.order) == {"order": ("L01", "bigram"), "site": ("L01", None), "run": (None, None)}[scope]
    assert key.reading == ("plugin" if scope == "order" else "debiased")


def test_every_quantity_is_explained_in_a_sentence() -> None:
    for quantity in QUANTITIES.values():
        assert quantity.title
        assert quantity.meaning.endswith(".")
        assert quantity.scope in ("order", "site", "run")


@pytest.mark.parametrize(
    ("quantity", "reading", "sentence"),
    [
        ("beauty", "plugin", "quantity must be one of 'complexity'"),
        ("complexity", "best", "reading must be one of 'debiased'"),
    ],
)
def test_an_unknown_name_is_refused_with_the_names_there_are(quantity: str, reading: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        quantity_key(quantity, "mean", "token", reading)
