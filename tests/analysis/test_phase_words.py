"""The words and numbers for phases."""

import pytest

from ibtrack.analysis.movements import Movement
from ibtrack.analysis.phase_words import INDEPENDENT, Phases, other_unit

FALL = Movement(start=256, end=4000, change=-0.05, se=0.01, begins=(128, 512))
RISE = Movement(start=0, end=256, change=0.1, se=0.01, begins=(0, 2))


def test_an_interval_says_when_compression_began() -> None:
    phases = Phases(fitting=RISE, compression=FALL, last=4000, num_documents=64)
    assert phases.sentence() == (
        "Fitting until step 256: I(Y;Z) +0.100 of the ceiling from step 0 (10.0 se). "
        "Compression since step 256 (begun between 128 and 512): I(X;Z) -0.050 of the ceiling by step 4000 (5.0 se)."
    )
    assert phases.short() == "compression since 256 (5.0 se, begun 128–512)"


def test_numbers_hold_the_interval() -> None:
    numbers = Phases(fitting=RISE, compression=FALL, num_documents=64).numbers()
    assert (numbers["compression_start_low"], numbers["compression_start_high"]) == (128.0, 512.0)
    assert (numbers["fitting_start_low"], numbers["fitting_start_high"]) == (0.0, 2.0)


def test_a_movement_without_an_interval_is_said_without() -> None:
    bare = Phases(compression=Movement(start=256, end=4000, change=-0.05, se=0.01), last=4000, num_documents=64)
    assert "Compression since step 256: I(X;Z)" in bare.sentence()
    assert bare.short() == "compression since 256 (5.0 se)"
    assert set(bare.numbers()) == {"compression", "compression_num_se", "compression_start", "compression_end"}


@pytest.mark.parametrize("num_documents", [0, 64])
def test_that_points_were_compared_as_independent_is_said(num_documents: int) -> None:
    sentence = Phases(compression=FALL, last=4000, num_documents=num_documents).sentence()
    assert sentence.endswith(INDEPENDENT) == (num_documents == 0)


def test_there_are_two_units() -> None:
    assert [other_unit(unit) for unit in ("share", "log_k")] == ["log_k", "share"]
