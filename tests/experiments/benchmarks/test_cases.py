"""The cases of truth.py: how many there are, and how they are balanced."""

from __future__ import annotations

from collections import Counter
from itertools import combinations
from operator import attrgetter

from experiments.benchmarks import cases


def test_the_grid_is_the_one_that_was_asked_for() -> None:
    recipes = cases.grid()
    assert sum(len(recipe.sizes) for recipe in recipes) == 192
    assert len({(recipe.name, recipe.width) for recipe in recipes}) == len(recipes) == 48
    assert {recipe.width for recipe in recipes} == {64, 512}
    assert sum(recipe.independent for recipe in recipes) == 16


def test_half_of_the_grid_is_balanced() -> None:
    recipes = cases.half()
    assert len(recipes) == 24
    for choices in combinations(("width", "exponent", "offset", "spreads"), 2):
        assert set(Counter(attrgetter(*choices)(recipe) for recipe in recipes).values()) == {6}
    assert set(Counter(recipe.strength for recipe in recipes).values()) == {8}


def test_documents_differ_or_are_few() -> None:
    recipes = cases.documents()
    assert len({recipe.name for recipe in recipes}) == len(recipes) == 18
    assert all(recipe.document_effect > 0.3 or recipe.document_length > 120 for recipe in recipes)
    assert cases.shrunk(recipes)
