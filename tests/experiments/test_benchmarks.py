import doctest
import json
import math
import re
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from itertools import combinations
from operator import attrgetter
from statistics import fmean, stdev
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import typer
from scipy.special import xlogy
from scipy.stats import norm

from experiments.benchmarks import (
    cases,
    coverage,
    figures,
    footprint,
    gpu,
    imports,
    overhead,
    probe,
    probe_size,
    reference,
    row,
    scaling,
    table,
    text,
    timing,
    truth,
)
from experiments.benchmarks.clouds import LOG_K, MEANS, SPREADS, Cloud, Recipe, Truth, true_information
from experiments.benchmarks.figures import Figure
from experiments.benchmarks.machine import machine, processor
from ibtrack import Probe, schedules

SMALL = Recipe("small", 0.9, num_labels=20, width=8, sizes=(400,))


def _information_on_the_circle(cloud):
    """I(X; J) / log K of a cloud in the plane, from the density of the angle of a Gaussian, by quadrature."""
    angles = np.linspace(0, 2 * np.pi, 20_001)[:-1]
    directions = np.stack([np.cos(angles), np.sin(angles)])  # (2, angles)
    scores = cloud.anchors.numpy().astype(float) @ directions / cloud.temperature
    assignments = np.exp(scores - scores.max(0))
    assignments /= assignments.sum(0)  # (K, angles)
    entropies, marginal = 0, 0
    for share, mean, spread in zip(cloud.share.numpy(), cloud.means.numpy(), cloud.spread.numpy(), strict=True):
        mean = mean.astype(float) / (spread / math.sqrt(2))
        towards = mean @ directions
        density = np.exp(-mean @ mean / 2) * (1 + towards * norm.cdf(towards) / norm.pdf(towards))
        of_label = assignments @ density / len(angles)
        entropies = entropies - share * xlogy(of_label, of_label).sum()
        marginal = marginal + share * of_label
    return (-xlogy(marginal, marginal).sum() - entropies) / LOG_K


@pytest.mark.parametrize("spreads", ["equal", "unequal"])
def test_truth_is_what_quadrature_finds_in_the_plane(spreads):
    cloud = Cloud(Recipe("plane", 1.0, 0.7, offset=0.5, spreads=spreads, num_labels=12, width=2))
    found = true_information(cloud, rows_per_label=8192)
    assert found.error < 0.003
    assert found.value == pytest.approx(_information_on_the_circle(cloud), abs=3 * found.error)


def test_error_of_the_truth_is_its_spread():
    """20 repetitions know a spread to 16 %; the error is larger by what the expansion might have left out."""
    cloud = Cloud(SMALL)
    found = [true_information(cloud, rows_per_label=256, repetition=repetition) for repetition in range(20)]
    claimed = math.sqrt(fmean(each.error**2 for each in found))
    assert 0.6 < stdev(each.value for each in found) / claimed < 1.3


@pytest.mark.parametrize("seed", range(3))
def test_independent_labels_have_no_information(seed):
    found = true_information(Cloud(replace(SMALL, spreads="heavy", independent=True, seed=seed)))
    assert abs(found.value) < 3 * found.error < 0.02


@pytest.mark.parametrize("kind", [*({"means": name} for name in MEANS), *({"spreads": name} for name in SPREADS)])
def test_samples_have_the_information_of_their_cloud(kind):
    """With 1500 rows for each label there is next to nothing to correct: what is left are three standard errors."""
    recipe = replace(SMALL, heavy_rows=5, **kind)
    cloud = Cloud(recipe)
    found = row.read(recipe, cloud.sample(30_000), true_information(cloud))
    assert abs(found.error("debiased")) < 3 * math.hypot(found.sampling_error, found.truth.error)
    assert found.plugin - found.debiased < 0.005
    assert found.sampling_error < found.truth.value / 20


def test_the_grid_is_the_one_that_was_asked_for():
    recipes = cases.grid()
    assert sum(len(recipe.sizes) for recipe in recipes) == 192
    assert len({(recipe.name, recipe.width) for recipe in recipes}) == len(recipes) == 48
    assert {recipe.width for recipe in recipes} == {64, 512}
    assert sum(recipe.independent for recipe in recipes) == 16


def test_half_of_the_grid_is_balanced():
    recipes = cases.half()
    assert len(recipes) == 24
    for choices in combinations(("width", "exponent", "offset", "spreads"), 2):
        assert set(Counter(attrgetter(*choices)(recipe) for recipe in recipes).values()) == {6}
    assert set(Counter(recipe.strength for recipe in recipes).values()) == {8}


def test_seeds_differ_and_cloud_means_do_not_lie_on_anchors():
    recipes = [*cases.grid(), *cases.others()]
    assert len({recipe.seed for recipe in recipes}) == len(recipes)
    cloud = Cloud(recipes[8])
    cosines = torch.nn.functional.normalize(cloud.means, dim=1) @ cloud.anchors.T
    assert cosines.abs().max() < 0.95


def test_program_writes_what_it_prints(tmp_path):
    file = tmp_path / "truth.json"
    command = [sys.executable, truth.__file__, "--quick", "--json", str(file)]
    printed = subprocess.run(command, check=True, capture_output=True, text=True, cwd=tmp_path).stdout
    content = json.loads(file.read_text())
    assert len(content["rows"]) == 48
    assert {"python", "torch", "ibtrack"} == content["versions"].keys()
    assert content["machine"]["cores"] >= 1 and content["seconds"] > 0
    assert set(truth.WANTED) < set(content["summary"])
    for each in content["rows"]:
        assert f"{each['debiased']:.4f}" in printed
    assert f"{content['summary']['mean']['debiased']:.4f}  wanted ≤ 0.010" in printed


def test_program_counts_intervals(tmp_path, capsys):
    file = tmp_path / "coverage.json"
    truth.main(cases="others", intervals=True, repetitions=2, quick=True, file=file)
    content = json.loads(file.read_text())
    assert all(len(each["debiased"]) == 2 for each in content["rows"])
    assert content["summary"]["cases"] == len(content["rows"]) == len(re.findall("±", capsys.readouterr().out))


def test_unknown_set_is_refused():
    with pytest.raises(typer.BadParameter, match="--set must be one of grid, others, repeated, got 'all'"):
        truth.main(cases="all")


def test_summary_takes_each_figure_over_its_rows():
    sound = row.Row(SMALL, 400, Truth(0.2, 0.0), 0.5, 0.1, 0.21, 0.01, 0.01, seen_twice=0.9)
    rare = replace(sound, debiased=0.30, seen_twice=0.5)
    alone = replace(sound, recipe=replace(SMALL, independent=True), truth=Truth(0.0, 0.0), debiased=0.002)
    errors = {name: figures["debiased"] for name, figures in truth.summarise([sound, rare, alone]).items()}
    assert errors == pytest.approx(
        {"mean": 0.112 / 3, "worst": 0.1, "worst, 85 % seen twice": 0.01, "worst, independent": 0.002}
    )


def test_interval_holds_the_truth_within_1_96_standard_errors():
    near = row.Row(SMALL, 400, Truth(0.2, 0.0), 0.5, 0.1, 0.219, 0.01, 0.005, seen_twice=0.9)
    far = replace(near, debiased=0.221)
    found = coverage.CoverageRow.of([near, near, near, far])
    assert (found.held, found.held_by_sampling) == (0.75, 0.0)
    assert found.bias == pytest.approx(0.0195)
    assert found.spread == pytest.approx(0.001)


def test_processor_is_named(tmp_path):
    information = tmp_path / "cpuinfo"
    information.write_text("processor\t: 0\nmodel name\t: Some CPU @ 2 GHz\nmodel name\t: Another\n")
    assert processor(information) == "Some CPU @ 2 GHz"
    assert machine()["processor"] == processor() != ""


def _written(file):
    """What a benchmark wrote: its rows, and what it reached by the name of the figure."""
    content, found = figures.load(file)
    assert {"python", "torch", "ibtrack"} <= content["versions"].keys()
    assert content["machine"]["cores"] >= 1 and content["date"]
    return content["rows"], {figure.name: figure.reached for figure in found}


def test_made_up_text_repeats_itself_as_sources_do():
    """128 blocks of the standard library: 1.1k tokens, 6k bigrams, 9k trigrams and 11k quadgrams."""
    counts = Probe(text.made_up_text(128)).label_counts
    expected = {"token": 1150, "bigram": 6070, "trigram": 9040, "quadgram": 10_820}
    for order, number in expected.items():
        assert counts[f"input/{order}"] == pytest.approx(number, rel=0.2)


def test_tasks_are_timed_in_turn_after_a_round_to_warm_up():
    calls = []
    tasks = {"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}
    found = timing.interleaved(tasks, 3, wait=lambda: calls.append("."))
    assert "".join(calls) == "a.b." * 4
    assert [len(seconds) for seconds in found.values()] == [3, 3]


@pytest.mark.parametrize(
    ("relation", "reached", "met", "words"),
    [
        ("≤", 2.0, True, "2 s"),
        ("≤", 2.1, False, "2.1 s, missed"),
        ("≥", 2.1, True, "2.1 s"),
        ("≥", 1.9, False, "1.9 s, missed"),
        ("≤", math.nan, False, "nan s, missed"),
        ("≤", None, False, "not run"),
    ],
)
def test_a_figure_says_whether_it_is_met(relation, reached, met, words):
    figure = Figure("time", relation, 2, reached, " s")
    assert (figure.met, figure.reached_text, figure.wanted_text) == (met, words, f"{relation} 2 s")


def test_a_figure_needs_a_relation_that_there_is():
    with pytest.raises(ValueError, match="relation must be ≤ or ≥, got '<'"):
        Figure("time", "<", 2, 1)


def test_table_has_the_figures_of_every_benchmark(tmp_path, capsys):
    figures.report("imports", [Figure("second", "≤", 1, 0.5, note="so")], [], tmp_path / "a.json")
    figures.report("reference", [Figure("first", "≥", 80, None)], [], tmp_path / "b.json", packages=["soft-entropy"])
    capsys.readouterr()
    table.main(tmp_path)
    lines = capsys.readouterr().out.splitlines()
    assert lines[2:4] == ["| first | ≥ 80 | not run |", "| second | ≤ 1 | 0.5 |"]
    assert "second: so" in lines and "soft-entropy 0.1.5" in lines[-2]


def test_table_refuses_what_is_none(tmp_path):
    with pytest.raises(typer.BadParameter, match="folder must hold the JSON files of benchmarks"):
        table.main(tmp_path)
    (tmp_path / "other.json").write_text('{"program": "x"}')
    with pytest.raises(ValueError, match=r"other\.json must be what a benchmark wrote with --json"):
        table.main(tmp_path)


def test_reference_finds_the_values_of_the_package(tmp_path):
    reference.main(blocks=3, layers=2, width=8, repetitions=1, file=tmp_path / "r.json")
    rows, reached = _written(tmp_path / "r.json")
    assert [row["task"] for row in rows] == ["soft-entropy", "plug-in", "all readings"]
    assert 0 < reached["plug-in against soft-entropy, largest difference"] < 1e-5


def test_reference_fails_where_values_differ(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(reference, "RULE", "exact")
    with pytest.raises(typer.Exit) as ended:
        reference.main(blocks=3, layers=1, width=8, repetitions=1, file=tmp_path / "r.json")
    assert ended.value.exit_code == 1
    assert "must equal those of soft-entropy" in capsys.readouterr().err
    assert _written(tmp_path / "r.json")[1]["plug-in against soft-entropy, largest difference"] > 1e-3


def test_largest_difference_hides_nothing():
    assert reference.largest_difference({"a": 1.0, "b": 2.0}, {"a": 1.5, "b": 2.1}) == 0.5
    assert reference.largest_difference({"a": math.nan, "b": 2.0}, {"a": 1.5, "b": 2.0}) == math.inf
    with pytest.raises(ValueError, match="both must have the same values"):
        reference.largest_difference({"a": 1.0}, {"b": 1.0})


def test_probe_compares_measuring_with_the_forward_pass(tmp_path, capsys):
    probe.main(cases=["64x2"], blocks=4, repetitions=1, file=tmp_path / "p.json")
    rows, reached = _written(tmp_path / "p.json")
    assert rows[0]["ratio"] == rows[0]["seconds"]["measured"][0] / rows[0]["seconds"]["bare"][0] > 1
    assert set(reached.values()) == {None}  # nothing is wanted of this width
    assert "no_grad in eval mode, all layers and the head" in capsys.readouterr().out


@pytest.mark.parametrize("case", ["256", "100x6", "256x0", "ax6"])
def test_probe_refuses_what_is_no_case(case):
    with pytest.raises(typer.BadParameter, match="--case must be a width"):
        probe.main(cases=[case])


def test_overhead_runs_with_the_monitor_and_without(tmp_path):
    options = {"overrides": ["experiment=tiny", "logger=none"], "repetitions": 1, "steps": 5}
    overhead.main(runs=["demo"], **options, file=tmp_path / "o.json")
    rows, reached = _written(tmp_path / "o.json")
    assert (rows[0]["points"], rows[0]["own_steps"], rows[0]["own_points"]) == (5, 8, 5)  # 0 1 2 4 5; 0 1 2 4 8
    assert len(rows[0]["seconds"]["with"]) == len(rows[0]["seconds"]["without"]) == len(rows[0]["shares"]) == 1
    assert 0 < reached["share of wall time, demo run, as the trajectory tells"] < 100
    assert 0 < reached["share of wall time, demo run, in a run of 8 steps"] < 100


def test_overhead_refuses_an_unknown_run():
    with pytest.raises(typer.BadParameter, match="--run must be one of demo, 15M, got 'all'"):
        overhead.main(runs=["all"])


def test_points_of_a_run_are_those_of_its_trajectory():
    schedule = schedules.powers(2) | schedules.every(500)
    assert [overhead.points(schedule, steps) for steps in (1, 4, 5, 500, 501)] == [2, 4, 5, 11, 12]


def test_scaling_fits_the_slope_and_knows_what_was_left_out(tmp_path, monkeypatch):
    monkeypatch.setitem(scaling.AXES, "positions", [{"positions": 1000}, {"positions": 9000}])
    monkeypatch.setattr(scaling, "measure", lambda case: {**case, **footprint.run(footprint.Case(**case))})
    scaling.main(axes=["positions"], most=9000, repetitions=2, file=tmp_path / "s.json")
    rows, reached = _written(tmp_path / "s.json")
    assert [row["num_positions"] for row in rows] == [9 * 121, 75 * 121]
    assert all(len(row["measured"]) == 2 and 0 <= row["peak_above"] < row["peak"] for row in rows)
    assert reached["slope of time against positions"] == pytest.approx(scaling.slope(rows))
    assert sum(value is None for value in reached.values()) == 2


def test_a_case_has_a_process_of_its_own_and_ends_at_its_limit():
    common = {"positions": 20_000, "repetitions": 1, "threads": 1}
    found = scaling.measure(common)
    assert 0 < found["peak_above"] < found["peak"] < 2 * scaling.GIB
    assert scaling.out_of_memory(scaling.measure({**common, "limit": 0.05})["failure"])  # less than torch itself takes


def test_out_of_memory_is_a_miss_and_anything_else_an_error(tmp_path, monkeypatch, capsys):
    said = "RuntimeError: DefaultCPUAllocator: can't allocate memory"
    monkeypatch.setattr(scaling, "measure", lambda case: {**case, "failure": said})
    scaling.main(axes=["positions"], repetitions=1, file=tmp_path / "s.json")
    assert list(_written(tmp_path / "s.json")[1].values()) == [None, math.inf, math.inf]
    said = "ValueError: num_anchors must be at least 2, got 1"
    with pytest.raises(typer.Exit):
        scaling.main(axes=["anchors"], most=10**5, repetitions=1)
    assert f"got: {said}" in capsys.readouterr().err


def test_scaling_says_where_memory_cannot_be_read(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(scaling, "PEAKS", tmp_path / "clear_refs")
    scaling.main(file=tmp_path / "s.json")
    assert set(_written(tmp_path / "s.json")[1].values()) == {None}
    assert "memory is read from Linux's /proc, which this system does not have" in capsys.readouterr().out


def test_scaling_refuses_an_unknown_axis():
    with pytest.raises(typer.BadParameter, match="--axis must be one of positions, layers, anchors, labels"):
        scaling.main(axes=["widths"])


def test_labels_of_a_case_are_as_many_as_asked_for():
    assert set(footprint.make_probe(footprint.Case(5000, labels=10)).label_counts.values()) == {10}
    assert footprint.make_probe(footprint.Case(5000)).label_counts["input/quadgram"] > 1000


def test_imports_are_timed(tmp_path, monkeypatch):
    before, after = imports.import_seconds()
    assert before > after > 0
    found = iter([(9.0, 9.0), (2.0, 0.2), (3.0, 0.1), (4.0, 0.3)])  # the first only warms up
    monkeypatch.setattr(imports, "import_seconds", lambda: next(found))
    imports.main(repetitions=3, file=tmp_path / "i.json")
    assert _written(tmp_path / "i.json")[1] == {"import of ibtrack above torch and lightning": 0.2}


def test_gpu_says_that_there_is_none(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    gpu.main(file=tmp_path / "g.json")
    assert "were not run: this machine has none that torch can use." in capsys.readouterr().out
    assert set(_written(tmp_path / "g.json")[1].values()) == {None}


def test_gpu_runs_on_the_cpu_to_be_seen_running(tmp_path):
    sizes = {"width": 64, "layers": 2, "vocabulary": 300, "blocks": 12, "batch_size": 2, "steps": 2}
    gpu.main(device_name="cpu", **sizes, repetitions=1, file=tmp_path / "g.json")
    reached = _written(tmp_path / "g.json")[1]
    assert reached.keys() == gpu.FIGURES.keys()
    assert all(value is not None for value in reached.values())
    assert reached["GPU: float32 readings against those of the CPU, largest difference"] == 0


def test_gpu_decoder_has_125_million_parameters_and_sees_no_future():
    with torch.device("meta"):
        model = gpu.Decoder(768, 12, 50_304)
    assert 120e6 < sum(parameter.numel() for parameter in model.parameters()) < 126e6
    model = gpu.Decoder(64, 2, 300).eval()
    tokens = torch.arange(8).view(1, 8)
    changed = tokens.clone()
    changed[0, 5] = 200
    torch.testing.assert_close(model(tokens)[:, :5], model(changed)[:, :5])
    assert not torch.allclose(model(tokens)[:, 5], model(changed)[:, 5])


def test_probe_size_trains_saves_and_reads_again(tmp_path):
    saved, sizes = tmp_path / "model.pt", [256, 512, 2048]
    tiny = ["experiment=tiny"]
    common = {"sizes": sizes, "probes": 2, "reads": 512}
    probe_size.main(save=saved, overrides=[*tiny, "data.max_documents=16"], **common, file=tmp_path / "a.json")
    probe_size.main(checkpoint=saved, **common, file=tmp_path / "b.json")
    rows, reached = _written(tmp_path / "a.json")
    assert rows == _written(tmp_path / "b.json")[0]
    assert {row["tokens"]: row["probes"] for row in rows if "spread" in row} == {256: 2, 512: 1}
    assert set(reached.values()) == {None}  # no probe of 8k tokens


def test_probe_size_refuses_another_file(tmp_path):
    torch.save({"weights": {}}, tmp_path / "other.pt")
    with pytest.raises(ValueError, match=r"other\.pt must be what --save wrote"):
        probe_size.load(tmp_path / "other.pt")


def test_all_of_the_text_stands_for_sizes_beyond_it():
    sizes, stated = probe_size.fitting([8, 20, 40, 50], torch.zeros(4, 8))
    assert sizes == [8, 16, 32]
    assert stated == "the largest probe has 32 tokens, as there are no 48 tokens"
    assert probe_size.fitting([8, 32], torch.zeros(4, 8))[1] == "the largest probe has 32 tokens"


def test_documents_end_where_their_end_is_written():
    class Data:
        held_out_blocks = torch.tensor([[5, 0, 6, 7], [8, 0, 0, 9]])
        tokenizer = SimpleNamespace(token_to_id=lambda token: 0)

    blocks, documents = probe_size.held_out(Data, seed=1)
    order = [0, 1] if blocks[0, 0] == 5 else [1, 0]
    assert documents[order].tolist() == [[0, 0, 1, 1], [1, 1, 2, 3]]


def test_probe_size_refuses_a_single_size():
    blocks = torch.zeros(4, 8)
    with pytest.raises(typer.BadParameter, match="--size must name two sizes of at least 8 tokens"):
        probe_size.fitting([16], blocks)


def test_bias_and_noise_of_small_probes_are_told_apart():
    """Two probes err by +.03 and +.01 at one site, by -.01 and -.01 at another."""

    def read(tokens, number, site, debiased):
        return probe_size.Reading(tokens, number, site, "input/token", debiased, 0.02, debiased + 0.1)

    large = [read(8192 * 4, 0, "L00", 0.5), read(8192 * 4, 0, "L01", 0.4)]
    small = [
        read(8192, 0, "L00", 0.53),
        read(8192, 1, "L00", 0.51),
        read(8192, 0, "L01", 0.39),
        read(8192, 1, "L01", 0.39),
    ]
    (found,) = probe_size.compare([*small, *large])
    numbers = found.mean, found.worst, found.spread, found.single, found.plugin_worst
    assert numbers == pytest.approx((0.005, 0.02, 0.02 / math.sqrt(2) / 2, 0.03, 0.02))
    reached = [figure.reached for figure in probe_size._figures([found], [*small, *large], "")]
    assert reached == pytest.approx([0.02, 0.02])  # worst of each probe: .03 and .01


def test_a_reading_that_does_not_exist_is_no_agreement():
    large = probe_size.Reading(8192 * 4, 0, "L00", "input/token", 0.5, 0.02, 0.6)
    small = [replace(large, tokens=8192, probe=number, debiased=value) for number, value in enumerate((0.5, math.nan))]
    (found,) = probe_size.compare([*small, large])
    assert math.isnan(found.single) and math.isnan(found.worst) and math.isnan(found.spread)
    assert not any(figure.met for figure in probe_size._figures([found], [*small, large], ""))


@pytest.mark.parametrize("module", [row, figures, text, timing, probe, scaling, overhead], ids=lambda m: m.__name__)
def test_examples(module):
    found = doctest.testmod(module)
    assert found.attempted > 0 and found.failed == 0
