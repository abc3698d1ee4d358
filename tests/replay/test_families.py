from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from ibtrack.replay.families import Name, Published, Range, family_names, family_of, load_family, natural

OWN = "name: own\ntitle: My own\nrevisions: ['at-(?P<step>[0-9]+)']\n"


def test_every_family_that_comes_with_the_package_is_read() -> None:
    families = [load_family(name) for name in family_names()]
    assert [family.name for family in families] == family_names()
    assert family_names() == [
        *("amber", "datadecide", "olmo2", "olmo3", "polypythias", "pythia", "smollm2", "smollm3", "generic")
    ]
    assert all(family.title and family.quirks for family in families[:-1])


@pytest.mark.parametrize(
    ("repository", "family", "size"),
    [
        ("EleutherAI/pythia-14m", "pythia", "14m"),
        ("EleutherAI/pythia-1.4b-deduped", "pythia", "1.4b"),
        ("EleutherAI/pythia-410m-seed9", "polypythias", "410m"),
        ("allenai/OLMo-2-0425-1B", "olmo2", "1B"),
        ("allenai/OLMo-2-0425-1B-early-training", "olmo2", "1B"),
        ("allenai/OLMo-2-1124-13B", "olmo2", "13B"),
        ("allenai/OLMo-2-0325-32B", "olmo2", "32B"),
        ("allenai/Olmo-3-1025-7B", "olmo3", "7B"),
        ("HuggingFaceTB/SmolLM2-1.7B-intermediate-checkpoints", "smollm2", "1.7B"),
        ("HuggingFaceTB/SmolLM3-3B-checkpoints", "smollm3", "3B"),
        ("allenai/DataDecide-dclm-baseline-25p-dolma1.7-75p-150M", "datadecide", "150M"),
        ("LLM360/Amber", "amber", None),
        ("allenai/OLMo-2-0425-1B-SFT", "generic", None),
        ("EleutherAI/pythia-410m-seed10", "generic", None),
        ("owner/pythia-70m", "generic", None),
    ],
)
def test_a_repository_tells_its_family_and_size(repository: str, family: str, size: str | None) -> None:
    found = family_of(repository)
    assert (found.name, found.size(repository)) == (family, size)


@pytest.mark.parametrize(
    ("family", "revision", "name"),
    [
        ("pythia", "step143000", Name(143000)),
        ("olmo2", "stage1-step1907359-tokens4001B", Name(1907359, 4001, 10**9, "stage1")),
        ("olmo2", "stage2-ingredient3-step23852-tokens51B", Name(23852, 51, 10**9, "stage2", "ingredient3")),
        ("olmo3", "stage1-step1413814", Name(1413814, stage="stage1")),
        ("smollm2", "step-240000", Name(240000)),
        ("smollm3", "stage2-step-3450000", Name(3450000, stage="stage2")),
        ("smollm3", "lc-4k-to-32k-step-20000", Name(20000, stage="lc-4k-to-32k")),
        ("datadecide", "step69369-seed-default", Name(69369, line="seed-default")),
        ("datadecide", "step1250-seed-large-aux-2", Name(1250, line="seed-large-aux-2")),
        ("amber", "ckpt_007", Name(7)),
        ("generic", "checkpoint-500", Name(500)),
        ("generic", "global_step1000", Name(1000)),
        ("generic", "run3/iter_0002000", Name(2000)),
        ("generic", "step-20-tokens-3B", Name(20, 3, 10**9)),
        ("generic", "2000steps", Name(2000)),
    ],
)
def test_a_revision_tells_step_tokens_stage_and_line(family: str, revision: str, name: Name) -> None:
    assert load_family(family).read(revision) == name


@pytest.mark.parametrize(
    ("family", "revision"),
    [
        *(("pythia", name) for name in ("main", "step", "step12b", "v1.0", "step1-copy")),
        *(("olmo2", name) for name in ("step1000-tokens3B", "stage1-step1000", "stage2-step1-tokens1T")),
        *(("generic", name) for name in ("main", "7b", "stepwise2", "footstep3", "fp32", "checkpoint-1k")),
    ],
)
def test_other_names_are_not_read(family: str, revision: str) -> None:
    assert load_family(family).read(revision) is None


def test_a_name_without_its_stage_or_its_step_nearly_is_one() -> None:
    assert load_family("olmo2").read_near_miss("step1000-tokens3B") == Name(1000, 3, 10**9)
    assert load_family("olmo2").read_near_miss("stage1-step1000-tokens3B") is None
    assert load_family("generic").read_near_miss("step-last") == Name(None)
    assert load_family("generic").read_near_miss("tokenizer-fix") is None


def test_the_published_list_of_pythia_has_its_154_steps() -> None:
    (published,) = load_family("pythia").listed("EleutherAI/pythia-70m")
    steps = published.numbers()
    assert (len(steps), steps[:5], steps[-1]) == (154, [0, 1, 2, 4, 8], 143000)


def test_published_lists_are_those_of_the_size() -> None:
    family = load_family("olmo2")
    assert [each.size for each in family.listed("allenai/OLMo-2-1124-7B")] == ["7B"]
    assert family.listed("allenai/OLMo-2-0325-32B") == []
    assert len(family.listed("allenai/OLMo-2-0425-1B")) == 2


def test_a_published_list_names_each_step_once() -> None:
    assert Published((5, Range(0, 10, 5))).numbers() == [0, 5, 10]


def test_tokens_of_a_step_differ_by_size_and_may_not_be_known() -> None:
    olmo2 = load_family("olmo2")
    assert olmo2.step_tokens("allenai/OLMo-2-1124-7B") == 4194304
    assert olmo2.step_tokens("allenai/OLMo-2-0325-32B") is None
    assert load_family("pythia").step_tokens("EleutherAI/pythia-70m") == 2097152
    assert load_family("amber").step_tokens("LLM360/Amber") is None


def test_early_training_belongs_to_the_run_of_another_repository() -> None:
    family = load_family("olmo2")
    whole, early = "allenai/OLMo-2-0425-1B", "allenai/OLMo-2-0425-1B-early-training"
    assert (family.run(early), family.run(whole)) == (whole, whole)
    assert (family.also(whole), family.also(early)) == ((early,), ())
    assert family.run("owner/name") == "owner/name"
    assert family.also("owner/name") == ()


def test_what_is_known_is_said_of_its_repositories_alone() -> None:
    family = load_family("pythia")
    assert "86 of the 154" in family.said_of("EleutherAI/pythia-2.8b")[0]
    assert family.said_of("EleutherAI/pythia-70m") == []


def test_a_family_of_ones_own_is_read_from_its_file_and_again_when_it_changes(tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(OWN + "repositories: [{pattern: 'me/(?P<size>.+)', run: 'me/{size}', also: ['me/{size}-b']}]\n")
    family = load_family(path)
    assert (family.title, family.read("at-3"), family.also("me/x")) == ("My own", Name(3), ("me/x-b",))
    path.write_text(OWN.replace("My own", "Another"))
    os.utime(path, ns=(0, 0))
    assert load_family(str(path)).title == "Another"


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("name: own\n", r"it lacks the entry `title`"),
        (OWN + "tokens: 3\n", r"unknown field `tokens`"),
        (OWN + "main: first\n", r"Invalid enum value 'first' - at `\$\.main`"),
        (
            OWN + "published: [{steps: [{first: 3, last: 9, every: 0}]}]\n",
            r"\.every` must be a whole number >= 1",
        ),
        ("name: [\n", r"while parsing a flow node"),
        ("- a\n", r"it must be a group of entries, got a list"),
        ("name: own\ntitle: T\nrevisions: []\n", r"`revisions` must be a list of length >= 1"),
        ("name: own\ntitle: T\nrevisions: ['step(']\n", r"missing \), unterminated subpattern"),
        ("name: own\ntitle: T\nrevisions: ['step[0-9]+']\n", r"'step\[0-9\]\+' must have a group 'step'"),
        (
            "name: own\ntitle: T\nrevisions: ['(?P<epoch>.)']\n",
            r"groups of .* must be among .*'unit'\], got \['epoch'\]",
        ),
        (
            OWN + "repositories: [{pattern: 'me/x', run: 'me/{size}'}]\n",
            r"'me/\{size\}' must name groups of 'me/x' alone",
        ),
        (OWN + "quirks: [{says: It is odd., where: '('}]\n", r"missing \), unterminated subpattern"),
    ],
)
def test_a_file_that_describes_no_family_is_one_sentence(tmp_path: Path, text: str, what: str) -> None:
    path = tmp_path / "own.yml"
    path.write_text(text)
    with pytest.raises(
        ValueError, match=rf"^the family in .*own\.yml must be as the docs describe one: .*{what}"
    ) as caught:
        load_family(path)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_no_text_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match=r"^the family in .*own\.yaml must be as the docs describe one"):
        load_family(path)


def test_an_unknown_family_is_answered_by_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^family must be one of amber, .*generic, or the path .*, got 'pythias'$"):
        load_family("pythias")
    with pytest.raises(FileNotFoundError, match="none\\.yaml"):
        load_family(tmp_path / "none.yaml")


def test_numbers_in_names_sort_by_their_value() -> None:
    assert sorted(["b", "step10", "step9", "3"], key=natural) == ["3", "b", "step9", "step10"]


def test_without_the_package_that_reads_the_files_the_extra_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(OWN)
    monkeypatch.setitem(sys.modules, "yaml", None)
    words = r"^a family of checkpoints needs pyyaml, which is not installed: pip install 'ibtrack\[hub\]'$"
    with pytest.raises(ModuleNotFoundError, match=words):
        load_family(path)
