"""The paper's protocol against the published package, from documents of any length to the numbers of every layer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch
import transformers as hf
from soft_entropy import LLMInferrer, SoftEntropyAccumulator
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import Tensor

from ibtrack import InformationPlaneTracker, Probe
from ibtrack.metrics import InformationPlane
from ibtrack.replay.settings import ProtocolSettings, protocol_settings

AGREEMENT = 2e-6  # soft-entropy sums in float32, over some hundred positions
WORDS, BLOCK = 60, 24
SITES = ("embed", "L00", "L01", "final")
PLACES = ((0, "embed"), (1, "L00"), (2, "final"), (None, "mean"))  # of a site among the package's layers


def documents(number: int = 30) -> list[str]:
    """Made-up texts of 9 to 67 words in which a word depends on the last; the shortest have two positions."""
    generator = torch.Generator().manual_seed(5)
    texts = []
    for i in range(number):
        ids = torch.randint(WORDS, (9 + 2 * i,), generator=generator)
        for j in range(1, len(ids)):
            if j % 3:
                ids[j] = (7 * ids[j - 1] + 1) % WORDS
        texts.append(" ".join(f"w{word}" for word in ids.tolist()))
    return texts


def tokenizer() -> Any:
    backend = Tokenizer(models.WordLevel({f"w{i}": i for i in range(WORDS)} | {"?": WORDS}, unk_token="?"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    make: Any = hf.PreTrainedTokenizerFast
    return make(tokenizer_object=backend, pad_token="?")


def llama() -> Any:
    torch.manual_seed(0)
    sizes: dict[str, Any] = {
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
    }
    model: Any = hf.LlamaForCausalLM(hf.LlamaConfig(vocab_size=WORDS + 1, max_position_embeddings=64, **sizes))
    torch.nn.init.uniform_(model.model.norm.weight, 0.1, 3.0)  # equal weights would leave every direction as it is
    return model.eval()


def small_paper() -> ProtocolSettings:
    """The paper's protocol in the size of a test; the package has no quadgrams."""
    return replace(protocol_settings("paper"), num_blocks=30, block_size=BLOCK, orders=(1, 2, 3), min_length=6)


def plane_of(model: Any, probe: Probe, settings: ProtocolSettings) -> dict[str, float]:
    """Every number, of activations that Hugging Face hands over: its last ones are those after the final norm."""
    plane = InformationPlane(probe, dict.fromkeys(SITES, 32), options=settings.options)
    with torch.no_grad():
        states: tuple[Tensor, ...] = model(probe.inputs, output_hidden_states=True).hidden_states
    # of two layers: the embedding, the first block, the final norm; the last block is not among them
    for site, activations in zip(SITES, (states[0], states[1], states[1], states[2]), strict=True):
        plane.update(site, activations.flatten(0, 1), torch.arange(probe.num_positions), rows=probe.positions)
    return {key: float(value) for key, value in plane.compute().items()}


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the package's own pipeline makes of the same documents, cut, padded and batched by itself."""
    folder = tmp_path_factory.mktemp("model")
    llama().save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    inferrer = LLMInferrer(str(folder), "", label_types=["unigram", "bigram", "trigram"], max_length=BLOCK)
    for start in range(0, 30, 4):
        inferrer._process_batch(documents()[start : start + 4])
    results: dict[str, Any] = inferrer._collect_results()
    return results


@pytest.mark.parametrize(("place", "site"), PLACES)
def test_every_site_reads_what_the_published_pipeline_reads(
    published: dict[str, Any], place: int | None, site: str
) -> None:
    settings = small_paper()
    probe = Probe.from_texts(documents(), tokenizer(), keep_copies=True, **settings.text_options)
    assert_published(plane_of(llama(), probe, settings), published, place, site)


@pytest.mark.parametrize(("place", "site"), PLACES)
def test_a_tracker_of_the_protocols_layers_reads_it_too(
    published: dict[str, Any], place: int | None, site: str
) -> None:
    settings = small_paper()
    probe = Probe.from_texts(documents(), tokenizer(), keep_copies=True, **settings.text_options)
    tracker = InformationPlaneTracker(probe, layers=settings.layers, options=settings.options)
    assert_published(tracker.measure(llama()).values, published, place, site)


def assert_published(values: Mapping[str, float], published: dict[str, Any], place: int | None, site: str) -> None:
    results = published["mean"] if place is None else published["per_layer"][place]
    assert values[f"ib/{site}/entropy"] == pytest.approx(results["H(Z)"], abs=AGREEMENT)
    for order, theirs in (("token", "unigram"), ("bigram", "bigram"), ("trigram", "trigram")):
        for side, quantity in (("input", "complexity"), ("output", "expressivity")):
            expected = results[f"I(X;Z)/{side}_{theirs}"]
            assert 0.05 < expected < 1
            assert values[f"ib_plugin/{site}/{order}/{quantity}"] == pytest.approx(expected, abs=AGREEMENT)


def test_a_tracker_measures_what_hugging_face_calls_hidden_states() -> None:
    settings, model = small_paper(), llama()
    probe = Probe.from_texts(documents(), tokenizer(), keep_copies=True, **settings.text_options)
    layers = ["model.embed_tokens", "model.layers.*", "model.norm"]  # named, so each is a numbered site: L00 to L03
    options = replace(settings.options, mean_over="blocks")  # none of these is called the final norm
    tracker = InformationPlaneTracker(probe, layers=layers, options=options, batch_size=7)
    values = tracker.measure(model).values
    by_hand = plane_of(model, probe, settings)
    for place, site in (("L00", "embed"), ("L01", "L00"), ("L03", "final")):
        keys = [key for key in by_hand if f"/{site}/" in key]
        assert len(keys) > 40
        for key in keys:
            assert values[key.replace(f"/{site}/", f"/{place}/")] == pytest.approx(by_hand[key], abs=1e-6, nan_ok=True)
    block, norm = (values[f"ib_plugin/{site}/token/complexity"] for site in ("L02", "L03"))
    assert abs(block - norm) > 0.005, "the last block's own output is another cloud"


def test_a_mean_over_hidden_states_is_refused_at_the_start_where_the_final_norm_is_not_measured() -> None:
    settings = small_paper()
    probe = Probe.from_texts(documents(), tokenizer(), keep_copies=True, **settings.text_options)
    with pytest.raises(ValueError, match=r"mean_over='hidden_states' .* the site 'final' must be measured"):
        InformationPlaneTracker(probe, options=settings.options).start(llama())


def test_the_second_weighting_is_that_of_the_packages_entropies_by_label() -> None:
    settings, model = small_paper(), llama()
    probe = Probe.from_texts(documents(), tokenizer(), keep_copies=True, **settings.text_options)
    with torch.no_grad():
        last = model(probe.inputs, output_hidden_states=True).hidden_states[-1].flatten(0, 1)[probe.positions]
    package = SoftEntropyAccumulator(d=32, backend="torch")
    package.update(last, labels=dict(probe.label_sets))
    values = plane_of(model, probe, settings)
    for name, quantity in (("input/token", "complexity"), ("output/token", "expressivity")):
        entropies, numbers = package.conditional_entropy()[name], torch.bincount(probe.label_sets[name]).tolist()
        frequent = [entropies[label] for label, number in enumerate(numbers) if number >= 5]
        assert 0 < len(frequent) < len(numbers)
        expected = package.entropy() - sum(frequent) / len(frequent)
        assert values[f"ib_plugin/final/token/{quantity}_equal"] == pytest.approx(expected, abs=AGREEMENT)


def test_padding_is_neither_measured_nor_seen_by_causal_attention() -> None:
    settings, model = small_paper(), llama()
    probe, other = (
        Probe.from_texts(documents(), tokenizer(), keep_copies=True, **settings.text_options) for _ in range(2)
    )
    text = torch.zeros_like(other.inputs, dtype=torch.bool).flatten()
    for offset in range(-2, 4):  # a position is labelled by three tokens up to it, and by three after it
        text[other.positions + offset] = True
    other.inputs[~text.view_as(other.inputs)] = 17  # what the model reads there
    assert (other.inputs != probe.inputs).sum() > 50
    options = replace(settings.options, mean_over="blocks")
    points = [
        InformationPlaneTracker(each, layers="model.layers.*", options=options).measure(model)
        for each in (probe, other)
    ]
    assert points[0].values == points[1].values
