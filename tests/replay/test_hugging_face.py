"""Checkpoints in Hugging Face format loaded whole, or refused in one sentence."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, GPTNeoXConfig, GPTNeoXForCausalLM
from transformers.utils import logging

from ibtrack.replay.errors import LoadingError
from ibtrack.replay.hugging_face import check_folder, load_pretrained, load_tokenizer
from tests.replay.saved import llama, save

OPTIONS: dict[str, Any] = {
    "label": "step-5",
    "device": torch.device("cpu"),
    "dtype": None,
    "attention": None,
    "device_map": None,
    "trust_remote_code": False,
}


def _load(folder: Path, **options: Any) -> Any:
    return load_pretrained(folder, **{**OPTIONS, **options})


def _change(folder: Path, **settings: Any) -> Path:
    """Change the configuration; a setting of None is taken out."""
    path = folder / "config.json"
    config = {**json.loads(path.read_text()), **settings}
    path.write_text(json.dumps({key: value for key, value in config.items() if value is not None}))
    return folder


@pytest.mark.parametrize("options", [{}, {"max_shard_size": "8KB"}])
@pytest.mark.parametrize("tied", [True, False])
def test_every_weight_is_that_of_the_saved_model(tmp_path: Path, options: dict[str, Any], tied: bool) -> None:
    model = llama(tie_word_embeddings=tied)
    loaded = _load(save(model, tmp_path, **options))
    assert loaded.state_dict().keys() == model.state_dict().keys()
    assert all(torch.equal(loaded.state_dict()[name], value) for name, value in model.state_dict().items())
    assert (loaded.lm_head.weight is loaded.model.embed_tokens.weight) == tied
    assert not loaded.training


def test_the_type_of_the_weights_is_the_saved_one_or_the_asked_one(tmp_path: Path) -> None:
    folder = save(llama().bfloat16(), tmp_path)
    assert _load(folder).dtype == torch.bfloat16
    assert _load(folder, dtype=torch.float32).dtype == torch.float32


def test_the_attention_kernel_is_the_asked_one(tmp_path: Path) -> None:
    folder = save(llama(), tmp_path)
    assert _load(folder).config._attn_implementation == "sdpa"
    assert _load(folder, attention="eager").config._attn_implementation == "eager"
    with pytest.raises(ValueError, match=r"attention='flash_attention_2' does not fit step-5") as caught:
        _load(folder, attention="flash_attention_2")
    assert not isinstance(caught.value, LoadingError), "it fits no checkpoint"
    with pytest.raises(ValueError, match=r"attention='nothing' does not fit step-5"):
        _load(folder, attention="nothing")


def test_parts_go_to_the_devices_of_a_map(tmp_path: Path) -> None:
    assert _load(save(llama(), tmp_path), device_map={"": "cpu"}).device.type == "cpu"


def test_buffers_that_older_versions_saved_are_no_unexpected_weights(tmp_path: Path) -> None:
    config = GPTNeoXConfig(
        hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2, vocab_size=64
    )
    folder = save(GPTNeoXForCausalLM(config), tmp_path)
    path = folder / "model.safetensors"
    old = {f"gpt_neox.layers.{layer}.attention.bias": torch.ones(4, 4) for layer in range(2)}
    old |= {f"gpt_neox.layers.{layer}.attention.masked_bias": torch.tensor(-1e9) for layer in range(2)}
    old |= {f"gpt_neox.layers.{layer}.attention.rotary_emb.inv_freq": torch.ones(2) for layer in range(2)}
    save_file({**load_file(path), **old}, path, {"format": "pt"})
    assert _load(folder).config.model_type == "gpt_neox"


def test_a_pickle_is_read_for_its_tensors_alone(tmp_path: Path) -> None:
    model = llama()
    folder = save(model, tmp_path)
    (folder / "model.safetensors").unlink()
    torch.save(model.state_dict(), folder / "pytorch_model.bin")
    assert torch.equal(_load(folder).lm_head.weight, model.lm_head.weight)

    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.system, (f"touch {tmp_path / 'mark'}",)

    torch.save({**model.state_dict(), "x": Evil()}, folder / "pytorch_model.bin")
    with pytest.raises(
        LoadingError, match=r"step-5 could be loaded only by running code that is in its pickle; save it"
    ):
        _load(folder)
    assert not (tmp_path / "mark").exists()


def test_weights_that_would_be_made_up_are_named(tmp_path: Path) -> None:
    folder = save(llama(), tmp_path)
    path = folder / "model.safetensors"
    weights = load_file(path)
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, path, {"format": "pt"})
    with pytest.raises(
        LoadingError, match=r"^step-5 does not fit the model: it lacks model\.layers\.1\.mlp\.up_proj\.weight$"
    ):
        _load(folder)


def test_weights_that_the_model_does_not_take_are_named(tmp_path: Path) -> None:
    folder = save(llama(), tmp_path)
    path = folder / "model.safetensors"
    save_file({**load_file(path), "value_head.weight": torch.ones(1)}, path, {"format": "pt"})
    with pytest.raises(LoadingError, match=r"it has value_head\.weight, which the model does not take"):
        _load(folder)


def test_weights_of_another_shape_are_named(tmp_path: Path) -> None:
    folder = _change(save(llama(), tmp_path), intermediate_size=48)
    with pytest.raises(
        LoadingError, match=r"mlp\..*\.weight has the shape \(.*\) in it and \(.*\) in the model, and 5 o"
    ):
        _load(folder)


def test_a_model_type_that_is_not_known_is_named(tmp_path: Path) -> None:
    folder = _change(save(llama(), tmp_path), model_type="llama99")
    with pytest.raises(
        LoadingError, match=r"step-5 has the model type 'llama99', which transformers \S+ does not know; a "
    ):
        _load(folder)
    _change(folder, auto_map={"AutoConfig": "mine.Config", "AutoModelForCausalLM": "mine.Model"})
    with pytest.raises(LoadingError, match=r"Python code of its own, which trust_remote_code=True runs"):
        _load(folder)
    with pytest.raises(LoadingError, match=r"step-5 cannot be loaded \(.*mine\.py"):
        _load(folder, trust_remote_code=True)


def test_code_beside_the_weights_is_run_only_if_it_is_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    folder = _change(
        save(llama(), tmp_path / "step-5"),
        model_type="mine",
        auto_map={"AutoConfig": "mine.Config", "AutoModelForCausalLM": "mine.Model"},
    )
    (folder / "mine.py").write_text(
        "from transformers import LlamaConfig, LlamaForCausalLM\n"
        "class Config(LlamaConfig):\n    model_type = 'mine'\n"
        "class Model(LlamaForCausalLM):\n    config_class = Config\n"
    )
    with pytest.raises(LoadingError, match="trust_remote_code=True"):
        _load(folder)
    assert type(_load(folder, trust_remote_code=True)).__name__ == "Model"


def test_a_model_that_is_no_language_model_is_refused(tmp_path: Path) -> None:
    folder = _change(save(llama(), tmp_path), model_type="vit")
    with pytest.raises(LoadingError, match="'vit', which is no causal language model of transformers"):
        _load(folder)


def test_damaged_folders_are_refused_before_they_are_loaded(tmp_path: Path) -> None:
    folder = save(llama(), tmp_path)
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(LoadingError, match=r"step-5 cannot be loaded: its model\.safetensors is damaged: it has"):
        _load(folder)
    (folder / "config.json").write_text("{")
    with pytest.raises(LoadingError, match=r"step-5 has no config\.json that could be read"):
        check_folder(folder, label="step-5", trust_remote_code=False)


def test_a_configuration_that_makes_no_model_is_refused(tmp_path: Path) -> None:
    folder = _change(save(llama(), tmp_path), hidden_size="wide")
    with pytest.raises(LoadingError, match=r"^step-5 cannot be loaded \("):
        _load(folder)


def test_what_transformers_says_and_shows_stays_as_it_was(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder = save(llama(), tmp_path)
    capfd.readouterr()
    level = logging.get_verbosity()
    _load(folder)
    assert capfd.readouterr() == ("", "")
    assert logging.get_verbosity() == level
    assert logging.is_progress_bar_enabled()
    AutoModelForCausalLM.from_pretrained(folder)
    assert "Loading weights" in capfd.readouterr().err


def test_a_tokenizer_is_loaded_or_refused(tmp_path: Path) -> None:
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    with pytest.raises(LoadingError, match=r"has no tokenizer: none of tokenizer\.json"):
        load_tokenizer(tmp_path)
    backend = Tokenizer(models.WordLevel({"a": 0, "b": 1}, unk_token="a"))
    PreTrainedTokenizerFast(tokenizer_object=backend).save_pretrained(tmp_path)
    assert load_tokenizer(tmp_path)("b")["input_ids"] == [1]
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(LoadingError, match="the tokenizer in .* cannot be loaded"):
        load_tokenizer(tmp_path)
