from __future__ import annotations

from collections.abc import Sequence

import msgspec
import pytest

from ibtrack.replay.checkpoint import Checkpoint
from ibtrack.replay.families import Family, Name, load_family
from ibtrack.replay.stages import End, Named, Placed, place, published_steps, stage_names, step_order

ONE_B, SEVEN_B = "allenai/OLMo-2-0425-1B", "allenai/OLMo-2-1124-7B"
PER_STEP = 4194304


def named(family: Family, *names: str) -> list[Named]:
    return [Named(Checkpoint(name, "owner/name", None), family.read(name)) for name in names]


def placed(family_name: str, repository: str, *names: str, wanted: Sequence[str] | None = None) -> Placed:
    family = load_family(family_name)
    return place(named(family, *names), family, repository, wanted=wanted)


def where(found: Placed) -> dict[str, tuple[int | None, str | None]]:
    return {each.name: (each.step, each.stage) for each in found.checkpoints}


def test_a_stage_goes_on_where_the_one_before_it_is_known_to_end() -> None:
    found = placed("olmo2", SEVEN_B, "stage1-step1000-tokens5B", "stage2-ingredient1-step500-tokens3B")
    assert where(found) == {
        "stage1-step1000-tokens5B": (1000, "stage1"),
        "stage2-ingredient1-step500-tokens3B": (928646 + 500, "stage2-ingredient1"),
    }
    assert [each.tokens for each in found.checkpoints] == [1000 * PER_STEP, (928646 + 500) * PER_STEP]
    assert found.end == End(928646 + 500, (928646 + 500) * PER_STEP)


def test_without_a_published_list_a_stage_ends_at_the_last_step_that_is_there() -> None:
    found = placed(
        "olmo3", "allenai/Olmo-3-1025-7B", "stage2-step10", "stage1-step900", "stage3-step5", "stage1-step70"
    )
    assert where(found) == {
        "stage1-step70": (70, "stage1"),
        "stage1-step900": (900, "stage1"),
        "stage2-step10": (910, "stage2"),
        "stage3-step5": (915, "stage3"),
    }
    assert {each.tokens for each in found.checkpoints} == {None}


def test_a_family_whose_steps_count_on_is_taken_at_its_word_where_that_is_possible() -> None:
    repository = "HuggingFaceTB/SmolLM3-3B-checkpoints"
    found = placed("smollm3", repository, "stage1-step-3440000", "stage2-step-3450000", "lc-32k-step-20")
    assert [each.step for each in found.checkpoints] == [3440000, 3450000, 3450020]
    assert found.checkpoints[1].tokens == 3450000 * 2359296
    restarted = placed("smollm3", repository, "stage1-step-3440000", "stage2-step-40000")
    assert [each.step for each in restarted.checkpoints] == [3440000, 3480000]


def test_of_several_lines_one_is_taken_and_the_others_are_said() -> None:
    names = [f"stage2-ingredient{line}-step{step}-tokens{step}B" for line in (2, 10, 1) for step in (1, 2)]
    found = placed("olmo2", ONE_B, *names)
    assert [each.name for each in found.checkpoints] == names[4:]
    assert found.notes == [
        "stage2-ingredient1 is taken; stage2-ingredient2, stage2-ingredient10 ran beside it and can be asked for"
    ]
    seeds = placed("datadecide", "allenai/DataDecide-c4-1B", "step5-seed-small-aux-2", "step5-seed-default")
    assert where(seeds) == {"step5-seed-default": (5, "seed-default")}


@pytest.mark.parametrize("wanted", ["stage2-ingredient2", "ingredient2"])
def test_a_line_that_is_asked_for_is_taken_and_begins_where_it_would_have(wanted: str) -> None:
    names = ("stage1-step1000-tokens5B", "stage2-ingredient1-step7-tokens1B", "stage2-ingredient2-step9-tokens1B")
    found = placed("olmo2", SEVEN_B, *names, wanted=["stage1", wanted])
    assert [*where(found).values()] == [(1000, "stage1"), (928655, "stage2-ingredient2")]
    alone = placed("olmo2", SEVEN_B, *names, wanted=[wanted])
    assert [*where(alone).values()] == [(928655, "stage2-ingredient2")]
    assert found.notes == []


def test_a_stage_that_is_not_there_is_answered_by_those_there_are() -> None:
    with pytest.raises(
        ValueError, match=r"^stages must be among those of the run \(ingredient1, stage2.*, got 'stage1'$"
    ):
        placed("olmo2", ONE_B, "stage2-ingredient1-step7-tokens1B", wanted=["stage1"])
    with pytest.raises(ValueError, match=r"\(none, as no name tells a stage\), got 'x'$"):
        placed("pythia", "EleutherAI/pythia-70m", "step1", wanted=["x"])


def test_what_is_not_taken_still_tells_where_a_stage_ends() -> None:
    family = load_family("olmo3")
    found = [
        each._replace(taken="stage2" in each.checkpoint.name)
        for each in named(family, "stage1-step900", "stage2-step4")
    ]
    assert where(place(found, family, "allenai/Olmo-3-1025-7B")) == {"stage2-step4": (904, "stage2")}


def test_a_run_begins_where_another_ended() -> None:
    family = load_family("pythia")
    found = place(named(family, "step5"), family, "EleutherAI/pythia-70m", begin=End(100, 1000))
    assert [(each.step, each.tokens) for each in found.checkpoints] == [(105, 1000 + 5 * 2097152)]
    unknown = place(named(family, "step5"), family, "EleutherAI/pythia-70m", begin=End(100, None))
    assert unknown.checkpoints[0].tokens is None
    assert unknown.end == End(143100, None)


def test_names_that_lack_a_part_say_so_and_move_nothing() -> None:
    family = load_family("olmo2")
    near = Named(Checkpoint("step950000-tokens9B", "owner/name", None), Name(950000, 9, 10**9), "stage")
    without = Named(Checkpoint("step-last", "owner/name", None), None, "step")
    found = place([*named(family, "stage2-ingredient1-step4-tokens1B"), near, without], family, SEVEN_B)
    assert [each.step for each in found.checkpoints] == [4, 950000, None]
    assert found.checkpoints[1].faults == (
        "its name tells no stage, so nothing says where in the run it belongs",
        "its name says 9 billion tokens, but 950,000 steps of 4,194,304 tokens are 3,985",
    )
    assert found.checkpoints[2].faults == ("its name tells no step, so nothing says where in the run it belongs",)


def test_published_steps_lie_where_their_stage_does() -> None:
    family = load_family("olmo2")
    steps, verified = published_steps(
        family, SEVEN_B, {("stage1", None): End(), ("stage2", "ingredient1"): End(928646)}
    )
    assert (len(steps), max(steps), verified) == (935, 928646, True)
    assert published_steps(family, SEVEN_B, {("stage2", "ingredient1"): End(928646)}) == (set(), True)
    shifted = msgspec.structs.replace(family, published=load_family("pythia").published)
    assert max(published_steps(shifted, SEVEN_B, {(None, None): End(7)})[0]) == 143007
    assert published_steps(family, ONE_B, {("stage1", None): End()})[1] is False


def test_stages_can_be_asked_for_by_stage_line_or_both() -> None:
    family = load_family("olmo2")
    found = named(family, "stage1-step1-tokens1B", "stage2-ingredient1-step7-tokens1B", "main")
    assert stage_names(found) == {"stage1", "stage2", "ingredient1", "stage2-ingredient1"}


def test_checkpoints_without_a_step_stand_at_the_end_by_name() -> None:
    given = [Checkpoint(name, "a", step) for name, step in (("b10", None), ("b9", None), ("x", 3), ("y", 0))]
    assert [each.name for each in step_order(given)] == ["y", "x", "b9", "b10"]
