"""The one table of quantities: what each is called in keys and in charts, its unit, what it belongs to, its meaning."""

from __future__ import annotations

from typing import NamedTuple

from ibtrack._checks import check_option
from ibtrack.record.keys import READINGS, metric_key

FRACTION = "fraction of log K"
SHARE = "share of the ceiling"
SMALLEST_CEILING = 1e-5  # fraction of log K; float32 rows make errors of 1e-7, one hundredth of a share of this ceiling
# z is the spread between labels in standard deviations of what it would be if labels told nothing; below this it cannot
# be told from noise, one-sided at 2.3 % where labels are many
TELLING_Z = 2.0
Z95 = 1.96  # half width of a two-sided 95 % interval in standard errors of a normal distribution


class Quantity(NamedTuple):
    """One row of the table.

    Attributes:
        title: Name of the quantity in charts.
        unit: Unit of its values; an empty text for a ratio.
        scope: What a value belongs to: an ``order`` of a site, a ``site``, or the whole ``run``.
        meaning: Sentence for the list of keys.
    """

    title: str
    unit: str
    scope: str
    meaning: str


class PlaneUnit(NamedTuple):
    """One of the units of the plane.

    Attributes:
        complexity: Quantity that is I(X;Z) in this unit.
        expressivity: Quantity that is I(Y;Z) in this unit.
        whole: What its numbers are a part of, in a sentence.
    """

    complexity: str
    expressivity: str
    whole: str


PLANE_UNITS = {
    "share": PlaneUnit("kept", "told", "the ceiling"),
    "log_k": PlaneUnit("complexity", "expressivity", "log K"),
}
"""Name of a unit of the plane to what it is; `share` is the one that charts, phases and rankings use unless told."""

RATIOS = {
    "kept": ("complexity", "ceiling"),
    "told": ("expressivity", "ceiling"),
    "optimality": ("expressivity", "complexity"),
    "regularity": ("complexity", "entropy"),
}
"""Quantity that is a ratio of two others to these, of the same site, and of the same order where they have one."""

SHARE_OF = {"complexity": "kept", "expressivity": "told"}
"""Quantity in fractions of log K to the one that is its share of the ceiling."""

QUANTITIES = {
    "complexity": Quantity(
        title="complexity I(X;Z)",
        unit=FRACTION,
        scope="order",
        meaning="How much a site keeps of the k tokens that end at a position.",
    ),
    "expressivity": Quantity(
        title="expressivity I(Y;Z)",
        unit=FRACTION,
        scope="order",
        meaning="How much a site says of the k tokens that follow a position.",
    ),
    "kept": Quantity(
        title="kept I(X;Z) / I(Z;J)",
        unit=SHARE,
        scope="order",
        meaning="Complexity divided by the ceiling: of what a position tells, the part that its k tokens explain.",
    ),
    "told": Quantity(
        title="told I(Y;Z) / I(Z;J)",
        unit=SHARE,
        scope="order",
        meaning="Expressivity divided by the ceiling: of what a position tells, the part about the k tokens to come.",
    ),
    "optimality": Quantity(
        title="optimality I(Y;Z) / I(X;Z)",
        unit="",
        scope="order",
        meaning="Expressivity divided by complexity.",
    ),
    "regularity": Quantity(
        title="regularity I(X;Z) / H(Z)",
        unit="",
        scope="order",
        meaning="Complexity divided by entropy.",
    ),
    "variation": Quantity(
        title="variation H(Z|X)",
        unit=FRACTION,
        scope="order",
        meaning="Entropy less complexity: how much positions of one k-gram differ.",
    ),
    "share": Quantity(
        title="share of the order in H(Z)",
        unit="",
        scope="order",
        meaning="What an order tells beyond the order before it, divided by entropy.",
    ),
    "entropy": Quantity(
        title="entropy H(Z)",
        unit=FRACTION,
        scope="site",
        meaning="Entropy of the mean soft assignment.",
    ),
    "ceiling": Quantity(
        title="ceiling I(Z;J)",
        unit=FRACTION,
        scope="site",
        meaning="What the soft assignment J can tell of anything at all: entropy less the mean entropy of single rows.",
    ),
    "mean_cosine": Quantity(
        title="mean cosine between positions",
        unit="",
        scope="site",
        meaning="0 for a cloud around the origin, near 1 for a narrow cone.",
    ),
    "rankme": Quantity(
        title="RankMe",
        unit="directions",
        scope="site",
        meaning="Effective rank around the origin: exp of the entropy of the singular values; where geometry_rows is "
        "given.",
    ),
    "participation_ratio": Quantity(
        title="participation ratio",
        unit="directions",
        scope="site",
        meaning="Effective rank of the covariance, (Σ λ)² / Σ λ², to which large directions count most; where "
        "geometry_rows is given.",
    ),
    "alpha_req": Quantity(
        title="α-ReQ",
        unit="an exponent",
        scope="site",
        meaning="Exponent of the power law of the covariance's eigenvalues, high where few directions hold the "
        "variance; where geometry_rows is given.",
    ),
    "preference_information": Quantity(
        title="preference information",
        unit=FRACTION,
        scope="site",
        meaning="I(pref;Z), of a probe of preferences.",
    ),
    "loss": Quantity(
        title="training loss",
        unit="nats",
        scope="run",
        meaning="Training loss of the step's batch.",
    ),
    "probe_loss": Quantity(
        title="loss on the probe",
        unit="nats",
        scope="run",
        meaning="Cross entropy of the model's own head on the probe, for the next token; not a number, with a note, "
        "where the head sees that token, as that of a masked language model does, or predicts another.",
    ),
    "variational_floor": Quantity(
        title="variational floor of I(Y;Z)",
        unit="nats",
        scope="run",
        meaning="Entropy of the next token in the probe less the probe loss.",
    ),
    "overhead_fraction": Quantity(
        title="share of the time spent measuring",
        unit="",
        scope="run",
        meaning="Share of wall time that following the run has taken so far: start, points and their records.",
    ),
}
"""Name of a quantity to its row of the table."""

GEOMETRY = ("rankme", "participation_ratio", "alpha_req")
"""The quantities that say how many directions a cloud fills; each has a ``_half``, what half of the documents read."""


def quantity_key(quantity: str, site: str, order: str, reading: str) -> str:
    """Make the key under which a quantity lies in a point; parts that it does not depend on are not used.

    Args:
        quantity: Name in `QUANTITIES`.
        site: Layer such as ``embed`` or ``L00``, or ``mean``.
        order: Label set, such as ``token``.
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
