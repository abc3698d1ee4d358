"""The runs around the library: documents, tokenizer, data, model, and a smoke run of every experiment."""

from __future__ import annotations

import doctest
import json
import os
import random
from pathlib import Path
from types import ModuleType

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import wandb
from hydra.errors import ConfigCompositionException
from hydra.utils import instantiate
from lightning.pytorch import Trainer

from experiments import data, documents, isolation, model, parts, summary, tokenizer, train
from experiments.data import TextData, pack
from experiments.hmm import HmmData
from experiments.isolation import isolated
from experiments.model import LanguageModel
from experiments.summary import places, table
from ibtrack import Point, Trajectory
from ibtrack.schedules import Schedule
from tests.runs import SMALL, config, inspect, options, process_state

pytestmark = [
    pytest.mark.usefixtures("one_thread", "own_cache"),
    # Lightning 2.6 asks torch 2.13 for a class whose name has changed
    pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning"),
    # one process and the data in memory: there is nothing for workers to do
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
]

STORIES = [f"Once there was a {animal} called {name}. " * 20 for animal in ("cat", "dog", "fox") for name in "ABCDEFGH"]

# what makes an experiment small enough to be run here; a new one needs its line
SMOKE = {
    "corpora": SMALL,
    "demo": [*SMALL, "model.settings.num_hidden_layers=2"],
    "recipes": SMALL,
    "search": SMALL,
    "seeds": SMALL,
    "sizes": [*SMALL, "model=llama_0.3M"],
    "tiny": ["trainer.max_steps=2"],
    "tiny_sweep": SMALL,
    "tishby": ["trainer.max_steps=2", "trainer.val_check_interval=2"],
}


@pytest.mark.parametrize("module", [data, documents, isolation, model, parts, summary, tokenizer, train])
def test_examples_hold(module: ModuleType):
    found = doctest.testmod(module)
    assert found.attempted > 0 and found.failed == 0


# documents


def test_split_is_disjoint_and_the_same_in_any_order():
    texts = [f"document {number}" for number in range(500)]
    train_texts, held_out = documents.split(texts, held_out=0.2)
    assert not set(train_texts) & set(held_out)
    assert sorted(train_texts + held_out) == sorted(texts)
    assert documents.split(texts[::-1], held_out=0.2) == (train_texts, held_out)


def test_split_keeps_a_document_on_its_side_when_others_come_and_a_copy_counts_once():
    texts = [f"document {number}" for number in range(500)]
    held_out = set(documents.split(texts, held_out=0.2)[1])
    more_train, more_held_out = documents.split([*texts, *texts[:50], " \n", *map(str, range(300))], held_out=0.2)
    assert held_out <= set(more_held_out)
    assert len(more_train) + len(more_held_out) == 800


@pytest.mark.parametrize("held_out", [0, 1, -0.5, 2])
def test_split_refuses_a_share_out_of_range(held_out: float):
    with pytest.raises(ValueError, match="held_out must be above 0 and below 1"):
        documents.split(["a", "b"], held_out=held_out)


def test_split_refuses_to_leave_a_side_empty():
    with pytest.raises(ValueError, match=r"some to train on and some to hold out, got .*a document is the unit"):
        documents.split(["one large document"], held_out=0.5)


def test_stdlib_reads_sources_and_skips_tests_and_packages(tmp_path: Path):
    for name in ("ast.py", "json/decoder.py", "test/test_ast.py", "site-packages/torch.py", "json/notes.txt"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(name)
    (tmp_path / "latin.py").write_bytes(b"# caf\xe9")
    assert list(documents.stdlib(str(tmp_path))) == ["ast.py", "json/decoder.py", "# caf�"]


def test_stdlib_finds_the_sources_of_this_interpreter():
    texts = list(documents.stdlib())
    assert sum(map(len, texts)) > 5_000_000
    assert any("class JSONDecoder" in text for text in texts)


def test_stdlib_says_that_there_are_no_sources(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match="must hold the sources of Python's standard library"):
        list(documents.stdlib(str(tmp_path)))


def test_local_takes_a_text_file_as_one_document(tmp_path: Path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "a.txt").write_text("first line\n\nsecond line\n")
    (tmp_path / "deep" / "b.txt").write_text("another")
    assert list(documents.local(f"{tmp_path}/**/*.txt")) == ["first line\n\nsecond line\n", "another"]
    (tmp_path / "c.md").write_text("# a note")
    assert list(documents.local(f"{tmp_path}/*.md", format="text")) == ["# a note"]


def test_local_takes_a_row_as_one_document_in_several_formats_at_once(tmp_path: Path):
    (tmp_path / "a.jsonl").write_text('{"body": "one"}\n{"body": "two"}\n')
    (tmp_path / "b.json").write_text(json.dumps([{"body": "three"}]))
    pq.write_table(pa.table({"body": ["four"], "id": [4]}), tmp_path / "c.parquet")
    patterns = [f"{tmp_path}/*.json*", f"{tmp_path}/c.parquet", f"{tmp_path}/a.jsonl"]
    assert list(documents.local(patterns, column="body")) == ["one", "two", "three", "four"]


def test_local_says_that_nothing_matches(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match=r"files must match at least one file, got '.*/\*.txt'"):
        list(documents.local(f"{tmp_path}/*.txt"))


def test_local_says_which_endings_it_knows(tmp_path: Path):
    (tmp_path / "a.docx").write_text("")
    with pytest.raises(ValueError, match=r"files must end in .txt, .json, .jsonl, .parquet, or format must say"):
        list(documents.local(f"{tmp_path}/a.docx"))


def test_an_unknown_column_is_answered_with_those_there_are(tmp_path: Path):
    (tmp_path / "a.jsonl").write_text('{"body": "one", "id": 1}\n')
    with pytest.raises(ValueError, match="column must be one of 'body', 'id', got 'text'"):
        list(documents.local(f"{tmp_path}/a.jsonl"))


def test_a_column_without_text_is_refused(tmp_path: Path):
    (tmp_path / "a.jsonl").write_text('{"id": 1}\n')
    with pytest.raises(TypeError, match="column 'id' must hold text, got int"):
        list(documents.local(f"{tmp_path}/a.jsonl", column="id"))


def wikitext_lines(number: int, story: str) -> list[str]:
    return ["", f" = Story {number} = \n", "", f" {story} \n", "", " = = Reception = = \n", "", " It sold . \n"]


HUB_ROWS = {
    "tinystories": [{"text": story} for story in STORIES],
    "c4": [{"text": story, "timestamp": "2019-04-25T12:57:54", "url": "http://example.org"} for story in STORIES],
    "wikitext": [{"text": line} for number, story in enumerate(STORIES) for line in wikitext_lines(number, story)],
}


@pytest.mark.parametrize("source", HUB_ROWS)
@pytest.mark.parametrize("builder", ["json", "parquet"])
def test_sources_of_the_hub_read_files_of_the_same_columns(source: str, builder: str, tmp_path: Path):
    path = tmp_path / "rows"
    pq.write_table(pa.Table.from_pylist(HUB_ROWS[source]), path)
    if builder == "json":
        path.write_text("\n".join(map(json.dumps, HUB_ROWS[source])))
    files = [f"data.documents.path={builder}", "++data.documents.name=null", f"+data.documents.data_files={path}"]
    data = instantiate(config(f"data={source}", *files).data)
    texts = list(data.documents())
    assert len(texts) == len(STORIES)
    assert all(story in text for story, text in zip(STORIES, texts, strict=True))


def test_an_article_ends_where_the_next_title_follows_an_empty_line():
    lines = [" = A = \n", "", " text \n", " = not a title = \n", "", " = = Section = = \n", "", " = B = \n", " more \n"]
    assert list(documents.articles(lines)) == ["".join(lines[:7]), "".join(lines[7:])]


def test_a_hub_out_of_reach_is_said_with_what_works_without(monkeypatch: pytest.MonkeyPatch):
    def unreachable(*args: object, **settings: object) -> None:
        raise ConnectionError("Couldn't reach the Hub")

    monkeypatch.setattr(documents, "load_dataset", unreachable)
    with pytest.raises(ConnectionError, match=r"'a/b' must be reachable .* data=stdlib and data=local need no network"):
        list(documents.hub("a/b"))


def test_bounds_stop_the_reading():
    read = []

    def endless():
        while True:
            read.append(1)
            yield "0123456789"

    assert len(list(documents.bounded(endless(), max_documents=3))) == 3 == len(read)
    assert len(list(documents.bounded(endless(), max_bytes=35))) == 4


# tokenizer


def test_a_tokenizer_is_trained_once_for_the_same_texts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    first = tokenizer.tokenizer_for(STORIES, 300)
    assert first.to_str() == tokenizer.train_tokenizer(STORIES, 300).to_str()
    monkeypatch.setattr(tokenizer, "train_tokenizer", None)  # would be called in vain
    assert tokenizer.tokenizer_for(STORIES, 300).to_str() == first.to_str()
    monkeypatch.undo()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert tokenizer.tokenizer_for(STORIES, 280).get_vocab_size() == 280
    tokenizer.tokenizer_for(STORIES[1:], 300)
    assert len(list((tmp_path / "ibtrack").iterdir())) == 3, "one file each, and no draft is left"


def test_the_cache_is_at_home_where_nothing_else_is_said(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert tokenizer.cache_folder() == Path.home() / ".cache" / "ibtrack"


def test_a_vocabulary_without_room_for_the_bytes_is_refused():
    with pytest.raises(ValueError, match="vocab_size must be at least 257"):
        tokenizer.train_tokenizer(STORIES, 256)


def test_a_file_that_is_no_tokenizer_is_refused(tmp_path: Path):
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(ValueError, match=r"tokenizer.json must be a tokenizer.json of the tokenizers library"):
        tokenizer.load_tokenizer(tmp_path / "tokenizer.json")


def test_a_tokenizer_without_an_end_of_document_is_refused(tmp_path: Path):
    text = tokenizer.train_tokenizer(STORIES, 300).to_str().replace(tokenizer.END, "<end>")
    (tmp_path / "tokenizer.json").write_text(text)
    with pytest.raises(ValueError, match=r"must have the token '<\|endoftext\|>'"):
        tokenizer.load_tokenizer(tmp_path / "tokenizer.json")


# data


def stories(**settings: object) -> TextData:
    settings = {"vocab_size": 300, "block_size": 16, "batch_size": 4, "held_out": 0.3, **settings}
    data = TextData(lambda: iter(STORIES), **settings)
    data.setup()
    return data


def test_blocks_hold_the_training_documents_and_probe_texts_the_others():
    data = stories(block_size=1)
    text = data.tokenizer.decode(data.train_blocks.flatten().tolist(), skip_special_tokens=False)
    trained_on = text.removesuffix(tokenizer.END).split(tokenizer.END)
    assert sorted([*trained_on, *data.probe_texts]) == sorted(STORIES)
    held_out = data.tokenizer.decode(data.held_out_blocks.flatten().tolist(), skip_special_tokens=False)
    assert held_out == "".join(text + tokenizer.END for text in data.probe_texts)


def test_packing_in_chunks_equals_packing_one_by_one():
    bpe = tokenizer.train_tokenizer(STORIES, 300)
    texts = [f"{story}{number}" for number in range(10) for story in STORIES]  # more than one chunk
    ids = [token for text in texts for token in [*bpe.encode(text).ids, bpe.token_to_id(tokenizer.END)]]
    blocks = pack(texts, bpe, 16)
    assert blocks.flatten().tolist() == ids[: len(ids) // 16 * 16]
    assert blocks.dtype == torch.int64


def test_the_order_of_batches_neither_reads_nor_moves_the_global_random_state():
    data = stories()
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first = torch.cat(list(data.train_dataloader()))
    assert torch.equal(torch.get_rng_state(), state)
    list(data.val_dataloader())
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    assert torch.equal(torch.cat(list(data.train_dataloader())), first)
    assert not torch.equal(torch.cat(list(stories(seed=1).train_dataloader())), first)


def test_an_epoch_differs_from_the_one_before():
    loader = stories().train_dataloader()
    assert not torch.equal(torch.cat(list(loader)), torch.cat(list(loader)))


def test_set_up_twice_reads_once():
    read = []
    data = TextData(lambda: read.append(1) or iter(STORIES), vocab_size=300, block_size=16, held_out=0.3)
    data.setup("fit")
    data.setup("validate")
    assert len(read) == 1


def test_a_tokenizer_of_ones_own(tmp_path: Path):
    tokenizer.train_tokenizer(STORIES, 260).save(str(tmp_path / "tokenizer.json"))
    assert stories(tokenizer_file=str(tmp_path / "tokenizer.json")).tokenizer.get_vocab_size() == 260


def test_too_little_text_for_a_batch_is_refused():
    with pytest.raises(ValueError, match=r"documents must fill one batch of 4 blocks of 9999 tokens, got 0 blocks"):
        stories(block_size=9999)


# model

SMALL_MODEL = ["model.settings.hidden_size=32", "model.settings.num_hidden_layers=2", "data.block_size=16"]
ARCHITECTURES = ["llama_1M", "gpt2", "gpt_neox", "olmo2"]


def language_model(name: str, *overrides: str) -> LanguageModel:
    torch.manual_seed(0)
    return instantiate(config(f"model={name}", *SMALL_MODEL, *overrides).model, vocab_size=64, block_size=16)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_each_architecture_learns_and_does_not_look_ahead(name: str):
    model = language_model(name)
    batch = torch.randint(64, (4, 16), generator=torch.Generator().manual_seed(0))
    optimizer = model.optimizer(model._parameter_groups())
    losses = []
    for _ in range(30):
        losses.append(model._loss(batch))
        losses[-1].backward()
        optimizer.step()
        optimizer.zero_grad()
    assert losses[-1] < losses[0] - 1  # nats; it learns the batch by heart
    changed = batch.clone()
    changed[:, 8:] = 0
    with torch.no_grad():
        logits, others = model(batch).logits, model(changed).logits
    torch.testing.assert_close(logits[:, :8], others[:, :8])
    assert model.network.get_input_embeddings().padding_idx is None, "or a token's embedding stays zero"


def test_loss_is_the_cross_entropy_of_each_next_token():
    model = language_model("gpt2")
    batch = torch.randint(64, (2, 16), generator=torch.Generator().manual_seed(0))
    log_p = model(batch).logits.log_softmax(-1)
    expected = -sum(log_p[s, t, batch[s, t + 1]] for s in range(2) for t in range(15)) / 30
    torch.testing.assert_close(model._loss(batch), expected)
    torch.testing.assert_close(model.network(batch, labels=batch).loss, expected)


@pytest.mark.parametrize("name, millions", [(name, float(name[6:-1])) for name in options("model") if "llama_" in name])
def test_a_size_has_the_parameters_its_name_says(name: str, millions: float):
    with torch.device("meta"):
        model = instantiate(config(f"model={name}").model, vocab_size=2048, block_size=128)
    assert sum(p.numel() for p in model.parameters()) / 1e6 == pytest.approx(millions, rel=0.15)


def test_only_matrices_decay():
    matrices, vectors = language_model("gpt2")._parameter_groups()
    assert {p.ndim for p in matrices["params"]} == {2}
    assert {p.ndim for p in vectors["params"]} == {1} and vectors["weight_decay"] == 0


def learning_rates(*overrides: str, **settings: object) -> list[float]:
    """The rate of each step of a short fit."""
    model, rates = language_model("llama_1M", "model.warmup_steps=2", *overrides), []
    model.on_before_optimizer_step = lambda optimizer: rates.append(optimizer.param_groups[0]["lr"])
    quiet = dict.fromkeys(["logger", "enable_progress_bar", "enable_checkpointing", "enable_model_summary"], False)
    steps = {"max_steps": 6, "max_epochs": -1, **settings}
    trainer = Trainer(accelerator="cpu", limit_val_batches=0, **quiet, **steps)
    loader = torch.utils.data.DataLoader(torch.zeros(3, 16, dtype=torch.long))
    trainer.fit(model, loader, loader)
    return rates


def test_the_rate_warms_up_and_falls_to_its_minimum():
    cosine = [0.1 + 0.9 * 0.5 * (1 + np.cos(np.pi * step / 4)) for step in range(4)]
    assert learning_rates() == pytest.approx([0, 0.5 * 2e-3, *(2e-3 * share for share in cosine)])


@pytest.mark.parametrize("name", options("model/schedule"))
def test_every_schedule_has_its_shape(name: str):
    falls = {
        "constant": lambda step: 1.0,
        "cosine": lambda step: 0.1 + 0.9 * 0.5 * (1 + np.cos(np.pi * step / 4)),
        "linear": lambda step: 1 - step / 4,
        "wsd": lambda step: min(1.0, 0.5 * (1 + np.cos(np.pi * (step - 2) / 2)) if step > 2 else 1.0),
    }
    decay = ["model.schedule_settings.num_decay_steps=2"] if name == "wsd" else []
    rates = learning_rates(f"model/schedule={name}", *decay)
    assert rates == pytest.approx([0, 1e-3, *(2e-3 * falls[name](step) for step in range(4))])


def test_a_constant_rate_needs_no_last_step():
    constant = ["model/schedule=constant"]
    assert learning_rates(*constant) == pytest.approx([0, 1e-3, 2e-3, 2e-3, 2e-3, 2e-3])
    endless = {"max_steps": -1, "max_time": {"seconds": 1}}
    assert learning_rates(*constant, **endless)[:4] == pytest.approx([0, 1e-3, 2e-3, 2e-3])
    with pytest.raises(ValueError, match="schedule 'cosine_with_min_lr' must know the last step; give the trainer"):
        learning_rates(**endless)


def test_a_block_longer_than_the_context_is_refused():
    with pytest.raises(ValueError, match="block_size must be at most 16, the model's context, got 32"):
        LanguageModel("llama", {"max_position_embeddings": 16}, vocab_size=64, block_size=32)


def test_an_unknown_architecture_is_answered_with_the_nearest():
    with pytest.raises(ValueError, match=r"architecture must be a causal .* such as .*llama.*, got 'lama'"):
        LanguageModel("lama", {}, vocab_size=64, block_size=16)
    with pytest.raises(ValueError, match=r"such as llama, gpt2, olmo2, got '\?'"):
        LanguageModel("?", {}, vocab_size=64, block_size=16)


def test_an_unknown_setting_is_refused():
    with pytest.raises(ValueError, match="settings must be those of a llama configuration, got 'num_layerz'"):
        LanguageModel("llama", {"num_layerz": 3}, vocab_size=64, block_size=16)


def test_an_unknown_schedule_is_answered_with_the_known():
    with pytest.raises(ValueError, match=r"x is not a valid SchedulerType, please select one of .*cosine"):
        LanguageModel("llama", {}, vocab_size=64, block_size=16, schedule="x")


# summary

READINGS = {"ib/mean/entropy": 0.9123, "ib/mean/token/complexity": 0.25, "ib/mean/token/optimality": -0.0004}


def test_the_table_shows_what_there_is_and_marks_what_there_is_not():
    points = [Point(0, READINGS), Point(8, READINGS, loss=2.5), Point(16, failure="L00 did not fire")]
    lines = table(Trajectory({"orders": ["token", "trigram"]}, {}, points)).splitlines()
    assert lines[1].split() == ["step", "loss", "H", "complexity", "expressivity", "optimality"]
    assert lines[2].split() == ["0", "–", ".912", ".250", "–", ".000"]
    assert lines[3].split()[:3] == ["8", "2.500", ".912"]
    assert lines[4].split(maxsplit=1) == ["16", "not measured: L00 did not fire"]


def test_only_files_that_exist_are_named(tmp_path: Path):
    (tmp_path / "trajectory.jsonl").touch()
    (tmp_path / "wandb" / "offline-run-1").mkdir(parents=True)
    named = places(tmp_path)
    assert "trajectory.jsonl" in named and "plane.png" not in named
    assert f"wandb leet run {tmp_path / 'wandb' / 'offline-run-1'}" in named


# runs


def test_every_experiment_has_a_smoke_run():
    assert options("experiment") == sorted(SMOKE)


@pytest.mark.parametrize("name", SMOKE)
def test_experiment_runs(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    cfg = config(f"experiment={name}", f"run_dir={tmp_path}", *SMOKE[name])
    value = train.train(cfg)
    trajectory = Trajectory.load(tmp_path)
    last = trajectory.points[-1]
    assert trajectory.steps[0] == 0 and last.step == trajectory.run["config"]["trainer"]["max_steps"]
    assert [point.failure for point in trajectory.points] == [None] * len(trajectory.points)
    assert value == last.values[cfg.objective]
    assert trajectory.name == name
    printed = capsys.readouterr().out
    for file in ("trajectory.jsonl", "plane.png", "report.html"):
        assert (tmp_path / file).stat().st_size > 0 and str(tmp_path / file) in printed
    assert "wandb leet run" in printed
    assert table(trajectory) in printed
    run = json.loads(inspect(tmp_path, "--summary", "--json"))
    assert run["exit_code"] == 0
    assert trajectory.run["config"].items() <= run["config"].items(), "wandb has the resolved configuration"
    assert run["summary"][cfg.objective] == value


def test_isolation_ends_a_run_as_failed_after_an_error(tmp_path: Path):
    before = process_state()
    with pytest.raises(RuntimeError, match="midway"), isolated():
        wandb.init(dir=tmp_path, mode="offline")
        torch.manual_seed(7), random.seed(7), np.random.seed(7)
        os.environ["WANDB_MODE"] = "dryrun"
        raise RuntimeError("midway")
    assert process_state() == before and wandb.run is None
    assert json.loads(inspect(tmp_path, "--summary", "--json"))["exit_code"] == 1


def test_callbacks_can_watch_the_readings(tmp_path: Path):
    stop = ["+callbacks.stop._target_=lightning.pytorch.callbacks.EarlyStopping", "+callbacks.stop.patience=1"]
    watch = ["+callbacks.stop.monitor=ib/mean/entropy", "+callbacks.stop.mode=max"]
    validate = ["trainer.limit_val_batches=1", "trainer.val_check_interval=2", "objective=val/loss"]
    cfg = config("experiment=tiny", f"run_dir={tmp_path}", "logger=csv", *stop, *watch, *validate)
    assert 0 < train.train(cfg) < 10
    assert Trajectory.load(tmp_path).steps[-1] == 4, "entropy falls from the start, so the second check is the last"


@pytest.mark.parametrize("name", options("data"))
def test_every_data_config_has_its_parts(name: str):
    parts = ["data.documents={_target_: experiments.documents.stdlib, _partial_: true}"] if name == "base" else []
    files = ["data.documents.files=a.txt"] if name == "local" else []
    assert isinstance(instantiate(config(f"data={name}", *parts, *files).data), TextData | HmmData)


@pytest.mark.parametrize("name", options("trainer"))
def test_every_trainer_config_makes_a_trainer(name: str):
    cfg = config(f"trainer={name}", "trainer.accelerator=cpu", "trainer.devices=1", "trainer.precision=32-true")
    with isolated():
        assert isinstance(instantiate(cfg.trainer, logger=False), Trainer)


@pytest.mark.parametrize("name", options("logger"))
def test_every_logger_config_makes_loggers(name: str, tmp_path: Path):
    cfg = config(f"logger={name}", f"run_dir={tmp_path}")
    with isolated():
        loggers = train._loggers(cfg.logger)
    assert len(loggers) == {"none": 0, "several": 2}.get(name, 1)


@pytest.mark.parametrize("name", sorted(set(options("monitor")) - {"base"}))
def test_every_monitor_config_has_a_schedule(name: str):
    assert isinstance(instantiate(config(f"monitor={name}").monitor.schedule, _convert_="all"), Schedule)


def test_a_wrong_option_is_answered_with_those_there_are():
    with pytest.raises(ConfigCompositionException, match=r"(?s)Could not find 'data/nothing'.*stdlib.*wikitext"):
        config("data=nothing")


def test_an_objective_there_is_none_of_is_answered_with_those_there_are():
    trajectory = Trajectory({}, {}, [Point(0, {"ib/mean/token/optimality": float("nan"), "ib/L00/entropy": 0.5})])
    with pytest.raises(ValueError, match="objective must be one of ib/mean/token/optimality, val/loss, got 'x'"):
        train.objective(trajectory, {"val/loss": 1.0}, "x")
    with pytest.raises(ValueError, match="objective ib/mean/token/optimality must be finite"):
        train.objective(trajectory, {}, "ib/mean/token/optimality")
