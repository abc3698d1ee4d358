"""Checkpoints of every layout loaded as models, with what the protocol says of them."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from ibtrack.replay import Checkpoint, FolderSource, LoadingError, load_model
from ibtrack.replay.loading import ALIGNED, load_tokenizer
from ibtrack.tracking.protocol import attention_of, precision_of
from tests.replay.saved import (
    Module,
    Network,
    distributed_checkpoint,
    lightning_checkpoint,
    llama,
    save,
    save_distributed,
    save_lightning,
)


def _load(folder: Path, name: str, **options: Any) -> nn.Module:
    source = FolderSource(folder)
    (checkpoint,) = [each for each in source.checkpoints() if each.name == name]
    return load_model(source.fetch(checkpoint, folder), checkpoint, **options)


def _equal(one: nn.Module, other: nn.Module) -> bool:
    ours, theirs = one.state_dict(), other.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_every_layout_gives_the_saved_weights(tmp_path: Path) -> None:
    module, model = Module(6), llama()
    save(model, tmp_path / "step-1")
    save_lightning(module, tmp_path / "step=2.ckpt", 2)
    for name, key in (("step-3", "state_dict"), ("step-4", "model")):  # as FSDP2 and FSDP1 save
        folder = save_distributed({key: module.state_dict(), "optimizer_0": {"state": {}}}, tmp_path / name)
        torch.save({"global_step": int(name[-1]), "hyper_parameters": {"width": 6}}, folder / "meta.pt")
    save_distributed(module.model.state_dict(), tmp_path / "step-5")
    assert _equal(_load(tmp_path, "step-1"), model)
    for name in ("step=2.ckpt", "step-3", "step-4"):
        loaded = _load(tmp_path, name, factory="tests.replay.saved:Module")
        assert _equal(loaded, module)
        assert not any(each.training for each in loaded.modules())
    assert _equal(_load(tmp_path, "step=2.ckpt", factory=lambda settings: Network(settings["width"])), module.model)
    assert _equal(_load(tmp_path, "step-4", factory=lambda settings: Network(settings["width"])), module.model)
    assert _equal(_load(tmp_path, "step-5", factory=lambda: Network(6)), module.model)


def test_buffers_that_are_not_saved_are_there(tmp_path: Path) -> None:
    save_lightning(Module(6), tmp_path / "step=2.ckpt", 2)
    module = _load(tmp_path, "step=2.ckpt", factory=Module)
    assert torch.equal(module.model.frequencies, Network(6).frequencies)  # type: ignore[union-attr,arg-type]


def test_tied_weights_stay_tied(tmp_path: Path) -> None:
    model = llama(tie_word_embeddings=True)
    torch.save(
        {"global_step": 1, "state_dict": {f"network.{k}": v for k, v in model.state_dict().items()}},
        tmp_path / "a.ckpt",
    )
    loaded: Any = _load(tmp_path, "a.ckpt", factory=lambda: llama(7, tie_word_embeddings=True))
    assert loaded.lm_head.weight is loaded.model.embed_tokens.weight
    assert _equal(loaded, model)


def test_weights_have_the_saved_type_or_the_asked_one(tmp_path: Path) -> None:
    module = Module(6).bfloat16()
    save_lightning(module, tmp_path / "step=2.ckpt", 2)
    folder = save_distributed({"state_dict": module.state_dict()}, tmp_path / "step-3")
    torch.save({"global_step": 3, "hyper_parameters": {"width": 6}}, folder / "meta.pt")
    save(llama(), tmp_path / "step-1")
    for name, factory in (("step=2.ckpt", Module), ("step-3", Module), ("step-1", None)):
        saved = torch.float32 if factory is None else torch.bfloat16
        for asked, expected in ((None, saved), ("auto", saved), ("float64", torch.float64), (torch.half, torch.half)):
            loaded = _load(tmp_path, name, factory=factory, dtype=asked)
            assert {each.dtype for each in loaded.parameters()} == {expected}


def test_weights_lie_in_memory_of_their_own_at_aligned_places(tmp_path: Path) -> None:
    model = llama()
    save(model, tmp_path / "step-1")
    save_lightning(Module(6), tmp_path / "step=2.ckpt", 2)
    loaded = [_load(tmp_path, "step-1"), _load(tmp_path, "step=2.ckpt", factory=Module)]
    for tensor in [tensor for each in loaded for tensor in each.state_dict().values()]:
        assert tensor.data_ptr() % ALIGNED == 0
    with (tmp_path / "step-1" / "model.safetensors").open("r+b") as file:
        file.seek(2000)
        file.write(bytes(4000))
    assert _equal(loaded[0], model)


def test_hyper_parameters_with_code_are_not_read_and_do_not_matter_where_they_are_not_needed(tmp_path: Path) -> None:
    module = Module(6, optimizer=functools.partial(torch.optim.AdamW, lr=1.0))
    save_lightning(module, tmp_path / "step=2.ckpt", 2)
    with pytest.raises(LoadingError, match=r"step=2\.ckpt has a hyper-parameter optimizer of functools\.partial"):
        _load(tmp_path, "step=2.ckpt", factory=Module)
    assert _equal(_load(tmp_path, "step=2.ckpt", factory=lambda settings: Module(**settings)), module)


def test_a_class_that_does_not_take_the_weights_is_refused(tmp_path: Path) -> None:
    save_lightning(Module(6), tmp_path / "step=2.ckpt", 2)
    folder = save_distributed({"state_dict": Module(6).state_dict()}, tmp_path / "step-3")
    torch.save({"global_step": 3}, folder / "meta.pt")
    for name in ("step=2.ckpt", "step-3"):
        with pytest.raises(LoadingError, match=rf"^{name} does not fit the model: it lacks other\.bias, other\.w"):
            _load(tmp_path, name, factory=lambda: nn.ModuleDict({"other": nn.Linear(2, 2)}))
        with pytest.raises(
            LoadingError, match=rf"^{name} does not fit the model: embed\.weight has the shape \(64, 6\)"
        ):
            _load(tmp_path, name, factory=lambda: Network(5))


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.ckpt"
    torch.save({"model": {}}, path)
    with pytest.raises(LoadingError, match=r"a\.ckpt has no state_dict, so Lightning has not written it"):
        load_model(path, lightning_checkpoint(path), factory=Module)
    path.write_bytes(b"PK")
    with pytest.raises(LoadingError, match=r"a\.ckpt is damaged, or was not written by torch\.save"):
        load_model(path, lightning_checkpoint(path), factory=Module)


def test_options_that_do_not_fit_the_layout_are_refused(tmp_path: Path) -> None:
    folder, path = save(llama(), tmp_path / "step-1"), save_lightning(Module(6), tmp_path / "step=2.ckpt", 2)
    saved, lightning = Checkpoint("step-1", str(tmp_path), 1), lightning_checkpoint(path)
    with pytest.raises(
        ValueError, match=r"factory is for checkpoints of Lightning and of DCP; step-1 has a config\.json"
    ):
        load_model(folder, saved, factory=Module)
    for checkpoint in (lightning, distributed_checkpoint(tmp_path)):
        with pytest.raises(
            ValueError, match=r"factory must say what makes the model of .*, as module:name of a class or"
        ):
            load_model(path, checkpoint)
    with pytest.raises(
        ValueError, match=r"attention is for checkpoints in Hugging Face format; let the factory of step=2"
    ):
        load_model(path, lightning, factory=Module, attention="eager")
    with pytest.raises(ValueError, match="device_map is for checkpoints in Hugging Face format"):
        load_model(path, lightning, factory=Module, device_map="auto")


@pytest.mark.parametrize("dtype", ["bfloat", "int8", "nn", torch.int64, 16])
def test_a_type_there_is_none_of_is_refused(tmp_path: Path, dtype: Any) -> None:
    with pytest.raises(ValueError, match="dtype must be a floating point type, such as 'bfloat16' or 'float32', got "):
        load_model(tmp_path, Checkpoint("step-1", "x", 1), dtype=dtype)


@pytest.mark.parametrize("device", ["gpu", "cuda:99", "meta:x"])
def test_a_device_there_is_none_of_is_refused(tmp_path: Path, device: str) -> None:
    with pytest.raises(
        ValueError, match=f"device must be one of this machine, such as 'cpu' or 'cuda', got '{device}'"
    ):
        load_model(tmp_path, Checkpoint("step-1", "x", 1), device=device)


def test_what_numbers_depend_on_is_written_down(tmp_path: Path) -> None:
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    from ibtrack.probe.tokenizer import tokenizer_hash

    save(llama(), tmp_path / "step-1")
    backend = Tokenizer(models.WordLevel({"a": 0, "b": 1}, unk_token="a"))
    wrapped: Any = PreTrainedTokenizerFast
    wrapped(tokenizer_object=backend).save_pretrained(tmp_path / "step-1")
    tokenizer = load_tokenizer(tmp_path / "step-1")
    model = _load(tmp_path, "step-1", attention="eager", dtype="bfloat16")
    assert attention_of(nn.Sequential(model)) == "eager"
    assert precision_of(model) == "bf16-true"
    assert tokenizer_hash(tokenizer) == tokenizer_hash(backend)
    assert attention_of(nn.Linear(1, 1)) is None
