"""The options of the soft estimator, as one object."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from ibtrack._checks import check_integer, check_option

TEMPERATURE_RULES = ("exact", "bounds", "leading_order")
TRANSFORMS = ("none", "center", "whiten")
LABEL_WEIGHTS = ("frequency", "both")


@dataclass(frozen=True, kw_only=True)
class SoftOptions:
    """How activations are turned into soft assignments.

    Two numbers are comparable only if all of these are equal; they stand in the protocol of a trajectory.

    Args:
        num_anchors: Number of anchors K, the resolution of the estimator: at least 2.
        seed: Seed of the anchors. Sites of one width share their anchors.
        temperature: Rule of the softmax temperature, ``exact``, ``bounds`` or ``leading_order``; see
            `ibtrack.information.temperature`. Published numbers were made with one of the latter two.
        anchor_draws: Number of sets of anchors to average over, with the seeds from ``seed`` on. With two or more,
            every number comes with ``_anchor_sd``, the standard deviation of a number from one set.
        transform: What is done to the cloud of each site, by its own statistics over the probe, before it is put on the
            sphere: ``none``, ``center`` or ``whiten``. The last two take a second pass over the probe.
        label_weights: What a label counts as in the plug-in reading: ``frequency`` for its share of the rows, as the
            package soft-entropy 0.1.5 does; ``both`` for a second number beside it, in which all labels that occur five
            times or more count alike, see `ibtrack.information.plugin`. No other number depends on it, and where it is
            ``frequency`` the protocol does not name it.

    Raises:
        ValueError: An option is out of its range.

    Example:
        >>> SoftOptions(anchor_draws=2).num_anchors
        100
        >>> SoftOptions(temperature="hot")
        Traceback (most recent call last):
        ValueError: temperature must be one of 'exact', 'bounds', 'leading_order', got 'hot'
    """

    num_anchors: int = 100
    seed: int = 0
    temperature: str = "exact"
    anchor_draws: int = 1
    transform: str = "none"
    label_weights: str = "frequency"

    def __post_init__(self) -> None:
        for name, minimum in (("num_anchors", 2), ("seed", 0), ("anchor_draws", 1)):
            number = check_integer(name, getattr(self, name), minimum=minimum)
            object.__setattr__(self, name, number)  # a protocol is written as JSON, which knows no integers of NumPy
        check_option("temperature", self.temperature, TEMPERATURE_RULES)
        check_option("transform", self.transform, TRANSFORMS)
        check_option("label_weights", self.label_weights, LABEL_WEIGHTS)

    def protocol(self) -> dict[str, Any]:
        """Return the options as entries of a protocol."""
        entries = asdict(self)
        if self.label_weights == "frequency":  # as in files that are older than the option
            del entries["label_weights"]
        return entries
