"""The list of models: what it may say, and one sentence for each thing that is wrong with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from ibtrack.replay.models_file import ModelsFile, read_models
from tests.docs.pages import ROOT, blocks


def _read(folder: Path, text: str) -> ModelsFile:
    path = folder / "models.yaml"
    path.write_text(text)
    return read_models(path)


def test_a_list_is_read_with_its_defaults(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "held_out.jsonl").touch()
    path = tmp_path / "models.yaml"
    path.write_text(
        """
        texts: [held_out.jsonl, more]
        column: content
        protocol: paper
        probe: {num_blocks: 100, seed: 3}
        defaults: {dtype: bfloat16, family: Pythia, trajectory: 20}
        models:
          - source: EleutherAI/pythia-70m
            size: 70m
          - {source: EleutherAI/pythia-1.4b, size: 1.4B, dtype: float16, revision: "step1*", trajectory: true}
          - {source: mine, family: own, size: 1000, trajectory: false, step: 7}
          - {source: [a/b, c/d], name: both, size: null}
        """
    )
    found = read_models(path)
    assert found.texts == (str(tmp_path / "held_out.jsonl"), "more")
    assert (found.subset, found.split) == (None, "validation")
    assert found.preferences == ()
    assert (found.column, found.protocol, dict(found.probe)) == ("content", "paper", {"num_blocks": 100, "seed": 3})
    pythia, large, mine, both = found.entries
    assert (pythia.label, pythia.family, pythia.dtype, pythia.trajectory) == ("pythia-70m", "Pythia", "bfloat16", 20)
    assert [entry.num_parameters for entry in found.entries] == [70e6, 1.4e9, 1000, None]
    assert (large.dtype, large.revision, large.trajectory) == ("float16", "step1*", True)
    assert (mine.sources, mine.family, mine.trajectory, mine.step) == ([str(tmp_path / "mine")], "own", False, 7)
    assert (both.label, both.sources) == ("both", ["a/b", "c/d"])


def test_the_list_of_the_page_is_one(tmp_path: Path) -> None:
    (block,) = blocks(ROOT / "docs" / "howto" / "models.md", "yaml")
    found = _read(tmp_path, block.code)
    assert [entry.label for entry in found.entries] == ["pythia-70m", "pythia-160m", "olmo-2-1b-early", "mine"]
    assert [entry.trajectory for entry in found.entries] == [False, 20, False, False]


ONE = "models: [{source: a/b}]\n"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("models: [", r"models\.yaml is not YAML: "),
        ("- a\n- b\n", r"models\.yaml must have the entries models, and texts or preferences, got list"),
        (ONE, r"must name the files of the probe as texts or as preferences, one of the two"),
        (ONE + "texts: a\npreferences: b\n", r"as texts or as preferences, one of the two"),
        (ONE + "text: a\n", r"models\.yaml: there is no entry 'text'; is it texts\?"),
        (ONE + "texts: a\nzzz: 1\n", r"there is no entry 'zzz'; there are models, texts, preferences, column"),
        (
            ONE + "texts: a\nprobe: {num_block: 3}\n",
            r"models\.yaml, probe: there is no entry 'num_block'; is it num_blo",
        ),
        (ONE + "texts: a\nprobe: 3\n", r"models\.yaml, probe must have entries, such as num_blocks, got 3"),
        (ONE + "texts: a\nprobe: {num_blocks: 0}\n", r"models\.yaml: `probe.num_blocks` must be a whole number >= 1"),
        (ONE + "texts: a\ndefaults: {dtpye: x}\n", r"models\.yaml, defaults: there is no entry 'dtpye'; is it dtype\?"),
        ("texts: a\nmodels: []\n", r"models\.yaml: `models` must be a list of length >= 1"),
        ("texts: a\nmodels: [a/b]\n", r"models\.yaml: `models\[0\]` must be a group of entries, got a text"),
        ("texts: a\nmodels: [{sourec: a/b}]\n", r"models\.yaml, model 1: there is no entry 'sourec'; is it source\?"),
        ("texts: a\nmodels: [{name: a}]\n", r"model 1: it lacks the entry `source`"),
        ("texts: a\nmodels: [{source: []}]\n", r"model 1: source must name a repository or a folder, got none"),
        ("texts: a\nmodels: [{source: a/b, trajectory: 1}]\n", r"model 1: `trajectory` must be a whole number >= 2"),
        (
            "texts: a\nmodels: [{source: a/b, size: big}]\n",
            r"model 1: size must be a number of parameters, .*got 'big'",
        ),
        (
            "texts: a\nmodels: [{source: a/b, step: 3, trajectory: true}]\n",
            r"model 1: step is for a single checkpoint, and trajectory asks for several; leave out one",
        ),
        (
            "texts: a\nmodels: [{source: [a/b, c/d], revision: x}]\n",
            r"model 1: revision is for a single source; write owner/name@revision for one of several",
        ),
        ("texts: a\nmodels: [{source: a/b, name: c/d}]\n", r"model 1: name must be the name of a folder, got 'c/d'"),
        ("texts: a\nmodels: [{source: a/b, name: '..'}]\n", r"model 1: name must be the name of a folder, got '\.\.'"),
        (
            "texts: a\nmodels: [{source: a/b}, {source: c/d}, {source: e/b}]\n",
            r"models 1 and 3 are both called 'b'; give one another name",
        ),
    ],
)
def test_what_is_wrong_is_one_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence) as caught:
        _read(tmp_path, text)
    assert "\n" not in str(caught.value)


def test_a_list_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"there is no file \S+models\.yaml that lists models"):
        read_models(tmp_path / "models.yaml")
