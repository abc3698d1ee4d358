from __future__ import annotations

import pytest

from ibtrack.replay.checkpoint import File
from ibtrack.replay.needed_files import choose_files, index_of, is_weights, missing_shards, weights

SHARDS = [f"model-0000{number}-of-00003.safetensors" for number in (1, 2, 3)]
PICKLES = ["pytorch_model-00001-of-00002.bin", "pytorch_model-00002-of-00002.bin"]


def files(*names: str) -> list[File]:
    return [File(name, len(name), f"{number:064x}") for number, name in enumerate(names)]


def names(*given: str, remote_code: bool = False) -> list[str]:
    return [file.path for file in choose_files(files(*given), remote_code=remote_code).files]


def test_safetensors_go_before_pickles_and_one_file_before_shards() -> None:
    assert names("config.json", "pytorch_model.bin", "model.safetensors") == ["config.json", "model.safetensors"]
    both = ("config.json", "model.safetensors", *SHARDS, "model.safetensors.index.json")
    assert names(*both) == ["config.json", "model.safetensors"]
    assert names("config.json", "pytorch_model.bin") == ["config.json", "pytorch_model.bin"]


def test_shards_come_with_their_index_and_no_other() -> None:
    given = ("config.json", *SHARDS, "model.safetensors.index.json", *PICKLES, "pytorch_model.bin.index.json")
    assert names(*given) == ["config.json", *SHARDS, "model.safetensors.index.json"]
    assert choose_files(files(*given)).problems == ()


def test_settings_and_tokenizer_come_and_the_rest_stays() -> None:
    wanted = [
        "config.json",
        "generation_config.json",
        "merges.txt",
        "model.safetensors",
        "tokenizer.json",
        "vocab.json",
    ]
    others = ["README.md", "optimizer.pt", "model.fp16.safetensors", "consolidated.safetensors", "tf_model.h5", "a.py"]
    assert names(*wanted, *others, "onnx/model.safetensors", "onnx/config.json") == wanted
    assert names(*wanted, *others, remote_code=True) == ["a.py", *wanted]


@pytest.mark.parametrize(
    ("given", "problems"),
    [
        (["model.safetensors"], ["it has no config.json"]),
        (["config.json", "optimizer.pt"], [r"it has no weights that transformers would load"]),
        (
            ["config.json", SHARDS[0], SHARDS[2], "model.safetensors.index.json"],
            ["of its 3 shards number 2 is not there"],
        ),
        (["config.json", SHARDS[1], "model.safetensors.index.json"], ["of its 3 shards number 1, 3 are not there"]),
        (["config.json", *SHARDS], ["it has shards but no model.safetensors.index.json"]),
        (["config.json", PICKLES[0], "pytorch_model.bin.index.json"], ["of its 2 shards number 2 is not there"]),
    ],
)
def test_what_cannot_be_loaded_says_why(given: list[str], problems: list[str]) -> None:
    found = choose_files(files(*given)).problems
    assert len(found) == len(problems)
    assert all(sentence.startswith(problem) for sentence, problem in zip(found, problems, strict=True))


def test_weights_are_what_transformers_would_load() -> None:
    assert [
        each for each in (*SHARDS, *PICKLES, "model.safetensors", "pytorch_model.bin") if not is_weights(each)
    ] == []
    others = ("optimizer.bin", "model.fp16.safetensors", "model.safetensors.index.json", "training_args.bin")
    assert [each for each in others if is_weights(each)] == []
    assert is_weights("checkpoint-5/model.safetensors")
    assert [file.path for file in weights(files("model.safetensors", "config.json"))] == ["model.safetensors"]


def test_an_index_is_compared_with_what_is_there() -> None:
    there = files(*SHARDS[:2], "model.safetensors.index.json")
    index = index_of(there)
    assert index is not None
    assert index.path == "model.safetensors.index.json"
    assert index_of(files("model.safetensors")) is None
    assert missing_shards(SHARDS, there) == [SHARDS[2]]
