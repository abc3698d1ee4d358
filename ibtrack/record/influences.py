"""What moves the numbers of a point: each document of the probe, the bias correction, each draw of the anchors.

Two points that were read on the same documents err together, and so the error of a difference cannot be made from two
standard errors. It can from the influence of every document on both numbers. Influences are kept for the numbers that
all others are made of: entropy, ceiling, and the information of every label set, of the mean and of each site.

Letters: S sites with the mean, Q quantities, G groups of documents, R draws of the anchors.
"""

from __future__ import annotations

import base64
import math
import zlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ibtrack.record.keys import metric_key, parse_key

MOST_GROUPS = 128  # of documents: as many as tell a standard error to 6 %, in 2 kB for the mean of four orders
_LEVELS = 1023  # of a document's influence, on either side of 0: the rounding is a thousandth of a standard error
_FLOAT, _INTEGER = np.dtype("<f4"), np.dtype("<i2")
_LARGEST = 1 << 27  # bytes of a point's influences when they are unpacked: a thousand sites of 500 quantities


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


class _Rows(NamedTuple):
    """The influences of one site as they are packed: (Q,) scales, (Q,) systematic, (Q, R) draws, (Q, G) integers."""

    scales: NDArray[Any]
    systematic: NDArray[Any]
    by_draw: NDArray[Any]
    levels: NDArray[Any]


@dataclass(frozen=True)
class Influences:
    """What moves the numbers of a point, packed: about 1.4 bytes per number and document.

    They are unpacked when they are asked for, site by site.

    Attributes:
        sites: ``mean`` and the sites, S.
        quantities: What a site has, such as ``entropy`` and ``token/complexity``, Q.
        num_groups: Number of groups of documents, G: the documents themselves where they are at most 128, else as many
            runs of neighbouring documents.
        num_draws: Number of draws of the anchors that are kept, R; 0 where there is a single one.
        data: Scale of each number's influences, its systematic error, its draws, and the influences as integers:
            little-endian, compressed by zlib.

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
    data: bytes

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
        return cls(
            tuple(sites),
            tuple(quantities),
            grouped.shape[-1],
            by_draw.shape[-1],
            zlib.compress(b"".join(part.tobytes() for part in parts)),
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
        rows, at = self._rows(parts.site), self.quantities.index(quantity)
        scale = rows.scales[at].astype(np.float64)
        by_draw = rows.by_draw[at].astype(np.float64)
        return Influence(scale * rows.levels[at], float(rows.systematic[at]), by_draw)

    def at(self, sites: Collection[str]) -> Influences:
        """Keep what moves the numbers of some sites.

        Args:
            sites: Names of the sites; those that have no influences are left out.

        Raises:
            ValueError: The data are damaged.
        """
        kept = tuple(site for site in self.sites if site in sites)
        parts = [b"".join(row.tobytes() for row in rows) for rows in zip(*map(self._rows, kept), strict=True)]
        # not compressed, as a few sites are small and compression would take longer than all else
        return replace(self, sites=kept, data=zlib.compress(b"".join(parts), level=0))

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
            "data": base64.b64encode(self.data).decode("ascii"),
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
                base64.b64decode(record["data"], validate=True),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{_DAMAGED} ({error})") from error
        influences.check()
        return influences

    def check(self) -> None:
        """Unpack the first site, the mean, and keep it: it is what most readers ask for, and shows that all is there.

        Raises:
            ValueError: The data are damaged.
        """
        for site in self.sites[:1]:
            self._rows(site)

    def _rows(self, site: str) -> _Rows:
        """Unpack one site; the others are dropped, as most readers ask for the mean alone.

        Raises:
            ValueError: The data are damaged.
        """
        if site not in self._unpacked:
            try:
                self._unpacked[site] = self._of_site(self.sites.index(site))
            except (ValueError, zlib.error) as error:
                raise ValueError(f"{_DAMAGED} ({error})") from error
        return self._unpacked[site]

    @cached_property
    def _unpacked(self) -> dict[str, _Rows]:
        return {}

    def _of_site(self, site: int) -> _Rows:
        """Unpack the rows of one site.

        Raises:
            ValueError: The data do not have as many bytes as they should.
        """
        rows = (len(self.sites), len(self.quantities))
        shapes = [rows, rows, (*rows, self.num_draws), (*rows, self.num_groups)]
        dtypes: list[np.dtype[Any]] = [_FLOAT, _FLOAT, _FLOAT, _INTEGER]
        sizes = [math.prod(shape) * dtype.itemsize for shape, dtype in zip(shapes, dtypes, strict=True)]
        expected = sum(sizes)
        if not 0 <= min(sizes, default=0) <= expected <= _LARGEST:
            raise ValueError(f"{expected} bytes, more than {_LARGEST}")
        stream = zlib.decompressobj()
        unpacked = stream.decompress(self.data, expected + 1)  # never more, whatever the data say
        if len(unpacked) != expected or not stream.eof:
            raise ValueError(f"{len(unpacked)} bytes in place of {expected}")
        ends = list(accumulate(sizes))
        parts = (
            np.frombuffer(unpacked[end - size : end], dtype).reshape(shape)[site].copy()
            for size, end, dtype, shape in zip(sizes, ends, dtypes, shapes, strict=True)
        )
        return _Rows(*parts)


_DAMAGED = "the influences of the documents are damaged"


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
