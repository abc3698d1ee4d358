"""Readings beside scores: which row belongs to which point, families, sizes, losses, and what the sentences say."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ibtrack.analysis.scores import (
    ALONG_TRAINING,
    MIXED,
    NO_SIZE,
    OWN_FAMILY,
    Joined,
    ScoreRow,
    join_scores,
    relate,
)
from ibtrack.record.trajectory import Point, Trajectory
from tests import trajectories

Runs = dict[str, Trajectory]


def run(name: str, *steps: int, loss: bool = True, **config: Any) -> Trajectory:
    points = [
        Point(step, {"ib/mean/token/told": 0.1 + step / 1000} | ({"ib/probe_loss": 3.0 - step / 100} if loss else {}))
        for step in steps
    ]
    return Trajectory({"orders": ["token"]}, {"name": name, "config": config}, points)


def row(model: str, step: int | None = None, arc: float = 0.3, **others: Any) -> ScoreRow:
    return ScoreRow(model=model, step=step, scores={"arc": arc}, others=others, source=f"s.csv, {model}")


def join(runs: Runs, *rows: ScoreRow, **options: Any) -> Joined:
    return join_scores(runs, rows, quantities=["told"], **options)


def places(joined: Joined) -> list[tuple[str, int]]:
    return [(row.run, row.step) for row in joined.rows]


def scored(**options: Any) -> tuple[Runs, list[ScoreRow]]:
    runs, table = trajectories.scored(**options)
    rows = [ScoreRow(model=each["run"], scores={k: v for k, v in each.items() if k != "run"}) for each in table]
    return {run.name: run for run in runs}, rows


def test_scores_without_a_step_belong_to_the_last_point_and_others_to_theirs() -> None:
    runs = {"a": run("a", 0, 8, 64), "b": run("b", 0, 8)}
    assert places(join(runs, row("a"), row("b"))) == [("a", 64), ("b", 8)]
    joined = join(runs, row("a", 0), row("a", 64), row("b", 8, arc=0.4))
    assert places(joined) == [("a", 0), ("a", 64), ("b", 8)]
    assert [each.readings["ib/mean/token/told"] for each in joined.rows] == [0.1, 0.1 + 0.064, 0.1 + 0.008]
    assert [each.scores["arc"] for each in joined.rows] == [0.3, 0.3, 0.4]
    assert ALONG_TRAINING in joined.remarks
    assert ALONG_TRAINING not in join(runs, row("a"), row("b")).remarks


def test_a_run_is_found_by_its_label_its_name_its_folder_and_the_last_part_of_a_name(tmp_path: Path) -> None:
    short = {"s=0": run("sweep s=0", 1), "other": run("other", 1)}
    for name in ("s=0", "sweep s=0", "org/s=0"):
        assert places(join(short, row(name))) == [("s=0", 1)]
    folder = Trajectory.load(trajectories.write(run("named", 1), tmp_path / "pythia-70m"))
    assert places(join({"x": folder}, row("EleutherAI/pythia-70m"))) == [("x", 1)]
    assert places(join({"x": run("EleutherAI/pythia-70m", 1)}, row("pythia-70m"))) == [("x", 1)]
    with pytest.raises(ValueError, match="scores of tiny fit the runs a and b: give each a name of its own"):
        join({"a": run("one/tiny", 1), "b": run("two/tiny", 1)}, row("tiny"))


def test_what_has_no_counterpart_is_named() -> None:
    runs = {"a": run("a", 0, 8), "b": run("b", 0), "c": replace(run("c"), points=[])}
    joined = join(runs, row("a"), row("a", 5), row("c"), row("z"))
    assert joined.left_out == {
        "a at step 5, of the scores,": "a has no point at that step, its 2 are from 0 to 8",
        "c, of the scores,": "c has no points",
        "z, of the scores,": "no run is called so",
        "b": "it has no scores",
        "c": "it has no scores",
    }
    assert "z, of the scores, is left out: no run is called so." in relate(joined).sentences()


def test_scores_that_fit_no_run_name_both_sides() -> None:
    with pytest.raises(
        ValueError, match="no scores fit a run: the scores are of x at step 3 and y, the runs are a and b"
    ):
        join({"a": run("a", 0), "b": run("b", 0)}, row("x", 3), row("y"))


def test_two_rows_on_one_point_are_refused() -> None:
    with pytest.raises(ValueError, match="two rows of scores fit a at step 8: a and a at step 8"):
        join({"a": run("a", 0, 8)}, row("a"), row("a", 8))


def test_families_come_from_the_table_or_the_settings() -> None:
    runs = {name: run(name, 0, recipe={"data": "c4" if name < "c" else "web"}) for name in "abc"}
    rows = [row(name, family="f1" if name == "a" else "f2") for name in "abc"]
    assert [each.family for each in join(runs, *rows).rows] == ["a", "b", "c"]
    assert OWN_FAMILY in join(runs, *rows).remarks
    assert [each.family for each in join(runs, *rows, by="family").rows] == ["f1", "f2", "f2"]
    for by in ("data", "recipe.data"):
        joined = join(runs, *rows, by=by)
        assert [each.family for each in joined.rows] == ["c4", "c4", "web"]
        assert OWN_FAMILY not in joined.remarks
    with pytest.raises(ValueError, match=r"no run has a setting 'dat'; near are recipe\.data"):
        join(runs, *rows, by="dat")
    with pytest.raises(ValueError, match="b has no family, so its family is not known"):
        join(runs, row("a", family="f1"), row("b"), by="family")
    with pytest.raises(ValueError, match="a has two values of family, f1 and f2: a run has one family"):
        join({"a": run("a", 0, 1)}, row("a", 0, family="f1"), row("a", 1, family="f2"), by="family")


def test_a_column_of_numbers_that_names_families_or_sizes_is_no_score() -> None:
    runs = {name: run(name, 0) for name in "ab"}
    rows = [ScoreRow(model=name, scores={"arc": 0.3, "group": i, "width": 64}) for i, name in enumerate("ab")]
    joined = join(runs, *rows, by="group", size="width")
    assert [each.scores.keys() for each in joined.rows] == [{"arc"}] * 2
    assert [(each.family, each.size) for each in joined.rows] == [("0", 64.0), ("1", 64.0)]
    with pytest.raises(ValueError, match="the runs have no scores besides arc"):
        join(runs, row("a"), row("b"), by="arc")


def test_the_size_is_a_column_or_a_setting_that_is_called_so_or_is_named() -> None:
    runs = {name: run(name, 0, model={"num_parameters": 7, "width": "wide"}) for name in "ab"}
    joined = join(runs, row("a", params=5), row("b"))
    assert joined.rows[0].size == 5
    assert math.isnan(joined.rows[1].size)
    assert "The size is params." in joined.remarks
    assert [each.size for each in join(runs, row("a"), row("b")).rows] == [7, 7]
    with pytest.raises(ValueError, match="width of a must be a number, got 'wide'"):
        join(runs, row("a"), size="width")
    without = join({"a": run("a", 0)}, row("a"))
    assert NO_SIZE in without.remarks
    assert relate(without).relations[0].given.keys() == {"loss"}


def test_the_loss_is_that_of_the_probe_where_all_points_have_it() -> None:
    on_probe, without = run("a", 8), run("b", 8, loss=False)
    assert [each.loss for each in join({"a": on_probe}, row("a")).rows] == [3.0 - 0.08]
    trained = {n: replace(r, points=[replace(r.points[0], loss=2.5)]) for n, r in (("a", on_probe), ("b", without))}
    joined = join(trained, row("a"), row("b"))
    assert [each.loss for each in joined.rows] == [2.5, 2.5]
    assert any("loss is that of training batches" in remark for remark in joined.remarks)
    assert any("No point has a loss" in remark for remark in join({"b": without}, row("b")).remarks)


def test_readings_and_scores_are_those_that_are_asked_for() -> None:
    runs, rows = scored(num_families=2)
    joined = join_scores(runs, rows)
    assert len(joined.rows[0].readings) == 8
    joined = join_scores(runs, rows, quantities=["told", "kept"], orders=["bigram"], only=["coin"])
    assert list(joined.rows[0].readings) == ["ib/mean/bigram/told", "ib/mean/bigram/kept"]
    assert list(joined.rows[0].scores) == ["coin"]
    with pytest.raises(ValueError, match="there is no score 'hellaswig'; hellaswag there is"):
        join_scores(runs, rows, only=["hellaswig"])
    with pytest.raises(ValueError, match="no point of a run has ib/L07/token/kept"):
        join_scores(runs, rows, quantities=["kept"], sites=["L07"], orders=["token"])
    with pytest.raises(ValueError, match=r"quantity must be one of .*'told'.*, got 'probe_loss'"):
        join_scores(runs, rows, quantities=["probe_loss"])


def test_runs_of_different_protocols_are_refused_unless_allowed() -> None:
    other = replace(run("b", 0), protocol={"orders": ["token"], "num_anchors": 50})
    runs = {"a": run("a", 0), "b": other}
    with pytest.raises(ValueError, match=r"different protocols.*num_anchors.*--allow-mixed joins them"):
        join(runs, row("a"), row("b"))
    assert MIXED in join(runs, row("a"), row("b"), allow_mixed=True).remarks


def test_what_made_up_families_show_is_what_they_were_made_of() -> None:
    found = relate(join_scores(*scored(), by="family"))
    told = {(each.reading, each.score): each for each in found.relations}
    through_loss = told["ib/mean/bigram/told", "hellaswag"]
    assert through_loss.alone.is_told
    assert not through_loss.given["loss"].is_told
    assert through_loss.given["size"].is_told
    beyond_loss = told["ib/mean/token/kept", "arc_easy"]
    assert beyond_loss.alone.is_told
    assert beyond_loss.given["loss"].is_told
    assert not any(each.alone.is_told for each in found.relations if each.score == "coin")
    assert not any(each.alone.is_told for each in found.relations if "regularity" in each.reading)
    head, size, *findings, last = found.sentences()
    assert (head, size) == ("32 runs in 16 families, by family, with scores.", "The size is model.num_parameters.")
    assert len(findings) == 3
    assert "of bigrams" in findings[0] or "of tokens" in findings[0]
    assert "goes with hellaswag: ρ 0.9" in findings[0]
    assert "no more can be told than loss says; given size" in findings[0]
    assert "goes with arc_easy: " in findings[1]
    assert "more than loss says" in findings[1]
    assert "cannot be told to go with coin: " in findings[2]
    assert last == "Intervals hold for all 72 together, with 95 %, over families."


def test_fewer_than_five_families_tell_nothing() -> None:
    found = relate(join_scores(*scored(num_families=4), by="family"))
    assert found.sentences()[-1] == "Nothing can be told: 4 families are fewer than the 5 that an interval needs."
    assert all(each.alone.together is None for each in found.relations)
    assert all(not math.isnan(each.alone.value) for each in found.relations)


def test_a_table_has_a_row_for_each_number_and_reasons_for_those_that_are_missing() -> None:
    runs, rows = scored(num_families=6)
    rows = [replace(each, scores={**each.scores, "coin": 0.5}) for each in rows]
    found = relate(join_scores(runs, rows, quantities=["told"], by="family"))
    table = list(found.rows())
    assert len(table) == 2 * 3 * 3
    assert {row["given"] for row in table} == {"", "loss", "size"}
    coin = [row for row in table if row["score"] == "coin"]
    assert {(row["rho"], row["low"], row["told"], row["why"]) for row in coin} == {
        (None, None, False, "coin is the same in all rows")
    }
    assert "Nothing can be told of coin: coin is the same in all rows." in found.sentences()


def test_many_scores_have_few_sentences() -> None:
    runs, rows = scored()
    rows = [replace(e, scores={f"h{i}": e.scores["hellaswag"] for i in range(14)}) for e in rows]
    found = relate(join_scores(runs, rows, quantities=["told"], by="family"), num_draws=200)
    lines = found.sentences()
    assert sum("goes with h" in line for line in lines) == 10
    assert "So it is for 4 more scores." in lines
    rows = [replace(e, scores={f"c{i}": (i * j * 7 % 5) for i in (1, 2, 3)}) for j, e in enumerate(rows)]
    assert (
        "No reading can be told to go with c1, c2 and c3." in relate(join_scores(runs, rows, by="family")).sentences()
    )


def test_a_replay_is_known_by_what_it_measured_and_by_its_steps() -> None:
    replay: dict[str, Any] = {"replay": {"source": "org/pythia-70m"}}
    early, late = run("pythia-70m-step3000", 3000, **replay), run("pythia-70m-late", 100000, 143000, **replay)
    runs = {"early": early, "late": late}
    joined = join(runs, row("org/pythia-70m", 3000), row("pythia-70m", 143000), row("org/pythia-70m", 100000))
    assert places(joined) == [("early", 3000), ("late", 143000), ("late", 100000)]
    with pytest.raises(ValueError, match="scores of pythia-70m fit the runs early and late: give each a name"):
        join(runs, row("pythia-70m"))


def test_the_name_of_a_file_counts_where_no_run_has_the_name_that_it_tells() -> None:
    runs = {"pythia-70m": run("pythia-70m", 0, 512), "b": run("b", 512)}
    also = replace(row("org/pythia-v1.1-70m", 512), also=("pythia-70m",))
    assert places(join(runs, also)) == [("pythia-70m", 512)]
    assert places(join(runs, replace(also, model="org/b"))) == [("b", 512)]
