"""What each piece of the estimator buys."""

import pytest
import typer
from typer.testing import CliRunner

from experiments.benchmarks import ablation
from experiments.benchmarks.ablation import VARIANTS, changed
from experiments.benchmarks.cases import SETS, shrunk


def values(variant: ablation.Variant) -> list[object]:
    return [getattr(module, name) for module, name, _ in variant.changes]


@pytest.mark.parametrize("variant", VARIANTS[1:], ids=lambda variant: variant.name)
def test_a_variant_changes_the_estimator_and_gives_it_back(variant: ablation.Variant) -> None:
    before = values(variant)
    with changed(variant):
        assert values(variant) == [value for _, _, value in variant.changes]
        assert values(variant) != before
    assert values(variant) == before


def test_a_variant_reads_other_numbers_of_the_same_samples() -> None:
    samples = ablation.draw(shrunk([recipe for recipe in SETS["grid"]() if "strong" in recipe.name][:1]))
    as_it_is, again = (ablation.errors(VARIANTS[0], samples) for _ in range(2))
    assert as_it_is == again
    assert ablation.errors(VARIANTS[1], samples) != as_it_is


def test_the_program_prints_a_line_for_each_set_and_variant(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ablation, "SETS", {"grid": lambda: SETS["grid"]()[:1]})
    monkeypatch.setattr(ablation, "VARIANTS", VARIANTS[:2])
    app = typer.Typer()
    app.command()(ablation.main)
    shown = CliRunner().invoke(app, ["--quick"])
    assert shown.exit_code == 0, shown.output
    assert len(shown.output.splitlines()) == 3
