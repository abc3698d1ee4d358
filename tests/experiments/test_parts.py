"""What parts of a Python source hold, and what a model that trains on them is measured with."""

from __future__ import annotations

import ast
import json.decoder
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from experiments.data import TextData
from experiments.parts import code, prose

SOURCE = Path(json.decoder.__file__).read_text()


def test_prose_is_what_the_code_does_not_say() -> None:
    text = prose(SOURCE)
    assert "Decode a JSON document" in text
    assert "# " not in text
    assert "def " not in text
    assert "import" not in text
    assert text == prose(SOURCE + "\nx = 'not # a comment'\n")


def test_code_runs_as_the_source_does() -> None:
    text = code(SOURCE)
    assert "Decode a JSON document" not in text
    assert "#" not in text
    names: dict[str, Any] = {"__name__": "json.decoder"}
    exec(compile(text, "decoder", "exec"), names)
    assert names["JSONDecoder"]().decode('{"a": [1, 2]}') == {"a": [1, 2]}


def test_a_function_that_is_all_docstring_stays_a_function() -> None:
    assert ast.dump(ast.parse(code('def f():\n    "Nothing."'))) == ast.dump(ast.parse("def f(): pass"))


def test_a_text_that_is_no_python_is_refused() -> None:
    for part in (code, prose):
        with pytest.raises(SyntaxError, match="invalid syntax"):
            part("once upon a time")


@pytest.mark.parametrize("part", [code, prose])
def test_runs_on_parts_have_one_tokenizer_and_one_probe(
    part: Callable[[str], str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    texts = [f'"""Says {number}."""\nx = {number}  # a number\n' for number in range(200)]
    whole, partial = (
        TextData(lambda: iter(texts), vocab_size=280, block_size=8, batch_size=2, held_out=0.2, keep=keep)
        for keep in (None, part)
    )
    whole.setup()
    partial.setup()
    assert partial.tokenizer.to_str() == whole.tokenizer.to_str()
    assert partial.probe_texts == whole.probe_texts
    trained_on = partial.tokenizer.decode(partial.train_blocks.stacked().flatten().tolist())
    assert ("Says" in trained_on) == (part is prose)
    assert ("x = " in trained_on) == (part is code)
