"""What is said of a wrong override, and what the script says of itself."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hydra.errors import MissingConfigException

from experiments.suggestions import EXTRAS, suggestion
from tests.runs import launch, options


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("trainer.max_step=5", "trainer has accelerator, .*max_steps.*; did you mean max_steps?"),
        ("modle=gpt2", "the configuration has callbacks, .*; did you mean model?"),
        ("model=gpt3", "Could not find 'model/gpt3'.*gpt2.*llama_0.3M"),
    ],
)
@pytest.mark.parametrize("mode", ["--run", "-m"])
def test_a_wrong_override_is_answered_with_those_there_are(
    override: str,
    said: str,
    mode: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        launch(mode, override)
    assert re.search(said, capsys.readouterr().err, re.DOTALL)


@pytest.mark.parametrize("choice", EXTRAS)
def test_a_choice_that_is_an_extra_says_which_to_install(choice: str) -> None:
    missing = MissingConfigException(f"Could not find '{choice}'", choice)
    assert suggestion(missing) == f"{choice} is an extra: pip install --editable '.[{EXTRAS[choice]}]'"
    assert suggestion(MissingConfigException("Could not find 'data/x'", "data/x")) is None


def test_help_shows_every_group_and_how_to_sweep(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        launch("--help")
    text = capsys.readouterr().out
    for group in ("data", "model", "trainer", "monitor", "logger", "recipe", "experiment"):
        assert f"\n{group}: {', '.join(options(group))}\n" in text
    assert "-m experiment=tiny_sweep" in text
    assert "hydra/launcher=joblib" in text
