from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from ibtrack.replay.checkpoint import Checkpoint, File, Source
from ibtrack.replay.gathering import Gathered, gather
from ibtrack.replay.hub import HubError
from tests.hub_server import INDEX, Content, Files, Hub, made_up

FIRST, SECOND = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"
PYTHIA = "EleutherAI/pythia-12b"
SEVEN_B = "allenai/OLMo-2-1124-7B"


def gathered(hub: Hub, *sources: Any, **options: Any) -> Gathered:
    given = {name: options.pop(name) for name in ("family", "stages") if name in options}
    return gather(sources, options={"endpoint": hub.url, **options}, **given)


def faults(found: Gathered) -> dict[str, str]:
    return {each.name: "; ".join(each.faults) for each in found.checkpoints if each.faults}


class Series:
    """A published series of 60 checkpoints, in two shards each, into which faults are planted."""

    def __init__(self, name_of: Callable[[int], str], last: int = 143000) -> None:
        self.last = last
        self.files: dict[int, dict[str, Content]] = {step: made_up(step, shards=2) for step in self.steps()}
        self.files[0] = made_up(1, shards=2)  # as in all of Pythia
        self.names = {step: name_of(step) for step in self.steps()}
        self.planted: dict[str, str] = {}  # name to how the sentence about it begins
        self.twins: dict[str, str] = {}  # what holds the same as a planted one, where nothing tells which is which

    def steps(self) -> list[int]:
        return [0, *(2**power for power in range(10)), *range(1000, 49000, 1000), self.last]

    def plant(self, step: int, files: Files, sentence: str, *, twin: int | None = None) -> None:
        self.files[step] = dict(files)
        self.planted[self.names[step]] = sentence
        if twin is not None:
            self.twins[self.names[twin]] = sentence

    def revisions(self) -> dict[str, Files]:
        return {self.names[step]: files for step, files in self.files.items()}


def plant_what_shards_tell(series: Series) -> None:
    """Weights of the last step under early names, equal ones, and single shards of other steps."""
    late = f"it holds the weights of {series.names[series.last]}, the last checkpoint"
    for step in (2, 3000, 5000):
        series.plant(step, made_up(series.last, shards=2), late)
    series.plant(7000, made_up(11000, shards=2), "it holds the same weights as", twin=11000)
    series.plant(9000, made_up(11000, shards=2), "it holds the same weights as")
    last, other = made_up(series.last, shards=2), made_up(16000, shards=2)
    series.plant(
        13000,
        {**made_up(13000, shards=2), FIRST: last[FIRST]},
        f"its {FIRST} is that of {series.names[series.last]}, the last",
    )
    series.plant(15000, {**made_up(15000, shards=2), SECOND: other[SECOND]}, f"its {SECOND} is that of", twin=16000)


def plant_what_lists_tell(series: Series) -> None:
    """Shards, settings and safetensors that are not there, and another tokenizer."""
    whole = made_up(17000, shards=2)
    series.plant(
        17000, {path: whole[path] for path in whole if path != SECOND}, "of its 2 shards number 2 is not there"
    )
    names = {"weight_map": {"a": FIRST, "b": SECOND, "c": "model-00003-of-00003.safetensors"}}
    series.plant(
        19000,
        {**made_up(19000, shards=2), INDEX: json.dumps(names).encode()},
        f"its {INDEX} names model-00003-of-00003",
    )
    series.plant(20000, made_up(20000, shards=2, tokenizer=1), "its tokenizer.json is another than that of")
    series.plant(21000, made_up(21000, shards=2, kind="bin"), "its weights are there as pickles alone")
    whole = made_up(24000, shards=2)
    series.plant(24000, {path: whole[path] for path in whole if path != "config.json"}, "it has no config.json")
    del series.files[22000]


def plant_what_names_tell(series: Series, changed: dict[int, tuple[str, str]]) -> None:
    for step, (name, sentence) in changed.items():
        series.names[step] = name
        series.planted[name] = sentence


def olmo(step: int) -> str:
    return f"stage1-step{step}-tokens{-(-step * 4194304 // 10**9)}B"


@pytest.mark.parametrize("repository", [PYTHIA, SEVEN_B, "owner/name"])
def test_all_planted_faults_of_a_series_of_60_are_found_and_no_good_one_is_marked(hub: Hub, repository: str) -> None:
    series = Series(olmo, 928646) if repository == SEVEN_B else Series(lambda step: f"step{step}")
    plant_what_shards_tell(series)
    plant_what_lists_tell(series)
    if repository == SEVEN_B:
        series.files[0] = made_up(0, shards=2)  # nothing is known of equal ones in OLMo 2
        plant_what_names_tell(
            series,
            {
                26000: ("step26000-tokens110B", "its name tells no stage"),
                28000: ("stage1-step28000-tokens999B", "its name says 999 billion tokens, but 28,000 steps of"),
                30000: ("stage1-step-tokens126B", "its name tells no step"),
            },
        )
    hub.add(repository, {**series.revisions(), "main": made_up(series.last, shards=2), "fp16": made_up(-1)})
    found = gathered(hub, repository)
    marked, wanted = faults(found), {**series.planted, **series.twins}
    assert {*marked} == {*wanted}
    assert [name for name in wanted if not marked[name].startswith(wanted[name])] == []
    assert len(found.checkpoints) == 59
    if repository == PYTHIA:
        assert found.missing == [22000, *range(49000, 143000, 1000)]
    if repository == SEVEN_B:
        assert {22000, 30000, 49000} <= {*found.missing}  # the step that no name tells is missing too
        assert 28000 not in found.missing
    assert hub.count("GET .*(safetensors|bin)$") == 0
    assert hub.count("GET /cdn/") == 0


def test_a_series_without_faults_has_none(hub: Hub) -> None:
    series = Series(lambda step: f"step{step}")
    hub.add(PYTHIA, {**series.revisions(), "main": made_up(series.last, shards=2)})
    found = gathered(hub, PYTHIA)
    assert faults(found) == {}
    assert [each.step for each in found.checkpoints] == series.steps()
    assert found.family == "pythia"


def test_most_branches_with_late_weights_are_told_apart_from_the_true_ones(hub: Hub) -> None:
    """As in pythia-2.8b: 76 branches equal main, and 10 share another late content that no true branch has."""
    steps = [0, *(2**power for power in range(10)), *range(1000, 144000, 1000)]
    final, late = steps[-1:] + steps[0:76], steps[76:86]
    files = {step: made_up(1 if step in final else 2 if step in late else 10 + step) for step in steps}
    hub.add("EleutherAI/pythia-2.8b", {**{f"step{step}": files[step] for step in steps}, "main": made_up(1)})
    found = gathered(hub, "EleutherAI/pythia-2.8b")
    assert {each.step for each in found.checkpoints if each.faults} == {*final[1:], *late}
    assert any("86 of the 154 branches" in note for note in found.notes)


def test_early_training_joins_the_run_it_belongs_to(hub: Hub) -> None:
    def name(step: int) -> str:
        return f"stage1-step{step}-tokens{-(-step * 2097152 // 10**9)}B"

    whole, early = "allenai/OLMo-2-0425-1B", "allenai/OLMo-2-0425-1B-early-training"
    hub.add(whole, {name(step): made_up(step) for step in (10000, 20000, 1907359)})
    hub.add(early, {name(step): made_up(step) for step in (1000, 10000, 20000)})
    found = gathered(hub, whole)
    assert [*found.sources] == [whole, early]
    assert [(each.step, each.source) for each in found.checkpoints] == [
        (1000, early),
        (10000, whole),
        (10000, early),
        (20000, whole),
        (20000, early),
        (1907359, whole),
    ]
    assert faults(found) == {}
    assert f"both {whole} and {early} hold steps 10000, 20000; those of the first are taken where" in "".join(
        found.notes
    )
    assert any(
        note.startswith("the published steps of allenai/OLMo-2-0425-1B have not been compared") for note in found.notes
    )
    same = gathered(hub, early, whole)
    assert [each.step for each in same.checkpoints] == [each.step for each in found.checkpoints]
    assert [each.step for each in gathered(hub, early).checkpoints] == [1000, 10000, 20000]


def test_a_companion_that_cannot_be_read_is_said(hub: Hub) -> None:
    hub.add("allenai/OLMo-2-0425-1B", {"stage1-step10000-tokens21B": made_up(1)})
    found = gathered(hub, "allenai/OLMo-2-0425-1B")
    assert [*found.sources] == ["allenai/OLMo-2-0425-1B"]
    assert found.notes[0].startswith(
        "allenai/OLMo-2-0425-1B-early-training belongs to the same run, but is left out: there is no repository"
    )


def test_a_later_repository_is_a_later_stage(hub: Hub) -> None:
    hub.add("me/base", {f"step{step}": made_up(step) for step in (100, 200)})
    hub.add("me/base-sft", {"main": made_up(3)})
    hub.add("me/base-dpo", {f"checkpoint-{step}": made_up(step + 7) for step in (10, 20)})
    found = gathered(hub, "me/base", "me/base-sft@main=50", "me/base-dpo@*20")
    assert [(each.step, each.stage, each.name) for each in found.checkpoints] == [
        (100, "base", "step100"),
        (200, "base", "step200"),
        (250, "base-sft", "main"),
        (270, "base-dpo", "checkpoint-20"),
    ]
    assert faults(found) == {}


def test_two_places_with_equal_weights_are_found_across_repositories(hub: Hub) -> None:
    hub.add("me/base", {f"step{step}": made_up(step) for step in (100, 200)})
    hub.add("me/base-sft", {"step5": made_up(100), "step10": made_up(10)})
    assert [*faults(gathered(hub, "me/base", "me/base-sft"))] == ["step100", "step5"]
    hub.add("me/base-sft", {"step0": made_up(200), "step10": made_up(10)})  # it begins where the other ended
    assert faults(gathered(hub, "me/base", "me/base-sft")) == {}


def test_a_tokenizer_may_change_between_repositories_and_stages(hub: Hub) -> None:
    hub.add("me/base", {f"step{step}": made_up(step) for step in (100, 200)})
    hub.add("me/base-sft", {"step5": made_up(5, tokenizer=1)})
    found = gathered(hub, "me/base", "me/base-sft")
    assert faults(found) == {}
    assert found.notes == [
        "me/base-sft base-sft has another tokenizer.json than me/base base, which may split texts otherwise: "
        "loading them tells"
    ]
    stages = {
        f"stage{stage}-step{step}": made_up(step + stage, tokenizer=stage) for stage in (1, 2) for step in (10, 20)
    }
    hub.add("allenai/Olmo-3-1025-7B", stages)
    assert faults(gathered(hub, "allenai/Olmo-3-1025-7B")) == {}


def test_stages_are_chosen_in_the_runs_that_have_them(hub: Hub) -> None:
    hub.add("allenai/Olmo-3-1025-7B", {"stage1-step9": made_up(1), "stage2-step5": made_up(2)})
    hub.add("me/sft", {"step3": made_up(3)})
    found = gathered(hub, "allenai/Olmo-3-1025-7B", "me/sft", stages=["stage2"])
    assert [(each.step, each.stage) for each in found.checkpoints] == [(14, "stage2"), (17, "sft")]
    with pytest.raises(ValueError, match=r"^stages must be among those of the runs \(stage1, stage2\), got 'stage4'$"):
        gathered(hub, "allenai/Olmo-3-1025-7B", "me/sft", stages=["stage4"])
    with pytest.raises(ValueError, match=r"^stages must be among those of the run \(stage1, stage2\), got 'stage4'$"):
        gathered(hub, "allenai/Olmo-3-1025-7B", stages=["stage4"])


def test_two_names_of_one_step_are_both_in_doubt(hub: Hub) -> None:
    hub.add("owner/name", {"step5": made_up(1), "checkpoint-5": made_up(2), "step6": made_up(3)})
    found = faults(gathered(hub, "owner/name"))
    assert found == {
        "checkpoint-5": "step5 is step 5 too, and nothing tells which of them is",
        "step5": "checkpoint-5 is step 5 too, and nothing tells which of them is",
    }


def test_a_family_can_be_given(hub: Hub, tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text("name: own\ntitle: Mine\nrevisions: ['at(?P<step>[0-9]+)']\ntokens_per_step: 10\n")
    hub.add("owner/name", {"at5": made_up(1), "at6": made_up(2)})
    found = gathered(hub, "owner/name", family=path)
    assert [(each.step, each.tokens) for each in found.checkpoints] == [(5, 50), (6, 60)]
    assert found.family == "own"


def test_missing_steps_are_not_told_of_a_part(hub: Hub) -> None:
    hub.add(PYTHIA, {f"step{step}": made_up(step) for step in (1, 2, 4)})
    assert gathered(hub, f"{PYTHIA}@step[12]").missing == []
    assert len(gathered(hub, PYTHIA).missing) == 151


def test_other_revisions_are_said(hub: Hub) -> None:
    hub.add("owner/name", {"step1": made_up(1), "fp16": made_up(2), "v1.0": made_up(3), "main": made_up(4)})
    assert "owner/name has 2 other revisions, which are left out: fp16, v1.0" in gathered(hub, "owner/name").notes


class Folder:
    """A source of this machine."""

    def __init__(self, path: Path | str, steps: Sequence[int | None] = (5, 10, None)) -> None:
        self.name, self.steps = str(path), steps

    def checkpoints(self) -> list[Checkpoint]:
        return [
            Checkpoint(
                f"checkpoint-{step}", self.name, step, step, files=(File("model.safetensors", 4, f"{self.name}{step}"),)
            )
            for step in self.steps
        ]

    def fetch(self, checkpoint: Checkpoint, folder: Path) -> Path:
        return Path(self.name) / checkpoint.name


def test_folders_go_on_from_one_another_unless_their_steps_do_so_themselves(hub: Hub) -> None:
    one: Source = Folder("a", (5, 10))
    found = gathered(hub, one, Folder("b", (5, 7, None)), Folder("c", (18, 20)))
    assert [(each.source, each.step, each.tokens, each.stage) for each in found.checkpoints] == [
        ("a", 5, 5, "a"),
        ("a", 10, 10, "a"),
        ("b", 15, 15, "b"),
        ("b", 17, 17, "b"),
        ("c", 18, 18, "c"),
        ("c", 20, 20, "c"),
        ("b", None, None, "b"),
    ]
    assert found.notes == ["the steps of c begin at 18, after those before it, so they are taken as they are"]
    assert [each.stage for each in gathered(hub, one).checkpoints] == [None, None]


def test_a_path_is_a_folder_of_this_machine(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("ibtrack.replay.folders")
    monkeypatch.setattr(module, "FolderSource", Folder, raising=False)
    monkeypatch.setitem(sys.modules, "ibtrack.replay.folders", module)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "owner" / "name").mkdir(parents=True)
    assert [*gathered(hub, "owner/name").sources] == ["owner/name"]  # what is here goes before the hub
    assert [*gathered(hub, tmp_path / "owner").sources] == [str(tmp_path / "owner")]
    assert hub.asked == []
    with pytest.raises(ValueError, match=r"^stages must be left out for folders, whose names tell none, got 'sft'$"):
        gathered(hub, tmp_path / "owner", stages=["sft"])


def test_what_is_no_source_is_refused(hub: Hub, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"^there is no file or folder runs/a/b, and it is no repository"):
        gathered(hub, "runs/a/b")
    with pytest.raises(FileNotFoundError, match=r"^there is no file or folder \.\./none, and it is no repository"):
        gathered(hub, "../none")
    with pytest.raises(FileNotFoundError, match=r"^there is no file or folder .*none, and it is no repository"):
        gathered(hub, tmp_path / "none")
    with pytest.raises(ValueError, match=r"^sources must name at least one folder or repository, got none$"):
        gather([], options={})
    with pytest.raises(ValueError, match=r"^sources must be folders, repositories or sources, got int$"):
        gathered(hub, 3)
    with pytest.raises(ValueError, match=r"^sources must be different from one another, got owner/name twice$"):
        gathered(hub, "owner/name", "owner/name@step1")
    with pytest.raises(HubError, match=r"^there is no repository owner/name"):
        gathered(hub, "owner/name")
