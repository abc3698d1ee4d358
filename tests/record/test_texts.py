"""Texts that others wrote, made fit to be shown anywhere."""

import json
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ibtrack.record.texts import LONGEST, printable, reason

ANY_TEXT = st.text(st.characters(codec=None, categories=None), max_size=60)  # halves of surrogate pairs too


@given(ANY_TEXT)
def test_every_text_becomes_one_line_that_can_be_written_and_stays_as_it_is(text: str) -> None:
    shown = printable(text)
    assert shown.splitlines() in ([], [shown])
    assert all(letter.isprintable() or letter in "\u200c\u200d" for letter in shown)
    assert shown.encode("utf-8").decode("utf-8") == json.loads(json.dumps(shown)) == shown
    assert printable(shown) == shown


def test_no_letter_stays_that_may_not_stand_in_xml_and_so_in_a_chart() -> None:
    shown = {letter for code in range(sys.maxunicode + 1) for letter in printable(chr(code))}
    assert not [letter for letter in shown if letter < " " or "\ud800" <= letter < "\ue000" or letter in "\ufffe\uffff"]


@pytest.mark.parametrize(
    "text", ["lr=1e-3 seed=0", "Größe ≤ 3 · 情報", "👩\u200d🔬", "می\u200cخواهم", r"C:\runs\first", "<b>&amp;</b>"]
)
def test_what_people_write_stays_as_it_is(text: str) -> None:
    assert printable(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b]0;title\x07", r"\x1b]0;title\x07"),
        ("a\x00b", r"a\x00b"),
        ("\ud83d", r"\ud83d"),
        ("abc\u202edef", r"abc\u202edef"),
        ("\uffff", r"\uffff"),
        ("\x9b2J", r"\x9b2J"),
        ("one\r\ntwo\u2028three\x0bfour", "one  two three four"),
        (" a\xa0b\n", "a b"),
    ],
)
def test_what_would_be_obeyed_or_kill_is_seen_instead(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_a_long_text_is_cut_once() -> None:
    cut = printable("x" * 10**6)
    assert cut == "x" * (LONGEST - 1) + "…"
    assert printable(cut) == cut
    assert printable("\x00" * 10, longest=10) == r"\x00\x00\…"
    assert printable(" " * 20 + "text", longest=10) == "…"


def test_an_error_has_its_type_and_one_line() -> None:
    class Unspeakable(RuntimeError):
        def __str__(self) -> str:
            raise ZeroDivisionError

    assert reason(Unspeakable()) == "Unspeakable"
    assert reason(RuntimeError("size\n\x1b[1m(3,)")) == r"RuntimeError: size \x1b[1m(3,)"
