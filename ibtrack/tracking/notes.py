"""Why numbers of a point do not exist, in sentences that reach the reader in the place of the number."""

from __future__ import annotations

import math
from collections.abc import Mapping

from ibtrack.information.plugin import FEWEST_OCCURRENCES
from ibtrack.information.spectrum import FIRST_EIGENVALUE, MIN_EIGENVALUES, MIN_ROWS
from ibtrack.probe.labels import UNPAIRED_LABEL_SETS
from ibtrack.probe.probe import Probe
from ibtrack.record.keys import Key, metric_key, parse_key
from ibtrack.record.notes import DERIVED, NO_CEILING, note_names
from ibtrack.record.quantities import RATIOS, SMALLEST_CEILING

DISTINCT = "all labels are distinct, so nothing tells the spread within a label from that between labels"
APART = "no label occurs in two documents, so nothing tells what a label makes alike from what a document does"
SINGLE = "there is one label only, so there is nothing to tell"
NONE_FREQUENT = f"no label occurs {FEWEST_OCCURRENCES} times, and only such labels count where all count alike"
ONE_DOCUMENT = "the probe has one document, and standard errors are taken over documents"
NO_OTHER_DOCUMENT = "the probe has one document, and a lower end is made of other documents than that of the row"
COPIES = (
    "{} of the probe's {} documents are copies of others; they are not independent, so the lower end may lie above "
    "the information, and standard errors are too small"
)
OUTSIDE = 2.0  # standard errors of value and end together
BELOW = (
    "this value is hardly right: it is {value:.3f}, and a bound that assumes nothing but independent documents says "
    "that the truth is at least {end:.3f}, which is {number} standard errors more. Either documents of the probe share "
    "text, or the correction for rare labels takes too much away"
)
ABOVE = (
    "this value is hardly right: it is {value:.3f}, and the plug-in reading, which is biased upward, is {end:.3f}, "
    "which is {number} standard errors less. The correction for rare labels has failed"
)
NOT_A_NUMBER = "its value is not a number, although no row was at fault"

NO_GEOMETRY = {
    "rankme": f"the sampled rows are all zero, or fewer than {MIN_ROWS}",
    "participation_ratio": f"the sampled rows are all equal, or fewer than {MIN_ROWS}",
    "alpha_req": f"the power law is fitted from eigenvalue {FIRST_EIGENVALUE} to that in the middle, which are fewer "
    f"than {MIN_EIGENVALUES}, or one is 0",
}
NO_HALVES = f"half of the documents has fewer than {MIN_ROWS} sampled rows, or gives no number"
ONE_SAMPLED = "the sampled rows are of one document, and standard errors are taken over documents"

DENOMINATORS = {"share": "entropy", **{ratio: whole for ratio, (_, whole) in RATIOS.items()}}


def undefined_label_sets(probe: Probe) -> dict[str, str]:
    """Say which label sets have no debiased reading.

    Returns:
        Name of a label set, such as ``input/quadgram``, to the reason.
    """
    reasons = {probe.num_positions: DISTINCT, 1: SINGLE}
    in_one_document = {name: APART for name, design in probe.label_designs.items() if design.num_halved == 0}
    return in_one_document | {name: reasons[number] for name, number in probe.label_counts.items() if number in reasons}


def notes_on(values: Mapping[str, float], faults: Mapping[str, str], probe: Probe) -> dict[str, str]:
    """Say why values are not finite.

    Args:
        values: Metric key to value.
        faults: Site to what was wrong with it.
        probe: The probe that was measured.

    Returns:
        Reasons, named as `ibtrack.record.notes` says. Every value that is not finite has one, its error that of the
        value; where sites are at fault, the mean has theirs as the failure of the point. A value outside of its bracket
        has a doubt.
    """
    notes = {**faults, **_notes_on_label_sets(probe), **_notes_on_copies(probe), **_notes_on_brackets(values, probe)}
    for key, value in values.items():
        parts = parse_key(key)
        at_fault = parts.site == "mean" and bool(faults)
        if not (
            math.isfinite(value) or at_fault or notes.keys() & {*note_names(key), *note_names(_without_suffix(key))}
        ):
            notes[key] = _reason(parts, values, probe)
    return notes


def _notes_on_label_sets(probe: Probe) -> dict[str, str]:
    notes: dict[str, str] = {}
    for name, reason in undefined_label_sets(probe).items():
        side, _, order = name.partition("/")
        if name in UNPAIRED_LABEL_SETS:
            notes[f"{name}_information"] = reason
        else:
            notes |= {f"{order}/{quantity}": reason for quantity in DERIVED[side]}
    return notes


def _notes_on_copies(probe: Probe) -> dict[str, str]:
    """Say of every lower end that documents of the probe repeat each other, if they do."""
    if not probe.num_copies:
        return {}
    sentence = COPIES.format(probe.num_copies, probe.num_documents)
    return {
        f"{order}/{quantity}_low": sentence for order in probe.orders for quantity in ("complexity", "expressivity")
    }


def _notes_on_brackets(values: Mapping[str, float], probe: Probe) -> dict[str, str]:
    """Say which values lie outside of their bracket by more than errors explain.

    Where documents copy each other the lower end is none, and a value below it is no fault.
    """
    notes = {}
    for key, end in values.items():
        name, _, suffix = key.rpartition("_")
        value, error = values.get(name, math.nan), values.get(f"{name}_se", math.nan)
        if suffix == "low" and not probe.num_copies:
            distance, sentence = end - value, BELOW
            error = math.hypot(error, values.get(f"{key}_se", math.nan))
        elif suffix == "high":
            distance, sentence = value - end, ABOVE
        else:
            continue
        if distance > OUTSIDE * error:
            number = f"{distance / error:.1f}" if error else "many"
            notes[name] = sentence.format(value=value, end=end, number=number)
    return notes


def _without_suffix(key: str) -> str:
    return key.removesuffix("_se").removesuffix("_anchor_sd").removesuffix("_half").removesuffix("_z")


def _reason(parts: Key, values: Mapping[str, float], probe: Probe) -> str:
    if parts.quantity.endswith(("_low", "_low_se")) and probe.num_documents == 1:
        return NO_OTHER_DOCUMENT
    if parts.quantity.endswith("_se") and probe.num_documents == 1:
        return ONE_DOCUMENT
    if _without_suffix(parts.quantity) in NO_GEOMETRY:
        of_suffix = {"se": ONE_SAMPLED, "half": NO_HALVES}
        return NO_GEOMETRY.get(parts.quantity) or of_suffix[parts.quantity.rpartition("_")[2]]
    denominator = DENOMINATORS.get(_without_suffix(parts.quantity))
    if denominator is not None:
        order = parts.order if denominator == "complexity" else None
        reading = parts.reading if denominator == "complexity" else "debiased"
        value = values.get(metric_key(denominator, site=parts.site, order=order, reading=reading))
        if denominator == "ceiling" and value is not None and value < SMALLEST_CEILING:
            return NO_CEILING
        if value == 0:
            return f"{denominator} is 0, so the ratio does not exist"
    return NONE_FREQUENT if _without_suffix(parts.quantity).endswith("_equal") else NOT_A_NUMBER
