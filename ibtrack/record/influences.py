"""What moves the numbers of a point: each document of the probe, the bias correction, each draw of the anchors.

Two points that were read on the same documents err together, and so the error of a difference cannot be made from two
standard errors. It can from the influence of every document on both numbers. Influences are kept for the numbers that
all others are made of: entropy, ceiling, and the information of every label set, of the mean and of each site.

Letters: S sites with the mean, Q quantities, G groups of documents, R draws of the anchors.
"""

from __future__ import annotations

import base64
import binascii
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ibtrack.record.keys import metric_key, parse_key

MOST_GROUPS = 128  # of documents: as many as tell a standard error to 6 %, in 2 kB for the mean of four orders
_LEVELS = 1023  # of a document's influence, on either side of 0: the rounding is a thousandth of a standard error
_FLOAT, _INTEGER = np.dtype("<f4"), np.dtype("<i2")


class Influence(NamedTuple):
    """What moves one number.

    Attributes:
        by_document: (G,) first-order change of the number by each group of documents; they sum to about 0.
        systematic: Standard deviation of what its bias correction may be off; 0 for a number without one.
        by_draw: (R,) the number as each draw of the anchors gives it; (0,) where there is a single draw.
    """

    by_document: NDArray[np.float64]
    systematic: float
    by_draw: NDArray[np.float64]


@dataclass(frozen=True)
class Influences:
    """What moves the numbers of a point, packed: about 1.8 bytes per number and document.

    Attributes:
        sites: ``mean`` and the sites, S.
        quantities: What a site has, such as ``entropy`` and ``token/complexity``, Q.
        num_groups: Number of groups of documents, G: the documents themselves where they are at most 128, else as many
            runs of neighbouring documents.
        num_draws: Number of draws of the anchors that are kept, R; 0 where there is a single one.
        data: Scale of each number's influences, its systematic error, its draws, and the influences as integers:
            little-endian, compressed by zlib, in base64.

    Example:
        >>> by_document = np.array([[[0.01, -0.02, 0.01]]])
        >>> influences = Influences.pack(["mean"], ["entropy"], by_document, np.zeros((1, 1)), np.zeros((1, 1, 0)))
        >>> influences.of("ib/mean/entropy").by_document.round(4)
        array([ 0.01, -0.02,  0.01])
    """

    sites: tuple[str, ...]
    quantities: tuple[str, ...]
    num_groups: int
    num_draws: int
    data: str

    @classmethod
    def pack(
        cls,
        sites: Sequence[str],
        quantities: Sequence[str],
        by_document: NDArray[Any],
        systematic: NDArray[Any],
        by_draw: NDArray[Any],
    ) -> Influences:
        """Pack the influences of a point.

        Args:
            sites: ``mean`` and the sites, S.
            quantities: What a site has, Q, as the end of a metric key: ``entropy``, ``token/complexity``.
            by_document: (S, Q, number of documents) influence of each document.
            systematic: (S, Q) standard deviation of what the bias correction of each number may be off.
            by_draw: (S, Q, R) each number as each draw of the anchors gives it, R being 0 for a single draw.
        """
        grouped = _in_groups(np.asarray(by_document, dtype=np.float64))
        scales = (np.abs(grouped).max(-1) / _LEVELS).astype(_FLOAT)  # a row with nan has a scale of nan
        divisor = np.where(np.isfinite(scales) & (scales > 0), scales, 1.0)
        levels = np.where(np.isfinite(scales)[..., None], grouped / divisor[..., None], 0.0).round().astype(_INTEGER)
        parts = [scales, np.asarray(systematic).astype(_FLOAT), np.asarray(by_draw).astype(_FLOAT), levels]
        packed = zlib.compress(b"".join(part.tobytes() for part in parts))
        return cls(
            tuple(sites),
            tuple(quantities),
            grouped.shape[-1],
            by_draw.shape[-1],
            base64.b64encode(packed).decode("ascii"),
        )

    def of(self, key: str) -> Influence | None:
        """Look up what moves a number.

        Args:
            key: Metric key of the debiased reading.

        Returns:
            What moves the number, or None where that was not kept: it may follow from other numbers, see
            `ibtrack.analysis.deviations`.
        """
        parts = parse_key(key)
        quantity = "/".join(filter(None, (parts.order, parts.quantity)))
        if parts.reading != "debiased" or parts.site not in self.sites or quantity not in self.quantities:
            return None
        at = self.sites.index(parts.site), self.quantities.index(quantity)
        by_document, systematic, by_draw = self._arrays
        return Influence(by_document[at], float(systematic[at]), by_draw[at])

    def keys(self) -> list[str]:
        """List the metric keys of the numbers whose influences are kept."""
        return [metric_key(quantity, site=site) for site in self.sites for quantity in self.quantities]

    def to_record(self) -> dict[str, Any]:
        """Return what JSON can hold, the opposite of `from_record`."""
        return {
            "sites": list(self.sites),
            "quantities": list(self.quantities),
            "num_groups": self.num_groups,
            "num_draws": self.num_draws,
            "data": self.data,
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Influences:
        """Read back what `to_record` made.

        Args:
            record: The entry ``influences`` of a point.

        Raises:
            ValueError: The entry is damaged, such as data that do not have as many numbers as it says.
        """
        try:
            influences = cls(
                tuple(record["sites"]),
                tuple(record["quantities"]),
                int(record["num_groups"]),
                int(record["num_draws"]),
                str(record["data"]),
            )
            influences._arrays  # noqa: B018  # so that a damaged line is found when its file is read
        except (KeyError, TypeError, ValueError, zlib.error, binascii.Error) as error:
            raise ValueError(f"the influences of the documents are damaged ({error})") from error
        return influences

    @cached_property
    def _arrays(self) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Unpack to (S, Q, G), (S, Q) and (S, Q, R).

        Raises:
            ValueError: The data do not have as many bytes as they should.
        """
        packed = zlib.decompress(base64.b64decode(self.data, validate=True))
        rows = (len(self.sites), len(self.quantities))
        shapes = [(*rows, 1), rows, (*rows, self.num_draws), (*rows, self.num_groups)]
        sizes = [int(np.prod(shape)) for shape in shapes]
        floats = sum(sizes[:3]) * _FLOAT.itemsize
        expected = floats + sizes[3] * _INTEGER.itemsize
        if len(packed) != expected:
            raise ValueError(f"{len(packed)} bytes in place of {expected}")
        numbers = np.frombuffer(packed[:floats], _FLOAT).astype(np.float64)
        scales, systematic, by_draw = (
            part.reshape(shape) for part, shape in zip(np.split(numbers, np.cumsum(sizes[:2])), shapes[:3], strict=True)
        )
        levels = np.frombuffer(packed[floats:], _INTEGER).reshape(shapes[3])
        return scales * levels, systematic, by_draw


def _in_groups(by_document: NDArray[np.float64]) -> NDArray[np.float64]:
    """Add up the influences of neighbouring documents where there are more than `MOST_GROUPS`.

    The spread of groups estimates the same variance as the spread of documents, from fewer degrees of freedom (the
    delete-a-group jackknife; Kott, Journal of Official Statistics 17, 2001).
    """
    number = by_document.shape[-1]
    if number <= MOST_GROUPS:
        return by_document
    firsts = np.arange(MOST_GROUPS) * number // MOST_GROUPS
    sums: NDArray[np.float64] = np.add.reduceat(by_document, firsts, axis=-1)
    return sums
