"""Named protocols of a replay: how a probe is cut, which sites are measured and how activations are assigned.

It needs no torch, so that the terminal command can offer the names before a model is loaded.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ibtrack._checks import check_option

if TYPE_CHECKING:
    from ibtrack.information.options import SoftOptions


@dataclass(frozen=True, kw_only=True)
class ProtocolSettings:
    """What a protocol decides; everything else is as it is by default.

    Attributes:
        name: Name of the protocol.
        meaning: What it is for, as a part of a sentence.
        num_blocks: Number of documents, of one block each.
        block_size: Tokens T of a block.
        orders: Lengths k of the k-grams.
        min_length: Fewest tokens of a document, of which each gives its beginning, padded where it is short; None for
            one window at random out of each document of at least ``block_size`` tokens. See `ibtrack.Probe.from_texts`.
        num_pairs: Number of pairs of a probe of preferences.
        positions: Which tokens of a response such a probe measures, ``all`` or ``last``.
        layers: Sites to measure, as the tracker takes them.
        temperature: Rule of the softmax temperature.
        label_weights: Which weights of labels the plug-in reading is taken with, ``frequency`` or ``both``.
    """

    name: str
    meaning: str
    num_blocks: int
    block_size: int
    orders: tuple[int, ...] = (1, 2, 3, 4)
    min_length: int | None = None
    num_pairs: int
    positions: str = "all"
    layers: str | tuple[str, ...] = "auto"
    temperature: str = "exact"
    label_weights: str = "frequency"

    @property
    def options(self) -> SoftOptions:
        """How activations are turned into soft assignments."""
        from ibtrack.information.options import SoftOptions  # here, as it brings torch

        return SoftOptions(temperature=self.temperature, label_weights=self.label_weights)

    @property
    def text_options(self) -> dict[str, Any]:
        """Arguments of `ibtrack.Probe.from_texts`, and of ``from_dataset``, that cut a probe of text."""
        return {
            "num_blocks": self.num_blocks,
            "block_size": self.block_size,
            "orders": self.orders,
            "min_length": self.min_length,
        }

    @property
    def preference_options(self) -> dict[str, Any]:
        """Arguments of `ibtrack.Probe.from_preferences` that cut a probe of preferences."""
        return {"num_pairs": self.num_pairs, "block_size": self.block_size, "positions": self.positions}


# The sizes of `paper` are those of Conklin et al., arXiv 2604.07569: 10,000 documents of C4, cut at 512 tokens. A
# document of fewer than 8 tokens has no position with a quadgram on either side. How many pairs they took is not known.
PROTOCOLS: dict[str, ProtocolSettings] = {
    each.name: each
    for each in (
        ProtocolSettings(
            name="standard",
            meaning="as a monitor measures a run by default",
            num_blocks=64,
            block_size=128,
            num_pairs=64,
        ),
        ProtocolSettings(
            name="paper",
            meaning="as the published numbers were made, as far as that is known",
            num_blocks=10_000,
            block_size=512,
            min_length=8,
            num_pairs=1_000,
            positions="last",
            layers=("auto", "final"),
            temperature="bounds",
            label_weights="both",
        ),
    )
}
"""Name of a protocol to its settings."""


def protocol_settings(name: str) -> ProtocolSettings:
    """Return the settings of a protocol.

    Args:
        name: Name in `PROTOCOLS`.

    Raises:
        ValueError: There is no such protocol.

    Example:
        >>> settings = protocol_settings("paper")
        >>> settings.block_size, settings.layers
        (512, ('auto', 'final'))
    """
    return PROTOCOLS[check_option("protocol", name, tuple(PROTOCOLS))]
