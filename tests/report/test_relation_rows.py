"""The table of readings beside scores."""

from __future__ import annotations

import math

from ibtrack.analysis.rank_correlations import RankCorrelation
from ibtrack.analysis.scores import Joined, Relation, Relations
from ibtrack.report.relation_rows import MOST_RELATIONS, relation_table


def _relations(*values: float) -> Relations:
    relations = [
        Relation(
            reading="ib/mean/token/kept",
            score=f"s{i}",
            alone=RankCorrelation(value=value, why="all are equal" if math.isnan(value) else "", num_rows=8),
            given={"loss": RankCorrelation(value=-value, interval=(-0.5, 0.5), together=(0.1, 0.2))},
        )
        for i, value in enumerate(values)
    ]
    return Relations(joined=Joined(rows=(), by=None), relations=tuple(relations))


def test_the_strongest_comes_first_and_what_has_no_value_last() -> None:
    head, rows, notes = relation_table(_relations(0.2, math.nan, -0.9))
    assert head == ("score", "reading", "ρ", "ρ given loss", "families", "rows")
    assert [row[0] for row in rows] == ["s2", "s0", "s1"]
    assert [row[2] for row in rows] == ["-0.90", "0.20", "—"]
    assert rows[0][3] == "0.90 (-0.50 to 0.50) *"
    assert notes[1:] == ["—  no value or no interval: all are equal"]


def test_of_many_the_weakest_are_left_out() -> None:
    _, rows, notes = relation_table(_relations(*(i / 100 for i in range(MOST_RELATIONS + 2))))
    assert len(rows) == MOST_RELATIONS
    assert rows[-1][0] == "s2"
    assert notes[-1] == "2 weaker ones are not shown; -o table.csv of ibtrack scores has all"
