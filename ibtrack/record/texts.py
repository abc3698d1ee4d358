"""Texts that others wrote, such as names of runs and messages of errors, made fit to be shown anywhere.

A terminal obeys the escapes in a text, the program that draws charts is killed by a control character, and half of a
surrogate pair cannot be written to any file.
"""

from __future__ import annotations

LONGEST = 2000  # letters of a text that are kept: a message of an error for each of some dozen layers
_JOINERS = "\u200c\u200d"  # invisible, but part of how Persian and some emoji are written


def printable(text: str, *, longest: int = LONGEST) -> str:
    r"""Write a text as one line of letters that any terminal, chart, page and file can show.

    Line breaks, tabs and unusual spaces become spaces. Characters without a glyph of their own (control characters,
    the escapes of terminals, marks that reverse the direction of writing, halves of surrogate pairs, code points that
    stand for nothing) become their code in ASCII. What has been made printable stays as it is.

    Args:
        text: Any text.
        longest: Number of letters to keep, at least 1; a longer text is cut and ends in "…".

    Example:
        >>> printable("\x1b[31mloss\tis\ud800 ∞\n")
        '\\x1b[31mloss is\\ud800 ∞'
        >>> printable("abcdef", longest=4)
        'abc…'
    """
    if len(text) <= longest and text.isprintable():
        return text.strip()
    shown = "".join(map(_shown, text[: longest + 1])).strip()  # what is cut off is not looked at: it may be gigabytes
    return shown if len(shown) <= longest and len(text) <= longest else f"{shown[: longest - 1]}…"


def reason(error: BaseException) -> str:
    """Write an error as its type and its message, in one printable line.

    Args:
        error: Any error; one whose message cannot be made has its type alone.

    Example:
        >>> reason(ValueError("no layers")), reason(MemoryError())
        ('ValueError: no layers', 'MemoryError')
    """
    try:
        message = str(error)
    except Exception:  # it is somebody else's code that writes the message
        message = ""
    return printable(": ".join(filter(None, (type(error).__name__, message))))


def _shown(letter: str) -> str:
    if letter.isprintable() or letter in _JOINERS:
        return letter
    return " " if letter.isspace() else letter.encode("unicode_escape").decode("ascii")
