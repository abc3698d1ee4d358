"""What pages say of names: keys, options, modules, files."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest
import torch

import ibtrack
import ibtrack.information
import ibtrack.metrics
from ibtrack import InformationPlaneTracker, Probe, SoftOptions, schedules
from ibtrack.record.keys import parse_key
from ibtrack.record.logged import point_metrics
from ibtrack.record.quantities import GEOMETRY, QUANTITIES
from tests.docs.pages import DOCS, PAGES, ROOT, name
from tests.docs.preludes import Model, training

SWEEPS = (DOCS / "howto" / "sweeps.md").read_text("utf-8")
KEYS = (DOCS / "keys.md").read_text("utf-8")


@pytest.mark.parametrize("group", ["data", "model", "recipe", "trainer", "probe", "monitor", "logger", "experiment"])
def test_every_option_of_a_group_is_in_the_table(group: str) -> None:
    (row,) = re.findall(rf"^\| `{group}` \|(.*)\|$", SWEEPS, flags=re.MULTILINE)
    options = {path.stem for path in (ROOT / "conf" / group).glob("*.yaml")} - {"base"}
    assert options <= set(re.findall(r"`([\w.]+)`", row))


def test_every_sweep_is_in_the_table_of_sweeps() -> None:
    sweeps = {path.stem for path in (ROOT / "conf" / "experiment").glob("*.yaml") if "params:" in path.read_text()}
    assert sweeps == set(re.findall(r"^\| `(\w+)` \(\d+(?: runs)?\) \|", SWEEPS, flags=re.MULTILINE))


def test_the_tables_of_keys_hold_what_a_point_holds() -> None:
    tracker = InformationPlaneTracker(
        training()["probe"], options=SoftOptions(anchor_draws=2), schedule=schedules.every(1), geometry_rows=100
    )
    point = tracker.step(Model(), 0, tokens_seen=0)
    assert point is not None
    assert point.failure is None
    forms = set()
    for key in point.values:
        parts = parse_key(key)
        quantity, suffix = re.fullmatch(r"(.*?)((?:_z|_low|_high|_half)?(?:_se|_anchor_sd)?)", parts.quantity).groups()  # type: ignore[union-attr]
        assert quantity in QUANTITIES, key
        forms.add((quantity, suffix, parts.reading))
    with_errors = {quantity for quantity, suffix, _ in forms if suffix == "_se"}
    of_sites = {quantity for quantity, of in QUANTITIES.items() if of.scope != "run"} - {"preference_information"}
    assert with_errors == of_sites - {"mean_cosine"}
    assert {quantity for quantity, suffix, _ in forms if suffix == "_half"} == {*GEOMETRY}
    for reading, row in {
        "plugin": {"complexity", "expressivity", "kept", "told", "optimality", "regularity"},
        "null": {"complexity", "expressivity", "kept", "told"},
    }.items():
        assert {quantity for quantity, suffix, of in forms if of == reading and not suffix} == row
    for suffix in ("_low", "_low_se", "_high"):
        assert {quantity for quantity, own, _ in forms if own == suffix} == {"complexity", "expressivity"}
        assert f"`{suffix}`" in KEYS
    beyond = point_metrics(point).keys() - point.values.keys()
    assert beyond == {"ib/tokens_seen", "ib/failed"}
    assert all(f"`{key}`" in KEYS for key in beyond)


def test_preferences_have_the_readings_of_the_table() -> None:
    labels = torch.tensor([1, 0] * 6).unsqueeze(1).expand(12, 64)
    pairs = torch.arange(6).repeat_interleave(2)
    probe = Probe(training()["probe"].inputs[:12], labels={"preference": labels}, documents=pairs)
    values = InformationPlaneTracker(probe).measure(Model()).values
    found = {parse_key(key).reading for key in values if key.endswith("preference_information")}
    assert found == {"debiased", "plugin", "null"}


def test_public_names_are_in_the_reference() -> None:
    text = "\n".join(path.read_text("utf-8") for path in (DOCS / "api").glob("*.md"))
    for public in ibtrack.__all__:
        assert re.search(rf"^::: ibtrack\.{public}$", text, flags=re.MULTILINE), public
    for package in (ibtrack.metrics, ibtrack.information):
        for public in package.__all__:
            assert re.search(rf"^        - {public}$", text, flags=re.MULTILINE), public


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_modules_and_files_that_a_page_names_exist(page: Path) -> None:
    text = page.read_text("utf-8")
    for dotted in re.findall(r"`(ibtrack(?:\.\w+)+)`", text):
        home, _, last = dotted.rpartition(".")
        assert hasattr(importlib.import_module(home), last) or importlib.import_module(dotted), dotted
    for file in re.findall(r"`((?:ibtrack|tests|experiments|conf|docs)/[\w/.]+\.\w+)`", text):
        assert (ROOT / file).exists(), file
