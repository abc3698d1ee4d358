from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import ibtrack.replay
from ibtrack import schedules
from ibtrack.replay.checkpoint import Checkpoint, File
from ibtrack.replay.plan import Cost, Plan, find_checkpoints
from tests.hub_server import Hub, made_up


def saved(step: int | None, *faults: str, size: int = 10, name: str = "", commit: str | None = "c" * 40) -> Checkpoint:
    files = (File("model.safetensors", size),)
    return Checkpoint(name or f"step{step}", "owner/name", step, files=files, faults=faults, commit=commit)


def plan(*checkpoints: Checkpoint) -> Plan:
    return Plan("owner/name", "generic", checkpoints)


def test_a_plan_is_found_chosen_and_fetched(hub: Hub, tmp_path: Path) -> None:
    hub.add("owner/name", {f"step{step}": made_up(step) for step in range(1, 41)})
    found = find_checkpoints("owner/name", endpoint=hub.url)
    assert (found.name, found.family, len(found.checkpoints), found.faulty) == ("owner/name", "generic", 40, ())
    chosen = found.choose(schedule=schedules.powers(2), max_points=4)
    assert [each.step for each in chosen] == [1, 4, 16, 40]
    folder = found.fetch(chosen[1], tmp_path / "step4")
    assert (folder / "model.safetensors").read_bytes() == made_up(4)["model.safetensors"]


def test_several_repositories_and_options_are_passed_on(hub: Hub) -> None:
    hub.add("me/base", {"step1": made_up(1, kind="bin"), "step2": {**made_up(2), "a.py": b""}}, gated="hf_x")
    hub.add("me/sft", {"step1": made_up(3)})
    told: list[tuple[int, int]] = []
    options: dict[str, Any] = {"endpoint": hub.url, "token": "hf_x"}
    found = find_checkpoints(
        ["me/base", "me/sft"], **options, pickles=True, remote_code=True, progress=lambda *a: told.append(a)
    )
    assert found.name == "me/base + me/sft"
    assert [each.step for each in found.choose()] == [1, 2, 3]
    assert "a.py" in {file.path for file in found.checkpoints[1].files}
    assert sorted(told) == [(1, 1), (1, 2), (2, 2)]
    assert [each.step for each in find_checkpoints(["me/base", "me/sft"], **options).choose()] == [2, 3]
    with pytest.raises(ValueError, match=r"^stages must be among"):
        find_checkpoints("me/base", stages=["x"], **options)
    with pytest.raises(ValueError, match=r"^family must be one of"):
        find_checkpoints("me/base", family="x", **options)


def test_the_environment_tells_where_the_hub_is(hub: Hub, tmp_path: Path) -> None:
    hub.add("owner/name", {"step1": made_up(1), "step2": made_up(2)})
    code = "from ibtrack.replay import find_checkpoints; print(len(find_checkpoints('owner/name').checkpoints))"
    environment = {**hub.environment(tmp_path), "PYTHONPATH": ":".join(sys.path), "PATH": ""}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert (done.stdout, done.returncode) == ("2\n", 0), done.stderr


def test_faulty_ones_are_left_out_unless_they_are_asked_for() -> None:
    found = plan(saved(1), saved(2, "it is odd"), saved(3), saved(None, "its name tells no step"))
    assert [each.step for each in found.measurable()] == [1, 3]
    assert [each.step for each in found.measurable(include_faulty=True)] == [1, 2, 3]
    assert [each.step for each in found.choose(include_faulty=True)] == [1, 2, 3]
    assert [each.name for each in found.faulty] == ["step2", "stepNone"]


def test_each_step_is_measured_once_by_the_one_without_faults() -> None:
    found = plan(saved(1), saved(2, "odd", name="bad"), saved(2, name="good"), saved(2, name="again"))
    for include in (False, True):
        assert [each.name for each in found.measurable(include_faulty=include)] == ["step1", "good"]


def test_a_checkpoint_of_another_plan_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^checkpoint must be one of the plan of owner/name, got one of owner/name$"):
        plan(saved(1)).fetch(saved(1), tmp_path)


def test_the_cost_is_that_of_two_at_a_time_or_of_all() -> None:
    found = plan(saved(1, size=10), saved(2, size=30), saved(3, size=40), saved(4, size=5))
    chosen = found.choose()
    assert found.cost(chosen) == Cost(4, 85, 70, 40, None)
    assert found.cost(chosen, keep=True).disk == 85
    assert found.cost(chosen, at_once=1).disk == 40
    assert found.cost(chosen, bandwidth=17e-6).seconds == pytest.approx(5.0)
    assert found.cost([]) == Cost(0, 0, 0, 0, None)
    here = [saved(1, size=10, commit=None), saved(2, size=30, commit=None)]
    assert found.cost(here) == Cost(2, 0, 0, 30, None)


@pytest.mark.parametrize("bandwidth", [0.0, -1.0, float("nan")])
def test_a_bandwidth_that_is_none_is_refused(bandwidth: float) -> None:
    with pytest.raises(ValueError, match=r"^bandwidth must be greater than 0 MB/s, got"):
        plan().cost([], bandwidth=bandwidth)


def test_a_plan_is_plain_values(hub: Hub) -> None:
    hub.add("EleutherAI/pythia-70m", {"step1": made_up(1), "step2": {}, "main": made_up(3)})
    found = find_checkpoints("EleutherAI/pythia-70m", endpoint=hub.url)
    told = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert (told["name"], told["family"], told["faulty"], len(told["missing"])) == (found.name, "pythia", 1, 152)
    first, second = told["checkpoints"]
    assert (first["step"], first["tokens"], first["label"]) == (1, 2097152, f"step1@{first['commit'][:8]}")
    assert {file["path"]: file["size"] for file in first["files"]} == {
        "config.json": 26,
        "model.safetensors": 64,
        "tokenizer.json": 16,
    }
    assert (first["bytes"], told["bytes"], first["faults"]) == (106, 106, [])
    assert second["faults"] == ["it has no config.json", second["faults"][1]]
    assert found.sentences()[0].startswith("EleutherAI/pythia-70m has 2 checkpoints from step 1 to 2; 1 to be measured")


def test_a_plan_needs_no_torch_and_nothing_of_an_extra_before_the_hub_is_asked() -> None:
    code = (
        "import sys; from ibtrack.replay import find_checkpoints, Plan, HubSource; import ibtrack.replay.plan_table;"
        "print([m for m in ('torch', 'huggingface_hub', 'yaml', 'transformers', 'requests') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_every_public_name_is_there() -> None:
    assert all(getattr(ibtrack.replay, name).__doc__ for name in ibtrack.replay.__all__)
