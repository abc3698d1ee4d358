from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from ibtrack.cli.terminal import text_table
from ibtrack.replay.checkpoint import Checkpoint, File
from ibtrack.replay.plan import Plan
from ibtrack.replay.plan_table import fault_sentences, plan_rows, plan_sentences, size_words, time_words

GB = 10**9


def saved(step: int | None, *faults: str, size: int = GB, **more: Any) -> Checkpoint:
    given = {"name": f"step{step}", "source": "owner/name", "commit": "0123456789" * 4, **more}
    return Checkpoint(step=step, files=(File("model.safetensors", size),), faults=faults, **given)


def plan(*checkpoints: Checkpoint, **more: Any) -> Plan:
    return Plan("owner/name", "generic", checkpoints, **more)


def test_a_row_says_what_there_is_and_what_is_wrong() -> None:
    found = plan(
        saved(0, tokens=0), saved(1000, tokens=2_097_152_000), saved(2000, "it is odd", "it has no config.json")
    )
    assert text_table(plan_rows(found, found.choose()[:1])).splitlines() == [
        "   step   tokens  name      commit    size  what is wrong",
        "+  0      0       step0     01234567  1 GB",
        "   1,000  2.1B    step1000  01234567  1 GB",
        "!  2,000          step2000  01234567  1 GB  it is odd; it has no config.json",
    ]


def test_columns_without_content_are_left_out_and_stages_and_repositories_shown_where_there_are_several() -> None:
    found = plan(saved(1, stage="a"), saved(None, "no step", source="owner/b", commit=None))
    assert plan_rows(found) == [
        ("", "step", "stage", "repository", "name", "commit", "size", "what is wrong"),
        ("+", "1", "a", "owner/name", "step1", "01234567", "1 GB", ""),
        ("!", "?", "", "owner/b", "stepNone", "", "1 GB", "no step"),
    ]
    assert plan_rows(plan()) == [()]


def test_sentences_say_number_faults_gaps_cost_and_notes() -> None:
    found = plan(
        *(saved(step) for step in range(0, 6000, 1000)),
        saved(9000, "it is odd"),
        saved(9500, "it is odd"),
        missing=(6000, 7000),
        notes=("pythia is a family", "It ends."),
    )
    assert plan_sentences(found, bandwidth=100, memory=10 * GB) == [
        "owner/name has 8 checkpoints from step 0 to 9,500; 6 to be measured, and 2 have faults.",
        "2 published steps not there: 6,000, 7,000.",
        "step9000, step9500: it is odd.",
        "6 GB to download, at most 2 GB of it on the disk at a time; "
        "the largest takes 1 GB of memory in the dtype it is stored in.",
        "At 100 MB/s, which is an assumption, the download alone takes 1 min.",
        "Pythia is a family.",
        "It ends.",
    ]
    assert plan_sentences(found, found.choose()[:1], keep=True)[3].startswith("1 GB to download, at most 1 GB of it")


def test_one_is_counted_as_one() -> None:
    assert plan_sentences(plan(saved(5, "it is odd"), missing=(1,)), memory=0) == [
        "owner/name has 1 checkpoint from step 5 to 5; 0 to be measured, and 1 has faults.",
        "1 published step not there: 1.",
        "step5: it is odd.",
    ]
    assert plan_sentences(plan()) == ["owner/name has 0 checkpoints; 0 to be measured."]


def test_what_lies_here_is_not_downloaded() -> None:
    sentences = plan_sentences(plan(saved(1, commit=None)), bandwidth=100)
    assert sentences[1:] == [
        "Nothing is to be downloaded; the largest takes 1 GB of memory in the dtype it is stored in."
    ]


def test_too_little_disk_and_memory_are_said(tmp_path: Path) -> None:
    found = plan(saved(1, size=10**18), saved(2, size=10**17))
    sentences = plan_sentences(found, folder=tmp_path / "not" / "there" / "yet", memory=24 * GB)
    assert sentences[2].startswith(f"Too little disk: {tmp_path / 'not' / 'there' / 'yet'} has ")
    assert sentences[2].endswith(" free, and 1.1e+06 TB are needed.")
    assert sentences[3] == "Too little memory: there are 24 GB, and the largest checkpoint takes 1e+06 TB."
    assert plan_sentences(found)[2].startswith("Too little memory: there are ")
    small = plan(saved(1, size=1))
    assert len(plan_sentences(small, folder=tmp_path, memory=24 * GB)) == 2


def test_a_system_that_does_not_tell_its_memory_is_not_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(name: str) -> int:
        raise ValueError("unrecognized configuration name")

    monkeypatch.setattr(os, "sysconf", unknown)
    assert len(plan_sentences(plan(saved(1, size=10**18)))) == 2


def test_many_names_are_counted() -> None:
    assert fault_sentences([saved(step, "it is odd") for step in range(20)]) == [
        "step0, step1, step2, step3, step4, step5, step6, step7 and 12 more: it is odd."
    ]


@pytest.mark.parametrize(("number", "words"), [(0, "0 B"), (999, "999 B"), (1000, "1 kB"), (5_900_000_000, "5.9 GB")])
def test_sizes_have_three_digits(number: int, words: str) -> None:
    assert size_words(number) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 s"), (59.6, "1 min"), (3600, "1 h"), (3660, "1 h 1 min"), (90000, "1 d 1 h"), (86400 * 3, "3 d")],
)
def test_times_have_two_units(seconds: float, words: str) -> None:
    assert time_words(seconds) == words
