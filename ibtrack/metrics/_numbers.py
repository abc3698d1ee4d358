"""The numbers of the plane: what each site's readings become, with the ratios between them, under their names.

Letters: L sites, with their mean before them, R draws of the anchors, G documents.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ibtrack.information.readings import Readings
from ibtrack.information.standard_errors import Estimate
from ibtrack.record.influences import Influences
from ibtrack.record.quantities import SHARE_OF, SMALLEST_CEILING

_QUANTITY_OF = {"input": "complexity", "output": "expressivity"}  # what the information of a label set is called
Name = tuple[str, str | None, str]  # quantity, order and reading


def plane_numbers(readings: Readings, orders: Sequence[str], nested: bool, log_anchors: float) -> dict[Name, Tensor]:
    """Work out (L,) of every quantity, as fractions of log K where they have a unit.

    Args:
        readings: Readings of the sites, in nats.
        orders: Label orders.
        nested: Whether an order's labels are those of the order before it, and more.
        log_anchors: log K.
    """
    unit = 1 / log_anchors
    entropy, ceiling = readings.entropy.scaled(unit), readings.ceiling.scaled(unit)
    none = ceiling.value < SMALLEST_CEILING
    whole = ceiling.map(lambda part: part.masked_fill(none.view(-1, *[1] * (part.ndim - 1)), torch.nan))
    information = {name: estimate.scaled(unit) for name, estimate in readings.debiased.items()}
    estimates: dict[tuple[str, str | None], Estimate] = {("entropy", None): entropy, ("ceiling", None): ceiling}
    if information:
        estimates |= _estimates(information, entropy, whole, orders, nested)
    for name, end in readings.lower_ends.items():
        quantity, order = _quantity_of(name)
        estimates[f"{quantity}_low", order] = end.scaled(unit)
    values: dict[Name, Tensor] = {}
    for (quantity, order), estimate in estimates.items():
        values[quantity, order, "debiased"] = estimate.value
        values[f"{quantity}_se", order, "debiased"] = estimate.standard_error
    for name, score in readings.z.items():
        quantity, order = _quantity_of(name)
        values[f"{quantity}_z", order, "debiased"] = score
    for name, nats in readings.null.items():
        values |= _with_share(*_quantity_of(name), "null", nats * unit, whole.value)
    for name, nats in readings.plugin.items():
        quantity, order = _quantity_of(name)
        values |= _with_share(quantity, order, "plugin", nats * unit, whole.value)
        if name in readings.lower_ends:
            values[f"{quantity}_high", order, "debiased"] = nats * unit
    for name, nats in readings.plugin_equal.items():
        quantity, order = _quantity_of(name)
        values[f"{quantity}_equal", order, "plugin"] = nats * unit
    for order in orders if readings.plugin else ():
        plugin_complexity = values["complexity", order, "plugin"]
        values["optimality", order, "plugin"] = values["expressivity", order, "plugin"] / plugin_complexity
        values["regularity", order, "plugin"] = plugin_complexity / entropy.value
    return values


def _estimates(
    information: Mapping[str, Estimate], entropy: Estimate, whole: Estimate, orders: Sequence[str], nested: bool
) -> dict[tuple[str, str | None], Estimate]:
    """Work out the debiased quantities of every order, and the information of label sets without one."""
    estimates: dict[tuple[str, str | None], Estimate] = {}
    shorter = None
    for order in orders:
        complexity, expressivity = information[f"input/{order}"], information[f"output/{order}"]
        estimates |= {
            ("complexity", order): complexity,
            ("expressivity", order): expressivity,
            ("kept", order): complexity.ratio(whole),
            ("told", order): expressivity.ratio(whole),
            ("optimality", order): expressivity.ratio(complexity),
            ("regularity", order): complexity.ratio(entropy),
            ("variation", order): entropy.minus(complexity),
        }
        if nested:
            beyond = complexity if shorter is None else complexity.minus(shorter)
            estimates["share", order] = beyond.ratio(entropy)
            shorter = complexity
    return estimates | {_quantity_of(name): estimate for name, estimate in information.items() if "/" not in name}


def _with_share(quantity: str, order: str | None, reading: str, value: Tensor, whole: Tensor) -> dict[Name, Tensor]:
    """Put a plug-in or null reading under its name, with its share of the ceiling where it has one."""
    values: dict[Name, Tensor] = {(quantity, order, reading): value}
    return values | ({(SHARE_OF[quantity], order, reading): value / whole} if quantity in SHARE_OF else {})


def _quantity_of(label_set: str) -> tuple[str, str | None]:
    """Name the information of a label set such as ``input/token``, and its order; a set without a side has none."""
    side, _, label = label_set.rpartition("/")
    return (_QUANTITY_OF[side], label) if side else (f"{label}_information", None)


def plane_influences(
    readings: Readings, draws: Readings | None, sites: Sequence[str], log_anchors: float
) -> Influences:
    """Collect what moves the numbers that all others are made of, as fractions of log K.

    Args:
        readings: Readings of the sites, in nats, averaged over the draws of the anchors.
        draws: Readings of the sites and draws, whose values are (L, R); None for a single draw.
        sites: Names of the sites, L.
        log_anchors: log K.
    """
    estimates = _basic(readings)
    of_draws = {} if draws is None else _basic(draws)

    def side_by_side(parts: Iterable[Tensor]) -> NDArray[Any]:
        return (torch.stack(list(parts), 1) / log_anchors).cpu().numpy()

    by_document = side_by_side(each.influence for each in estimates.values())
    return Influences.pack(
        sites,
        list(estimates),
        by_document,
        side_by_side(each.systematic for each in estimates.values()),
        side_by_side(each.value for each in of_draws.values()) if of_draws else np.zeros((*by_document.shape[:2], 0)),
    )


def _basic(readings: Readings) -> dict[str, Estimate]:
    """Name the estimates that all quantities follow from, as the ends of their keys."""
    named = {"/".join(filter(None, _quantity_of(name)[::-1])): each for name, each in readings.debiased.items()}
    return {"entropy": readings.entropy, "ceiling": readings.ceiling, **named}
