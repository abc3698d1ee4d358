from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants

from ibtrack.replay.checkpoint import Checkpoint
from ibtrack.replay.families import load_family
from ibtrack.replay.hub import WORKERS, HubError, HubSource, is_transient, parse_repository
from tests.hub_server import INDEX, Files, Hub, made_up

STEPS = (1, 10, 100)


def source(hub: Hub, repository: str = "owner/name", **options: Any) -> HubSource:
    return HubSource(repository, endpoint=hub.url, **options)


def series(shards: int = 1) -> dict[str, Files]:
    return {f"step{step}": made_up(step, shards=shards) for step in STEPS}


def faults(found: list[Checkpoint]) -> dict[str, str]:
    return {each.name: "; ".join(each.faults) for each in found if each.faults}


def without(files: Files, *paths: str) -> Files:
    return {path: content for path, content in files.items() if path not in paths}


def test_checkpoints_have_step_commit_files_and_hashes(hub: Hub) -> None:
    hub.add("owner/name", {**series(), "main": made_up(100)})
    found = source(hub).checkpoints()
    assert [(each.name, each.step, each.source, each.stage) for each in found] == [
        (f"step{step}", step, "owner/name", None) for step in STEPS
    ]
    assert [each.commit for each in found] == [hub.commit("owner/name", f"step{step}") for step in STEPS]
    assert [file.path for file in found[0].files] == ["config.json", "model.safetensors", "tokenizer.json"]
    assert len({file.digest for each in found for file in each.files if file.path == "model.safetensors"}) == 3
    assert faults(found) == {}


def test_a_revision_costs_one_request_an_index_one_for_all_and_requests_overlap(hub: Hub) -> None:
    number = 40
    hub.add("EleutherAI/pythia-70m", {f"step{step}": made_up(step, shards=3) for step in range(number)})
    hub.delay = 0.05
    source(hub, "EleutherAI/pythia-70m").checkpoints()
    assert hub.count("GET .*/tree/") == number
    assert hub.count("GET .*/resolve/.*index.json") == 1
    assert len(hub.asked) == number + 3  # access and refs
    assert 2 < hub.at_once <= WORKERS


def test_progress_counts_every_revision(hub: Hub) -> None:
    hub.add("owner/name", series())
    told: list[tuple[int, int]] = []
    source(hub, progress=lambda done, number: told.append((done, number))).checkpoints()
    assert sorted(told) == [(1, 3), (2, 3), (3, 3)]


def test_tags_are_revisions_and_a_branch_goes_before_a_tag(hub: Hub) -> None:
    hub.add("owner/name", series(), tags=["step10", "step100"])
    assert [each.step for each in source(hub).checkpoints()] == [*STEPS]


def test_a_pattern_chooses_revisions(hub: Hub) -> None:
    hub.add("owner/name", series())
    assert [each.name for each in source(hub, "owner/name@step1*0").checkpoints()] == ["step10", "step100"]
    assert hub.count("/tree/") == 2
    with pytest.raises(HubError, match=r"^owner/name has no revision step2; it has 3, such as step1, step10, step100$"):
        source(hub, "owner/name@step2").checkpoints()


def test_a_revision_whose_step_is_said_is_a_checkpoint(hub: Hub) -> None:
    hub.add("owner/name", {"main": made_up(1)})
    (found,) = source(hub, "owner/name@main=2000").checkpoints()
    assert (found.name, found.step, found.faults) == ("main", 2000, ())


@pytest.mark.parametrize("text", ["name", "owner/name@", "owner/name@main=last", "a/b/c", "owner/na me", ""])
def test_what_is_no_repository_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"^a repository must be owner/name, owner/name@pattern or owner/name@rev"):
        parse_repository(text)


def test_a_repository_without_checkpoints_says_what_to_do(hub: Hub) -> None:
    hub.add("owner/name", {"main": made_up(1)})
    with pytest.raises(ValueError, match=r"^owner/name has no checkpoints but main, .* say owner/name@main=STEP$"):
        source(hub).checkpoints()
    hub.add("owner/empty", {})
    with pytest.raises(ValueError, match=r"^owner/empty has no checkpoints but main"):
        source(hub, "owner/empty").checkpoints()


def test_names_whose_step_cannot_be_read_say_what_to_do(hub: Hub) -> None:
    hub.add("owner/name", {name: made_up(1) for name in ("main", "best", "ema", "z")})
    with pytest.raises(
        ValueError,
        match=r"^no step can be read .* owner/name \(best, ema, main and more\); say .*@NAME=STEP .* family file",
    ):
        source(hub).checkpoints()


def test_names_that_nearly_are_checkpoints_are_listed_as_faulty_and_others_left_out(hub: Hub) -> None:
    hub.add("owner/name", {**series(), "step-last": made_up(5), "fp16": made_up(6), "main": made_up(7)})
    found = source(hub)
    assert faults(found.checkpoints()) == {
        "step-last": "its name tells no step, so nothing says where in the run it belongs"
    }
    assert found.ignored == ["fp16"]


def test_a_branch_without_its_stage_is_found(hub: Hub) -> None:
    names = ("stage1-step1000-tokens5B", "stage1-step2000-tokens9B", "step3000-tokens13B")
    hub.add("allenai/OLMo-2-1124-7B", {name: made_up(number) for number, name in enumerate(names)})
    found = source(hub, "allenai/OLMo-2-1124-7B").checkpoints()
    assert [each.step for each in found] == [1000, 2000, 3000]
    assert faults(found) == {names[2]: "its name tells no stage, so nothing says where in the run it belongs"}


def test_folders_of_a_branch_are_checkpoints_where_no_branch_is(hub: Hub) -> None:
    inside = {f"run/checkpoint-{step}/{path}": content for step in STEPS for path, content in made_up(step).items()}
    hub.add("owner/name", {"main": {"README.md": b"", **inside}, "seed1": dict(inside)})
    found = source(hub, "owner/name@main").checkpoints()
    assert [(each.name, each.step, each.folder) for each in found] == [
        (f"run/checkpoint-{step}", step, f"run/checkpoint-{step}") for step in STEPS
    ]
    assert [file.path for file in found[0].files] == ["config.json", "model.safetensors", "tokenizer.json"]
    assert faults(found) == {}
    (one, *_) = source(hub, "owner/name@seed1").checkpoints()
    assert (one.name, one.folder) == ("seed1/run/checkpoint-1", "run/checkpoint-1")


def test_a_folder_is_fetched_to_where_it_lies(hub: Hub, tmp_path: Path) -> None:
    inside = {f"checkpoint-4/{path}": content for path, content in made_up(4, shards=2).items()}
    hub.add("owner/name", {"main": inside})
    found = source(hub)
    (one,) = found.checkpoints()
    assert one.faults == ()
    assert fetched(found.fetch(one, tmp_path)) == {
        path.partition("/")[2]: inside[path] for path in inside if "READ" not in path
    }


@pytest.mark.parametrize(
    ("files", "fault"),
    [
        (without(made_up(5, shards=3), "model-00002-of-00003.safetensors"), "of its 3 shards number 2 is not there"),
        (
            {
                **made_up(5, shards=2),
                INDEX: json.dumps({"weight_map": {"a": "model-00003-of-00003.safetensors"}}).encode(),
            },
            "its model.safetensors.index.json names model-00003-of-00003.safetensors, which is not there",
        ),
        ({**made_up(5, shards=2), INDEX: b"[1]"}, "its model.safetensors.index.json is no index of shards"),
        ({**made_up(5, shards=2), INDEX: b"{"}, "its model.safetensors.index.json is no index of shards"),
        (without(made_up(5, shards=2), INDEX), "it has shards but no model.safetensors.index.json"),
        (without(made_up(5), "config.json"), "it has no config.json"),
        (without(made_up(5), "model.safetensors"), "it has no weights that transformers would load"),
        (made_up(5, kind="bin"), "its weights are there as pickles alone (pytorch_model.bin)"),
    ],
)
def test_what_cannot_be_loaded_is_found_in_the_list_of_files(hub: Hub, files: Mapping[str, bytes], fault: str) -> None:
    hub.add("owner/name", {"step1": made_up(1, shards=2), "step5": files})
    found = faults(source(hub).checkpoints())
    assert [*found] == ["step5"]
    assert found["step5"].startswith(fault)


def test_pickles_are_sound_where_they_are_asked_for(hub: Hub) -> None:
    hub.add("owner/name", {"step1": made_up(1, kind="bin"), "step2": made_up(2, shards=2, kind="bin")})
    assert faults(source(hub, pickles=True).checkpoints()) == {}


def test_code_of_the_repository_is_needed_where_it_is_asked_for(hub: Hub) -> None:
    hub.add("owner/name", {"step1": {**made_up(1), "modeling_own.py": b"pass"}})
    assert "modeling_own.py" not in {file.path for file in source(hub).checkpoints()[0].files}
    assert "modeling_own.py" in {file.path for file in source(hub, remote_code=True).checkpoints()[0].files}


def test_main_is_listed_where_there_is_one(hub: Hub) -> None:
    hub.add("owner/name", {**series(), "main": made_up(3)})
    main = source(hub).main()
    assert main is not None
    assert (main.name, main.commit, len(main.files)) == ("main", hub.commit("owner/name", "main"), 3)
    hub.add("owner/name", series())
    assert source(hub).main() is None


def test_stages_are_laid_one_after_another(hub: Hub) -> None:
    names = (
        "stage1-step928646-tokens3896B",
        "stage2-ingredient1-step1000-tokens5B",
        "stage2-ingredient2-step7-tokens1B",
    )
    hub.add("allenai/OLMo-2-1124-7B", {name: made_up(number) for number, name in enumerate(names)})
    found = source(hub, "allenai/OLMo-2-1124-7B").checkpoints()
    assert [(each.step, each.stage) for each in found] == [(928646, "stage1"), (929646, "stage2-ingredient1")]
    assert hub.count("/tree/") == 2
    (other,) = source(hub, "allenai/OLMo-2-1124-7B", stages=["ingredient2"]).checkpoints()
    assert other.step == 928653
    odd = HubSource("owner/name", family=load_family("pythia"), endpoint=hub.url)
    assert odd.family.name == "pythia"


@pytest.mark.parametrize(
    ("token", "words"), [(None, "ask for access on its page, and give"), ("hf_no", "the token may not")]
)
def test_a_gated_repository_is_known_before_anything_is_listed(hub: Hub, token: str | None, words: str) -> None:
    hub.add("owner/name", series(), gated="hf_yes")
    with pytest.raises(HubError, match=rf"^owner/name is gated.*{words}") as caught:
        source(hub, token=token).checkpoints()
    assert not is_transient(caught.value)
    assert len(hub.asked) == 1
    assert len(source(hub, token="hf_yes").checkpoints()) == 3


def test_no_such_repository(hub: Hub) -> None:
    with pytest.raises(HubError, match=r"^there is no repository owner/name at http"):
        source(hub).checkpoints()


def test_a_list_that_fails_in_between_is_asked_for_again(hub: Hub) -> None:
    hub.add("owner/name", series())
    hub.fail("/tree/", 429, times=2, retry_after="0")  # with the others fewer than the tries of one request
    hub.fail("/tree/", 500, times=1)
    hub.cut("/tree/", 20, times=1)
    assert faults(source(hub).checkpoints()) == {}


def test_when_one_list_is_refused_the_others_end(hub: Hub) -> None:
    hub.add("owner/name", {f"step{step}": made_up(step) for step in range(200)})
    hub.fail("/tree/", 403, times=1)
    hub.fail("/tree/", 429, times=20, retry_after="300")
    with pytest.raises(HubError, match=r"with the error 403$|allows no more requests"):
        source(hub).checkpoints()
    assert hub.count("/tree/") < 200


def fetched(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and ".cache" not in path.parts
    }


def test_the_needed_files_are_fetched_at_their_commit_and_nothing_else(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache"
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    hub.add("owner/name", series(shards=2))
    found = source(hub)
    first = found.checkpoints()[0]
    hub.asked.clear()
    folder = found.fetch(first, tmp_path / "here" / "step1")
    wanted = {path: content for path, content in made_up(1, shards=2).items() if path != "README.md"}
    assert fetched(folder) == wanted
    assert not cache.exists()
    commits = {each.path.split("/")[4] for each in hub.asked if "/resolve/" in each.path}
    assert commits == {first.commit}
    assert hub.count("HEAD .*/resolve/") == len(wanted)


def test_what_is_whole_is_not_fetched_again_and_what_is_not_is(hub: Hub, tmp_path: Path) -> None:
    hub.add("owner/name", series(shards=3))
    found = source(hub)
    first = found.checkpoints()[0]
    found.fetch(first, tmp_path)
    hub.asked.clear()
    found.fetch(first, tmp_path)
    assert hub.asked == []
    shard = tmp_path / "model-00002-of-00003.safetensors"
    whole = shard.read_bytes()
    shard.write_bytes(whole[:-1])
    (tmp_path / "config.json").write_bytes(b"x" * (tmp_path / "config.json").stat().st_size)
    left = tmp_path / ".cache" / "huggingface" / "download" / "model.12ab.incomplete"
    left.write_bytes(b"of a process that was killed")
    found.fetch(first, tmp_path)
    assert shard.read_bytes() == whole
    assert (tmp_path / "config.json").read_bytes() == made_up(1)["config.json"]
    assert hub.count("HEAD") == 2
    assert not left.exists()


def test_a_cut_download_goes_on(hub: Hub, tmp_path: Path) -> None:
    hub.add("owner/name", {"step1": made_up(1, size=100_000)})
    found = source(hub)
    hub.cut("GET /cdn/", 30_000, times=2)
    folder = found.fetch(found.checkpoints()[0], tmp_path)
    assert fetched(folder)["model.safetensors"] == made_up(1, size=100_000)["model.safetensors"]
    assert hub.count("GET /cdn/") == 3


def test_a_file_that_differs_is_removed_and_may_be_tried_again(hub: Hub, tmp_path: Path) -> None:
    hub.add("owner/name", series())
    found = source(hub)
    first = found.checkpoints()[0]
    hub.swap(made_up(1)["model.safetensors"], b"y" * 64)
    with pytest.raises(
        HubError,
        match=r"^model.safetensors of owner/name@step1 was downloaded, but it is not the file that the hub lists",
    ) as caught:
        found.fetch(first, tmp_path)
    assert is_transient(caught.value)
    assert not (tmp_path / "model.safetensors").exists()
    hub.swap(made_up(1)["model.safetensors"], made_up(1)["model.safetensors"])
    assert fetched(found.fetch(first, tmp_path))["model.safetensors"] == made_up(1)["model.safetensors"]


@pytest.mark.parametrize(
    ("status", "words", "transient"),
    [(404, "a request for owner/name failed|with the error 404", False), (403, "with the error 403", False)],
)
def test_a_download_that_is_refused_says_why(
    hub: Hub, tmp_path: Path, status: int, words: str, transient: bool
) -> None:
    hub.add("owner/name", series())
    found = source(hub)
    first = found.checkpoints()[0]
    hub.fail("(HEAD|GET) .*/resolve/.*/config.json", status, times=None)
    with pytest.raises(HubError, match=words) as caught:
        found.fetch(first, tmp_path)
    assert is_transient(caught.value) is transient


def test_a_commit_that_is_gone_is_no_such_revision(hub: Hub, tmp_path: Path) -> None:
    hub.add("owner/name", series())
    found = source(hub)
    first = found.checkpoints()[0]
    hub.add("owner/name", {"step10": made_up(10)})
    with pytest.raises(HubError, match=r"^owner/name has no revision step1$"):
        found.fetch(first, tmp_path)


def test_a_hub_that_went_away_may_come_back(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.add("owner/name", series())
    found = source(hub)
    first = found.checkpoints()[0]
    monkeypatch.setattr(found._client, "endpoint", "http://127.0.0.1:9")
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda seconds: None)
    with pytest.raises(HubError, match=r"^http://127.0.0.1:9 cannot be reached, or the connection was cut") as caught:
        found.fetch(first, tmp_path)
    assert is_transient(caught.value)


def test_a_full_disk_is_no_fault_of_the_hub(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.add("owner/name", series())
    found = source(hub)
    first = found.checkpoints()[0]

    def full(*arguments: Any, **options: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("huggingface_hub.hf_hub_download", full)
    with pytest.raises(OSError, match="No space left on device") as caught:
        found.fetch(first, tmp_path)
    assert not isinstance(caught.value, HubError)
    assert not is_transient(caught.value)
