"""Named protocols: what each of them decides, and that everything takes it."""

import inspect
import subprocess
import sys

import pytest

from ibtrack import Probe, SoftOptions
from ibtrack.replay.settings import PROTOCOLS, ProtocolSettings, protocol_settings


def defaults(function: object) -> dict[str, object]:
    assert callable(function)
    return {name: each.default for name, each in inspect.signature(function).parameters.items()}


def test_the_standard_protocol_is_what_a_monitor_does_by_default() -> None:
    standard = protocol_settings("standard")
    assert standard.text_options.items() <= defaults(Probe.from_texts).items()
    assert standard.preference_options.items() <= defaults(Probe.from_preferences).items()
    assert standard.options == SoftOptions()
    assert standard.layers == "auto"


def test_the_protocol_of_the_paper() -> None:
    paper = protocol_settings("paper")
    assert paper.text_options == {"num_blocks": 10_000, "block_size": 512, "orders": (1, 2, 3, 4), "min_length": 8}
    assert paper.preference_options == {"num_pairs": 1_000, "block_size": 512, "positions": "last"}
    assert paper.options == SoftOptions(temperature="bounds", label_weights="both")
    assert paper.layers == ("auto", "final")


@pytest.mark.parametrize("name", PROTOCOLS)
def test_what_cuts_a_probe_is_taken_by_what_cuts_it(name: str) -> None:
    settings = protocol_settings(name)
    assert settings.name == name
    inspect.signature(Probe.from_texts).bind([], None, **settings.text_options)
    inspect.signature(Probe.from_preferences).bind([], None, **settings.preference_options)
    with pytest.raises(ValueError, match=f"the probe needs {settings.num_blocks} documents"):
        Probe.from_texts([], str.split, **settings.text_options)
    with pytest.raises(ValueError, match=f"the probe needs {settings.num_pairs} pairs"):
        Probe.from_preferences([], str.split, **settings.preference_options)


def test_settings_are_frozen_and_can_be_changed_in_a_copy() -> None:
    with pytest.raises(AttributeError):
        protocol_settings("paper").num_blocks = 4  # type: ignore[misc]
    assert isinstance(protocol_settings("paper"), ProtocolSettings)


def test_there_is_no_other_protocol() -> None:
    with pytest.raises(ValueError, match="protocol must be one of 'standard', 'paper', got 'papers'"):
        protocol_settings("papers")


def test_names_are_known_without_torch() -> None:
    code = "from ibtrack.replay.settings import PROTOCOLS; import sys; print(*PROTOCOLS, 'torch' in sys.modules)"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown == "standard paper False\n"
