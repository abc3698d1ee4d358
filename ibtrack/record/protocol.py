"""The protocol of a measurement holds all that must be equal for numbers to be comparable; here two are compared."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

# entries that are circumstances or consequences of a measurement, not rules of it; the hash of the probe tells whether
# copies were measured, and no text that a model was trained on changes how it is measured
CIRCUMSTANCES = ("versions", "bottleneck_curve", "copies", "overlap")
# entries in which the models of comparable runs may differ: names, number and widths of their layers
MODEL_ENTRIES = ("sites", "widths")
# what a difference means, where the entry's name does not say it
TOKENIZER_HASH = "probe.tokenizer_hash"
# entries that a protocol may lack, and which then are no difference
MAY_LACK = (TOKENIZER_HASH, "geometry_rows", "weights", "label_weights", "attention")
_EXPLANATIONS = {
    "estimator": "each version of the estimator gives other numbers for the same activations, and — stands for a file "
    "that does not name its version",
    "seed": "the seed of the anchors, not that of training",
    "attention": "kernels add up in different orders, so that digits differ: the last ones, in half precision more",
    "sites": "the module that is measured there, and — where none is",
}
_NUM_DIGITS = 8  # of a hash, as many as tell any two apart that a reader will meet


def flat(nested: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Write a nested mapping as one level with dotted keys.

    Args:
        nested: Mapping whose values may be mappings.
        prefix: Text that is put before every key.

    Example:
        >>> flat({"model": {"width": 64}, "seed": 0})
        {'model.width': 64, 'seed': 0}
    """
    result: dict[str, Any] = {}
    for key, value in nested.items():
        result |= flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return result


def as_text(value: Any) -> str:
    """Write a setting as it is shown to a reader: a dash for None, JSON for what is not a string.

    Args:
        value: Setting of a run, or entry of a protocol.

    Example:
        >>> as_text(None), as_text("exact"), as_text([1, 2])
        ('—', 'exact', '[1, 2]')
    """
    if value is None:
        return "—"
    return value if isinstance(value, str) else json.dumps(value, default=str)


def differing_keys(mappings: Sequence[Mapping[str, Any]]) -> list[str]:
    """List the keys whose values differ between mappings; a missing key counts as None.

    Values are compared as JSON, so a tuple equals the list that it becomes in a file.

    Args:
        mappings: Mappings of one level, such as `flat` makes.

    Example:
        >>> differing_keys([{"seed": 0, "lr": 0.1}, {"seed": 1, "lr": 0.1}])
        ['seed']
    """
    keys = dict.fromkeys(key for mapping in mappings for key in mapping)
    return [key for key in keys if len({as_text(mapping.get(key)) for mapping in mappings}) > 1]


def protocol_differences(
    protocols: Mapping[str, Mapping[str, Any]], *, ignore: Collection[str] = CIRCUMSTANCES
) -> list[str]:
    """Say what makes the numbers of several protocols incomparable, one part of a sentence per entry.

    Args:
        protocols: Name to protocol; the names appear in the sentences.
        ignore: Entries that may differ. Runs of different models also need `MODEL_ENTRIES` here.

    Returns:
        One text for each entry that differs; none if the protocols are comparable. Of two probes only the hash is
        named, as the other entries of a probe then say nothing more. A tokenizer's hash that is not known, as of a
        plain function, or of another version, as in an older file, is no difference: the hash of the probe covers the
        tokens. Nor is it one that only some measured the geometry; from how many rows is. An older file names neither
        its weights nor the kernel of attention.

    Example:
        >>> protocol_differences({"a": {"seed": 0}, "b": {"seed": 1}})
        ["seed: 0 in 'a', 1 in 'b' (the seed of the anchors, not that of training)"]
    """
    rules = {name: flat({k: v for k, v in each.items() if k not in ignore}) for name, each in protocols.items()}
    differing = differing_keys(list(rules.values()))
    if "probe.hash" in differing:
        differing = [key for key in differing if key == "probe.hash" or not key.startswith("probe.")]
    shown = [key for key in differing if key not in MAY_LACK or _are_known_to_differ(key, list(rules.values()))]
    differences = []
    unexplained = dict(_EXPLANATIONS)  # an entry of several keys is explained at the first of them
    for key in shown:
        differences.append(_difference(key, rules, unexplained.pop(key.partition(".")[0], None)))
    return differences


def hash_version(text: str) -> int:
    """Return the version of a hash, which stands before a colon in front of its digits; without one it is 1.

    Hashes of two versions cannot be compared.

    Args:
        text: The hash, or an empty text where it is not known.

    Example:
        >>> hash_version("2:9c1e"), hash_version("9c1e")
        (2, 1)
    """
    version, colon, _ = text.partition(":")
    return int(version) if colon and version.isdigit() else 1


def _are_known_to_differ(key: str, rules: Sequence[Mapping[str, Any]]) -> bool:
    """Whether an entry that some lack differs between others; hashes of a tokenizer are compared within a version."""
    known = {as_text(rule[key]) for rule in rules if rule.get(key)}
    if key != TOKENIZER_HASH:
        return len(known) > 1
    return len({hash_version(text) for text in known}) < len(known)


def _difference(key: str, rules: Mapping[str, Mapping[str, Any]], explanation: str | None) -> str:
    """Name every value of an entry with the first protocol that has it."""
    first: dict[str, str] = {}
    for name, rule in rules.items():
        first.setdefault(as_text(rule.get(key)), name)
    digits = _NUM_DIGITS if key.endswith("hash") else None
    values = ", ".join(f"{value[:digits]} in {name!r}" for value, name in first.items())
    return f"{key}: {values}" + (f" ({explanation})" if explanation else "")
