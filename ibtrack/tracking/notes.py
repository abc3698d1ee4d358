"""Why numbers of a point do not exist, in sentences that reach the reader in the place of the number."""

from __future__ import annotations

import math
from collections.abc import Mapping

from ibtrack.probe.labels import LONE_LABELS
from ibtrack.probe.probe import Probe
from ibtrack.record.keys import Key, metric_key, parse_key

DISTINCT = "all labels are distinct, so nothing tells the spread within a label from that between labels"
APART = "no label occurs in two documents, so nothing tells what a label makes alike from what a document does"
SINGLE = "there is one label only, so there is nothing to tell"
ONE_DOCUMENT = "the probe has one document, and standard errors are taken over documents"
NOT_A_NUMBER = "its value is not a number, although no row was at fault"

# quantities that are made from the information of a side
DERIVED = {
    "input": ("complexity", "optimality", "regularity", "variation", "share"),
    "output": ("expressivity", "optimality"),
}
DENOMINATORS = {"optimality": "complexity", "regularity": "entropy", "share": "entropy"}


def undefined_label_sets(probe: Probe) -> dict[str, str]:
    """Say which label sets have no debiased reading.

    Returns:
        Name of a label set, such as ``input/quadgram``, to the reason.
    """
    reasons = {probe.num_positions: DISTINCT, 1: SINGLE}
    apart = {name: APART for name, design in probe.label_designs.items() if design.num_halved == 0}
    return apart | {name: reasons[number] for name, number in probe.label_counts.items() if number in reasons}


def notes_on(values: Mapping[str, float], faults: Mapping[str, str], probe: Probe) -> dict[str, str]:
    """Say why values are not finite.

    Args:
        values: Metric key to value.
        faults: Site to what was wrong with it.
        probe: The probe that was measured.

    Returns:
        Reasons by metric key, by ``<order>/<quantity>`` for all sites, or by site. Every value that is not finite has
        one, by one of these names.
    """
    notes = {**faults, **_notes_on_label_sets(probe, values)}
    for key, value in values.items():
        if not math.isfinite(value):
            parts = parse_key(key)
            if not _has_reason(key, parts, notes, faults):
                notes[key] = _reason(parts, values, probe)
    return notes


def _notes_on_label_sets(probe: Probe, values: Mapping[str, float]) -> dict[str, str]:
    notes: dict[str, str] = {}
    for name, reason in undefined_label_sets(probe).items():
        if name in LONE_LABELS:
            notes |= {key: reason for key in values if key.endswith(f"/{name}_information") and key.startswith("ib/")}
        else:
            side, _, order = name.partition("/")
            notes |= {f"{order}/{quantity}": reason for quantity in DERIVED[side]}
    return notes


def _has_reason(key: str, parts: Key, notes: Mapping[str, str], faults: Mapping[str, str]) -> bool:
    quantity = parts.quantity.removesuffix("_se").removesuffix("_anchor_sd")
    of_whole = metric_key(quantity, site=parts.site, order=parts.order, reading=parts.reading)
    of_order = parts.reading == "debiased" and f"{parts.order}/{quantity}" in notes
    at_fault = parts.site in faults or (parts.site == "mean" and bool(faults))
    return key in notes or of_whole in notes or of_order or at_fault


def _reason(parts: Key, values: Mapping[str, float], probe: Probe) -> str:
    if parts.quantity.endswith("_se") and probe.num_documents == 1:
        return ONE_DOCUMENT
    denominator = DENOMINATORS.get(parts.quantity.removesuffix("_se").removesuffix("_anchor_sd"))
    if denominator is not None:
        order = parts.order if denominator == "complexity" else None
        reading = parts.reading if denominator == "complexity" else "debiased"
        if values.get(metric_key(denominator, site=parts.site, order=order, reading=reading)) == 0:
            return f"{denominator} is 0, so the ratio does not exist"
    return NOT_A_NUMBER
