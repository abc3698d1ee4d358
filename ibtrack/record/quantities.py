"""The one table of quantities: the name in keys, the title, the unit, what each belongs to and what it says."""

from __future__ import annotations

from typing import NamedTuple

from ibtrack._checks import check_option
from ibtrack.record.keys import READINGS, metric_key

FRACTION = "fraction of log K"


class Quantity(NamedTuple):
    """One row of the table.

    Attributes:
        title: What a chart calls it.
        unit: Its unit, or an empty text for a ratio.
        scope: What it belongs to: an ``order`` of a site, a ``site``, or the whole ``run``.
        meaning: A sentence for the list of keys.
    """

    title: str
    unit: str
    scope: str
    meaning: str


QUANTITIES = {
    "complexity": Quantity(
        "complexity I(X;Z)", FRACTION, "order", "How much a site keeps of the k tokens that end at a position."
    ),
    "expressivity": Quantity(
        "expressivity I(Y;Z)", FRACTION, "order", "How much a site says of the k tokens that follow a position."
    ),
    "optimality": Quantity("optimality I(Y;Z) / I(X;Z)", "", "order", "Expressivity divided by complexity."),
    "regularity": Quantity("regularity I(X;Z) / H(Z)", "", "order", "Complexity divided by entropy."),
    "variation": Quantity(
        "variation H(Z|X)", FRACTION, "order", "Entropy less complexity: how much positions of one k-gram differ."
    ),
    "share": Quantity(
        "share of the order in H(Z)",
        "",
        "order",
        "What an order tells beyond the order before it, divided by entropy.",
    ),
    "entropy": Quantity("entropy H(Z)", FRACTION, "site", "Entropy of the mean soft assignment."),
    "ceiling": Quantity(
        "ceiling I(Z;J)",
        FRACTION,
        "site",
        "What the soft assignment J can tell of anything at all: entropy less the mean entropy of single rows.",
    ),
    "mean_cosine": Quantity(
        "mean cosine between positions", "", "site", "0 for a cloud around the origin, near 1 for a narrow cone."
    ),
    "preference_information": Quantity(
        "preference information", FRACTION, "site", "I(pref;Z), of a probe of preferences."
    ),
    "loss": Quantity("training loss", "nats", "run", "Training loss of the step's batch."),
    "probe_loss": Quantity("loss on the probe", "nats", "run", "Cross entropy of the model's own head on the probe."),
    "variational_floor": Quantity(
        "variational floor of I(Y;Z)", "nats", "run", "Entropy of the next token in the probe less the probe loss."
    ),
    "overhead_fraction": Quantity(
        "share of the time spent measuring", "", "run", "Share of wall time that measuring has taken so far."
    ),
}


def quantity_key(quantity: str, site: str, order: str, reading: str) -> str:
    """Make the key under which a quantity lies in a point; parts that it does not depend on are not used.

    Args:
        quantity: A name of `QUANTITIES`.
        site: ``mean``, ``embed``, ``L00`` and so on.
        order: A label set, such as ``token``.
        reading: ``debiased``, ``plugin`` or ``null``.

    Raises:
        ValueError: There is no such quantity or reading.

    Example:
        >>> quantity_key("entropy", "L01", "token", "debiased"), quantity_key("probe_loss", "L01", "token", "plugin")
        ('ib/L01/entropy', 'ib/probe_loss')
    """
    check_option("quantity", quantity, tuple(QUANTITIES))
    check_option("reading", reading, READINGS)
    scope = QUANTITIES[quantity].scope
    if scope == "order":
        return metric_key(quantity, site=site, order=order, reading=reading)
    return metric_key(quantity, site=site) if scope == "site" else metric_key(quantity)
