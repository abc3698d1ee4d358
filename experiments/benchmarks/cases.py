"""The recipes of the clouds on which truth.py measures the readings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import product

from experiments.benchmarks.clouds import Recipe

STRENGTHS = {"independent": 0.0, "weak": 0.3, "strong": 1.1}  # see `Recipe.strength`
LAWS = {"uniform": 0.0, "zipf": 1.0}  # see `Recipe.exponent`


def grid() -> list[Recipe]:
    """Return 48 clouds: 2 laws of the labels, 3 strengths, centred or not, equal or unequal spreads, and 2 widths."""
    choices = product((64, 512), LAWS, STRENGTHS, ("centred", "off-centre"), ("equal", "unequal"))
    return [
        Recipe(
            f"{law} {strength} {centre} {spreads}",
            STRENGTHS[strength],
            exponent=LAWS[law],
            offset=float(centre == "off-centre"),
            spreads=spreads,
            independent=strength == "independent",
            width=width,
            seed=seed,
        )
        for seed, (width, law, strength, centre, spreads) in enumerate(choices)
    ]


def half() -> list[Recipe]:
    """Return half of the grid, in which every pair of choices occurs equally often."""
    return [recipe for recipe in grid() if _place(recipe) % 2 == 0]


def _place(recipe: Recipe) -> int:
    """Return a number whose parity alternates along every axis of the grid, like the colours of a chess board."""
    strength = list(STRENGTHS.values()).index(recipe.strength)
    return strength + sum((recipe.width > 64, recipe.exponent > 0, recipe.offset > 0, recipe.spreads == "unequal"))


def others() -> list[Recipe]:
    """Return clouds of other kinds than those of the grid."""
    recipes = []
    for law, exponent in LAWS.items():
        kinds = [
            Recipe("300 labels", 0.6, num_labels=300, width=128),
            Recipe("300 labels, strong, off-centre", 1.6, offset=0.7, spreads="unequal", num_labels=300, width=128),
            Recipe("6000 labels", 0.5, num_labels=6000),
            Recipe("6000 labels, strong, off-centre", 1.5, offset=0.5, num_labels=6000, width=128),
            Recipe("subspace", 0.9, means="subspace", width=128),
            Recipe("hierarchy", 0.9, means="hierarchy", width=128),
            Recipe("hierarchy, 6000 labels", 1.2, offset=0.5, means="hierarchy", num_labels=6000),
            Recipe("frequent apart", 0.9, means="frequent apart", width=128),
            Recipe("rare apart", 0.9, means="rare apart", width=128),
            Recipe("quarter", 0.9, means="quarter", width=128),
            Recipe("heavy spreads", 0.8, spreads="heavy", width=128),
            Recipe("heavy rows", 0.8, heavy_rows=4, width=128),
            Recipe("narrow", 0.8, width=16),
            Recipe("narrow, off-centre", 0.4, offset=1.0, spreads="unequal", width=16),
            Recipe("spreads alone", 0.0, offset=1.0, spreads="unequal", width=128),
            Recipe("faint", 0.15, width=128),
            Recipe("independent clusters", 0.9, spreads="unequal", independent=True, width=128),
            Recipe("independent, 6000 labels", 0.9, offset=1.0, independent=True, num_labels=6000),
        ]
        recipes += [replace(kind, name=f"{law} {kind.name}", exponent=exponent) for kind in kinds]
    for exponent in (0.7, 1.4):
        recipes.append(
            Recipe(f"rank^-{exponent} hierarchy", 0.9, exponent=exponent, means="hierarchy", num_labels=6000)
        )
    return [replace(recipe, sizes=(4000, 16_000, 64_000), seed=1000 + i) for i, recipe in enumerate(recipes)]


def repeated() -> list[Recipe]:
    """Return 12 clouds whose documents repeat their labels, and whose rows share an effect of label and document."""
    choices = product(LAWS, STRENGTHS, ((0.5, 0.5), (0.7, 0.7)))  # share of repeats, effect of label and document
    return [
        Recipe(
            f"{law} {strength}, {repeats:.0%} repeated",
            STRENGTHS[strength],
            exponent=LAWS[law],
            independent=strength == "independent",
            repeats=repeats,
            cell_effect=cell_effect,
            sizes=(4000, 16_000, 64_000),
            seed=2000 + seed,
        )
        for seed, (law, strength, (repeats, cell_effect)) in enumerate(choices)
    ]


def documents() -> list[Recipe]:
    """Return 18 clouds whose documents differ much, are long and few, or both; no constant was chosen on them."""
    kinds = {"differ": (0.7, 120), "few": (0.3, 500), "few and differ": (0.5, 500)}  # effect and length of a document
    choices = product(LAWS, STRENGTHS, kinds)
    return [
        Recipe(
            f"{law} {strength}, documents {kind}",
            STRENGTHS[strength],
            exponent=LAWS[law],
            independent=strength == "independent",
            document_effect=kinds[kind][0],
            document_length=kinds[kind][1],
            sizes=(4000, 16_000),
            seed=3000 + seed,
        )
        for seed, (law, strength, kind) in enumerate(choices)
    ]


def shrunk(recipes: Sequence[Recipe]) -> list[Recipe]:
    """Return the narrower clouds with a twentieth of their labels and rows, to see that the program runs.

    Args:
        recipes: Recipes of clouds.
    """
    return [
        replace(recipe, num_labels=recipe.num_labels // 20, sizes=tuple(size // 20 for size in recipe.sizes[:2]))
        for recipe in recipes
        if recipe.width <= 64
    ]


def small(recipes: Sequence[Recipe]) -> list[Recipe]:
    """Return the clouds with samples of at most 8000 positions.

    Larger samples take long to repeat, and their intervals are wrong for the same reasons.

    Args:
        recipes: Recipes of clouds.
    """
    return [replace(recipe, sizes=tuple(size for size in recipe.sizes if size <= 8000)) for recipe in recipes]


SETS: dict[str, Callable[[], list[Recipe]]] = {
    "grid": grid,
    "others": others,
    "repeated": repeated,
    "documents": documents,
}
DRAWN_AGAIN: dict[str, Callable[[], list[Recipe]]] = {**SETS, "grid": half}
