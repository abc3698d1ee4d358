import pytest
import torch
from torch import nn

from ibtrack.capture.sites import CaptureError, capture, find_sites, named_modules, output_tensor
from tests.models import Model, tokens

COMPILE_WARNINGS = pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated")  # torch's own import


def _hugging_face(name):
    import transformers as hf

    sizes = {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 32}
    configs = {
        "gpt2": hf.GPT2Config(n_embd=16, n_layer=3, n_head=2, vocab_size=23),
        "llama": hf.LlamaConfig(vocab_size=23, **sizes),
        "gpt_neox": hf.GPTNeoXConfig(vocab_size=23, **sizes),
        "olmo2": hf.Olmo2Config(vocab_size=23, num_key_value_heads=2, **sizes),
        "mixtral": hf.MixtralConfig(vocab_size=23, num_key_value_heads=2, num_local_experts=4, **sizes),
        "mamba": hf.MambaConfig(vocab_size=23, hidden_size=16, num_hidden_layers=3, state_size=4),
    }
    return hf.AutoModelForCausalLM.from_config(configs[name])


@pytest.mark.parametrize("name", ["gpt2", "llama", "gpt_neox", "olmo2", "mixtral", "mamba"])
@pytest.mark.filterwarnings("ignore:.*")  # transformers speaks of missing fast kernels
def test_auto_finds_the_blocks_of_any_decoder(name):
    model = _hugging_face(name).eval()
    sites = find_sites(model)
    assert list(sites) == ["embed", "L00", "L01", "L02"]
    seen = {}
    with torch.no_grad(), capture(model, sites, seen.__setitem__) as check:
        output = model(tokens(2, seed=0), output_hidden_states=True)
        check()
    first, second = (0, 1) if name == "mamba" else (1, 2)  # mamba keeps no embedding; the last one is normed, not raw
    assert seen["L00"].equal(output.hidden_states[first])
    assert seen["L01"].equal(output.hidden_states[second])
    assert seen["embed"].shape == seen["L02"].shape == (2, 16, 16)


def test_globs_and_names():
    assert find_sites(Model(3), "blocks.*") == {"L00": "blocks.0", "L01": "blocks.1", "L02": "blocks.2"}
    assert find_sites(Model(3), ["head", "blocks.1"]) == {"L00": "blocks.1", "L01": "head"}


def test_unknown_name_shows_the_nearest():
    with pytest.raises(ValueError, match=r"nothing fits 'block\.1'; nearest: \['blocks\.1'"):
        find_sites(Model(), "block.1")
    with pytest.raises(ValueError, match="layers must name at least one module, got none"):
        find_sites(Model(), [])


def test_a_model_without_blocks_is_refused():
    with pytest.raises(ValueError, match="found no list of repeated blocks"):
        find_sites(nn.Linear(2, 2))


@COMPILE_WARNINGS
def test_wrappers_leave_no_trace_in_names():
    model = Model()
    plain = list(named_modules(model))
    model.blocks[0] = torch.compile(model.blocks[0])
    assert list(named_modules(torch.compile(model))) == plain
    assert list(named_modules(nn.DataParallel(model))) == plain


def test_hooks_are_gone_afterwards_also_after_an_error():
    model = Model()
    with pytest.raises(KeyError), capture(model, {"L00": "blocks.0", "L01": "no.such"}, print):
        pass
    with pytest.raises(ZeroDivisionError), capture(model, find_sites(model), lambda site, rows: 1 // 0):
        model(tokens(2, seed=0))
    assert not any(module._forward_hooks for module in model.modules())


def test_a_site_that_fires_twice_or_never_is_an_error():
    class Odd(Model):
        def forward(self, ids):
            return self.head(self.blocks[0](self.blocks[0](self.embed(ids))))

    model = Odd()
    sites = find_sites(model)
    with (
        pytest.raises(CaptureError, match=r"L00 \(blocks.0\) fired 2 times, L01 \(blocks.1\) fired 0 times"),
        capture(model, sites, lambda site, rows: None) as check,
    ):
        model(tokens(2, seed=0))
        check()


class _Output:
    last_hidden_state = torch.ones(1)


@pytest.mark.parametrize("output", [torch.ones(1), (torch.ones(1), None), [torch.ones(1)], _Output()])
def test_hidden_states_are_found(output):
    assert output_tensor(output, "L00").equal(torch.ones(1))


@pytest.mark.parametrize("output", [None, (), (None, torch.ones(1)), {"loss": torch.ones(1)}])
def test_no_hidden_states(output):
    with pytest.raises(CaptureError, match="L00 must return a tensor"):
        output_tensor(output, "L00")


@COMPILE_WARNINGS
@pytest.mark.parametrize("style", ["wrapped", "in place", "per block"])
def test_compiled_models_fire_every_hook_and_do_not_recompile(style):
    from torch._dynamo.utils import counters

    from ibtrack.capture.isolation import undisturbed

    torch._dynamo.reset()
    counters.clear()
    plain = Model().eval()
    model = plain
    if style == "wrapped":
        model = torch.compile(plain, backend="eager")
    elif style == "in place":
        plain.compile(backend="eager")
    else:
        for index, block in enumerate(plain.blocks):
            plain.blocks[index] = torch.compile(block, backend="eager")
    ids = tokens(2, seed=0)
    with torch.no_grad():
        compiled = model(ids)
    graphs = counters["stats"]["unique_graphs"]
    assert graphs > 0
    for _ in range(3):
        seen = {}
        with undisturbed(model), capture(model, find_sites(model), seen.__setitem__) as check:
            torch.testing.assert_close(model(ids), compiled)
            check()
        with torch.no_grad():
            model(ids)
    assert len(seen) == 3
    assert counters["stats"]["unique_graphs"] == graphs
