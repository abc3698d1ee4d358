from __future__ import annotations

import hashlib
from collections.abc import Sequence

import pytest

from ibtrack.replay.checkpoint import DISTRIBUTED, LIGHTNING, Checkpoint, File
from ibtrack.replay.families import Name, load_family
from ibtrack.replay.faults import Known, mark_equal, mark_pickles, mark_tokenizers, signature, token_fault

ONE = "at most one is what its name says"


def digest(told: object) -> str:
    return hashlib.sha256(str(told).encode()).hexdigest()


def saved(
    step: int | None, *shards: object, source: str = "owner/name", faults: tuple[str, ...] = (), name: str = ""
) -> Checkpoint:
    """A checkpoint with a shard for each of what tells its content."""
    told = shards or (step,)
    files = tuple(
        File(f"model-{place:05d}-of-{len(told):05d}.safetensors", 8, digest((place, each)))
        for place, each in enumerate(told, start=1)
    )
    return Checkpoint(name or f"step{step}", source, step, files=files, faults=faults, commit="c" * 40)


def marked(
    checkpoints: Sequence[Checkpoint],
    main: Checkpoint | None = None,
    family: str | None = None,
    last: int | None = None,
) -> dict[str, str]:
    known = {} if family is None else {each.source: Known(load_family(family), main, "", last) for each in checkpoints}
    found = mark_equal(checkpoints, known)
    assert [each.name for each in found] == [each.name for each in checkpoints]
    return {each.name: "; ".join(each.faults) for each in found if each.faults}


def test_a_sound_series_has_no_faults() -> None:
    assert marked([saved(step, f"a{step}", f"b{step}") for step in range(20)]) == {}
    assert marked([]) == {}


def test_what_equals_the_last_is_false_and_the_last_is_true() -> None:
    series = [saved(step) for step in range(5, 9)] + [saved(9, 9), saved(10, 9), saved(20, 9)]
    words = "it holds the weights of step20, the last checkpoint"
    assert marked(series) == {"step9": words, "step10": words}


def test_of_other_equal_ones_nobody_knows_which_is_true() -> None:
    series = [saved(101), saved(175, 101), saved(200), saved(300, 101), saved(400)]
    found = marked(series)
    assert [*found] == ["step101", "step175", "step300"]
    assert found["step175"].startswith(f"it holds the same weights as step101 and step300: {ONE}")


def test_steps_0_and_1_are_equal_by_nature_but_not_with_a_third() -> None:
    assert marked([saved(0), saved(1, 0), saved(2), saved(3)]) == {}
    assert [*marked([saved(0), saved(1, 0), saved(2, 0), saved(3)])] == ["step0", "step1", "step2"]
    assert [*marked([saved(0), saved(1, 0), saved(2), saved(3, 0)])] == ["step0", "step1"]
    assert [*marked([saved(0), saved(1, 0), saved(2)], family="smollm2")] == ["step0", "step1"]


def test_one_step_in_two_places_is_no_fault() -> None:
    assert marked([saved(10), saved(10, source="owner/early"), saved(20)]) == {}


def test_a_shard_of_the_last_step_marks_the_others_alone() -> None:
    series = [saved(step, f"a{step}", f"b{step}", f"c{step}") for step in (48, 49, 51, 143)]
    series[1] = saved(49, "a143", "b49", "c49")
    series[2] = saved(51, "a143", "b51", "c51")
    words = "its model-00001-of-00003.safetensors is that of step143, the last checkpoint"
    assert marked(series) == {"step49": words, "step51": words}


def test_a_shard_of_another_step_marks_both() -> None:
    series = [saved(step, f"a{step}", f"b{step}") for step in (10, 20, 30, 40)]
    series[2] = saved(30, "a10", "b30")
    found = marked(series)
    assert [*found] == ["step10", "step30"]
    assert found["step30"].startswith("its model-00001-of-00002.safetensors is that of step10, while other shards")
    assert ONE in found["step10"]


def test_a_part_that_is_not_trained_is_no_fault() -> None:
    assert marked([saved(step, "frozen", step) for step in range(2, 12)]) == {}
    assert [*marked([saved(step, "frozen" if step != 5 else "own", step) for step in range(2, 12)])] != []


def test_what_is_not_comparable_is_not_compared() -> None:
    unknown = [Checkpoint(f"step{step}", "a", step, files=(File("model.safetensors", 8),)) for step in (2, 3)]
    nothing = [Checkpoint(f"step{step}", "a", step) for step in (4, 5)]
    assert marked([*unknown, *nothing]) == {}


def test_checkpoints_of_other_layouts_are_compared_too() -> None:
    kept = File("a.ckpt", 8, digest(1))
    lightning = [Checkpoint(f"{step}.ckpt", "a", step, files=(kept,), layout=LIGHTNING) for step in (2, 3)]
    assert [*marked([*lightning, saved(4, source="a")])] == ["2.ckpt", "3.ckpt"]
    files = (File("__0_0.distcp", 8, digest(2)), File(".metadata", 8))
    assert signature(Checkpoint("a", "a", 2, files=files, layout=DISTRIBUTED)) == (("__0_0.distcp", digest(2)),)


def test_main_speaks_for_the_last_step_where_the_family_says_so() -> None:
    series = [saved(10), saved(20, "main"), saved(30)]
    main = saved(None, "main", name="main")
    words = "it holds the weights of main, which are those of the last step"
    assert marked(series, main, "pythia", 30) == {"step20": words}
    assert marked(series, main, "generic", 30) == {}
    assert marked([*series[::2], saved(40, "main")], main, "pythia", 40) == {}
    assert marked([*series[::2], saved(40, "main")], main, "pythia", 143000) == {"step40": words}


def test_a_last_branch_that_main_speaks_against_is_not_taken_for_true() -> None:
    series = [saved(10), saved(20), saved(30, 10)]
    assert [*marked(series, saved(None, "main"), "pythia", 30)] == ["step10", "step30"]
    assert [*marked(series, None, "pythia", 30)] == ["step10"]
    otherwise = saved(None, "main", "more")  # in other files: nothing is known
    assert [*marked(series, otherwise, "pythia", 30)] == ["step10"]


def test_the_last_that_there_is_may_not_be_the_last_of_the_run() -> None:
    series = [saved(10), saved(20), saved(30, 10)]
    assert [*marked(series, None, "pythia", 143000)] == ["step10", "step30"]
    assert [*marked(series, None, "pythia", 30)] == ["step10"]


def test_each_of_several_runs_has_its_last() -> None:
    base = [saved(10), saved(20), saved(30), saved(12, 30)]
    later = [saved(40, source="owner/sft"), saved(50, source="owner/sft"), saved(45, 50, source="owner/sft")]
    assert [*marked([*base[:1], base[3], *base[1:3], later[0], later[2], later[1]])] == ["step12", "step45"]
    both = [saved(10), saved(20), saved(40, source="owner/sft"), saved(50, 20, source="owner/sft")]
    assert [*marked(both)] == ["step20", "step50"]


def test_a_checkpoint_with_a_faulty_name_blames_none() -> None:
    near = saved(20, name="step20-tokens1B", faults=("its name tells no stage",))
    found = marked([saved(10), saved(20), near, saved(30)])
    assert found == {"step20-tokens1B": "its name tells no stage; it holds the weights of step20"}
    without_step = saved(None, 10, name="step-last", faults=("its name tells no step",))
    assert [*marked([saved(10), saved(20), without_step])] == ["step-last"]


def test_many_names_are_counted() -> None:
    found = marked([saved(step, 1) for step in range(1, 31)] + [saved(40)])
    assert found["step1"].startswith("it holds the same weights as step2, step3, step4, step5 and 25 others: ")


def with_tokenizer(step: int, told: object, path: str = "tokenizer.json", before: str = "") -> Checkpoint:
    content = File(path, 8, f"{before}{digest(told)}")
    return Checkpoint(f"step{step}", "owner/name", step, files=(content, File("model.safetensors", 8, digest(step))))


def test_a_tokenizer_that_is_not_that_of_most_is_a_fault() -> None:
    series = [with_tokenizer(step, step == 7) for step in range(10)]
    (fault,) = (each.faults for each in mark_tokenizers(series) if each.faults)
    assert fault == ("its tokenizer.json is another than that of 9 of the 10 checkpoints that have one",)
    assert mark_tokenizers(series)[7].faults == fault


def test_of_two_tokenizers_as_frequent_the_first_counts() -> None:
    found = mark_tokenizers([with_tokenizer(step, step > 1) for step in range(4)])
    assert [each.name for each in found if each.faults] == ["step2", "step3"]


def test_a_tokenizer_stored_in_two_ways_or_in_part_of_the_series_is_no_fault() -> None:
    stored = [with_tokenizer(1, 1), with_tokenizer(2, 2, before="git:"), saved(3), with_tokenizer(4, 1)]
    assert [each.faults for each in mark_tokenizers(stored)] == [()] * 4
    settings = [with_tokenizer(step, step, "tokenizer_config.json") for step in range(3)]
    assert [each.faults for each in mark_tokenizers(settings)] == [()] * 3


def test_pickles_alone_are_a_fault() -> None:
    pickled = Checkpoint("step1", "a", 1, files=(File("config.json", 2), File("pytorch_model.bin", 8)))
    assert [each.faults for each in mark_pickles([saved(2), pickled])] == [
        (),
        ("its weights are there as pickles alone (pytorch_model.bin), which are read only if asked for",),
    ]


@pytest.mark.parametrize(
    ("repository", "step", "billions", "fits"),
    [
        ("allenai/OLMo-2-0425-1B", 1907359, 4001, True),
        ("allenai/OLMo-2-0425-1B", 10000, 21, True),
        ("allenai/OLMo-2-0425-1B", 10000, 20, False),
        ("allenai/OLMo-2-1124-7B", 150, 1, True),
        ("allenai/OLMo-2-1124-7B", 928646, 3896, True),
        ("allenai/OLMo-2-1124-7B", 0, 0, True),
        ("allenai/OLMo-2-1124-7B", 1000, 9, False),
        ("allenai/OLMo-2-0325-32B", 1000, 77, True),  # its tokens of a step are not known
    ],
)
def test_tokens_of_olmo_2_are_rounded_up(repository: str, step: int, billions: int, fits: bool) -> None:
    fault = token_fault(Name(step, billions, 10**9, "stage1"), load_family("olmo2"), repository)
    assert (fault is None) is fits


def test_what_is_not_verified_calls_nothing_faulty() -> None:
    name, repository = Name(1000, 99, 10**9), "HuggingFaceTB/SmolLM3-3B-checkpoints"
    assert token_fault(name, load_family("smollm3"), repository) is None
    assert token_fault(Name(1000), load_family("olmo2"), "allenai/OLMo-2-1124-7B") is None
