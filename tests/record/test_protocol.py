"""What differs between protocols and other mappings."""

from typing import Any

import pytest

from ibtrack.record.protocol import as_text, differing_keys, flat, protocol_differences


def test_nested_config_is_one_level() -> None:
    assert flat({"a": {"b": {"c": 1}}, "d": [2]}) == {"a.b.c": 1, "d": [2]}


def test_a_tuple_equals_the_list_it_becomes_in_a_file() -> None:
    assert differing_keys([{"orders": (1, 2), "seed": 0}, {"orders": [1, 2], "seed": 0}]) == []


def test_a_missing_entry_differs_from_any_value() -> None:
    assert differing_keys([{"estimator": 1}, {}]) == ["estimator"]
    assert protocol_differences({"new": {"unit": "nat"}, "old": {}}) == ["unit: nat in 'new', — in 'old'"]


def test_two_versions_of_the_estimator_differ_in_words_that_need_no_manual() -> None:
    (difference,) = protocol_differences({"new": {"estimator": 1}, "old": {}})
    assert difference.startswith("estimator: 1 in 'new', — in 'old' (each version of the estimator gives other numbers")
    assert difference.endswith("— stands for a file that does not name its version)")


def test_circumstances_are_no_difference() -> None:
    protocols = {name: {"versions": {"torch": name}, "bottleneck_curve": name, "seed": 0} for name in ("a", "b")}
    assert protocol_differences(protocols) == []


def test_what_copies_there_were_is_no_difference_also_to_a_file_that_does_not_say() -> None:
    probe = {"hash": "1", "documents": 45}
    looked = {"probe": probe, "copies": {"found": 0, "documents": 45}}
    protocols: dict[str, dict[str, Any]] = {
        "old": {"probe": probe},
        "new": looked,
        "unknown": {"probe": probe, "copies": None},
    }
    assert protocol_differences(protocols) == []


def test_what_a_model_was_trained_on_is_no_difference() -> None:
    probe = {"hash": "1", "documents": 45}
    assert protocol_differences({"a": {"probe": probe}, "b": {"probe": probe, "overlap": {"documents": [3]}}}) == []


def test_entries_may_be_left_out() -> None:
    protocols = {"a": {"sites": {"L00": "h.0"}}, "b": {"sites": {"L00": "h.0", "L01": "h.1"}}}
    assert protocol_differences(protocols) == [
        "sites.L01: — in 'a', h.1 in 'b' (the module that is measured there, and — where none is)"
    ]
    assert protocol_differences(protocols, ignore=("sites",)) == []


def test_a_setting_as_text() -> None:
    assert [as_text(value) for value in (None, "x", 1.5, [1, 2])] == ["—", "x", "1.5", "[1, 2]"]


@pytest.mark.parametrize(
    ("one", "other", "differs"),
    [("ab", "cd", True), ("2:ab", "2:cd", True), ("ab", "", False), ("ab", None, False), ("ab", "2:cd", False)],
)
def test_a_tokenizer_that_is_not_known_is_no_difference(one: str, other: str | None, differs: bool) -> None:
    probes = [{"hash": "1"} | ({} if hash is None else {"tokenizer_hash": hash}) for hash in (one, other)]
    differences = protocol_differences({"a": {"probe": probes[0]}, "b": {"probe": probes[1]}})
    assert bool(differences) == differs


@pytest.mark.parametrize(("one", "other", "differs"), [(2000, 4000, True), (2000, None, False)])
def test_a_geometry_that_only_some_measured_is_no_difference(one: int, other: int | None, differs: bool) -> None:
    protocols = {"a": {"geometry_rows": one}, "b": {} if other is None else {"geometry_rows": other}}
    assert bool(protocol_differences(protocols)) == differs


def test_a_second_weighting_of_labels_that_only_some_have_is_no_difference() -> None:
    assert not protocol_differences({"a": {"label_weights": "both"}, "b": {}})


def test_means_over_other_sites_are_a_difference_also_to_a_file_that_does_not_name_them() -> None:
    assert protocol_differences({"a": {"mean_over": "hidden_states"}, "b": {}})


def test_a_hash_is_shown_by_its_first_digits() -> None:
    probes = {name: {"probe": {"hash": digit * 64}} for name, digit in (("a", "1"), ("b", "2"))}
    assert protocol_differences(probes) == ["probe.hash: 11111111 in 'a', 22222222 in 'b'"]
    long = {name: {"probe": {"hash": "1" * 63 + digit}} for name, digit in (("a", "1"), ("b", "2"))}
    assert len(protocol_differences(long)) == 1, "that they differ is not told by the first digits"


@pytest.mark.parametrize(
    ("entry", "one", "other", "explanation"),
    [
        ("seed", 0, 1, "the seed of the anchors, not that of training"),
        ("sites", {"embed": "net.embed"}, {}, "the module that is measured there, and — where none is"),
    ],
)
def test_entries_whose_names_do_not_tell_are_explained(entry: str, one: Any, other: Any, explanation: str) -> None:
    (difference,) = protocol_differences({"the file": {entry: one}, "this run": {entry: other}})
    assert difference.endswith(f" ({explanation})")


def test_an_entry_of_several_keys_is_explained_once() -> None:
    sites = {"L00": "h.0", "L01": "h.1"}
    first, second = protocol_differences({"a": {"sites": sites}, "b": {}})
    assert first.endswith("where none is)")
    assert second == "sites.L01: h.1 in 'a', — in 'b'"
