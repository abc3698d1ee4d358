"""Made-up trajectories whose truth is known: at every point the same documents and labels, and other activations.

An activation is a mean of its input label X, one of its output label Y, a vector that all activations share, and noise
with parts of its own, of its document, and of its label in its document. From point to point the cloud turns, a part
of the noise is drawn anew, and the part of a document in it grows or shrinks. How long the means are at each point is
solved for, so that I(X;Z), I(Y;Z) and the ceiling are what they should be: the truth is set, and readings play no part.

Letters: N rows, D width, K anchors, M labels, G documents, T points.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Generator, Tensor

from experiments.benchmarks.clouds import LOG_K, Cloud, Recipe, repeated, stream, true_information
from ibtrack import Point, Probe, SoftOptions, Trajectory
from ibtrack.information.assignments import assign
from ibtrack.information.entropy import entropy, row_entropies
from ibtrack.metrics.plane import InformationPlane

NUM_POINTS = 14
STEPS = (0, *(2**power for power in range(NUM_POINTS - 1)))
PEAKS = (6, 7, 8, 9)  # numbers of the points at which I(X;Z) may be highest
RISE = (0.03, 0.02)  # of I(X;Z) and I(Y;Z) up to the peak, fractions of log K
LENGTHS = (64, 128)  # fewest and most rows of a document
MOST_SCENES = 10
SCENE, RUN, CEILING = range(MOST_SCENES, MOST_SCENES + 3)  # streams; those of clouds.py begin with a scene's seed
CEILING_ROWS = 200  # for the ceiling, times the rows of each label for the informations


class Levels(NamedTuple):
    """What is true at one point, as fractions of log K.

    Attributes:
        complexity: I(X;Z).
        expressivity: I(Y;Z).
        ceiling: I(Z;J).
    """

    complexity: float
    expressivity: float
    ceiling: float

    @property
    def kept(self) -> float:
        """I(X;Z) as a share of the ceiling."""
        return self.complexity / self.ceiling

    @property
    def told(self) -> float:
        """I(Y;Z) as a share of the ceiling."""
        return self.expressivity / self.ceiling


class Strengths(NamedTuple):
    """Lengths of the parts of an activation at one point, in units of the spread of the noise.

    Attributes:
        of_input: Length of a mean of X.
        of_output: Length of a mean of Y.
        offset: Length of the vector that all activations share.
    """

    of_input: float
    of_output: float
    offset: float


@dataclass(frozen=True, kw_only=True)
class Scene:
    """All that is fixed about the clouds of one trajectory but the lengths of the means.

    Attributes:
        seed: Seed of means, anchors and rotation.
        width: Width of the activations, D.
        num_labels: Number of input labels and of output labels, M.
        exponent: Exponent of the law of the labels, as in `Recipe`.
        link: Probability that the output label follows from the input label.
        first: Strengths at the first point.
        turn: Angle by which the cloud turns from the first point to the last, radians. The anchors do not turn with it,
            and as they are few, a turn alone changes what is true.
        document_effect: Deviation of a document's effect at the first and at the last point, in units of the spread.
        cell_effect: Deviation of the effect of a label in one document.
        repeats: Share of positions whose input label is one that their document already has.
    """

    seed: int
    width: int
    num_labels: int
    exponent: float
    link: float
    first: Strengths
    turn: float
    document_effect: tuple[float, float]
    cell_effect: float
    repeats: float

    @classmethod
    def drawn(cls, seed: int) -> Scene:
        """Draw a scene; each has a width, labels, strengths and movements of its own.

        Args:
            seed: Number of the scene, from 0 to `MOST_SCENES` - 1.
        """
        generator = stream(SCENE, seed)

        def between(low: float, high: float) -> float:
            return low + (high - low) * float(torch.rand((), generator=generator))

        def one_of(*choices: float) -> float:
            return choices[int(torch.randint(len(choices), (), generator=generator))]

        return cls(
            seed=seed,
            width=int(one_of(32, 48, 64, 96, 128)),
            num_labels=2 * round(between(30, 80)),
            exponent=between(0.7, 1.1),
            link=between(0.2, 0.6),
            first=Strengths(between(0.5, 1.1), between(0.3, 0.7), between(0.3, 0.7)),
            turn=one_of(0.0, between(0.1, 0.3)),
            document_effect=(between(0.2, 0.5), between(0.2, 0.5)),
            cell_effect=between(0.0, 0.4),
            repeats=one_of(0.0, 0.3),
        )

    @cached_property
    def means(self) -> tuple[Tensor, Tensor, Tensor]:
        """Means of input labels and of output labels, (M, D) each, and the direction that all share, (D,)."""
        generator = stream(SCENE, self.seed, 1)
        of_input, of_output = (
            torch.randn(self.num_labels, self.width, generator=generator) / math.sqrt(self.width) for _ in range(2)
        )
        return of_input, of_output, torch.nn.functional.normalize(torch.randn(self.width, generator=generator), dim=0)

    @cached_property
    def _plane_of_turn(self) -> Tensor:
        """A skew-symmetric matrix whose exponential turns a random vector by about one radian, (D, D)."""
        square = torch.randn(self.width, self.width, generator=stream(SCENE, self.seed, 2), dtype=torch.float64)
        skew: Tensor = square - square.T
        return skew / skew.square().sum(1).mean().sqrt()

    def rotation(self, index: int) -> Tensor:
        """Rotation of the cloud at a point, (D, D): a row z becomes z @ rotation."""
        turned: Tensor = torch.linalg.matrix_exp(self.turn * index / (NUM_POINTS - 1) * self._plane_of_turn)
        return turned.float()

    def share_of_document(self, index: int) -> float:
        """Deviation of a document's effect at a point."""
        start, end = self.document_effect
        return start + (end - start) * index / (NUM_POINTS - 1)

    def recipe(self) -> Recipe:
        """The recipe whose labels and anchors the clouds of this scene have."""
        return Recipe(
            "", 1.0, exponent=self.exponent, width=self.width, num_labels=self.num_labels, seed=self.seed, sizes=()
        )


class SceneCloud(Cloud):
    """The cloud of a scene at one point, as `true_information` draws it: each row in a document of its own.

    Args:
        scene: The scene.
        index: Number of the point.
        strengths: Strengths at the point.
        of_output: Whether the label is Y; it is X otherwise.
    """

    def __init__(self, scene: Scene, index: int, strengths: Strengths, *, of_output: bool = False) -> None:
        super().__init__(scene.recipe())
        self.scene, self.strengths, self.of_output = scene, strengths, of_output
        self.anchors = self.anchors @ scene.rotation(index).T  # cos(z R, w) is cos(z, w R')
        self._input_share = self.share
        if of_output:
            self.share = (
                scene.link * self.share[partner(torch.arange(scene.num_labels))] + (1 - scene.link) * self.share
            )

    def rows(self, labels: Tensor, generator: Generator) -> Tensor:
        """Draw rows; see `Cloud.rows`."""
        free = torch.multinomial(self._input_share, len(labels), replacement=True, generator=generator)
        linked = torch.rand(len(labels), generator=generator) < self._chance_of_link(labels)
        others = torch.where(linked, partner(labels), free)
        inputs, outputs = (others, labels) if self.of_output else (labels, others)
        noise = torch.randn(len(labels), self.scene.width, generator=generator) / math.sqrt(self.scene.width)
        return assign(signal(self.scene, self.strengths, inputs, outputs) + noise, self.anchors, self.temperature)

    def _chance_of_link(self, labels: Tensor) -> Tensor:
        """Chance that one label of a pair follows from the other, given this one."""
        if not self.of_output:
            return torch.full((len(labels),), self.scene.link, dtype=torch.float64)
        return self.scene.link * self._input_share[partner(labels)] / self.share[labels]


def partner(labels: Tensor) -> Tensor:
    """The output label that follows from an input label, and the other way round: one of nearly equal frequency.

    Example:
        >>> partner(torch.tensor([0, 1, 6]))
        tensor([1, 0, 7])
    """
    return labels ^ 1


def signal(scene: Scene, strengths: Strengths, inputs: Tensor, outputs: Tensor) -> Tensor:
    """The part of activations that is not noise, before the cloud turns, (N, D)."""
    of_input, of_output, common = scene.means
    parts: Tensor = strengths.of_input * of_input[inputs] + strengths.of_output * of_output[outputs]
    return parts + strengths.offset * common


def true_levels(
    scene: Scene, index: int, strengths: Strengths, *, rows_per_label: int = 512, repetition: int = 0
) -> Levels:
    """Compute what is true at a point, from many rows of every label.

    Equal repetitions draw equal random numbers at all points and strengths, so that differences are known better than
    the numbers themselves.

    Args:
        scene: The scene.
        index: Number of the point.
        strengths: Strengths at the point.
        rows_per_label: As in `true_information`.
        repetition: Number of the computation.
    """
    clouds = [SceneCloud(scene, index, strengths, of_output=of_output) for of_output in (False, True)]
    complexity, expressivity = (
        true_information(cloud, rows_per_label=rows_per_label, repetition=repetition).value for cloud in clouds
    )
    generator = stream(CEILING, scene.seed, repetition)
    labels = torch.multinomial(clouds[0].share, CEILING_ROWS * rows_per_label, replacement=True, generator=generator)
    rows = clouds[0].rows(labels, generator)
    ceiling = entropy(rows.mean(0, dtype=torch.float64)) - row_entropies(rows).mean(dtype=torch.float64)
    return Levels(complexity, expressivity, float(ceiling) / LOG_K)


Goals = Callable[[Levels, Strengths], Sequence[float]]


def levels_as_goals(levels: Levels, strengths: Strengths) -> Sequence[float]:
    """The goals of a trajectory for which all three levels are given."""
    return levels


def shares_as_goals(levels: Levels, strengths: Strengths) -> Sequence[float]:
    """The goals of one for which both shares of the ceiling and the offset are given."""
    return levels.kept, levels.told, strengths.offset


@dataclass(frozen=True, kw_only=True)
class Course:
    """What is true along a trajectory, and the strengths that make it so.

    Attributes:
        scene: The scene.
        strengths: Strengths at each point, T.
        levels: What is true at each point, T, computed by other random numbers than those the strengths were found by.
        peak: Number of the point at which I(X;Z) is highest; None if it stands still.
    """

    scene: Scene
    strengths: Sequence[Strengths]
    levels: Sequence[Levels]
    peak: int | None = None

    def largest_movement(self, quantity: str) -> float:
        """How far an attribute of `Levels` moves: its highest less its lowest."""
        values = [float(getattr(levels, quantity)) for levels in self.levels]
        return max(values) - min(values)


def still_course(scene: Scene, *, rows_per_label: int = 512) -> Course:
    """Let I(X;Z), I(Y;Z) and the ceiling stand still."""
    start = true_levels(scene, 0, scene.first, rows_per_label=rows_per_label)
    if not scene.turn:
        return Course(scene=scene, strengths=[scene.first] * NUM_POINTS, levels=[start] * NUM_POINTS)
    return _course(scene, [start] * NUM_POINTS, levels_as_goals, rows_per_label)


def narrowing_course(scene: Scene, *, rows_per_label: int = 512, narrowing: float = 0.5) -> Course:
    """Let both shares of the ceiling stand still while the cloud closes up, so that fractions of log K fall.

    Args:
        scene: The scene.
        rows_per_label: As in `true_information`.
        narrowing: By how much the offset grows.
    """
    start = true_levels(scene, 0, scene.first, rows_per_label=rows_per_label)
    offsets = torch.linspace(0, narrowing, NUM_POINTS) + scene.first.offset
    targets = [(start.kept, start.told, offset) for offset in offsets.tolist()]
    return _course(scene, targets, shares_as_goals, rows_per_label)


def falling_course(scene: Scene, fall: float, *, rows_per_label: int = 512) -> Course:
    """Let I(X;Z) and I(Y;Z) rise up to a peak; then I(X;Z) falls up to the last point, and the rest stands still.

    Args:
        scene: The scene; its seed chooses the peak.
        fall: By how much I(X;Z) falls, as a fraction of log K.
        rows_per_label: As in `true_information`.
    """
    start = true_levels(scene, 0, scene.first, rows_per_label=rows_per_label)
    peak = PEAKS[scene.seed % len(PEAKS)]
    targets = []
    for index in range(NUM_POINTS):
        risen = min(index / peak, 1)
        fallen = max((index - peak) / (NUM_POINTS - 1 - peak), 0)
        complexity = start.complexity + RISE[0] * risen - fall * fallen
        targets.append((complexity, start.expressivity + RISE[1] * risen, start.ceiling))
    return replace(_course(scene, targets, levels_as_goals, rows_per_label), peak=peak)


def _course(scene: Scene, targets: Sequence[Sequence[float]], goals: Goals, rows_per_label: int) -> Course:
    """Solve for the strengths, and compute what is then true."""
    strengths = solved_strengths(scene, targets, goals, rows_per_label=rows_per_label)
    levels = [
        true_levels(scene, index, each, rows_per_label=rows_per_label, repetition=1)
        for index, each in enumerate(strengths)
    ]
    return Course(scene=scene, strengths=strengths, levels=levels)


def solved_strengths(
    scene: Scene, targets: Sequence[Sequence[float]], goals: Goals, *, rows_per_label: int
) -> list[Strengths]:
    """Find the strengths at every point at which the goals are the targets.

    It is one step of Newton's method from the strengths of the point before, with the Jacobian of the first point. What
    is then true is computed anew, so that a step that misses by a little makes no number wrong.

    Args:
        scene: The scene.
        targets: The three goals at each point, (T, 3).
        goals: What of levels and strengths the targets are.
        rows_per_label: As in `true_information`.
    """

    def reached(index: int, strengths: Tensor) -> Tensor:
        given = Strengths(*strengths.tolist())
        levels = true_levels(scene, index, given, rows_per_label=rows_per_label)
        return torch.tensor(goals(levels, given), dtype=torch.float64)

    current = torch.tensor(scene.first, dtype=torch.float64)
    base, small = reached(0, current), 0.05
    columns = [(reached(0, current + small * unit) - base) / small for unit in torch.eye(3, dtype=torch.float64)]
    inverse = torch.linalg.inv(torch.stack(columns, 1))
    found = []
    for index, target in enumerate(targets):
        missing = torch.tensor(target, dtype=torch.float64) - reached(index, current)
        current = current + inverse @ missing
        found.append(Strengths(*current.tolist()))
    return found


@dataclass(frozen=True, kw_only=True)
class Documents:
    """The documents that all points of a trajectory are read on.

    Attributes:
        inputs: Input label of each row, (N,).
        outputs: Output label of each row, (N,).
        index: Document of each row, (N,).
        cells: Number of the pair of document and input label of each row, (N,).
        probe: The probe of them.
    """

    inputs: Tensor
    outputs: Tensor
    index: Tensor
    cells: Tensor
    probe: Probe


def made_up_documents(scene: Scene, num_documents: int, seed: int) -> Documents:
    """Draw documents of different lengths.

    Args:
        scene: The scene.
        num_documents: Number of documents, G.
        seed: Seed of lengths and labels.
    """
    generator = stream(RUN, scene.seed, seed)
    shortest, longest = LENGTHS
    lengths = torch.randint(shortest, longest + 1, (num_documents, 1), generator=generator)
    share = torch.arange(1, scene.num_labels + 1).double().pow(-scene.exponent)
    count = num_documents * longest
    inputs, free = (torch.multinomial(share, count, replacement=True, generator=generator) for _ in range(2))
    if scene.repeats:
        inputs = repeated(inputs, scene.repeats, longest, generator)
    outputs = torch.where(torch.rand(count, generator=generator) < scene.link, partner(inputs), free)
    inside = torch.arange(longest) < lengths  # (G, longest)
    labels = {
        f"{side}/token": torch.where(inside, ids.view(num_documents, longest), -1)
        for side, ids in (("input", inputs), ("output", outputs))
    }
    kept = inside.flatten()
    index = torch.arange(num_documents).repeat_interleave(longest)[kept]
    return Documents(
        inputs=inputs[kept],
        outputs=outputs[kept],
        index=index,
        cells=torch.unique(inputs[kept] * num_documents + index, return_inverse=True)[1],
        probe=Probe(torch.zeros(num_documents, longest), labels=labels),
    )


def made_up_trajectory(course: Course, *, num_documents: int, shared: float, seed: int) -> Trajectory:
    """Draw documents and activations, and read every point by the metric that a tracker reads with.

    Args:
        course: What is true.
        num_documents: Number of documents, G.
        shared: Share of the variance of all parts of the noise that is the same at all points; the rest is drawn anew.
        seed: Seed of documents and noise; the scene stays the same.

    Returns:
        What a tracker would have written of a model with one layer. The configuration of the run says what is true.
    """
    scene = course.scene
    documents = made_up_documents(scene, num_documents, seed)
    generator = stream(RUN, scene.seed, seed, 1)
    same = _noise(scene, documents, generator)
    plane = InformationPlane(
        documents.probe, {"L00": scene.width}, options=SoftOptions(seed=scene.seed), readings=("debiased", "plugin")
    )
    points = []
    for index, (step, strengths) in enumerate(zip(STEPS, course.strengths, strict=True)):
        fresh = _noise(scene, documents, generator)
        parts = [math.sqrt(shared) * a + math.sqrt(1 - shared) * b for a, b in zip(same, fresh, strict=True)]
        of_document, of_cell = scene.share_of_document(index), scene.cell_effect
        of_row = math.sqrt(1 - of_document**2 - of_cell**2)  # the three variances add up to 1
        noise = torch.stack([size * part for size, part in zip((of_row, of_document, of_cell), parts, strict=True)])
        cloud = signal(scene, strengths, documents.inputs, documents.outputs) + noise.sum(0)
        plane.reset()
        plane.update("L00", cloud @ scene.rotation(index), torch.arange(len(cloud)))
        readings = plane.readings()
        values = plane.values_by_key(readings, plane.mean_cosines(), plane.sites)
        influences = plane.influences(readings, plane.sites)
        points.append(Point(step, {key: float(value) for key, value in values.items()}, influences=influences))
    config = {
        **asdict(scene),
        "levels": [list(levels) for levels in course.levels],
        "peak": course.peak,
        "shared": shared,
        "num_documents": num_documents,
        "seed_of_documents": seed,
    }
    return Trajectory({}, {"name": f"scene {scene.seed}, {seed}", "config": config}, points)


def _noise(scene: Scene, documents: Documents, generator: Generator) -> list[Tensor]:
    """Draw what rows, documents and cells have of their own, spread out over the rows, three times (N, D)."""

    def drawn(number: int) -> Tensor:
        return torch.randn(number, scene.width, generator=generator) / math.sqrt(scene.width)

    effects = (documents.index, documents.cells)
    return [drawn(len(documents.index)), *(drawn(int(index.max()) + 1)[index] for index in effects)]
