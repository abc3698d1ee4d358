"""Checkpoints found in a folder, with their steps, their digests and their faults."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from ibtrack.replay import Checkpoint, FolderSource
from ibtrack.replay.checkpoint import DISTRIBUTED, HUGGING_FACE, LIGHTNING
from ibtrack.replay.folders import step_in
from tests.replay.saved import Module, llama, save, save_distributed, save_lightning, save_trainer_state


def _steps(checkpoints: list[Checkpoint]) -> list[tuple[str, int | None]]:
    return [(each.name, each.step) for each in checkpoints]


def _fault(folder: Path, name: str) -> str:
    (found,) = [each for each in FolderSource(folder).checkpoints() if each.name == name]
    (fault,) = found.faults
    return fault


@pytest.mark.parametrize(
    ("name", "step"),
    [
        ("checkpoint-500", 500),
        ("step500", 500),
        ("step-500", 500),
        ("step_0000500", 500),
        ("global_step500", 500),
        ("iter_0000500", 500),
        ("ckpt_500", 500),
        ("epoch=3-step=500.ckpt", 500),
        ("epoch=3-step=500-v1.ckpt", 500),
        ("stage1-step500-tokens2B", 500),
        ("Step-500.ckpt", 500),
        ("000500", 500),
        ("step0", 0),
        ("checkpoint-500-step-500", 500),
        ("checkpoint-400-step-500", None),
        ("step-500k", None),
        ("step-1.5", None),
        ("step5e3", None),
        ("last.ckpt", None),
        ("main", None),
        ("steps", None),
        ("footstep500", None),
        ("seed-500", None),
        ("²³", None),
    ],
)
def test_the_step_in_a_name(name: str, step: int | None) -> None:
    assert step_in(name) == step


def test_folders_in_hugging_face_format_come_in_the_order_of_their_steps(tmp_path: Path) -> None:
    for step in (10, 9, 100):
        save(llama(step), tmp_path / f"step-{step}")
    found = FolderSource(tmp_path).checkpoints()
    assert _steps(found) == [("step-9", 9), ("step-10", 10), ("step-100", 100)]
    for each in found:
        assert (each.layout, each.faults, each.source, each.folder) == (HUGGING_FACE, (), str(tmp_path), each.name)
        assert each.num_bytes == sum(path.stat().st_size for path in (tmp_path / each.name).iterdir())
        assert FolderSource(tmp_path).fetch(each, tmp_path / "elsewhere") == tmp_path / each.name
    assert not (tmp_path / "elsewhere").exists()
    digests = [{file.path: file.digest for file in each.files}["model.safetensors"] for each in found]
    assert len(set(digests)) == 3
    assert None not in digests


def test_equal_weights_have_equal_digests(tmp_path: Path) -> None:
    save(llama(1), tmp_path / "step-1")
    save(llama(1), tmp_path / "step-2")
    one, two = ({file.path: file.digest for file in each.files} for each in FolderSource(tmp_path).checkpoints())
    assert one["model.safetensors"] == two["model.safetensors"] is not None


def test_the_state_of_a_trainer_tells_step_and_tokens(tmp_path: Path) -> None:
    for step, tokens in ((0, 0), (5, 0), (10, 640)):
        save_trainer_state(save(llama(step), tmp_path / f"checkpoint-{step}"), step, tokens)
    save_trainer_state(save(llama(15), tmp_path / "named"), 15, 960)
    found = FolderSource(tmp_path).checkpoints()
    assert [(each.step, each.tokens) for each in found] == [(0, 0), (5, None), (10, 640), (15, 960)]


def test_weights_beside_checkpoints_are_left_out_and_a_checkpoint_alone_is_not(tmp_path: Path) -> None:
    save(llama(9), tmp_path)  # the last or the best ones
    save(llama(1), tmp_path / "checkpoint-1")
    (tmp_path / "runs").mkdir()
    assert _steps(FolderSource(tmp_path).checkpoints()) == [("checkpoint-1", 1)]
    (alone,) = FolderSource(tmp_path / "checkpoint-1").checkpoints()
    assert (alone.name, alone.step, alone.folder) == ("checkpoint-1", 1, "")
    assert FolderSource(tmp_path / "checkpoint-1").fetch(alone, tmp_path) == tmp_path / "checkpoint-1"


def test_files_of_lightning_tell_step_and_tokens_wherever_they_lie(tmp_path: Path) -> None:
    monitors = {"InformationPlaneMonitor[ib]": {"progress": (8, 1024, 3.5)}, "EarlyStopping": {"wait": 1}}
    inside = tmp_path / "version_0" / "checkpoints"
    save_lightning(Module(), inside / "epoch=0-step=8.ckpt", 8, callbacks=monitors)
    save_lightning(Module(), inside / "best.ckpt", 4)
    save_lightning(
        Module(), inside / "odd.ckpt", 6, callbacks={"InformationPlaneMonitor[ib]": {"progress": (5, 9, 1.0)}}
    )
    source = FolderSource(tmp_path)
    found = source.checkpoints()
    assert [(each.step, each.tokens) for each in found] == [(4, None), (6, None), (8, 1024)]
    last = found[-1]
    assert last.name == "version_0/checkpoints/epoch=0-step=8.ckpt"
    assert (last.layout, last.folder, last.files[0].path) == (LIGHTNING, "version_0/checkpoints", "epoch=0-step=8.ckpt")
    assert source.fetch(last, tmp_path) == inside / "epoch=0-step=8.ckpt"
    single = FolderSource(inside / "best.ckpt")
    (best,) = single.checkpoints()
    assert (best.name, best.step) == ("best.ckpt", 4)
    assert single.fetch(best, tmp_path) == inside / "best.ckpt"


def test_another_file_of_a_step_and_links_are_left_out(tmp_path: Path) -> None:
    save_lightning(Module(), tmp_path / "step=8.ckpt", 8)
    shutil.copy(tmp_path / "step=8.ckpt", tmp_path / "last.ckpt")
    (tmp_path / "best.ckpt").symlink_to("step=8.ckpt")
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "step9").symlink_to(tmp_path / "gone")
    one, other = FolderSource(tmp_path).checkpoints()
    assert (one.name, one.faults) == ("step=8.ckpt", ())
    assert (other.name, other.faults) == ("last.ckpt", ("it is of step 8, for which step=8.ckpt is taken",))
    assert one.files[0].digest == other.files[0].digest


def test_folders_of_dcp_tell_their_step_by_name_or_beside_them(tmp_path: Path) -> None:
    weights = {"w": torch.arange(4.0)}
    for name in ("step-3", "checkpoint-4/pytorch_model_fsdp_0", "checkpoint-4/optimizer_0", "last.ckpt"):
        save_distributed(weights, tmp_path / name)
    save_trainer_state(tmp_path / "checkpoint-4", 4)
    torch.save({"global_step": 7}, tmp_path / "last.ckpt" / "meta.pt")
    found = FolderSource(tmp_path).checkpoints()
    assert _steps(found) == [("step-3", 3), ("checkpoint-4/pytorch_model_fsdp_0", 4), ("last.ckpt", 7)]
    assert {each.layout for each in found} == {DISTRIBUTED}
    assert [sorted(file.path for file in each.files) for each in found][-1] == [".metadata", "__0_0.distcp", "meta.pt"]


def test_a_rule_of_ones_own_reads_the_names(tmp_path: Path) -> None:
    save(llama(1), tmp_path / "ckpt_003")
    (found,) = FolderSource(tmp_path, step_of_name=lambda name: 1000 * int(name.partition("_")[2])).checkpoints()
    assert found.step == 3000


def test_what_is_no_source_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"a source must be a folder of checkpoints, .* there is nothing at '.*none'"):
        FolderSource(tmp_path / "none")
    (tmp_path / "a.txt").write_text("text")
    with pytest.raises(ValueError, match="another kind of file at"):
        FolderSource(tmp_path / "a.txt")
    (tmp_path / "tokenizer").mkdir()
    (tmp_path / "tokenizer" / "tokenizer_config.json").write_text("{}")
    with pytest.raises(ValueError, match=r"a source must hold checkpoints, and '.*' has none"):
        FolderSource(tmp_path).checkpoints()


def test_a_checkpoint_that_has_gone_is_an_error_of_the_disk(tmp_path: Path) -> None:
    save(llama(), tmp_path / "step-1")
    source = FolderSource(tmp_path)
    (found,) = source.checkpoints()
    shutil.rmtree(tmp_path / "step-1")
    with pytest.raises(FileNotFoundError, match="step-1 is no longer there"):
        source.fetch(found, tmp_path)


def test_a_step_that_cannot_be_read_is_a_fault(tmp_path: Path) -> None:
    save(llama(1), tmp_path / "step-1")
    save(llama(2), tmp_path / "final\x1b[31m")
    assert _fault(tmp_path, "final\x1b[31m") == "its step cannot be read in its name, 'final\\\\x1b[31m'"
    assert FolderSource(tmp_path).checkpoints()[-1].step is None, "it comes last"


def test_a_name_that_says_another_step_than_the_files_is_a_fault(tmp_path: Path) -> None:
    save_trainer_state(save(llama(1), tmp_path / "checkpoint-10"), 5)
    save_lightning(Module(), tmp_path / "step=20.ckpt", 8)
    assert _fault(tmp_path, "checkpoint-10") == "its name says step 10, and what is in it step 5"
    assert _fault(tmp_path, "step=20.ckpt") == "its name says step 20, and what is in it step 8"


def test_half_written_folders_are_faults(tmp_path: Path) -> None:
    for step in (1, 2, 3, 4):
        save(llama(step), tmp_path / f"step-{step}")
    (tmp_path / "step-1" / "model.safetensors").unlink()
    path = tmp_path / "step-2" / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    (tmp_path / "step-3" / "config.json").unlink()
    (tmp_path / "step-4" / "trainer_state.json").write_text('{"global_step": ')
    assert _fault(tmp_path, "step-1").startswith("it has no weights that transformers would load")
    assert _fault(tmp_path, "step-2").startswith("its model.safetensors is damaged")
    assert _fault(tmp_path, "step-3") == "it has no config.json"
    assert _fault(tmp_path, "step-4") == "trainer_state.json is damaged; was saving it interrupted?"
    assert [each.step for each in FolderSource(tmp_path).checkpoints()] == [1, 2, 3, 4]


def test_an_adapter_alone_is_a_fault(tmp_path: Path) -> None:
    folder = tmp_path / "step-1"
    folder.mkdir()
    (folder / "adapter_config.json").write_text("{}")
    (folder / "adapter_model.safetensors").write_bytes(b"")
    assert _fault(tmp_path, "step-1") == "it holds an adapter alone; merge it into its model and save that"


def test_files_that_lightning_did_not_write_are_faults(tmp_path: Path) -> None:
    (tmp_path / "step=1.ckpt").write_bytes(b"no archive")
    torch.save({"model": {}}, tmp_path / "step=2.ckpt")
    folder = save_distributed({"w": torch.ones(1)}, tmp_path / "step=3.ckpt")
    (folder / "meta.pt").write_bytes(b"no archive")
    assert "step=1.ckpt" in _fault(tmp_path, "step=1.ckpt")
    assert _fault(tmp_path, "step=2.ckpt") == "step=2.ckpt has no state_dict, so Lightning has not written it"
    assert "meta.pt" in _fault(tmp_path, "step=3.ckpt")
    assert [each.step for each in FolderSource(tmp_path).checkpoints()] == [1, 2, 3]


def test_steps_that_are_no_numbers_are_not_believed(tmp_path: Path) -> None:
    folder = save(llama(1), tmp_path / "checkpoint-1")
    for step in ("1", -1, True, None, 1.0):
        (folder / "trainer_state.json").write_text(json.dumps({"global_step": step}))
        assert FolderSource(tmp_path).checkpoints()[0].step == 1
