"""What is found of a run, in words and in numbers: fitting, then compression, each change with its standard error."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ibtrack.analysis.movements import Movement
from ibtrack.record.quantities import PLANE_UNITS

INDEPENDENT = (
    "(Points are compared as if each had been read on documents of its own, as not all of them say what each document "
    "adds.)"
)
_SUFFIXES = {"share": "", "log_k": "_log_k"}  # of the names of numbers


@dataclass(frozen=True, kw_only=True)
class Phases:
    """What the mean over the layers shows of a run.

    Attributes:
        unit: Unit of all changes but those of ``narrowing``: ``share`` of the ceiling, or ``log_k``, fraction of log K.
        fitting: Rise of expressivity, up to the first step that cannot be told from its peak; None without one.
        compression: Fall of complexity from the top of its largest gain to the lowest point after it, or a larger fall
            after fitting; None if none can be told from noise.
        collapse: Fall of which less than half had been gained before, as at the start of training; it is not
            compression.
        rebound: Rise of complexity after the compression.
        narrowing: Falls of complexity in fractions of log K along which its share of the ceiling does not fall beyond
            noise, in the order of their steps. They are neither compression nor collapse.
        threshold: Number of standard errors that a movement needs; ``nan`` where it could not be computed.
        last: Step of the last point that has a value and an error, or None.
        why_not: Reason why nothing can be said, or None.
        num_left_out: Number of points without a value or without a standard error.
        num_documents: Number of groups of documents on which all points were read, and from which errors of changes are
            made; 0 where points are compared as if each had been read on documents of its own.
        remark: Sentence on why the unit is not the usual one, or an empty text.
    """

    unit: str = "share"
    fitting: Movement | None = None
    compression: Movement | None = None
    collapse: Movement | None = None
    rebound: Movement | None = None
    narrowing: tuple[Movement, ...] = ()
    threshold: float = math.nan
    last: int | None = None
    why_not: str | None = None
    num_left_out: int = 0
    num_documents: int = 0
    remark: str = ""

    def sentence(self) -> str:
        """Say the phases in words, with their evidence.

        Example:
            >>> in_log_k = Movement(start=256, end=4000, change=-0.02, se=0.004)
            >>> fall = Movement(start=256, end=4000, change=-0.05, se=0.01, begins=(128, 512), beside=in_log_k)
            >>> phases = Phases(compression=fall, last=4000, num_documents=64)
            >>> print(phases.sentence())  # doctest: +NORMALIZE_WHITESPACE
            No fitting phase can be told from noise.
            Compression since step 256 (begun between 128 and 512): I(X;Z) -0.050 of the ceiling by step 4000
            (5.0 se; -0.020 of log K).
        """
        if self.why_not:
            return self.why_not
        narrowing = map(self._narrowing, self.narrowing)
        found = [*narrowing, self._collapse(), self._fitting(), self._compression()]
        parts = [*found, self._left_out(), "" if self.num_documents else INDEPENDENT, self.remark]
        return " ".join(part for part in parts if part)

    def short(self) -> str:
        """Say the phases in a few words, for a table.

        Example:
            >>> fall = Movement(start=256, end=4000, change=-0.05, se=0.01)
            >>> Phases(compression=fall, last=4000).short()
            'compression since 256 (5.0 se)'
        """
        if self.why_not:
            return self.why_not
        if self.compression is not None:
            fall = self.compression
            when = f"since {fall.start}" if self.rebound is None else f"from {fall.start} to {fall.end}"
            begins = f", begun {fall.begins[0]}–{fall.begins[1]}" if fall.begins else ""
            return f"compression {when} ({_size(fall)} se{begins})"
        others = {"collapse": self.collapse, "fitting": self.fitting}
        found = [f"{name} until {each.end} ({_size(each)} se)" for name, each in others.items() if each is not None]
        if self.narrowing and self.fitting is None:
            found.insert(0, f"narrowing until {self.narrowing[-1].end} ({_size(self.narrowing[-1])} se)")
        return ", ".join([*found, "no compression"]) if found else "none can be told from noise"

    def numbers(self) -> dict[str, float]:
        """Give the phases as numbers, for tables that sort and bars that compare; a phase that is None is left out.

        ``fitting`` is how much I(Y;Z) rises, ``compression`` and ``narrowing`` how much I(X;Z) falls, in shares of the
        ceiling; with ``_log_k`` in fractions of log K, whichever unit the phases were found in. Of several narrowings
        it is the one with the largest fall. ``_start_low`` and ``_start_high`` bound the step at which each begins.

        Example:
            >>> fall = Movement(start=256, end=4000, change=-0.05, se=0.01)
            >>> Phases(compression=fall, last=4000).numbers()
            {'compression': 0.05, 'compression_num_se': 5.0, 'compression_start': 256.0, 'compression_end': 4000.0}
        """
        numbers: dict[str, float] = {}
        narrowing = min(self.narrowing, key=lambda fall: fall.change, default=None)
        for name, movement, unit, sign in (
            ("fitting", self.fitting, self.unit, 1),
            ("compression", self.compression, self.unit, -1),
            ("narrowing", narrowing, "log_k", -1),
        ):
            if movement is not None:
                numbers[name + _SUFFIXES[unit]] = sign * movement.change
                if movement.beside is not None:
                    numbers[name + _SUFFIXES[other_unit(unit)]] = sign * movement.beside.change
                numbers |= {
                    f"{name}_num_se": movement.num_se,
                    f"{name}_start": float(movement.start),
                    f"{name}_end": float(movement.end),
                }
                if movement.begins is not None:
                    low, high = movement.begins
                    numbers |= {f"{name}_start_low": float(low), f"{name}_start_high": float(high)}
        return numbers

    def movements(self) -> dict[str, Movement]:
        """Return the phases that were found by name: narrowing, the first, collapse, fitting, compression, rebound."""
        narrowing = self.narrowing[0] if self.narrowing else None
        found = {
            "narrowing": narrowing,
            "collapse": self.collapse,
            "fitting": self.fitting,
            "compression": self.compression,
            "rebound": self.rebound,
        }
        return {name: movement for name, movement in found.items() if movement is not None}

    def beginning(self, name: str) -> str:
        """Say of a phase that it has begun.

        Args:
            name: Name of a phase in `movements`.

        Example:
            >>> fall = Movement(start=256, end=700, change=-0.05, se=0.01, begins=(128, 512))
            >>> Phases(compression=fall).beginning("compression")
            'compression has begun, between steps 128 and 512: I(X;Z) -0.050 of the ceiling by step 700 (5.0 se)'
        """
        movement = self.movements()[name]
        unit = "log_k" if name == "narrowing" else self.unit
        low, high = movement.begins or (movement.start, movement.start)
        when = f"between steps {low} and {high}" if low < high else f"at step {low}"
        size = f"{_change_of(movement, unit)} by step {movement.end} ({_size(movement)} se)"
        return f"{name} has begun, {when}: {'I(Y;Z)' if name == 'fitting' else 'I(X;Z)'} {size}"

    def _narrowing(self, fall: Movement) -> str:
        size = f"I(X;Z) {_change_of(fall, 'log_k')} from step {fall.start} ({_size(fall)} se)"
        share = fall.beside.change if fall.beside else 0.0
        beside = f"its share of the ceiling does not fall{' beyond noise' if share < 0 else ''} ({share:+.3f})"
        return f"Narrowing until step {fall.end}: {size}, while {beside}."

    def _collapse(self) -> str:
        fall = self.collapse
        if fall is None:
            return ""
        if self.fitting and fall.end >= self.fitting.end:
            words = f"I(X;Z) falls along with the fitting, {self._evidence(fall)} to {fall.end}"
            return f"{words}; what it takes had not been gained before, so it is not called compression."
        return f"First a collapse until step {fall.end}: I(X;Z) {self._evidence(fall)}."

    def _fitting(self) -> str:
        if self.fitting is None:
            return "No fitting phase can be told from noise."
        end = "still going on at" if self.fitting.end == self.last else "until"
        return f"Fitting {end} step {self.fitting.end}: I(Y;Z) {self._evidence(self.fitting)}."

    def _compression(self) -> str:
        fall, rise = self.compression, self.rebound
        if fall is None and self.collapse is not None:
            return "There is no compression beside it: no fall of what had been gained can be told from noise."
        if fall is None:
            return "No compression phase can be told from noise."
        size = f"I(X;Z) {_change_of(fall, self.unit)}"
        if rise is None:
            return (
                f"Compression since step {fall.start}{_begun(fall)}: {size} by step {fall.end} ({self._beside(fall)})."
            )
        return (
            f"Compression from step {fall.start}{_begun(fall)} to {fall.end}: {size} ({self._beside(fall)}); "
            f"since then it has risen again, {rise.change:+.3f} by step {rise.end} ({_size(rise)} se)."
        )

    def _evidence(self, movement: Movement) -> str:
        return f"{_change_of(movement, self.unit)} from step {movement.start} ({self._beside(movement)})"

    def _beside(self, movement: Movement) -> str:
        """Say how many standard errors a change has, and what it is in the other unit."""
        beside = f"; {_change_of(movement.beside, other_unit(self.unit))}" if movement.beside else ""
        return f"{_size(movement)} se{beside}"

    def _left_out(self) -> str:
        if not self.num_left_out:
            return ""
        points = "point" if self.num_left_out == 1 else "points"
        return f"({self.num_left_out} {points} without a value or a standard error left out.)"


def other_unit(unit: str) -> str:
    """Name the other unit of the plane.

    Args:
        unit: ``share`` or ``log_k``.

    Example:
        >>> other_unit("share")
        'log_k'
    """
    return "log_k" if unit == "share" else "share"


def _begun(movement: Movement) -> str:
    return f" (begun between {movement.begins[0]} and {movement.begins[1]})" if movement.begins else ""


def _change_of(movement: Movement, unit: str) -> str:
    return f"{movement.change:+.3f} of {PLANE_UNITS[unit].whole}"


def _size(movement: Movement) -> str:
    return f"{movement.num_se:.1f}"
