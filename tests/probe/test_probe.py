"""The probe: the same content by every way to make it, its hash, and its file."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pytest
import torch

from ibtrack import Probe
from tests.probe.test_texts import TEXTS, words
from tests.probe.test_tokenizer import fast, word_level

NO_TENSOR: Any = [[1, 2, 3]]


def test_windows_come_from_one_document_each() -> None:
    probe = Probe.from_texts(TEXTS, words, num_blocks=8, block_size=20, orders=(1, 2))
    documents = [tuple(words(text)) for text in TEXTS]
    origins = set()
    for block in probe.inputs.tolist():
        at = [d for d, ids in enumerate(documents) for i in range(len(ids) - 19) if list(ids[i : i + 20]) == block]
        assert at
        origins.add(at[0])
    assert probe.num_documents == 8
    assert probe.num_positions == 8 * (20 - 3)


def test_documents_of_any_length_are_measured_where_they_have_text() -> None:
    texts = [" ".join(f"w{(7 * i + j * j) % 90}" for j in range(length)) for i, length in enumerate((4, 30, 3, 11))]
    probe = Probe.from_texts(iter(texts), words, num_blocks=3, block_size=12, min_length=4, orders=(1, 2))
    assert probe.inputs.shape == (3, 12)
    assert probe.inputs[0].tolist() == words(texts[0]) + [0] * 8
    assert probe.inputs[1].tolist() == words(texts[1])[:12]
    assert probe.num_documents == 3
    # tokens 1 to n - 3 of n have a bigram on either side
    assert probe.positions.tolist() == [1, *range(13, 22), *range(25, 33)]
    assert probe.documents.tolist() == [0] + [1] * 9 + [2] * 8
    options: dict[str, Any] = {"num_blocks": 1, "min_length": 4, "orders": (1, 2)}
    alone = [
        Probe.from_texts([text], words, block_size=min(12, len(words(text))), **options)
        for text in (texts[0], texts[1], texts[3])
    ]
    for name, labels in probe.label_sets.items():
        own = labels.split([each.num_positions for each in alone])
        for part, each in zip(own, alone, strict=True):
            assert torch.unique(part, return_inverse=True)[1].equal(each.label_sets[name])


def test_beginnings_of_long_documents_are_the_blocks_that_one_gives_oneself() -> None:
    texts = [text for text in TEXTS if len(words(text)) >= 50]
    probe = Probe.from_texts(iter(texts), words, num_blocks=6, block_size=48, min_length=8)
    assert probe.hash == Probe(torch.tensor([words(text)[:48] for text in texts[:6]])).hash


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"min_length": 7}, "min_length must be at least 8, .* no position with orders up to 4 and skip=0, got 7"),
        ({"min_length": 8, "skip": 6}, "min_length must be at least 11, .* orders up to 4 and skip=6, got 8"),
        ({"min_length": 3, "orders": (2,)}, "min_length must be at least 4"),
        ({"min_length": 8.5}, "min_length must be an integer of at least 1, got 8.5"),
        ({"min_length": 8, "orders": ()}, "orders must name at least one k"),
        ({"min_length": 8, "skip": -1}, "skip must be an integer of at least 0, got -1"),
        ({"skip": -1}, "skip must be an integer of at least 0, got -1"),
    ],
)
def test_documents_without_a_position_are_refused(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        Probe.from_texts(TEXTS, words, num_blocks=4, block_size=20, **options)


def test_the_shortest_documents_have_one_position() -> None:
    texts = [" ".join(f"w{20 * i + j}" for j in range(11)) for i in range(3)]
    probe = Probe.from_texts(texts, words, num_blocks=3, block_size=16, min_length=11, skip=6)
    assert probe.positions.tolist() == [6, 22, 38]


def test_same_seed_same_probe_other_seed_another() -> None:
    first, second, other = (
        Probe.from_texts(TEXTS, words, num_blocks=8, block_size=20, seed=seed) for seed in (0, 0, 1)
    )
    assert first.hash == second.hash
    assert first.hash != other.hash


def test_a_stream_is_taken_in_its_own_order() -> None:
    probe = Probe.from_texts(iter(TEXTS), words, num_blocks=1, block_size=40, orders=(1,))
    assert probe.inputs[0].tolist() == words(TEXTS[0])


def test_hugging_face_and_plain_tokenizers_agree() -> None:
    tokenizers = (words, word_level(), fast(model_max_length=8))  # texts are longer
    probes = [Probe.from_texts(TEXTS, tokenizer, num_blocks=4, block_size=16) for tokenizer in tokenizers]
    assert len({probe.hash for probe in probes}) == 1
    assert [probe.tokenizer for probe in probes] == ["function", "Tokenizer", "words"]


def test_the_protocol_names_the_tokenizer_by_its_definition() -> None:
    other = word_level({**{f"w{i}": i for i in range(17)}, "?": 18})
    probes = [
        Probe.from_texts(TEXTS, tokenizer, num_blocks=4, block_size=16) for tokenizer in (word_level(), other, words)
    ]
    hashes = [probe.protocol()["tokenizer_hash"] for probe in probes]
    assert [len(each) for each in hashes] == [66, 66, 0]  # with the version of the hash
    assert hashes[0] != hashes[1]
    assert len({probe.hash for probe in probes}) == 1  # the content is the same


@pytest.mark.parametrize("streaming", [False, True])
def test_from_dataset(streaming: bool) -> None:
    dataset = datasets.Dataset.from_dict({"text": TEXTS, "id": list(range(30))})
    dataset = dataset.to_iterable_dataset() if streaming else dataset
    first, second = (Probe.from_dataset(dataset, words, num_blocks=4, block_size=16, seed=1) for _ in range(2))
    assert first.hash == second.hash
    assert first.num_documents == 4


def test_from_dataset_without_the_column() -> None:
    with pytest.raises(ValueError, match=r"column must be one of \['text'\], got 'content'"):
        Probe.from_dataset(datasets.Dataset.from_dict({"text": TEXTS}), words, column="content")


def test_saved_probe_is_the_same(tmp_path: Path) -> None:
    probe = Probe.from_texts(TEXTS, word_level(), num_blocks=4, block_size=16)
    probe.save(tmp_path / "probe.pt")
    loaded = Probe.load(tmp_path / "probe.pt")
    assert loaded.protocol() == probe.protocol()
    assert all(loaded.label_sets[name].equal(labels) for name, labels in probe.label_sets.items())


def test_a_file_from_before_tokenizers_had_a_hash_is_read(tmp_path: Path) -> None:
    probe = Probe.from_texts(TEXTS, word_level(), num_blocks=4, block_size=16)
    probe.save(tmp_path / "probe.pt")
    state = torch.load(tmp_path / "probe.pt", weights_only=True)
    del state["tokenizer_hash"]
    torch.save(state, tmp_path / "old.pt")
    assert Probe.load(tmp_path / "old.pt").protocol() == probe.protocol() | {"tokenizer_hash": ""}


def test_damaged_file_is_refused(tmp_path: Path) -> None:
    probe = Probe.from_texts(TEXTS, words, num_blocks=4, block_size=16)
    probe.inputs = probe.inputs.clone()
    probe.inputs[0, 0] += 1
    probe.save(tmp_path / "probe.pt")
    with pytest.raises(ValueError, match="is damaged: its content does not have the hash"):
        Probe.load(tmp_path / "probe.pt")


@pytest.mark.parametrize("content", [b"not a probe", b"", {"weights": torch.ones(2)}, [1, 2]])
def test_a_file_of_something_else_is_refused(tmp_path: Path, content: object) -> None:
    path = tmp_path / "model.pt"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(content, path)
    with pytest.raises(ValueError, match=r"model\.pt is not a probe; Probe\.save writes one"):
        Probe.load(path)
    with pytest.raises(FileNotFoundError):
        Probe.load(tmp_path / "none.pt")


class Harmful:
    """An object whose pickle makes a file when it is read as pickles are."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def state_of_a_probe(folder: Path) -> dict[str, Any]:
    Probe.from_texts(TEXTS, words, num_blocks=4, block_size=16).save(folder / "probe.pt")
    return torch.load(folder / "probe.pt", weights_only=True)


def test_no_pickle_is_run_and_each_is_refused_in_the_same_words(tmp_path: Path) -> None:
    harmful, path = Harmful(tmp_path / "harmed"), tmp_path / "probe.pt"
    state = state_of_a_probe(tmp_path)
    whole = path.read_bytes()
    pickles = [pickle.dumps(each, protocol) for each in (harmful, {"a": 1}, [1], "text") for protocol in (0, 2, 4)]
    for content in (*pickles, whole[: len(whole) // 2], whole[:-9], b"text", b"PK\x03\x04", b"\x80\x02."):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"probe\.pt is not a probe; Probe\.save writes one"):
            Probe.load(path)
    for is_zip in (True, False):
        for saved in (harmful, {**state, "name": harmful}, {**state, "copies": harmful}):
            torch.save(saved, path, _use_new_zipfile_serialization=is_zip)
            with pytest.raises(ValueError, match=r"probe\.pt is not a probe; Probe\.save writes one"):
                Probe.load(path)
    assert not harmful.path.exists()
    pickle.loads(pickles[0])
    assert harmful.path.exists()  # so it would have been seen


def test_entries_of_a_wrong_kind_are_refused(tmp_path: Path) -> None:
    state, path = state_of_a_probe(tmp_path), tmp_path / "wrong.pt"
    wrong = [None, 5, [1, 2], {"a": 1}, torch.tensor(1), torch.eye(2).to_sparse()]
    changes: list[dict[str, Any]] = [
        {name: value} for name in state for value in wrong if not isinstance(value, type(state[name]))
    ]
    changes = [change for change in changes if change != {"copies": None}]  # as of a probe that does not know of any
    for change in (*changes, {"inputs": wrong[-1]}, {"label_sets": {"input/token": [1]}}, {"copies": {"found": 1}}):
        torch.save({**state, **change}, path)
        with pytest.raises(ValueError, match=r"wrong\.pt is not a probe; Probe\.save writes one"):
            Probe.load(path)


def test_a_probe_shows_what_it_is() -> None:
    tokens = torch.arange(64).view(4, 16) % 7
    probe = Probe(tokens, orders=(1, 2), keep_copies=True, name="held out")
    assert repr(probe) == "Probe('held out': 4 blocks × 16, 4 documents, 52 positions, hash 14f42afa)"
    labels = {"input": torch.arange(6), "output": torch.tensor([0, 1, 0, 1, -1, 7])}
    one_each = Probe(torch.arange(12).view(6, 2).float(), labels=labels)
    assert repr(one_each) == "Probe('probe': 6 blocks, 5 documents, 5 positions, hash cd47722b)"


def test_padding_and_packed_documents_are_respected() -> None:
    tokens = torch.arange(20).view(2, 10)
    documents = torch.tensor([[0] * 5 + [1] * 5, [2] * 8 + [-1] * 2])
    probe = Probe(tokens, orders=(1, 2), documents=documents)
    assert probe.positions.tolist() == [1, 2, 6, 7, 11, 12, 13, 14, 15]
    assert probe.documents.tolist() == [0, 0, 1, 1, 2, 2, 2, 2, 2]


def test_the_first_positions_can_be_skipped() -> None:
    tokens = torch.arange(32).view(2, 16)
    assert Probe(tokens, orders=(1,), skip=3).positions.tolist() == [*range(3, 15), *range(19, 31)]
    assert Probe(tokens, orders=(1, 4), skip=3).hash == Probe(tokens, orders=(1, 4)).hash  # left out anyway
    labels = {"input": tokens % 3, "output": tokens % 2}
    assert Probe(tokens, labels=labels, skip=15).positions.tolist() == [15, 31]
    probes = [Probe.from_texts(TEXTS, words, num_blocks=4, block_size=16, orders=(1,), skip=skip) for skip in (0, 1)]
    assert probes[1].num_positions == probes[0].num_positions - 4


def test_labels_of_ones_own() -> None:
    probe = Probe(torch.randn(6, 3), labels={"input": torch.arange(6), "output": torch.tensor([0, 1, 0, 1, -1, 7])})
    assert probe.orders == ("label",)
    assert probe.num_positions == 5
    assert probe.label_counts == {"input/label": 5, "output/label": 3}
    assert not probe.is_text


def test_preferences_of_token_ids_are_text_and_others_are_not() -> None:
    tokens, labels = torch.arange(12).view(4, 3), {"preference": torch.tensor([1, 0, 1, 0])}
    told, untold = Probe(tokens, labels=labels, is_text=True), Probe(tokens, labels=labels)
    assert told.is_text
    assert not untold.is_text
    assert told.hash == untold.hash  # the content is the same
    assert Probe(tokens, orders=(1,)).is_text


def test_hash_sees_everything_that_matters() -> None:
    tokens = torch.randint(0, 9, (4, 16), generator=torch.Generator().manual_seed(0))
    changed = tokens.clone()
    changed[0, 0] = (changed[0, 0] + 1) % 9
    probes = [
        Probe(tokens),
        Probe(changed),
        Probe(tokens, orders=(1, 2)),
        Probe(tokens, documents=torch.tensor([0, 0, 1, 1])),
    ]
    assert len({probe.hash for probe in probes}) == 4


def test_hashes_stay_what_they_were() -> None:
    """Trajectories hold these hashes: a change of code that changes them would make old and new runs incomparable."""
    tokens = torch.arange(64).view(4, 16) % 7
    labels = {"input": torch.arange(6), "output": torch.tensor([0, 1, 0, 1, -1, 7])}
    rows = [{"chosen": f"question {i}: yes", "rejected": f"question {i}: no."} for i in range(5)]
    probes = [
        Probe(tokens, orders=(1, 2), keep_copies=True),
        Probe(torch.arange(12).view(6, 2).float(), labels=labels),
        Probe.from_preferences(rows, lambda text: [ord(c) % 23 for c in text], num_pairs=4, block_size=24),
        Probe.from_texts(TEXTS, words, num_blocks=8, block_size=20),
    ]
    assert [probe.hash for probe in probes] == [
        "14f42afada2cdf6b331419f044aeb54707b7f68325c96e4350691b8f6ae7c376",
        "cd47722ba6f789d396f030a51cdde78e6794b853bca503d0b8f881d0a3c7e8c1",
        "53d44936276ee6e4e2534b5c959528995ad42f5297aca685c64d35e9102373d9",
        "958adda10366ad449c6550d1e4e194202f55a2b10c416eace6026aaf96bd28d3",
    ]


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: Probe(torch.zeros(0, 8, dtype=torch.long)), "the probe is empty"),
        (lambda: Probe(NO_TENSOR), "the probe is empty: inputs must be a tensor of S blocks, got list"),
        (lambda: Probe(torch.zeros(2, 8)), "tokens must be a tensor of integers"),
        (lambda: Probe(torch.zeros(8, dtype=torch.long)), r"tokens must have 2 dimensions, got shape \(8,\)"),
        (lambda: Probe(torch.full((2, 8), -1)), "tokens must be at least 0, got -1; mark padding"),
        (
            lambda: Probe(torch.zeros(2, 7, dtype=torch.long)),
            "orders up to 4 and skip=0 leave no position in blocks of length 7",
        ),
        (
            lambda: Probe(torch.zeros(2, 8, dtype=torch.long), orders=(1,), skip=7),
            "orders up to 1 and skip=7 leave no position in blocks of length 8",
        ),
        (lambda: Probe(torch.zeros(2, 8, dtype=torch.long), skip=-1), "skip must be an integer of at least 0, got -1"),
        (
            lambda: Probe(
                torch.zeros(2, 3), labels={"input": torch.ones(2).long(), "output": torch.ones(2).long()}, skip=1
            ),
            "skip must be 0 where inputs have one label each, got 1",
        ),
        (lambda: Probe(torch.zeros(2, 8, dtype=torch.long), orders=()), "orders must name at least one k"),
        (lambda: Probe(torch.zeros(2, 8, dtype=torch.long), orders=(0,)), "orders must be an integer of at least 1"),
        (
            lambda: Probe(torch.zeros(2, 8, dtype=torch.long), documents=torch.zeros(3, dtype=torch.long)),
            r"documents must have shape \(2,\) or \(2, 8\), got \(3,\)",
        ),
        (lambda: Probe(torch.zeros(2, 3), labels={"input": torch.zeros(2).long()}), "labels must pair an 'input'"),
        (
            lambda: Probe(torch.zeros(2, 3), labels={"input": torch.zeros(2).long(), "output": torch.zeros(3).long()}),
            r"all labels must have one shape, \(2,\) or \(2, T\)",
        ),
        (
            lambda: Probe(torch.zeros(2, 3), labels={"input": torch.tensor([0, -1]), "output": torch.tensor([-1, 0])}),
            "the probe is empty: no position has all of its labels",
        ),
        (
            lambda: Probe(torch.zeros(2, 3), labels={"preference": torch.tensor([1, 0])}, is_text=True),
            "tokens must be a tensor of integers",
        ),
        (
            lambda: Probe(
                torch.zeros(2, 3).long(), labels={"input": torch.zeros(2), "output": torch.zeros(2)}, is_text=True
            ),
            r"is_text must be left out unless labels are 'preference', got \['input', 'output'\]",
        ),
        (lambda: Probe.from_texts(TEXTS, words, num_blocks=31, block_size=16), "needs 31 documents .* got 30 among 30"),
        (lambda: Probe.from_texts([], words), "needs 64 documents of at least 128 tokens, got 0 among 0"),
        (lambda: Probe.from_texts("one text", words), "texts must be documents, one text each, got a single text"),
        (
            lambda: Probe.from_texts(TEXTS, str.split),
            r"tokenizer must return token ids, which are integers, got '\w+'",
        ),
        (
            lambda: Probe(torch.zeros(2, 8).long(), orders=("token",)),  # type: ignore[arg-type]  # what is refused
            r"orders must be lengths of k-grams, such as \(1, 2\), got \('token',\)",
        ),
        (
            lambda: Probe(torch.zeros(2, 8).long(), orders="token"),  # type: ignore[arg-type]  # what is refused
            r"orders must be lengths of k-grams, such as \(1, 2\), got 'token'",
        ),
        (lambda: Probe.from_texts(TEXTS, None), "tokenizer must be a tokenizer or a callable .* got NoneType"),
    ],
)
def test_bad_input(make: Callable[[], Probe], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        make()


def test_copies_that_are_measured_are_counted() -> None:
    text = torch.randint(900, (6, 40), generator=torch.Generator().manual_seed(0))
    copies = torch.cat([text, text[:2], text[:1]])
    assert Probe(text, orders=(1, 2)).num_copies == 0
    assert Probe(copies, orders=(1, 2), keep_copies=True).num_copies == 3
    with pytest.warns(UserWarning, match="3 of 9 documents"):
        assert Probe(copies, orders=(1, 2)).num_copies == 0  # they are not measured


def test_kgrams_are_backed_off_to_shorter_ones_and_labels_of_ones_own_stand_alone() -> None:
    text = torch.randint(9, (6, 12), generator=torch.Generator().manual_seed(0))
    chains = [[level.name for level in chain.levels] for chain in Probe(text, orders=(1, 3)).bracket_design.chains]
    assert chains == [["input/token", "input/trigram"], ["output/token", "output/trigram"]]
    labels = {f"{side}/{name}": torch.arange(6) % 2 for side in ("input", "output") for name in "ab"}
    chains = [[level.name for level in chain.levels] for chain in Probe(text, labels=labels).bracket_design.chains]
    assert chains == [["input/a"], ["output/a"], ["input/b"], ["output/b"]]
    preferences = Probe(text, labels={"preference": torch.arange(6) % 2})
    assert preferences.bracket_design.chains == ()


@pytest.mark.parametrize("left_out", [[], [1], [0, 3], [2, 2]])
def test_a_probe_without_documents_is_that_of_blocks_in_which_they_are_padding(left_out: list[int]) -> None:
    tokens = torch.randint(9, (5, 24), generator=torch.Generator().manual_seed(0))
    documents = torch.arange(5)
    probe = Probe(tokens, orders=(1, 2), documents=documents, keep_copies=True, name="five")
    fewer = probe.without(left_out)
    documents[left_out] = -1
    assert fewer.hash == Probe(tokens, orders=(1, 2), documents=documents, keep_copies=True).hash
    assert (fewer.num_blocks, fewer.num_documents, fewer.name) == (5, 5 - len(set(left_out)), "five")
    assert (fewer.hash == probe.hash) == (not left_out)
    assert fewer.label_designs.keys() == probe.label_designs.keys()


def test_a_probe_without_documents_can_be_kept_in_a_file(tmp_path: Path) -> None:
    probe = Probe(torch.arange(72).view(3, 24), orders=(1,)).without([1])
    probe.save(tmp_path / "probe.pt")
    assert Probe.load(tmp_path / "probe.pt").positions.tolist() == probe.positions.tolist()


@pytest.mark.parametrize(
    ("documents", "sentence"),
    [
        ([3], "documents must be below 3, got 3"),
        ([-1], "documents must be an integer of at least 0, got -1"),
        ([0, 1, 2], "some documents must be left in the probe, got all 3 to leave out"),
    ],
)
def test_documents_that_cannot_be_left_out_are_refused(documents: list[int], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        Probe(torch.arange(72).view(3, 24), orders=(1,)).without(documents)


def test_copies_are_looked_for_once_where_others_take_their_place(monkeypatch: pytest.MonkeyPatch) -> None:
    def again(*arguments: object) -> None:
        raise AssertionError("documents were chosen so that there are no copies among them")

    monkeypatch.setattr("ibtrack.probe.labels.copies_in_blocks", again)
    copied = [*TEXTS, TEXTS[0]]
    with pytest.warns(UserWarning, match="1 of 31 documents"):
        probe = Probe.from_texts(copied, words, num_blocks=30, block_size=20)
    assert probe.copies is not None
    assert probe.copies.found == 1
    rows = [{"chosen": text, "rejected": text[::-1].replace("w", "") + " w3"} for text in TEXTS]
    letters = [{key: " ".join(f"w{ord(each)}" for each in text) for key, text in row.items()} for row in rows]
    assert Probe.from_preferences(letters, words, num_pairs=4, block_size=40, keep_copies=True).copies is not None
    with pytest.raises(AssertionError, match="so that there are no copies"):
        Probe(probe.inputs)
