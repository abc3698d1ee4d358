"""The plane: all sites and label sets of a probe at once, as one metric, and the keys of its numbers.

Letters: N positions of the probe, D width, K anchors, L sites, R anchor draws, G documents, n sampled positions.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import torch
from torch import Tensor
from torchmetrics import Metric

from ibtrack._checks import check_integer, check_option, check_rows
from ibtrack.information.assignments import AnchorDraws, assign_draws, assign_sites, draw_anchors, temperature
from ibtrack.information.brackets import BracketDesign
from ibtrack.information.devices import rows_on_accelerator, to_device
from ibtrack.information.document_design import DocumentDesign
from ibtrack.information.joint_design import JointDesign
from ibtrack.information.label_design import LabelDesign
from ibtrack.information.options import SoftOptions
from ibtrack.information.permutation import permuted_information
from ibtrack.information.readings import Readings, site_readings
from ibtrack.information.spectrum import Geometry, cloud_geometry
from ibtrack.metrics._numbers import Name, plane_influences, plane_numbers
from ibtrack.probe.labels import UNPAIRED_LABEL_SETS
from ibtrack.probe.probe import Probe
from ibtrack.record.influences import Influences
from ibtrack.record.keys import BRACKET, ENDS, READINGS, metric_key

T = TypeVar("T")


class InformationPlane(Metric):
    """All sites and label sets of a probe at once, in every reading, with standard errors over documents.

    Source: as `SoftMutualInformation`; quantities as in Conklin et al., arXiv 2604.07569: complexity I(X;Z),
    expressivity I(Y;Z), optimality I(Y;Z) / I(X;Z), regularity I(X;Z) / H(Z); variation H(Z|X) as in Conklin and Smith,
    arXiv 2406.02449; share ( I(X_k;Z) - I(X_k-1;Z) ) / H(Z), what an order tells beyond the one before it. Kept and
    told are complexity and expressivity divided by the ceiling I(Z;J). ``mean`` is the uniform mean over all sites but
    ``embed`` and ``final``, or as ``options`` say; ratios are taken after it.

    The state is the assignments themselves, one row per position of the probe. They are summed over processes, each of
    which fills the rows it has measured: the numbers are the same for any number of processes. At the label counts of a
    language model they are also less than the sums by label. For the geometry (`ibtrack.information.spectrum`) the
    activations themselves are kept in the same way at a sample of positions: a covariance would be of D² numbers, and
    would not tell what a document moves.

    Args:
        probe: Positions, labels and documents.
        widths: Site to its width D, in the order of the model.
        options: How activations are turned into soft assignments. Its ``transform`` is not applied here: whoever
            updates the plane has applied it.
        readings: Which of ``debiased``, ``plugin`` and ``null`` are worked out; only ``debiased`` has standard errors,
            and it takes longest.
        geometry_rows: Number of positions n, drawn once from the probe's, from whose activations RankMe, participation
            ratio and α-ReQ are worked out; 0 leaves these out. They take 4 n D bytes per site.
        **metric_options: Options of ``torchmetrics.Metric``.

    Raises:
        ValueError: There is no site, or an argument is out of its range.

    Example:
        >>> probe = Probe(torch.arange(64).view(8, 8) % 7, orders=(1,))
        >>> plane = InformationPlane(probe, {"L00": 8})
        >>> activations = torch.randn(7, 8, generator=torch.Generator().manual_seed(0))[probe.inputs.flatten()]
        >>> plane.update("L00", activations, torch.arange(probe.num_positions), rows=probe.positions)
        >>> round(float(plane.compute()["ib/L00/token/optimality"]), 6)  # the next token follows from the token
        1.0
    """

    assignments: Tensor
    seen: Tensor
    resultants: Tensor
    sampled_rows: Tensor
    _places: Tensor

    is_differentiable = False
    higher_is_better = None
    full_state_update = False

    def __init__(
        self,
        probe: Probe,
        widths: Mapping[str, int],
        *,
        options: SoftOptions = SoftOptions(),
        readings: Sequence[str] = READINGS,
        geometry_rows: int = 0,
        **metric_options: Any,
    ) -> None:
        super().__init__(**metric_options)
        if not widths:
            raise ValueError("widths must name at least one site, got none")
        self.options = options
        self._reading_names = tuple(check_option("readings", reading, READINGS) for reading in readings)
        self.sites, self.widths = list(widths), dict(widths)
        self.orders, self.nested = probe.orders, probe.is_text
        self._documents, self._designs = probe.document_design, probe.label_designs
        self._brackets = probe.bracket_design if "debiased" in self._reading_names else None
        self._unpaired_labels = {
            name: labels for name, labels in probe.label_sets.items() if name in UNPAIRED_LABEL_SETS
        }
        self._shape = (len(self.sites), options.anchor_draws, probe.num_positions, options.num_anchors)
        number = min(check_integer("geometry_rows", geometry_rows, minimum=0), probe.num_positions)
        sampled = torch.randperm(probe.num_positions, generator=torch.Generator().manual_seed(0))[:number].sort().values
        self._sampled_documents = probe.documents[sampled]
        self._sampled_shape = (len(self.sites), number, max(widths.values()))
        places = torch.full((probe.num_positions,), -1).index_copy_(0, sampled, torch.arange(number))
        self.register_buffer("_places", places, persistent=False)  # of a position in the sample, or -1
        self._row_faults: Tensor | None = None
        self._scaled_anchors: dict[int, AnchorDraws] = {}
        self._moved: tuple[JointDesign | dict[str, LabelDesign], DocumentDesign, BracketDesign | None] | None = None
        self._temperatures = {
            width: temperature(width, options.num_anchors, options.temperature) for width in set(widths.values())
        }
        for width in self._temperatures:
            seeds = range(options.seed, options.seed + options.anchor_draws)
            draws = [draw_anchors(width, options.num_anchors, seed=seed) for seed in seeds]
            self.register_buffer(f"anchors_{width}", torch.stack(draws), persistent=False)
        self.add_state("assignments", torch.zeros(0), dist_reduce_fx="sum")  # see _make_room: no second copy is kept
        self.add_state("seen", torch.zeros(*self._shape[::2], dtype=torch.int32), dist_reduce_fx="sum")
        resultants = torch.zeros(len(self.sites), max(widths.values()), dtype=torch.float64)
        self.add_state("resultants", resultants, dist_reduce_fx="sum")
        self.add_state("sampled_rows", torch.zeros(0), dist_reduce_fx="sum")

    def reset(self) -> None:
        """Forget every row; the next ones lie where they did."""
        kept = self.assignments, self.seen, self.sampled_rows
        super().reset()
        self.assignments, self.seen, self.sampled_rows = (state.zero_() for state in kept)

    def release(self) -> None:
        """Forget every row and give back the memory, which the next row takes again.

        A metric is in reference cycles, so letting go of it alone frees nothing for a while.
        """
        super().reset()

    def sync(self, *args: Any, **options: Any) -> None:
        """Sum the rows over processes as torchmetrics does; a process without rows adds none."""
        self._make_room()
        super().sync(*args, **options)

    def _make_room(self) -> None:
        if not self.assignments.numel():
            self.assignments = torch.zeros(self._shape, dtype=torch.float32, device=self.device)
            self.sampled_rows = torch.zeros(self._sampled_shape, dtype=torch.float32, device=self.device)

    @property
    def num_bytes(self) -> int:
        """Memory that the rows take, in bytes."""
        return 4 * (math.prod(self._shape) + math.prod(self._sampled_shape))

    def update(
        self,
        site: str,
        activations: Tensor,
        positions: Tensor,
        rows: Tensor | None = None,
        *,
        untransformed: Tensor | None = None,
    ) -> None:
        """Fill in positions of the probe that were measured.

        Args:
            site: A site of ``widths``.
            activations: (n, D) of any floating dtype.
            positions: (m,) which of the probe's N kept positions these are.
            rows: (m,) rows of ``activations`` that hold them; by default all.
            untransformed: (n, D) activations before the transform, for the geometry; by default ``activations``.

        Raises:
            ValueError: The site is unknown, or activations are not (n, D). Rows that are zero or not finite are not an
                error: their site reads ``nan``, and `faults` says why.
        """
        if site not in self.widths:
            raise ValueError(f"site must be one of {self.sites}, got {site!r}")
        self._make_room()
        width = self.widths[site]
        assigned, resultant = assign_draws(check_rows(activations, width), rows, self._anchors(width))
        index = self.sites.index(site)
        for draw in range(self.options.anchor_draws):
            self.assignments[index, draw].index_add_(0, positions, assigned[:, draw])
        self.seen[index].index_add_(0, positions, torch.ones_like(positions, dtype=torch.int32))
        self.resultants[index, :width] += resultant
        if self._sampled_shape[1]:
            cloud = activations if untransformed is None else check_rows(untransformed, width)
            places = self._places[positions]
            kept = (places >= 0).nonzero().squeeze(1)
            sampled = cloud.detach().index_select(0, kept if rows is None else rows[kept])
            self.sampled_rows[index, :, :width].index_add_(0, places[kept], sampled.float())

    def update_together(self, activations: Mapping[str, Tensor], positions: Tensor) -> None:
        """Fill in positions of several sites at once, for an accelerator, where a call costs more than what it does.

        Args:
            activations: Site to (m, D) activations, of neighbouring sites of one width and of one floating dtype.
            positions: (m,) which of the probe's N kept positions these are.

        Raises:
            ValueError: Activations are not (m, D).
        """
        self._make_room()
        names = list(activations)
        first, width = self.sites.index(names[0]), self.widths[names[0]]
        rows = torch.stack([check_rows(each, width) for each in activations.values()])
        assigned, resultants = assign_sites(rows, self._anchors(width))
        sites = slice(first, first + len(names))
        self.assignments[sites].index_add_(2, positions, assigned.transpose(1, 2))
        self.seen[sites].index_add_(1, positions, self.seen.new_ones(len(names), len(positions)))
        self.resultants[sites, :width] += resultants

    def together(self, num_rows: int) -> list[list[str]]:
        """Group neighbouring sites of one width, as many as are to be updated at once by so many rows of each."""
        groups: list[list[str]] = []
        for site in self.sites:
            width = self.widths[site]
            most = rows_on_accelerator(num_rows * max(width, 3 * math.prod(self._shape[1::2])))
            if not groups or self.widths[groups[-1][0]] != width or len(groups[-1]) >= most:
                groups.append([])
            groups[-1].append(site)
        return groups

    def _anchors(self, width: int) -> AnchorDraws:
        """Return the anchors of a width on the device of the rows, made once."""
        anchors = self._scaled_anchors.get(width)
        if anchors is None or anchors.scaled.device != self.device:
            anchors = AnchorDraws(getattr(self, f"anchors_{width}"), self._temperatures[width])
            self._scaled_anchors[width] = anchors
        return anchors

    def compute(self) -> dict[str, Tensor]:
        """Work out every number.

        Returns:
            Key (`ibtrack.record.keys.metric_key`) to () float64; entropies and informations as fractions of log K.
        """
        return self.values_by_key(self.readings(), self.mean_cosines(), self.sites, self.geometry())

    def readings(self) -> Readings:
        """Work out the readings of every site and draw of anchors, (sites * draws,).

        Inside ``compute`` they are those of all processes, elsewhere those of this one.
        """
        self._make_room()
        cells = self.assignments.flatten(0, 1)
        without_direction = self.assignments[:, 0, :, 0].isnan().sum(1)  # such rows are nan, see `assign`
        self._row_faults = torch.stack([without_direction, (self.seen == 0).sum(1), (self.seen > 1).sum(1)])  # (3, L)
        designs, documents, brackets = self._on_device()
        equal = self.options.label_weights == "both"
        lost = torch.where((self.seen == 1).all(1), 0.0, torch.nan).repeat_interleave(self.options.anchor_draws)
        read = site_readings(
            list(cells),
            designs,
            documents,
            readings=self._needed(),
            brackets=brackets,
            lost=lost,
            equal_weights=equal,
        )
        for name, labels in self._unpaired_labels.items() if self.permutes else ():
            permuted = self._permuted(cells, labels.to(self.device)) + lost.unsqueeze(1)
            read = read.with_permutations(name, permuted)
        return read.only(self._reading_names)

    def _on_device(self) -> tuple[JointDesign | dict[str, LabelDesign], DocumentDesign, BracketDesign | None]:
        """Return label sets, documents and brackets on the device of the rows, which they are moved to once."""
        if self._moved is None or self._moved[1].index.device != self.device:
            designs: JointDesign | dict[str, LabelDesign] = dict(self._designs)
            if self.device.type != "cpu":
                num_positions, num_anchors = self._shape[2:]
                sites = min(math.prod(self._shape[:2]), rows_on_accelerator(num_positions * num_anchors))
                designs = JointDesign.from_designs(self._designs, rows_on_accelerator(sites * num_anchors))
            self._moved = to_device((designs, self._documents, self._brackets), self.device)
        return self._moved

    def _needed(self) -> tuple[str, ...]:
        """List the readings that are worked out: the debiased one of an unpaired label set is made from all three."""
        return READINGS if self.permutes else self._reading_names

    @property
    def permutes(self) -> bool:
        """Whether labels are permuted at each measurement, as those of an unpaired label set are."""
        return bool(self._unpaired_labels) and bool(set(self._reading_names) & {"debiased", "null"})

    def _permuted(self, cells: Tensor, labels: Tensor) -> Tensor:
        index, number = self._documents.index.to(self.device), self._documents.num_documents
        return torch.stack([permuted_information(rows, labels, index, num_documents=number) for rows in cells])

    def mean_cosines(self) -> Tensor:
        """Work out the (L,) mean cosine between two different rows.

        It is 0 for a cloud around the origin, and near 1 for a narrow cone.
        """
        number = self.seen.sum(1)
        return (self.resultants.square().sum(1) - number) / (number * (number - 1))

    def geometry(self) -> Geometry | None:
        """Work out the geometry of every site, (L,), from the sampled positions; None if none are sampled.

        A site whose positions were not all measured once has no numbers.
        """
        if not self._sampled_shape[1]:
            return None
        self._make_room()
        lost = torch.where((self.seen == 1).all(1), 0.0, torch.nan)
        clouds = [rows[:, : self.widths[site]] for site, rows in zip(self.sites, self.sampled_rows, strict=True)]
        return Geometry.join(
            [
                cloud_geometry(rows + nothing, self._sampled_documents)
                for rows, nothing in zip(clouds, lost, strict=True)
            ]
        )

    def faults(self) -> dict[str, str]:
        """Say what was wrong with sites when their readings were last worked out.

        Returns:
            Site to its fault; empty if every position was measured once and had a direction.

        Raises:
            RuntimeError: Neither `readings` nor `compute` has been called.
        """
        if self._row_faults is None:
            raise RuntimeError("InformationPlane.faults() needs readings; call readings() or compute() first")
        total = f"of {self.seen.shape[1]} positions"
        words = (
            f"{total} are zero or not finite",
            f"{total} were not measured",
            f"{total} were measured more than once",
        )
        faults = {}
        for site, numbers in zip(self.sites, zip(*self._row_faults.tolist(), strict=True), strict=True):
            reasons = [f"{number} {word}" for number, word in zip(numbers, words, strict=True) if number]
            if reasons:
                faults[site] = "; ".join(reasons)
        return faults

    def values_by_key(
        self, readings: Readings, mean_cosines: Tensor, sites: Sequence[str], geometry: Geometry | None = None
    ) -> dict[str, Tensor]:
        """Put every number under its key, as a tensor of no dimension; arguments are those of `numbers_by_key`."""
        values = self._values_by_name(readings, mean_cosines, sites, geometry)
        return _by_key({name: of_sites.unbind() for name, of_sites in values.items()}, sites)

    def numbers_by_key(
        self, readings: Readings, mean_cosines: Tensor, sites: Sequence[str], geometry: Geometry | None = None
    ) -> dict[str, float]:
        """Put every number under its key.

        Args:
            readings: (sites * draws,) in nats, as from `readings`, of this plane's sites or of several planes'.
            mean_cosines: (sites,) as from `mean_cosines`.
            sites: Names of the sites, in order; ``embed`` and ``final`` are not part of the mean, or as options say.
            geometry: (sites,) as from `geometry`.
        """
        values = self._values_by_name(readings, mean_cosines, sites, geometry)
        table: list[list[float]] = torch.stack(list(values.values())).tolist()
        return _by_key(dict(zip(values, table, strict=True)), sites)

    def _values_by_name(
        self, readings: Readings, mean_cosines: Tensor, sites: Sequence[str], geometry: Geometry | None
    ) -> dict[Name, Tensor]:
        """Work out every number at the mean and at all sites: name to (1 + sites,) float64."""
        log_anchors = math.log(self.options.num_anchors)
        places = places_of_mean(sites, self.options.mean_over)

        def with_mean(part: Tensor) -> Tensor:
            return _with_mean(part, places)

        def numbers_of(draws: slice) -> dict[Name, Tensor]:
            cells = readings.map_tensors(
                lambda part: with_mean(_mean_of_draws(part.unflatten(0, (len(sites), -1))[:, draws]))
            )
            return plane_numbers(cells, self.orders, self.nested, log_anchors)

        values = numbers_of(slice(None))
        if self.options.anchor_draws > 1:
            by_draw = [numbers_of(slice(draw, draw + 1)) for draw in range(self.options.anchor_draws)]
            for quantity, order, reading in [name for name in values if not name[0].endswith(("_se", "_z", *BRACKET))]:
                spread = torch.stack([draw[quantity, order, reading] for draw in by_draw]).std(0)
                values[f"{quantity}_anchor_sd", order, reading] = spread
        values["mean_cosine", None, "debiased"] = with_mean(mean_cosines)
        if geometry is not None:
            for quantity, of_sites in geometry.estimates.items():
                estimate = of_sites.map(with_mean)
                values[quantity, None, "debiased"] = estimate.value
                values[f"{quantity}_se", None, "debiased"] = estimate.standard_error
                values[f"{quantity}_half", None, "debiased"] = with_mean(geometry.halves[quantity])
        return values

    def influences(self, readings: Readings, sites: Sequence[str]) -> Influences | None:
        """Collect what moves the numbers of `values_by_key`, from which errors of differences are made.

        Args:
            readings: (sites * draws,) in nats, as for `values_by_key`.
            sites: Names of the sites, in order.

        Returns:
            The influences of documents, or None if there is no debiased reading.
        """
        if not readings.debiased:
            return None

        places = places_of_mean(sites, self.options.mean_over)

        def by_draw(part: Tensor) -> Tensor:
            return _with_mean(part.unflatten(0, (len(sites), -1)), places)

        draws = replace(readings, plugin={}, null={}, z={}, lower_ends={}).map_tensors(by_draw)
        whole = draws.map_tensors(_mean_of_draws)
        several = draws if self.options.anchor_draws > 1 else None
        return plane_influences(whole, several, ["mean", *sites], math.log(self.options.num_anchors))


def _by_key(numbers: Mapping[Name, Sequence[T]], sites: Sequence[str]) -> dict[str, T]:
    """Name the numbers of the mean and of all sites, site after site."""
    return {
        metric_key(quantity, site=site, order=order, reading=reading): of_sites[index]
        for index, site in enumerate(["mean", *sites])
        for (quantity, order, reading), of_sites in numbers.items()
    }


def _mean_of_draws(part: Tensor) -> Tensor:
    """Average (sites, draws, ...) over the draws, of which there mostly is one."""
    return part.squeeze(1) if part.shape[1] == 1 else part.mean(1)


def places_of_mean(sites: Sequence[str], mean_over: str) -> list[int]:
    """List the places of the sites that the mean is over.

    Args:
        sites: Names of the sites, in order.
        mean_over: ``blocks`` for all but the ends of the stream; ``hidden_states`` for the same with the final norm in
            the place of the last.

    Raises:
        ValueError: The final norm is to be in the mean, and is not measured.

    Example:
        >>> sites = ["embed", "L00", "L01", "final"]
        >>> places_of_mean(sites, "blocks"), places_of_mean(sites, "hidden_states"), places_of_mean(["embed"], "blocks")
        ([1, 2], [1, 3], [0])
    """
    blocks = [index for index, site in enumerate(sites) if site not in ENDS]
    if mean_over == "hidden_states":
        if "final" not in sites:
            raise ValueError(
                "mean_over='hidden_states' takes the final norm into the mean, so the site 'final' must be measured, "
                f"as by layers=['auto', 'final'], got {', '.join(sites)}"
            )
        blocks = [*blocks[:-1], list(sites).index("final")]
    return blocks or list(range(len(sites)))


def _with_mean(part: Tensor, places: Sequence[int]) -> Tensor:
    """Put the mean over some sites before a tensor of all sites."""
    first, last = places[0], places[-1]
    neighbours = last - first == len(places) - 1  # then no copy is made
    return torch.cat([(part[first : last + 1] if neighbours else part[list(places)]).mean(0, keepdim=True), part])
