import copy
import math
import pickle
import warnings
from collections.abc import Callable, Iterator
from multiprocessing.queues import SimpleQueue
from typing import Any

import numpy as np
import pytest
import torch
import torch.multiprocessing as mp
from soft_entropy import SoftEntropyAccumulator
from torch import Tensor
from torch.multiprocessing.spawn import spawn
from torchmetrics import Metric

from ibtrack.information import assign, debiased_information
from ibtrack.metrics import InformationPlane, SoftDisentanglement, SoftEntropy, SoftMutualInformation
from ibtrack.record.keys import READINGS
from tests import models, references
from tests.models import free_port

AGREEMENT = 1e-5  # soft-entropy sums in float32
SHARED = ("plugin", "debiased")  # what several processes read together

Batch = Callable[[slice], tuple[Tensor, ...]]  # the arguments of an update with some of the rows


def _data(number: int = 600, width: int = 24, labels: int = 30, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(0, labels, (number,), generator=generator)
    means = torch.randn(labels, width, generator=generator)
    return means[ids] + torch.randn(number, width, generator=generator), ids


@pytest.mark.parametrize("width", [4, 24, 512])
def test_plugin_with_bounds_is_soft_entropy(width: int) -> None:
    rows, ids = _data(width=width)
    package = SoftEntropyAccumulator(d=width, n_bins=100, seed=0, backend="torch")
    package.update(rows, labels={"x": ids})
    options: dict[str, Any] = {"temperature": "bounds", "normalized": True}
    entropy, information = SoftEntropy(width, **options), SoftMutualInformation(width, 30, reading="plugin", **options)
    entropy.update(rows)
    information.update(rows, ids)
    assert float(entropy.compute()) == pytest.approx(package.entropy(), abs=AGREEMENT)
    assert float(information.compute()) == pytest.approx(package.mutual_information()["x"], abs=AGREEMENT)


def test_plugin_is_the_slow_reference() -> None:
    rows, ids = _data()
    metric = SoftMutualInformation(24, 30, 10, reading="plugin")
    metric.update(rows, ids)
    assigned = references.soft_assignments(rows.numpy(), metric.anchors.numpy(), metric.epsilon)
    assert float(metric.compute()) == pytest.approx(references.plugin_information(assigned, ids.numpy()), abs=1e-6)


def _documents(number: int = 600) -> Tensor:
    return torch.arange(number) // 24


def _metrics() -> Iterator[tuple[Metric, Batch]]:
    rows, ids = _data()
    yield SoftEntropy(24), lambda part: (rows[part],)
    for reading in READINGS:
        yield SoftMutualInformation(24, 30, reading=reading), lambda part: (rows[part], ids[part])
    yield SoftMutualInformation(24, 30), lambda part: (rows[part], ids[part], _documents()[part])


@pytest.mark.parametrize(("metric", "batch"), list(_metrics()), ids=["entropy", *READINGS, "documents"])
def test_the_torchmetrics_contract(metric: Metric, batch: Batch) -> None:
    metric.update(*batch(slice(None)))
    whole = metric.compute()
    metric.reset()
    for start in range(0, 600, 150):
        metric.update(*batch(slice(start, start + 150)))
    torch.testing.assert_close(metric.compute(), whole, rtol=1e-12, atol=0)
    for twin in (copy.deepcopy(metric), pickle.loads(pickle.dumps(metric)), metric.clone()):
        torch.testing.assert_close(twin.compute(), whole, rtol=1e-12, atol=0)
    metric.reset()
    metric(*batch(slice(0, 300)))
    metric(*batch(slice(300, 600)))
    torch.testing.assert_close(metric.compute(), whole, rtol=1e-12, atol=0)
    assert whole.dtype == torch.float64


@pytest.mark.parametrize("documents", [None, _documents(), _documents() * 0], ids=["none", "documents", "one"])
def test_debiased_is_that_of_all_rows_in_one_call(documents: Tensor | None) -> None:
    rows, ids = _data()
    metric = SoftMutualInformation(24, 30)
    for part in (slice(0, 100), slice(100, 101), slice(101, 600)):
        metric.update(rows[part], ids[part], None if documents is None else documents[part])
    assigned = assign(rows, metric.anchors, metric.epsilon)
    expected = debiased_information(assigned, ids, documents).value
    assert float(metric.compute()) == pytest.approx(float(expected), abs=1e-6)  # scores are float32 products


def test_documents_matter_and_their_numbers_do_not() -> None:
    rows, ids = _data()
    rows += torch.randn(25, 30, 24, generator=torch.Generator().manual_seed(1))[_documents(), ids]  # a text's own topic
    values = []
    for documents in (None, _documents(), 1000 - 3 * _documents()):
        metric = SoftMutualInformation(24, 30)
        metric.update(rows, ids, documents)
        values.append(float(metric.compute()))
    assert values[0] > values[1] + 0.005
    assert values[2] == pytest.approx(values[1], abs=1e-6)  # documents are dealt to halves in another order
    assert values[2] != values[0]


def test_rows_without_a_document_are_documents_of_their_own_beside_others() -> None:
    rows, ids = _data()
    mixed = SoftMutualInformation(24, 30)
    mixed.update(rows[:240], ids[:240], _documents()[:240])
    mixed.update(rows[240:], ids[240:])
    documents = torch.cat([_documents()[:240], torch.arange(10, 370)])
    whole = SoftMutualInformation(24, 30)
    whole.update(rows, ids, documents)
    assert float(mixed.compute()) == pytest.approx(float(whole.compute()), abs=1e-12)


def test_the_null_is_that_of_the_plane() -> None:
    probe = models.probe()
    rows = torch.randn(models.VOCABULARY, 8, generator=torch.Generator().manual_seed(0))[probe.inputs.flatten()]
    plane = InformationPlane(probe, {"L00": 8})
    plane.update("L00", rows, torch.arange(probe.num_positions), rows=probe.positions)
    readings = plane.compute()
    labels = torch.unique(probe.label_sets["input/token"], return_inverse=True)[1]
    for prefix, reading in (("ib", "debiased"), ("ib_plugin", "plugin"), ("ib_null", "null")):
        metric = SoftMutualInformation(8, int(labels.max()) + 1, reading=reading, normalized=True)
        metric.update(rows[probe.positions], labels, probe.documents)
        expected = float(readings[f"{prefix}/L00/token/complexity"])
        assert float(metric.compute()) == pytest.approx(expected, abs=1e-7)


def test_null_reads_what_independent_labels_would() -> None:
    rows, ids = _data(number=1500, labels=300)
    null, plugin = (SoftMutualInformation(24, 300, reading=reading) for reading in ("null", "plugin"))
    null.update(rows, ids)
    plugin.update(rows, torch.from_numpy(np.random.default_rng(0).permutation(ids.numpy())))
    # a permutation of its own is off by .003 of log K or so
    assert float(null.compute()) == pytest.approx(float(plugin.compute()), abs=0.006 * math.log(100))


def test_disentanglement_is_the_divergence_of_each_label_from_the_rest() -> None:
    rows, ids = _data(labels=4)
    ids[0] = 4  # seen once: left out of the mean, but not of the rest
    metric = SoftDisentanglement(24, 5, 10)
    metric.update(rows, ids)
    assigned = references.soft_assignments(rows.numpy(), metric.anchors.numpy(), metric.epsilon)
    each = []
    for x in range(4):
        own, rest = assigned[ids.numpy() == x].mean(0), assigned[ids.numpy() != x].mean(0)
        between = references.entropy((own + rest) / 2) - (references.entropy(own) + references.entropy(rest)) / 2
        each.append(between / math.log(2))
    assert float(metric.compute()) == pytest.approx(np.mean(each), abs=1e-6)


def test_debiased_information_without_a_second_label_or_a_second_row_of_a_label_is_nan() -> None:
    for labels in (torch.zeros(10).long(), torch.arange(3)):
        metric = SoftMutualInformation(8, 3)
        metric.update(torch.randn(len(labels), 8, generator=torch.Generator().manual_seed(0)), labels)
        assert metric.compute().isnan()


def test_disentanglement_of_one_label_is_nan() -> None:
    rows, ids = _data()
    metric = SoftDisentanglement(24, 30)
    metric.update(rows, torch.zeros_like(ids))
    assert metric.compute().isnan()


def test_normalized_is_a_fraction_of_log_k() -> None:
    rows, _ = _data()
    nats, fraction = SoftEntropy(24, 50), SoftEntropy(24, 50, normalized=True)
    nats.update(rows)
    fraction.update(rows)
    assert float(nats.compute()) == pytest.approx(float(fraction.compute()) * math.log(50))


def test_sums_refuse_half_precision() -> None:
    with pytest.raises(ValueError, match=r"dst_type must be torch\.float64"):
        SoftEntropy(8).set_dtype(torch.float16)


@pytest.mark.parametrize(
    ("rows", "labels", "sentence"),
    [
        (
            torch.ones(4, 9),
            torch.zeros(4).long(),
            r"activations must be .* shape \(N, 8\), got torch.float32 of .*\(4, 9\)",
        ),
        (torch.ones(4, 8).long(), torch.zeros(4).long(), "activations must be a floating point tensor"),
        (torch.ones(4, 8), torch.zeros(3).long(), "labels must have one entry per row of activations, got 3 for 4"),
        (torch.ones(4, 8), torch.tensor([0, 1, 2, 3]), r"labels must lie in \[0, 3\), got values from 0 to 3"),
        (torch.ones(4, 8), torch.tensor([0, 1, -1, 2]), r"labels must lie in \[0, 3\), got values from -1 to 2"),
        (torch.ones(4, 8), torch.zeros(4), "labels must be a tensor of integers"),
        (
            torch.zeros(4, 8),
            torch.zeros(4).long(),
            "activations must be finite and not zero, got 4 rows of 4 that are not",
        ),
        (torch.full((4, 8), math.nan), torch.zeros(4).long(), "finite and not zero, got 4 rows of 4 that are not"),
    ],
)
def test_bad_rows_and_labels_add_nothing(rows: Tensor, labels: Tensor, sentence: str) -> None:
    metric = SoftMutualInformation(8, 3)
    with pytest.raises(ValueError, match=sentence):
        metric.update(rows, labels)
    assert (metric.assignments, metric.labels, metric.documents) == ([], [], [])


@pytest.mark.parametrize(
    ("documents", "sentence"),
    [
        (
            torch.zeros(3).long(),
            "documents must be one integer of at least 0 per row, got 3 for 4 rows, the smallest 0",
        ),
        (torch.tensor([0, 1, -1, 2]), "of at least 0 per row, got 4 for 4 rows, the smallest -1"),
        (torch.zeros(0).long(), "got 0 for 4 rows, the smallest None"),
        (torch.zeros(4), "documents must be a tensor of integers, got torch.float32"),
        (torch.zeros(4, 1).long(), r"documents must have 1 dimensions, got shape \(4, 1\)"),
        ([0, 1, 2, 3], "documents must be a tensor of integers, got list"),
    ],
)
def test_bad_documents_add_nothing(documents: Any, sentence: str) -> None:
    metric = SoftMutualInformation(8, 3)
    with pytest.raises(ValueError, match=sentence):
        metric.update(torch.ones(4, 8), torch.zeros(4).long(), documents)
    assert (metric.assignments, metric.labels, metric.documents) == ([], [], [])


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"num_labels": 1}, "num_labels must be an integer of at least 2, got 1"),
        ({"num_labels": 5, "num_anchors": 1}, "num_anchors must be an integer of at least 2, got 1"),
        ({"num_labels": 5, "width": 1}, "width must be an integer of at least 2, got 1"),
        ({"num_labels": 5, "reading": "best"}, "reading must be one of 'debiased', 'plugin', 'null', got 'best'"),
    ],
)
def test_bad_arguments(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        SoftMutualInformation(**{"width": 8, **options})


@pytest.mark.filterwarnings("ignore:The ``compute`` method of metric")
def test_no_rows() -> None:
    with pytest.raises(RuntimeError, match=r"SoftEntropy.compute\(\) needs at least one row"):
        SoftEntropy(8).compute()
    with pytest.raises(RuntimeError, match=r"SoftMutualInformation.compute\(\) needs at least one row"):
        SoftMutualInformation(8, 3).compute()
    empty = SoftMutualInformation(8, 3)
    empty.update(torch.ones(0, 8), torch.zeros(0).long())
    with pytest.raises(RuntimeError, match=r"SoftMutualInformation.compute\(\) needs at least one row"):
        empty.compute()


def _plane() -> InformationPlane:
    return InformationPlane(models.probe(), {"L00": 8})


def _fill(plane: InformationPlane) -> None:
    positions = torch.arange(models.probe().num_positions)
    rows = torch.randn(len(positions), 8, generator=torch.Generator().manual_seed(0))
    plane.update("L00", rows, positions)


def _measure_share(rank: int, world: int, port: int, queue: SimpleQueue[list[float]]) -> None:
    torch.distributed.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=world)
    rows, ids = _data()
    metrics = [SoftMutualInformation(24, 30, reading=reading) for reading in SHARED]
    cut = [0, 100, 600] if world == 2 else [0, 250, 250, 600]  # one process has nothing
    part = slice(cut[rank], cut[rank + 1])
    for metric in metrics:
        metric.update(rows[part], ids[part], _documents()[part])
    values = [float(metric.compute()) for metric in metrics]
    plane = _plane()
    if rank == 0:  # the others have nothing
        _fill(plane)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The ``compute`` method of metric")
        values.append(float(plane.compute()["ib/L00/token/complexity"]))
    if rank == 0:
        queue.put(values)
    torch.distributed.destroy_process_group()


def test_a_metric_in_a_module_that_is_cast_reads_the_same() -> None:
    rows, ids = _data()
    values = []
    for dtype in (torch.float32, torch.float16):
        metric = SoftMutualInformation(24, 30)
        torch.nn.ModuleList([metric]).to(dtype)
        metric.update(rows, ids, _documents())
        values.append(float(metric.compute()))
    assert values[0] == values[1]


@pytest.mark.parametrize("world", [2, 3])
def test_processes_with_uneven_shares_read_what_one_does(world: int) -> None:
    rows, ids = _data()
    alone = []
    for reading in SHARED:
        metric = SoftMutualInformation(24, 30, reading=reading)
        metric.update(rows, ids, _documents())
        alone.append(float(metric.compute()))
    queue = mp.get_context("spawn").SimpleQueue()
    spawn(_measure_share, args=(world, free_port(), queue), nprocs=world)
    *values, complexity = queue.get()
    assert values == pytest.approx(alone, abs=1e-9)
    plane = _plane()
    _fill(plane)
    assert complexity == pytest.approx(float(plane.compute()["ib/L00/token/complexity"]), abs=1e-9)
