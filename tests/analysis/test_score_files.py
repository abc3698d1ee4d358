"""Files of scores: tables, results of lm-evaluation-harness of old and new versions, and what is wrong with others."""

from __future__ import annotations

import json
import math
import pickle
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from ibtrack.analysis.score_files import read_scores, scores_beside

OLD = {  # as version 0.3 wrote it
    "results": {
        "lambada_openai": {"ppl": 130.2, "ppl_stderr": 5.1, "acc": 0.185, "acc_stderr": 0.005},
        "arc_easy": {"acc": 0.36, "acc_stderr": 0.01, "acc_norm": 0.34, "acc_norm_stderr": 0.01},
    },
    "versions": {"lambada_openai": 0, "arc_easy": 0},
    "config": {"model": "hf-causal", "model_args": "pretrained=org/tiny,revision=step3000", "num_fewshot": 0},
}
NEW = {  # as version 0.4 writes it
    "results": {
        "hellaswag": {"alias": "hellaswag", "acc,none": 0.27, "acc_stderr,none": 0.004, "acc_norm,none": 0.29},
        "wikitext": {"alias": "wikitext", "word_perplexity,none": 31.5, "word_perplexity_stderr,none": "N/A"},
        "gsm8k": {"alias": "gsm8k", "exact_match,strict-match": 0.01, "exact_match,flexible-extract": 0.02},
    },
    "n-samples": {"hellaswag": {"original": 10042, "effective": 10042}},
    "config": {"model": "hf", "model_args": {"pretrained": "org/tiny"}, "model_num_parameters": 70426624},
    "model_name": "org/tiny",
}


def write(path: Path, content: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def changed(of: dict[str, Any], **parts: Any) -> dict[str, Any]:
    return {**of, **parts}


def test_a_table_has_a_row_per_run_with_its_scores_and_what_else_it_says(tmp_path: Path) -> None:
    text = "Model,step,family,num_parameters,hellaswag,arc\na,100,llama,7e6,0.31,\nb, 200 ,olmo,,.4,0.5\n"
    rows = read_scores(write(tmp_path / "s.csv", text))
    assert [(row.model, row.step, dict(row.scores)) for row in rows] == [
        ("a", 100, {"hellaswag": 0.31}),
        ("b", 200, {"hellaswag": 0.4, "arc": 0.5}),
    ]
    assert [dict(row.others) for row in rows] == [{"family": "llama", "num_parameters": 7e6}, {"family": "olmo"}]
    assert [row.words for row in rows] == ["a at step 100", "b at step 200"]


def test_tabs_a_byte_order_mark_and_parquet_are_read_alike(tmp_path: Path) -> None:
    columns = {"run": ["a", "b"], "revision": ["step500", "main"], "arc": [0.25, None]}
    pyarrow.parquet.write_table(pyarrow.table(columns), tmp_path / "s.parquet")
    write(tmp_path / "s.tsv", "\ufeffrun\trevision\tarc\na\tstep500\t0.25\nb\tmain\t\n")
    for name in ("s.parquet", "s.tsv"):
        rows = read_scores(tmp_path / name)
        assert [(row.model, row.step, dict(row.scores)) for row in rows] == [("a", 500, {"arc": 0.25}), ("b", None, {})]


def test_results_of_an_old_harness(tmp_path: Path) -> None:
    (row,) = read_scores(write(tmp_path / "r.json", OLD))
    assert (row.model, row.step) == ("org/tiny", 3000)
    assert row.scores == {
        "lambada_openai/ppl": 130.2,
        "lambada_openai/acc": 0.185,
        "arc_easy/acc": 0.36,
        "arc_easy/acc_norm": 0.34,
    }


def test_results_of_a_new_harness_in_a_folder_of_folders(tmp_path: Path) -> None:
    write(tmp_path / "org__tiny" / "results_2025.json", NEW)
    write(tmp_path / "org__tiny" / "more" / "results_2026.json", changed(OLD, config=NEW["config"]))
    write(tmp_path / "org__tiny" / "samples_hellaswag.jsonl", "not read\n")
    (row,) = read_scores(tmp_path)
    assert (row.model, row.step, dict(row.others)) == ("org/tiny", None, {"num_parameters": 70426624.0})
    new = {key: value for key, value in row.scores.items() if not key.startswith(("lambada", "arc"))}
    assert new == {
        "hellaswag/acc": 0.27,
        "hellaswag/acc_norm": 0.29,
        "wikitext/word_perplexity": 31.5,
        "gsm8k/exact_match,strict-match": 0.01,
        "gsm8k/exact_match,flexible-extract": 0.02,
    }
    assert len(row.scores) == 9


@pytest.mark.parametrize(
    ("name", "revision", "model", "step"),
    [
        ("out/run-1/checkpoint-500", None, "out/run-1", 500),
        ("org/OLMo", "stage1-step1000-tokens3B", "org/OLMo", 1000),
        ("org/OLMo", "main", "org/OLMo", None),
        ("checkpoint-500", None, "checkpoint-500", None),
    ],
)
def test_model_and_step_of_results(tmp_path: Path, name: str, revision: str | None, model: str, step: int) -> None:
    content = changed(NEW, model_name=name, config={"model_revision": revision})
    (row,) = read_scores(write(tmp_path / "r.json", content))
    assert (row.model, row.step) == (model, step)


def test_names_do_not_reach_a_terminal_with_what_it_obeys(tmp_path: Path) -> None:
    (row,) = read_scores(write(tmp_path / "r.json", changed(NEW, model_name="a\x1b[2Jb")))
    assert row.model == "a\\x1b[2Jb"
    (row,) = read_scores(write(tmp_path / "s.csv", "run,arc\x07\na\x1b[2Jb,1\n"))
    assert (row.model, dict(row.scores)) == ("a\\x1b[2Jb", {"arc\\x07": 1.0})
    pyarrow.parquet.write_table(pyarrow.table({"run": ["a"], "arc\x07": [1.0]}), tmp_path / "s.parquet")
    assert dict(read_scores(tmp_path / "s.parquet")[0].scores) == {"arc\\x07": 1.0}


TABLES = {
    "needs a column run or model or name or model_name, which names the run, got step and arc": "step,arc\n1,2\n",
    "has no column of numbers besides run and step, so it holds no scores": "run,step,family\na,1,x\n",
    "has no rows": "run,arc\n",
    "row 3 is about a at step 1, as row 2 is already": "run,step,arc\na,1,.1\na,1,.2\n",
    "row 3: arc is nan, which is no score": "run,arc\na,.1\nb,nan\n",
    "row 2: arc is inf, which is no score": "run,arc\na,inf\n",
    "row 3: arc is 'n/a' where other rows have numbers": "run,arc\na,.1\nb,n/a\n",
    "row 3 has 1 cells for 2 columns": "run,arc\na,.1\nb\n",
    "has the column 'arc' twice": "run,arc,arc\na,1,2\n",
    "row 2 names no run in the column run": "run,arc\n,1\n",
    "row 2: step must be a whole number, got '1.5'": "run,step,arc\na,1.5,1\n",
    "row 2: the revision 'v2' names no step, such as step3000, and is not main": "run,revision,arc\na,v2,1\n",
}


@pytest.mark.parametrize(("sentence", "text"), TABLES.items())
def test_what_is_wrong_with_a_table_is_said(tmp_path: Path, sentence: str, text: str) -> None:
    path = write(tmp_path / "s.csv", text)
    with pytest.raises(ValueError, match="^" + str(path)) as error:
        read_scores(path)
    assert sentence in str(error.value)
    assert "\n" not in str(error.value)


RESULTS: dict[str, Any] = {
    "is not JSON": "{",
    "is not a result of lm-evaluation-harness: it has no results of tasks": {"config": {}},
    "it has no results of tasks": [1],
    "does not name its model, as model_name, in model_args or in the name of the file": changed(
        NEW, model_name=None, config={}
    ),
    "holds no scores": changed(NEW, results={"arc": {"alias": "arc"}}),
    "hellaswag/acc is inf, which is no score": changed(NEW, results={"hellaswag": {"acc,none": math.inf}}),
    "hellaswag/acc is 10000000000000000000, which is no score": changed(
        NEW, results={"hellaswag": {"acc,none": 10**400}}
    ),
    "the revision 'v2' names no step": changed(NEW, config={"model_revision": "v2"}),
}


@pytest.mark.parametrize(("sentence", "content"), RESULTS.items())
def test_what_is_wrong_with_results_is_said(tmp_path: Path, sentence: str, content: Any) -> None:
    path = write(tmp_path / "r.json", content)
    with pytest.raises(ValueError, match="^" + str(path)) as error:
        read_scores(path)
    assert sentence in str(error.value)


def test_two_results_that_differ_in_a_score_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "a.json", NEW)
    write(tmp_path / "b.json", changed(NEW, results={"hellaswag": {"acc,none": 0.28}}))
    with pytest.raises(ValueError, match="both about org/tiny and differ in hellaswag/acc: keep one"):
        read_scores(tmp_path)


def test_other_formats_are_refused(tmp_path: Path) -> None:
    (tmp_path / "s.pkl").write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(ValueError, match="is a pickle, which runs code when it is read"):
        read_scores(tmp_path / "s.pkl")
    with pytest.raises(ValueError, match=r"must be \.csv, \.tsv, \.parquet, results of lm-evaluation-harness"):
        read_scores(write(tmp_path / "s.xlsx", "x"))
    with pytest.raises(ValueError, match="is not a Parquet file"):
        read_scores(write(tmp_path / "s.parquet", "x"))
    (tmp_path / "t.csv").write_bytes(b"run,arc\n\xff,1\n")
    with pytest.raises(ValueError, match="is not a table of text"):
        read_scores(tmp_path / "t.csv")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"holds no \.json"):
        read_scores(tmp_path / "empty")
    with pytest.raises(FileNotFoundError, match="does not exist"):
        read_scores(tmp_path / "none")


def test_what_a_file_does_not_say_is_taken_from_its_name(tmp_path: Path) -> None:
    nameless = changed(OLD, config={})
    folder = tmp_path / "evals" / "pythia-70m" / "zero-shot"
    write(folder / "pythia-70m_step512.json", nameless)
    write(folder / "pythia-70m_step3000.json", changed(OLD, config={"model_args": "pretrained=org/pythia-v1.1-70m"}))
    write(tmp_path / "evals" / "other" / "step8.json", nameless)
    rows = read_scores(tmp_path / "evals")
    assert [(row.model, row.step, row.also) for row in rows] == [
        ("other", 8, ()),
        ("org/pythia-v1.1-70m", 3000, ("pythia-70m",)),
        ("pythia-70m", 512, ()),
    ]


def test_a_file_says_more_than_its_name(tmp_path: Path) -> None:
    (row,) = read_scores(write(tmp_path / "else_step7.json", OLD))
    assert (row.model, row.step, row.also) == ("org/tiny", 3000, ("else",))


def test_scores_beside_a_trajectory_go_by_the_name_of_its_run(tmp_path: Path) -> None:
    path = tmp_path / "run" / "trajectory.jsonl"
    assert scores_beside(path, "mine") == []
    (tmp_path / "run" / "scores").mkdir(parents=True)
    for step in (0, 20):
        content = {"model_name": "theirs", "results": {"arc": {"acc,none": step / 100}}}
        (tmp_path / "run" / "scores" / f"step-{step}.json").write_text(json.dumps(content))
    rows = scores_beside(path, "mine")
    assert [(row.model, row.step, dict(row.scores)) for row in rows] == [
        ("mine", 0, {"arc/acc": 0.0}),
        ("mine", 20, {"arc/acc": 0.2}),
    ]
