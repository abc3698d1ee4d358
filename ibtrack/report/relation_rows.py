"""The table of readings beside scores, as terminal and page show it: cells of text, the strongest relation first."""

from __future__ import annotations

import math
from typing import NamedTuple

from ibtrack.analysis.rank_correlations import RankCorrelation
from ibtrack.analysis.scores import Relations, reading_words, two_digits

MOST_RELATIONS = 20  # rows of a table that can be read at a glance


class RelationTable(NamedTuple):
    """A table of text.

    Attributes:
        head: Names of the columns.
        rows: Rows of cells.
        notes: What the signs in it mean, one line each.
    """

    head: tuple[str, ...]
    rows: list[tuple[str, ...]]
    notes: list[str]


def relation_table(relations: Relations) -> RelationTable:
    """Write rank correlations of readings with scores, the strongest first, each with the intervals of its own.

    Args:
        relations: Readings and scores.

    Example:
        >>> from ibtrack.analysis.scores import Joined, Relation
        >>> alone = RankCorrelation(value=0.62, interval=(0.31, 0.81), num_families=9, num_rows=18)
        >>> relation = Relation(reading="ib/mean/bigram/told", score="arc", alone=alone, given={})
        >>> relation_table(Relations(joined=Joined(rows=(), by=None), relations=(relation,))).rows
        [('arc', 'told of bigrams', '0.62 (0.31 to 0.81)', '9', '18')]
    """
    every = sorted(
        relations.relations, key=lambda each: 1.0 if math.isnan(each.alone.value) else -abs(each.alone.value)
    )
    shown = every[:MOST_RELATIONS]
    given = list(every[0].given)
    rows = [
        (
            each.score,
            reading_words(each.reading),
            _rank_cell(each.alone),
            *(_rank_cell(each.given[name]) for name in given),
            str(each.alone.num_families),
            str(each.alone.num_rows),
        )
        for each in shown
    ]
    head = ("score", "reading", "ρ", *(f"ρ given {name}" for name in given), "families", "rows")
    notes = ["*  0 lies outside of the interval that holds for all; the brackets are 95 % intervals, each by itself"]
    reasons = [found.why for each in shown for found in (each.alone, *each.given.values())]
    notes += [f"—  no value or no interval: {why}" for why in dict.fromkeys(filter(None, reasons))]
    more = len(every) - len(shown)
    notes += [f"{more} weaker ones are not shown; -o table.csv of ibtrack scores has all"] if more else []
    return RelationTable(head, rows, notes)


def _rank_cell(found: RankCorrelation) -> str:
    value = "—" if math.isnan(found.value) else two_digits(found.value)
    if found.interval is None:
        return value
    low, high = found.interval
    return f"{value} ({two_digits(low)} to {two_digits(high)})" + (" *" if found.is_told else "")
