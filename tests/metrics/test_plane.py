import re
from typing import Any, ClassVar

import pytest
import torch
from soft_entropy import SoftEntropyAccumulator
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from experiments.benchmarks.text import made_up_text
from ibtrack import Probe, SoftOptions
from ibtrack.information.spectrum import Geometry, cloud_geometry
from ibtrack.metrics import InformationPlane
from ibtrack.record.keys import parse_key
from ibtrack.record.notes import NO_CEILING
from ibtrack.record.quantities import GEOMETRY, QUANTITIES, SHARE_OF, SMALLEST_CEILING
from ibtrack.tracking.notes import APART, notes_on, undefined_label_sets
from tests import models
from tests.metrics.contract import OtherProcess

AGREEMENT = 1e-5  # soft-entropy sums in float32


def test_the_whole_plane_with_bounds_is_soft_entropy() -> None:
    probe = models.probe()
    rows = torch.randn(models.VOCABULARY, 24, generator=torch.Generator().manual_seed(0))[probe.inputs.flatten()]
    plane = InformationPlane(probe, {"L00": 24}, options=SoftOptions(temperature="bounds"))
    plane.update("L00", rows, torch.arange(probe.num_positions), rows=probe.positions)
    readings = plane.compute()
    package = SoftEntropyAccumulator(d=24, n_bins=100, seed=0, backend="torch")
    package.update(rows[probe.positions], labels=dict(probe.label_sets))
    for side, quantity in (("input", "complexity"), ("output", "expressivity")):
        for order in probe.orders:
            expected = package.mutual_information()[f"{side}/{order}"]
            assert float(readings[f"ib_plugin/L00/{order}/{quantity}"]) == pytest.approx(expected, abs=AGREEMENT)


def _plane(probe: Probe, skip: int = 0, repeat: bool = False) -> InformationPlane:
    rows = torch.randn(models.VOCABULARY, 8, generator=torch.Generator().manual_seed(0))[probe.inputs.flatten()]
    plane = InformationPlane(probe, {"L00": 8, "L01": 8})
    everything = torch.arange(probe.num_positions)
    plane.update("L00", rows, everything, rows=probe.positions)
    plane.update("L01", rows, everything[skip:], rows=probe.positions[skip:])
    if repeat:
        plane.update("L01", rows[probe.positions[:2]], everything[:2])
    return plane


def test_positions_measured_twice_or_never_are_no_numbers() -> None:
    probe = models.probe()
    whole = _plane(probe)
    whole.compute()
    assert whole.faults() == {}
    missing, repeated = _plane(probe, skip=3), _plane(probe, repeat=True)
    readings = [plane.compute() for plane in (missing, repeated)]
    number = probe.num_positions
    assert missing.faults() == {"L01": f"3 of {number} positions were not measured"}
    assert repeated.faults() == {"L01": f"2 of {number} positions were measured more than once"}
    for reading in readings:
        assert reading["ib/L01/token/complexity"].isnan()
        assert reading["ib/mean/entropy"].isnan()
        assert reading["ib/L00/token/complexity"].isfinite()


def test_mean_leaves_the_embedding_out() -> None:
    probe = models.probe()
    plane = InformationPlane(probe, {"embed": 8, "L00": 8})
    generator = torch.Generator().manual_seed(0)
    for site in ("embed", "L00"):
        rows = torch.randn(probe.num_positions, 8, generator=generator)
        plane.update(site, rows, torch.arange(probe.num_positions))
    readings = plane.compute()
    assert readings["ib/mean/entropy"] == readings["ib/L00/entropy"] != readings["ib/embed/entropy"]


def test_the_final_norm_counts_in_the_mean_in_the_place_of_the_last_block() -> None:
    probe = models.probe()
    sites = ["embed", "L00", "L01", "final"]
    plane = InformationPlane(probe, dict.fromkeys(sites, 8))
    generator = torch.Generator().manual_seed(0)
    for scale, site in enumerate(sites):
        rows = torch.randn(probe.num_positions, 8, generator=generator) + scale
        plane.update(site, rows, torch.arange(probe.num_positions))
    values = plane.compute()
    for key in ("entropy", "token/complexity"):
        assert float(values[f"ib/mean/{key}"]) == pytest.approx(
            float(values[f"ib/L00/{key}"] + values[f"ib/final/{key}"]) / 2
        )


def test_the_geometry_is_that_of_the_sampled_positions_and_of_their_documents() -> None:
    probe = models.probe()
    plane = InformationPlane(probe, {"embed": 8, "L00": 24, "L01": 8}, geometry_rows=90)
    clouds = {site: _cloud(probe, width, seed) for seed, (site, width) in enumerate(plane.widths.items())}
    for site, cloud in clouds.items():
        for positions in torch.randperm(probe.num_positions).split(50):  # in any order and in parts
            plane.update(site, cloud, positions, rows=positions)
    values = plane.compute()
    sampled = (plane._places >= 0).nonzero().squeeze(1)
    assert len(sampled) == 90
    found = [cloud_geometry(clouds[site][sampled], probe.documents[sampled]) for site in ("L00", "L01")]
    assert float(values["ib/L00/rankme"]) == float(found[0].estimates["rankme"].value)
    assert float(values["ib/L00/rankme_se"]) == float(found[0].estimates["rankme"].standard_error)
    both = Geometry.join(found)
    for name in GEOMETRY[:2]:  # of width 8 there are too few eigenvalues for an exponent
        estimate = both.estimates[name].map(lambda part: part.mean(0, keepdim=True))
        assert float(values[f"ib/mean/{name}"]) == pytest.approx(float(estimate.value))
        assert float(values[f"ib/mean/{name}_se"]) == pytest.approx(float(estimate.standard_error))
        assert float(values[f"ib/mean/{name}_half"]) == pytest.approx(float(both.halves[name].mean()))
    assert values["ib/L00/alpha_req"].isfinite()
    assert values["ib/L01/alpha_req"].isnan()


def _cloud(probe: Probe, width: int, seed: int) -> torch.Tensor:
    return torch.randn(probe.num_positions, width, generator=torch.Generator().manual_seed(seed)) + 0.3


def test_two_processes_have_the_geometry_of_one() -> None:
    probe = models.probe()
    cloud = _cloud(probe, 24, 0)
    one, other, whole = (InformationPlane(probe, {"L00": 24}, geometry_rows=100) for _ in range(3))
    shares = torch.arange(probe.num_positions).split(77)
    for place, positions in enumerate(shares):
        for plane in (whole, one if place % 3 else other):
            plane.update("L00", cloud, positions, rows=positions)
    exchange: Any = OtherProcess(other)
    one.dist_sync_fn, one.distributed_available_fn = exchange, lambda: True
    together, expected = one.compute(), whole.compute()
    for name in GEOMETRY:
        for suffix in ("", "_se", "_half"):
            assert float(together[f"ib/L00/{name}{suffix}"]) == float(expected[f"ib/L00/{name}{suffix}"])


def test_rows_that_were_lost_or_are_not_finite_have_no_geometry() -> None:
    probe = models.probe()
    positions = torch.arange(probe.num_positions)
    plane = InformationPlane(probe, {"L00": 24, "L01": 24, "L02": 24}, geometry_rows=probe.num_positions)
    plane.update("L00", _cloud(probe, 24, 0), positions)
    plane.update("L01", _cloud(probe, 24, 1)[3:], positions[3:])
    plane.update("L02", _cloud(probe, 24, 2).index_fill(0, torch.tensor([5]), torch.inf), positions)
    values = plane.compute()
    assert set(plane.faults()) == {"L01", "L02"}
    for name in GEOMETRY:
        assert values[f"ib/L00/{name}"].isfinite()
        assert values[f"ib/L01/{name}"].isnan()
        assert values[f"ib/L02/{name}"].isnan()
        assert values[f"ib/mean/{name}"].isnan()


def test_the_memory_of_sampled_rows_is_counted_and_given_back() -> None:
    probe = models.probe()
    plane = InformationPlane(probe, {"L00": 8}, geometry_rows=100)
    plane.update("L00", _cloud(probe, 8, 0), torch.arange(probe.num_positions))
    assert plane.assignments.nbytes + plane.sampled_rows.nbytes == plane.num_bytes
    before = plane.compute()
    plane.reset()
    assert not plane.sampled_rows.any()
    plane.update("L00", _cloud(probe, 8, 0), torch.arange(probe.num_positions))
    assert plane.compute()["ib/L00/rankme"] == before["ib/L00/rankme"]
    plane.release()
    assert plane.sampled_rows.numel() == 0


def test_unknown_site_and_no_site() -> None:
    with pytest.raises(ValueError, match=r"site must be one of \['L00', 'L01'\], got 'L02'"):
        _plane(models.probe()).update("L02", torch.ones(1, 8), torch.tensor([0]))
    with pytest.raises(ValueError, match="widths must name at least one site"):
        InformationPlane(models.probe(), {})


def test_distinct_labels_are_nan_and_the_others_are_not() -> None:
    probe = Probe(torch.arange(40).view(2, 20) % 37, orders=(1, 4))
    plane = InformationPlane(probe, {"L00": 8})
    rows = torch.randn(probe.num_positions, 8, generator=torch.Generator().manual_seed(0))
    plane.update("L00", rows, torch.arange(probe.num_positions))
    assert probe.label_counts["input/quadgram"] == probe.num_positions
    assert plane.compute()["ib/L00/quadgram/complexity"].isnan()


def test_labels_of_one_document_each_are_nan_and_say_so() -> None:
    documents = torch.arange(4)[:, None].expand(4, 10)
    labels = {"input/own": documents * 2 + torch.arange(10) % 2, "output/own": (documents + torch.arange(10)) % 5}
    probe = Probe(torch.zeros(4, 10, 3), labels=labels)
    plane = InformationPlane(probe, {"L00": 8})
    plane.update("L00", torch.randn(40, 8, generator=torch.Generator().manual_seed(0)), torch.arange(40))
    readings = plane.compute()
    assert readings["ib/L00/own/complexity"].isnan()
    assert readings["ib/L00/own/expressivity"].isfinite()
    assert undefined_label_sets(probe) == {"input/own": APART}


def _filled(probe: Probe, **options: Any) -> InformationPlane:
    plane = InformationPlane(probe, {"L00": 8, "L01": 8}, **options)
    for site, seed in (("L00", 0), ("L01", 1)):
        generator = torch.Generator().manual_seed(seed)
        rows = torch.randn(models.VOCABULARY, 8, generator=generator)[probe.inputs.flatten()] + 1
        plane.update(site, rows, torch.arange(probe.num_positions), rows=probe.positions)
    return plane


def test_several_draws_are_the_mean_over_seeds_and_their_spread() -> None:
    probe = models.probe()
    alone = [_filled(probe, options=SoftOptions(seed=seed)).compute() for seed in (3, 4, 5)]
    together = _filled(probe, options=SoftOptions(seed=3, anchor_draws=3)).compute()
    for key in ("ib/L00/entropy", "ib/mean/token/complexity", "ib_plugin/L01/bigram/expressivity"):
        values = torch.stack([readings[key] for readings in alone])
        torch.testing.assert_close(together[key], values.mean(), rtol=1e-6, atol=1e-9)
        torch.testing.assert_close(together[f"{key}_anchor_sd"], values.std(), rtol=1e-5, atol=1e-9)
    assert not any("_se_anchor" in key for key in together)
    assert not any("anchor_sd" in key for key in alone[0])


def test_ratios_and_shares_are_those_of_the_numbers_beside_them() -> None:
    readings = {key: float(value) for key, value in _filled(models.probe()).compute().items()}
    for site in ("mean", "L01"):
        h = readings[f"ib/{site}/entropy"]
        before = 0.0
        for order in ("token", "bigram"):
            complexity = readings[f"ib/{site}/{order}/complexity"]
            expected = {
                "optimality": readings[f"ib/{site}/{order}/expressivity"] / complexity,
                "regularity": complexity / h,
                "variation": h - complexity,
                "share": (complexity - before) / h,
                "kept": complexity / readings[f"ib/{site}/ceiling"],
                "told": readings[f"ib/{site}/{order}/expressivity"] / readings[f"ib/{site}/ceiling"],
            }
            before = complexity
            for name, value in expected.items():
                assert readings[f"ib/{site}/{order}/{name}"] == pytest.approx(value, abs=1e-9)
                assert readings[f"ib/{site}/{order}/{name}_se"] >= 0


@pytest.mark.parametrize("prefix", ["ib", "ib_plugin", "ib_null"])
def test_shares_are_taken_after_averaging_over_the_blocks_in_every_reading(prefix: str) -> None:
    readings = {key: float(value) for key, value in _filled(models.probe()).compute().items()}
    ceilings = [readings[f"ib/{site}/ceiling"] for site in ("L00", "L01")]
    assert ceilings[0] != pytest.approx(ceilings[1], rel=1e-3)
    for name, share in SHARE_OF.items():
        numbers = [readings[f"{prefix}/{site}/token/{name}"] for site in ("L00", "L01")]
        assert readings[f"{prefix}/mean/token/{share}"] == pytest.approx(sum(numbers) / sum(ceilings), abs=1e-9)


def test_the_error_of_a_share_is_that_of_leaving_documents_out() -> None:
    """Against the delete-one jackknife of the quotient: they differ by the curvature, which is small here."""
    probe = Probe(models.tokens(24, seed=5), orders=(1,))
    generator = torch.Generator().manual_seed(1)
    table = torch.randn(models.VOCABULARY, 8, generator=generator)
    rows = table[probe.inputs.flatten()] + 0.8 * torch.randn(probe.inputs.numel(), 8, generator=generator)
    rows = rows.view(*probe.inputs.shape, 8)

    def measured(blocks: Tensor) -> dict[str, float]:
        part = Probe(probe.inputs[blocks], orders=(1,))
        plane = InformationPlane(part, {"L00": 8}, readings=("debiased",))
        everything = rows[blocks].reshape(-1, 8)
        plane.update("L00", everything, torch.arange(part.num_positions), rows=part.positions)
        return {key: float(value) for key, value in plane.compute().items()}

    whole = measured(torch.arange(24))
    without = [torch.tensor([other for other in range(24) if other != block]) for block in range(24)]
    left_out = torch.tensor([measured(blocks)["ib/L00/token/kept"] for blocks in without], dtype=torch.float64)
    jackknife = float((left_out - left_out.mean()).square().sum() * 23 / 24) ** 0.5
    assert whole["ib/L00/token/kept_se"] == pytest.approx(jackknife, rel=0.35)


def test_without_a_ceiling_there_are_no_shares() -> None:
    probe = models.probe()
    plane = InformationPlane(probe, {"L00": 8, "L01": 8})
    everything = torch.arange(probe.num_positions)
    rows = torch.randn(probe.num_positions, 8, generator=torch.Generator().manual_seed(0))
    plane.update("L00", torch.ones(probe.num_positions, 8), everything)
    plane.update("L01", rows, everything)
    readings = plane.compute()
    shares = [key for key in readings if key.rpartition("/")[2].removesuffix("_se") in SHARE_OF.values()]
    for key in shares:
        assert readings[key].isnan() == ("/L00/" in key), key
    assert abs(float(readings["ib/L00/ceiling"])) < SMALLEST_CEILING
    notes = notes_on({key: float(value) for key, value in readings.items()}, {}, probe)
    assert {notes[key] for key in shares if readings[key].isnan() and not key.endswith("_se")} == {NO_CEILING}


def test_mean_cosine_is_that_of_all_pairs() -> None:
    probe = models.probe()
    plane = InformationPlane(probe, {"L00": 8})
    rows = torch.randn(probe.num_positions, 8, generator=torch.Generator().manual_seed(0)) + 0.5
    plane.update("L00", rows, torch.arange(probe.num_positions))
    unit = torch.nn.functional.normalize(rows.double(), dim=1)
    cosines = (unit @ unit.T)[~torch.eye(len(rows), dtype=torch.bool)]
    assert float(plane.compute()["ib/L00/mean_cosine"]) == pytest.approx(float(cosines.mean()), abs=1e-6)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"geometry_rows": -1}, "geometry_rows must be .* got -1"),
        ({"readings": ("best",)}, "readings must be one of 'debiased', 'plugin', 'null', got 'best'"),
    ],
)
def test_bad_options(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        InformationPlane(models.probe(), {"L00": 8}, **options)


def test_the_plugin_alone_is_that_of_all_readings() -> None:
    everything, alone = (_filled(models.probe(), **o).compute() for o in ({}, {"readings": ("plugin",)}))
    assert {key for key in everything if key.startswith("ib_plugin")} == {
        key for key in alone if "/bigram" in key or "/token" in key
    }
    for key, value in alone.items():
        assert float(value) == pytest.approx(float(everything[key]), abs=1e-7, nan_ok=True)


def _preferences() -> Probe:
    liked = torch.tensor([1, 0]).repeat(6).unsqueeze(1).expand(12, 16)
    documents = torch.arange(6).repeat_interleave(2)
    return Probe(models.tokens(12, seed=3), labels={"preference": liked}, documents=documents)


@pytest.mark.parametrize("readings", [("debiased",), ("plugin",), ("null", "plugin")])
def test_a_probe_of_preferences_gives_the_readings_that_were_asked_for(readings: tuple[str, ...]) -> None:
    everything = _filled(_preferences()).compute()
    asked = _filled(_preferences(), readings=readings).compute()
    names = {"debiased": "ib", "plugin": "ib_plugin", "null": "ib_null"}
    for reading, prefix in names.items():
        key = f"{prefix}/L00/preference_information"
        assert (key in asked) == (reading in readings)
        if reading in readings:
            assert float(asked[key]) == pytest.approx(float(everything[key]), abs=1e-7)


def test_faults_before_readings_say_what_to_call_first() -> None:
    plane = InformationPlane(models.probe(), {"L00": 8})
    with pytest.raises(RuntimeError, match=r"needs readings; call readings\(\) or compute\(\) first"):
        plane.faults()


@pytest.mark.parametrize("probe", [models.probe(), _preferences()], ids=["text", "preferences"])
def test_every_number_belongs_to_a_quantity_of_the_table(probe: Probe) -> None:
    plane = _filled(probe, options=SoftOptions(anchor_draws=2, label_weights="both"), geometry_rows=100)
    suffixes = re.compile("(_low|_high|_half|_z|_equal)?(_se|_anchor_sd)?$")
    quantities = {suffixes.sub("", parse_key(key).quantity) for key in plane.compute()}
    assert {*GEOMETRY} <= quantities <= QUANTITIES.keys()


@pytest.mark.parametrize("probe", [models.probe(), _preferences()], ids=["text", "preferences"])
def test_labels_that_count_alike_are_soft_entropys_conditional_entropies_by_label(probe: Probe) -> None:
    rows = torch.randn(probe.num_positions, 24, generator=torch.Generator().manual_seed(0))
    package = SoftEntropyAccumulator(d=24, n_bins=100, seed=0, backend="torch")
    package.update(rows, labels=dict(probe.label_sets))
    plane = InformationPlane(probe, {"L00": 24}, options=SoftOptions(temperature="bounds", label_weights="both"))
    plane.update("L00", rows, torch.arange(probe.num_positions))
    values = plane.compute()
    for name, entropies in package.conditional_entropy().items():
        frequent = [entropies[x] for x, n in enumerate(torch.bincount(probe.label_sets[name]).tolist()) if n >= 5]
        side, _, order = name.rpartition("/")
        key = {"input": f"{order}/complexity", "output": f"{order}/expressivity"}.get(side, f"{name}_information")
        expected = package.entropy() - sum(frequent) / len(frequent)
        assert float(values[f"ib_plugin/L00/{key}_equal"]) == pytest.approx(expected, abs=AGREEMENT)
        assert float(values[f"ib_plugin/L00/{key}"]) == pytest.approx(package.mutual_information()[name], abs=AGREEMENT)


def test_labels_that_count_alike_are_read_where_they_are_asked_for_and_move_nothing() -> None:
    probe = models.probe()
    numbers = [
        _filled(probe, options=SoftOptions(label_weights=weights, anchor_draws=2)).compute()
        for weights in ("frequency", "both")
    ]
    added = {key for key in numbers[1] if "_equal" in key}
    assert len(added) == 24  # two quantities of two orders and their spread, at the mean and two sites
    assert numbers[1].keys() - added == numbers[0].keys()
    assert all(parse_key(key).reading == "plugin" for key in added)
    torch.testing.assert_close({key: numbers[1][key] for key in numbers[0]}, numbers[0], rtol=0, atol=0, equal_nan=True)


def test_the_bracket_of_every_site_and_order() -> None:
    values = _filled(models.probe()).compute()
    for site in ("mean", "L00"):
        for order in ("token", "bigram"):
            for quantity in ("complexity", "expressivity"):
                key = f"ib/{site}/{order}/{quantity}"
                assert values[f"{key}_low"] < values[f"{key}_high"]
                assert values[f"{key}_high"] == values[f"ib_plugin/{site}/{order}/{quantity}"]
                assert 0 < values[f"{key}_low_se"] < 0.1
    assert not any(key.endswith(("_low_anchor_sd", "_high_anchor_sd", "_high_se")) for key in values)


def test_the_lower_end_of_the_mean_is_the_mean_of_the_lower_ends() -> None:
    probe = models.probe()
    plane = InformationPlane(probe, {"L00": 8, "L01": 8})
    generator = torch.Generator().manual_seed(0)
    for site in ("L00", "L01"):
        table = torch.randn(models.VOCABULARY, 8, generator=generator)
        plane.update(site, table[probe.inputs.flatten()], torch.arange(probe.num_positions), rows=probe.positions)
    values = plane.compute()
    ends = [float(values[f"ib/{site}/token/complexity_low"]) for site in ("L00", "L01")]
    assert float(values["ib/mean/token/complexity_low"]) == pytest.approx(sum(ends) / 2, abs=1e-9)
    errors = [float(values[f"ib/{site}/token/complexity_low_se"]) for site in ("L00", "L01")]
    assert float(values["ib/mean/token/complexity_low_se"]) < max(errors)  # both are of the same documents


def test_a_bigram_is_backed_off_to_its_token_and_labels_of_ones_own_are_not() -> None:
    generator = torch.Generator().manual_seed(0)
    tokens = models.tokens(24, seed=99)
    probe, rows = Probe(tokens, orders=(1, 2)), torch.randn(models.VOCABULARY, 8, generator=generator)
    ids = torch.full(tokens.shape, -1).flatten().index_put_((probe.positions,), probe.label_sets["input/bigram"])
    own = Probe(tokens, labels={"input": ids.view(tokens.shape), "output": ids.view(tokens.shape)})
    lows = []
    for each, order in ((probe, "bigram"), (own, "label")):
        plane = InformationPlane(each, {"L00": 8})
        plane.update("L00", rows[tokens.flatten()], torch.arange(each.num_positions), rows=each.positions)
        values = plane.compute()
        lows.append(float(values[f"ib/L00/{order}/complexity_low"]))
    assert lows[0] > lows[1] + 0.01  # activations are those of the token


@pytest.mark.parametrize(
    ("readings", "ends"),
    [
        (("plugin",), set()),
        (("debiased",), {"_low", "_low_se"}),
        (("debiased", "plugin"), {"_low", "_low_se", "_high"}),
    ],
)
def test_brackets_are_those_of_the_debiased_reading(readings: tuple[str, ...], ends: set[str]) -> None:
    values = _filled(models.probe(), readings=readings).compute()
    name = "ib/L00/token/complexity"
    found = {key.removeprefix(name) for key in values if key.startswith(f"{name}_")}
    assert found - {"_se", "_z"} == ends


def test_preferences_have_no_bracket() -> None:
    assert not any("_low" in key or "_high" in key for key in _filled(_preferences()).compute())


class _Calls(TorchDispatchMode):
    """Counts calls that do work on a device: those that only look at a tensor in another way, or make room, do none."""

    NO_WORK: ClassVar = set(
        """
        view _unsafe_view expand permute transpose t select slice unsqueeze squeeze detach alias as_strided unbind
        split split_with_sizes movedim values empty empty_like new_empty empty_strided
        """.split()  # noqa: SIM905  # as a list it would take 20 lines
    )

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.number = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.number += func._schema.name.partition("::")[2] not in self.NO_WORK
        return func(*args, **(kwargs or {}))


def test_an_accelerator_is_not_waited_for_and_is_called_a_bounded_number_of_times() -> None:
    """Tensors on ``meta`` have no values, so a step that needs one, for which an accelerator is waited for, raises."""
    probe = Probe(made_up_text(64, 128, vocabulary=300))
    plane = InformationPlane(probe, {f"L{layer:02}": 96 for layer in range(12)}).to("meta")
    plane.readings()  # moves the label sets, once
    with _Calls() as calls:
        plane.readings()
    assert calls.number < 3500  # 2763 launches of an H200 for 13 sites; 19,627 when chunks were those of a CPU
