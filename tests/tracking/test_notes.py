"""Every number that does not exist says why."""

import math
import re

import pytest
import torch

from ibtrack import InformationPlaneTracker, Probe, SoftOptions
from ibtrack.record.keys import parse_key
from ibtrack.record.notes import NO_CEILING, note_names
from ibtrack.record.quantities import GEOMETRY
from ibtrack.tracking.notes import (
    APART,
    DISTINCT,
    NO_GEOMETRY,
    NO_HALVES,
    NO_OTHER_DOCUMENT,
    NONE_FREQUENT,
    ONE_DOCUMENT,
    ONE_SAMPLED,
    SINGLE,
    notes_on,
    undefined_label_sets,
)
from tests import models
from tests.models import Model, tokens
from tests.tracking.test_tracker import tracker

TWO_TEXTS = torch.arange(2).repeat_interleave(8).view(2, 8)  # each repeats a token of its own
DISTINCT_TOKENS = torch.arange(2 * 11).view(2, 11) % 23


@pytest.mark.parametrize(
    ("probe", "reasons"),
    [
        (Probe(DISTINCT_TOKENS, orders=(4,)), dict.fromkeys(("input/quadgram", "output/quadgram"), DISTINCT)),
        (Probe(torch.zeros(3, 8).long(), orders=(1,)), dict.fromkeys(("input/token", "output/token"), SINGLE)),
        (
            Probe(torch.arange(2).repeat_interleave(8).view(2, 8), orders=(1,)),
            dict.fromkeys(("input/token", "output/token"), APART),
        ),
        (models.probe(), {}),
    ],
)
def test_label_sets_without_a_debiased_reading(probe: Probe, reasons: dict[str, str]) -> None:
    assert undefined_label_sets(probe) == reasons


@pytest.mark.parametrize(
    "probe",
    [
        Probe(DISTINCT_TOKENS, orders=(1, 4)),
        Probe(torch.zeros(3, 8).long(), orders=(1,)),
        Probe(models.tokens(4, seed=1), orders=(1, 2), documents=torch.zeros(4).long()),
        Probe(torch.zeros(4, 6).long(), labels={"preference": torch.tensor([[0], [1], [0], [1]]).expand(4, 6)}),
    ],
    ids=["distinct", "one label", "one document", "preferences"],
)
def test_every_number_that_does_not_exist_has_a_reason(probe: Probe) -> None:
    options = SoftOptions(label_weights="both", anchor_draws=2)
    point = InformationPlaneTracker(probe, geometry_rows=5, options=options).measure(Model())
    missing = [key for key, value in point.values.items() if not math.isfinite(value)]
    for key in missing:
        value = key.removesuffix("_se").removesuffix("_anchor_sd").removesuffix("_half").removesuffix("_z")
        assert point.notes.keys() & {*note_names(key), *note_names(value)}, key
    assert any(parse_key(key).quantity in GEOMETRY for key in point.values)


def test_labels_that_are_all_rare_say_why_there_is_no_number_in_which_they_count_alike() -> None:
    probe = Probe(torch.arange(4 * 16).view(4, 16) % 20, orders=(1, 3))  # every token three or four times
    values = InformationPlaneTracker(probe, options=SoftOptions(label_weights="both")).measure(Model()).notes
    assert values["ib_plugin/mean/token/complexity_equal"] == NONE_FREQUENT
    assert values["ib_plugin/L01/trigram/expressivity_equal"] == NONE_FREQUENT


def test_a_ratio_over_nothing_says_so_at_its_key() -> None:
    probe = models.probe(6)
    values = {
        "ib/mean/token/complexity": 0.0,
        "ib/mean/token/optimality": math.nan,
        "ib/mean/token/optimality_se": math.nan,
        "ib/mean/entropy": 0.5,
        "ib_plugin/mean/token/complexity": 0.2,
    }
    notes = notes_on(values, {}, probe)
    assert notes == {"ib/mean/token/optimality": "complexity is 0, so the ratio does not exist"}


def test_a_share_of_no_ceiling_says_so_at_its_key() -> None:
    values = {"ib/L00/ceiling": 3e-9, "ib/L00/token/kept": math.nan, "ib_plugin/L00/token/told": math.nan}
    notes = notes_on(values, {}, models.probe(6))
    assert notes == dict.fromkeys(("ib/L00/token/kept", "ib_plugin/L00/token/told"), NO_CEILING)


def test_a_geometry_that_does_not_exist_says_so_once() -> None:
    values = {f"ib/L00/{name}{suffix}": math.nan for name in GEOMETRY for suffix in ("", "_se", "_half")}
    notes = notes_on(values, {}, models.probe(6))
    assert notes == {f"ib/L00/{name}": NO_GEOMETRY[name] for name in GEOMETRY}


def test_an_error_or_a_half_of_the_geometry_that_does_not_exist_has_its_own_reason() -> None:
    values = {"ib/L00/rankme": 2.0, "ib/L00/rankme_se": math.nan, "ib/L00/rankme_half": math.nan}
    notes = notes_on(values, {}, models.probe(6))
    assert notes == {"ib/L00/rankme_se": ONE_SAMPLED, "ib/L00/rankme_half": NO_HALVES}


def test_a_collapsed_site_says_why_it_has_no_geometry() -> None:
    model = Model()
    torch.nn.init.zeros_(model.embed.weight)
    point = tracker(geometry_rows=200).measure(model.eval())
    assert math.isnan(point.values["ib/embed/rankme"])
    assert "zero" in (point.failure or "")  # and so is every other number of the site


def test_a_faulty_site_explains_itself_and_the_mean() -> None:
    values = {"ib/L01/entropy": math.nan, "ib/mean/entropy": math.nan, "ib/L00/entropy": 0.4}
    assert notes_on(values, {"L01": "2 of 9 positions are zero"}, models.probe(6)) == {
        "L01": "2 of 9 positions are zero"
    }


def test_one_document_explains_the_missing_error() -> None:
    probe = Probe(models.tokens(4, seed=1), orders=(1,), documents=torch.zeros(4).long())
    notes = notes_on({"ib/L00/entropy": 0.4, "ib/L00/entropy_se": math.nan}, {}, probe)
    assert notes == {"ib/L00/entropy_se": ONE_DOCUMENT}


def test_distinct_labels_are_noted() -> None:
    ids = torch.arange(2 * 11).view(2, 11) % 23
    point = tracker(probe=Probe(ids, orders=(1, 4))).measure(Model())
    assert math.isnan(point.values["ib/L00/quadgram/complexity"])
    assert "all labels are distinct" in point.notes["quadgram/complexity"]


def test_one_document_has_no_standard_error() -> None:
    sample = Probe(tokens(4, seed=1), orders=(1,), documents=torch.zeros(4, dtype=torch.long))
    readings = tracker(probe=sample).measure(Model()).values
    assert math.isnan(readings["ib/mean/token/optimality_se"])
    assert math.isfinite(readings["ib/mean/token/optimality"])


def test_one_document_has_no_lower_end() -> None:
    sample = Probe(tokens(4, seed=1), orders=(1,), documents=torch.zeros(4, dtype=torch.long))
    point = tracker(probe=sample).measure(Model())
    for key in ("ib/mean/token/complexity_low", "ib/L00/token/expressivity_low"):
        assert math.isnan(point.values[key])
        assert math.isnan(point.values[f"{key}_se"])
        assert point.notes[key] == NO_OTHER_DOCUMENT
    assert math.isfinite(point.values["ib/mean/token/complexity_high"])


KEY = "ib/L00/token/complexity"


def _bracketed(value: float, *, low: float = 0.2, high: float = 0.5, se: float = 0.003) -> dict[str, float]:
    return {KEY: value, f"{KEY}_se": se, f"{KEY}_low": low, f"{KEY}_low_se": 0.004, f"{KEY}_high": high}


@pytest.mark.parametrize("value", [0.2, 0.191, 0.5, 0.505, math.nan])  # two standard errors are .010 and .006
def test_a_value_in_its_bracket_or_near_is_not_in_doubt(value: float) -> None:
    values = _bracketed(value, se=math.nan if math.isnan(value) else 0.003)
    assert KEY not in notes_on(values, {"L00": "2 of 9 positions are zero"}, models.probe())


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (0.18, "it is 0.180, and a bound .* at least 0.200, which is 4.0 standard errors more. Either documents"),
        (0.53, "it is 0.530, and the plug-in reading, .* is 0.500, which is 10.0 standard errors less"),
    ],
)
def test_a_value_outside_of_its_bracket_is_in_doubt(value: float, sentence: str) -> None:
    notes = notes_on(_bracketed(value), {}, models.probe())
    assert list(notes) == [KEY]
    assert re.search(sentence, notes[KEY])


def test_a_bracket_without_errors_is_exact() -> None:
    values = _bracketed(0.18, se=0.0) | {f"{KEY}_low_se": 0.0}
    assert "many standard errors" in notes_on(values, {}, models.probe())[KEY]


def test_copies_of_documents_are_noted_and_make_no_doubt() -> None:
    text = models.tokens(12, seed=99)
    probe = Probe(torch.cat([text, text[:3]]), orders=(1, 2), keep_copies=True)
    notes = notes_on(_bracketed(0.1), {}, probe)
    assert set(notes) == {f"{o}/{q}_low" for o in ("token", "bigram") for q in ("complexity", "expressivity")}
    assert notes["bigram/expressivity_low"].startswith("3 of the probe's 15 documents are copies of others")
    assert set(notes_on(_bracketed(0.6), {}, probe)) == {*notes, KEY}  # the upper end holds for copies too
