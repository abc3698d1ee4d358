"""A checkpoint in Hugging Face format loaded as a model of transformers, whole and without running code of its own."""

from __future__ import annotations

import contextlib
import logging
import pickle
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ibtrack._checks import needs
from ibtrack.record.texts import printable, reason
from ibtrack.replay.errors import LoadingError
from ibtrack.replay.factories import key_sentence, shape_sentence
from ibtrack.replay.needed_files import CONFIG
from ibtrack.replay.weight_files import files_of_model, json_object

with needs("loading a checkpoint in Hugging Face format", extra="hub"):
    import transformers
    from transformers import CONFIG_MAPPING, MODEL_FOR_CAUSAL_LM_MAPPING, AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging as transformers_logging

log: Any = transformers_logging  # a part of which has no types


def load_pretrained(
    folder: Path,
    *,
    label: str,
    device: torch.device,
    dtype: torch.dtype | None,
    attention: str | None,
    device_map: str | Mapping[str, Any] | None,
    trust_remote_code: bool,
) -> nn.Module:
    """Load a causal language model straight to its device.

    Args:
        folder: Folder of the checkpoint.
        label: What the checkpoint is called, for errors.
        device: Device of the model.
        dtype: Type of the weights; None for the one they were saved in.
        attention: Attention kernel; None for what transformers chooses.
        device_map: Devices of parts of the model, in place of ``device``.
        trust_remote_code: Whether Python code in the folder may be run.

    Raises:
        ValueError: An option does not fit the model.
        LoadingError: The checkpoint is damaged, lacks weights, has others, or is of a model that transformers does not
            know.
    """
    check_folder(folder, label=label, trust_remote_code=trust_remote_code)
    places: Any = device_map if device_map is not None else None if device.type == "cpu" else {"": device}
    options: dict[str, Any] = {} if attention is None else {"attn_implementation": attention}
    try:
        with _quiet():
            loaded: Any = AutoModelForCausalLM.from_pretrained(
                str(folder),
                dtype=dtype or "auto",
                device_map=places,
                trust_remote_code=trust_remote_code,
                local_files_only=True,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # they are named below
                **options,
            )
    except (ValueError, ImportError) as error:
        if attention is not None and ("attention" in str(error).lower() or "attn" in str(error).lower()):
            raise ValueError(f"attention={attention!r} does not fit {label} ({_first(error)})") from error
        raise LoadingError(f"{label} cannot be loaded ({_first(error)})") from error
    except pickle.UnpicklingError as error:
        raise LoadingError(
            f"{label} could be loaded only by running code that is in its pickle; save it as safetensors"
        ) from error
    except Exception as error:  # safetensors, PyTorch and transformers have errors of their own for damaged files
        raise LoadingError(f"{label} cannot be loaded ({_first(error)})") from error
    model: nn.Module
    model, told = loaded
    _check_whole(label, told)
    return model


def check_folder(folder: Path, *, label: str, trust_remote_code: bool) -> None:
    """Refuse a folder that cannot be loaded, before its weights are read.

    Args:
        folder: Folder of the checkpoint.
        label: What the checkpoint is called, for errors.
        trust_remote_code: Whether Python code in the folder may be run.

    Raises:
        LoadingError: A file is missing or damaged, or the model is not known to transformers.
    """
    config = json_object(folder / CONFIG)
    if config is None:
        raise LoadingError(f"{label} has no {CONFIG} that could be read")
    problems = files_of_model(folder).problems
    if problems:
        raise LoadingError(f"{label} cannot be loaded: {problems[0]}")
    kind = str(config.get("model_type"))
    if trust_remote_code and "auto_map" in config:
        return
    if kind not in CONFIG_MAPPING:
        code = "auto_map" in config
        remedy = (
            "it comes with Python code of its own, which trust_remote_code=True runs"
            if code
            else ("a later version may")
        )
        raise LoadingError(
            f"{label} has the model type {printable(kind)!r}, which transformers {transformers.__version__} does "
            f"not know; {remedy}"
        )
    if CONFIG_MAPPING[kind] not in MODEL_FOR_CAUSAL_LM_MAPPING:
        raise LoadingError(f"{label} has the model type {kind!r}, which is no causal language model of transformers")


def load_tokenizer(folder: Path, *, trust_remote_code: bool = False) -> Any:
    """Load the tokenizer beside a checkpoint in Hugging Face format.

    Args:
        folder: Folder of the checkpoint.
        trust_remote_code: Whether Python code that comes with it may be run.

    Raises:
        LoadingError: There is none, or it cannot be loaded.
    """
    names = ("tokenizer.json", "tokenizer_config.json", "tokenizer.model", "vocab.json", "vocab.txt")
    if not any((folder / name).is_file() for name in names):
        raise LoadingError(f"{folder} has no tokenizer: none of {', '.join(names)}")
    try:
        with _quiet():
            return AutoTokenizer.from_pretrained(
                str(folder), local_files_only=True, trust_remote_code=trust_remote_code
            )
    except Exception as error:  # tokenizers and transformers have a dozen kinds
        raise LoadingError(f"the tokenizer in {folder} cannot be loaded ({_first(error)})") from error


def _check_whole(label: str, told: Mapping[str, Any]) -> None:
    """Refuse a model of which transformers has made up a part.

    Raises:
        LoadingError: Weights are missing, of another shape, or not taken.
    """
    shapes = sorted(told["mismatched_keys"])
    if shapes:
        raise LoadingError(shape_sentence(label, shapes))
    missing, unexpected = sorted(told["missing_keys"]), sorted(told["unexpected_keys"])
    if missing or unexpected:
        raise LoadingError(key_sentence(label, missing, unexpected))
    if told.get("error_msgs"):
        raise LoadingError(f"{label} cannot be loaded ({printable(str(told['error_msgs'][0]), longest=300)})")


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Let transformers show no bar and no table of missing weights, which are an error here."""
    level, bars = log.get_verbosity(), log.is_progress_bar_enabled()
    log.set_verbosity(logging.CRITICAL)
    log.disable_progress_bar()
    try:
        yield
    finally:
        log.set_verbosity(level)
        if bars:
            log.enable_progress_bar()


def _first(error: BaseException) -> str:
    return printable(reason(error), longest=300)
