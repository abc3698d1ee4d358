"""Which unit of the plane stays when nothing about the labels changes: the fraction of log K, or the share.

One cloud of 32 dimensions, whose labels tell .44 of its variance, is read under widths D, numbers of anchors K and
common offsets. The first two are choices of the model and of the measurement, and the third is the cone in which the
activations of language models lie; none of them changes what a row says of its label.

    python experiments/studies/units.py            # two to three minutes on one core
    python experiments/studies/units.py --quick    # seconds, to see that it runs

Letters: N rows, D width, K anchors, M labels.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
import typer
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from ibtrack.information import assign, draw_anchors, temperature
from ibtrack.information.document_design import DocumentDesign
from ibtrack.information.label_design import LabelDesign
from ibtrack.information.readings import site_readings

DIMENSIONS = 32
EXPLAINED = 0.44  # share of the cloud's variance that its labels tell: what a regression on the labels calls R²
WIDTHS = (32, 64, 128, 256, 512, 1024)
NUMBERS_OF_ANCHORS = (20, 50, 100, 200, 500, 1000)
OFFSETS = (0.0, 3.0, 6.0, 12.0, 32.0)  # lengths, beside √32 of a row: mean cosines 0, .22, .53, .82 and .97
SOFTER = (1.0, 2.0, 4.0, 8.0)  # factors on the temperature: what is left of the share's movement is not the kernel's
NOISES = (0.0, 0.5, 1.0, 2.0, 4.0)  # spreads along 32 further axes, beside 1 along those of the cloud
ANCHORS_IN_ALL = 800  # of few anchors more sets are drawn, as a set of 20 directions is a matter of luck
FEWEST_DRAWS = 4
FIRST_SEED = 1000  # of the anchors; another one than the cloud's, whose labels would lie on the anchors else


@dataclass(frozen=True)
class Cloud:
    """Rows with labels, each row a document of its own.

    Attributes:
        rows: (N, 32) float32.
        labels: (N,) integers in [0, M), each as often as any other.
        direction: (32,) unit vector along which offsets go.
    """

    rows: Tensor
    labels: Tensor
    direction: Tensor

    @property
    def explained(self) -> float:
        """Share of the variance of the rows that their labels tell, R²."""
        centred = self.rows - self.rows.mean(0)
        within = centred - _means(centred, self.labels)[self.labels]
        return float(1 - within.square().sum() / centred.square().sum())

    def placed(self, width: int, offset: float = 0.0, noise: float = 0.0) -> Tensor:
        """Put the rows into a space of D dimensions.

        Args:
            width: D, at least 32, and at least 64 with noise.
            offset: Length of what is added to every row.
            noise: Spread along each of 32 further axes, of which labels tell nothing.

        Returns:
            (N, D) float32.
        """
        rows = torch.zeros(len(self.rows), width)
        rows[:, :DIMENSIONS] = self.rows + offset * self.direction
        if noise:
            generator = torch.Generator().manual_seed(2)
            rows[:, DIMENSIONS : 2 * DIMENSIONS] = noise * torch.randn(self.rows.shape, generator=generator)
        return rows


@dataclass(frozen=True, kw_only=True)
class Cell:
    """What is read of the cloud in one place.

    Attributes:
        width: D.
        num_anchors: K.
        offset: Length of the common offset.
        noise: Spread along the axes that labels do not see.
        softer: Factor on the temperature.
        fraction: Debiased information of the labels, fraction of log K.
        fraction_se: Its standard error over rows.
        share: The same as a share of the ceiling; both are means over draws of the anchors, and then divided.
        share_se: Its standard error over rows.
        anchor_se: Standard error of the share over draws of the anchors.
        ceiling: I(Z;J), fraction of log K.
    """

    width: int
    num_anchors: int
    offset: float
    noise: float
    softer: float
    fraction: float
    fraction_se: float
    share: float
    share_se: float
    anchor_se: float
    ceiling: float


def make_cloud(num_rows: int = 6000, num_labels: int = 60, *, seed: int = 1) -> Cloud:
    """Draw Gaussian labels' means, and Gaussian rows around them.

    Args:
        num_rows: N, a multiple of the number of labels.
        num_labels: M.
        seed: Seed of all that is drawn.

    Example:
        >>> abs(make_cloud().explained - EXPLAINED) < 0.02
        True
    """
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(num_rows) % num_labels
    means, direction = (torch.randn(n, DIMENSIONS, generator=generator) for n in (num_labels, 1))
    noise = torch.randn(num_rows, DIMENSIONS, generator=generator)
    rows = math.sqrt(EXPLAINED) * means[labels] + math.sqrt(1 - EXPLAINED) * noise
    return Cloud(rows, labels, torch.nn.functional.normalize(direction, dim=1)[0])


def read(
    cloud: Cloud,
    *,
    width: int = 128,
    num_anchors: int = 100,
    offset: float = 0.0,
    noise: float = 0.0,
    softer: float = 1.0,
) -> Cell:
    """Read the cloud in one place by the function whose numbers the monitor logs.

    Args:
        cloud: The cloud.
        width: D.
        num_anchors: K.
        offset: Length of the common offset.
        noise: Spread along the axes that labels do not see.
        softer: Factor on the temperature of the rule.
    """
    rows = cloud.placed(width, offset, noise)
    documents = DocumentDesign.from_index(torch.arange(len(rows)))
    designs = {"label": LabelDesign.from_labels(cloud.labels, documents)}
    scale, log_k = softer * temperature(width, num_anchors), math.log(num_anchors)
    seeds = range(FIRST_SEED, FIRST_SEED + max(FEWEST_DRAWS, ANCHORS_IN_ALL // num_anchors))
    drawn = [assign(rows, draw_anchors(width, num_anchors, seed=seed), scale) for seed in seeds]
    readings = site_readings(drawn, designs, documents, readings=("debiased",))
    by_draw = readings.debiased["label"].value / readings.ceiling.value
    mean = readings.map_tensors(lambda part: part.mean(0, keepdim=True))
    fraction = mean.debiased["label"].scaled(1 / log_k)
    share = mean.debiased["label"].ratio(mean.ceiling)
    return Cell(
        width=width,
        num_anchors=num_anchors,
        offset=offset,
        noise=noise,
        softer=softer,
        fraction=float(fraction.value),
        fraction_se=float(fraction.standard_error),
        share=float(share.value),
        share_se=float(share.standard_error),
        anchor_se=float(by_draw.std()) / math.sqrt(len(by_draw)),
        ceiling=float(mean.ceiling.value) / log_k,
    )


def mean_cosine(rows: Tensor) -> float:
    """Return the mean cosine between two different rows (N, D)."""
    number = len(rows)
    resultant = torch.nn.functional.normalize(rows.double(), dim=1).sum(0).square().sum()
    return float((resultant - number) / (number * (number - 1)))


def decoded(cloud: Cloud) -> float:
    """Return how often the label whose mean is nearest, by the other half of the rows, is the row's own."""
    half = len(cloud.rows) // 2
    means = _means(cloud.rows[:half], cloud.labels[:half])
    nearest = torch.cdist(cloud.rows[half:], means).argmin(1)
    return float((nearest == cloud.labels[half:]).double().mean())


def range_of(cells: Sequence[Cell], unit: Callable[[Cell], float]) -> str:
    """Say from where to where a unit goes over some cells, and how far that is.

    Args:
        cells: At least one cell.
        unit: The number of a cell.
    """
    values = [unit(cell) for cell in cells]
    return f"{min(values):.3f} to {max(values):.3f}, range {max(values) - min(values):.3f}"


def _means(rows: Tensor, labels: Tensor) -> Tensor:
    number = int(labels.max()) + 1
    sums = torch.zeros(number, rows.shape[1], dtype=rows.dtype).index_add_(0, labels, rows)
    return sums / torch.bincount(labels, minlength=number).unsqueeze(1)


def _factorial(
    cloud: Cloud, widths: Sequence[int], numbers_of_anchors: Sequence[int], offsets: Sequence[float]
) -> list[Cell]:
    """Read every place, and print it once it is read."""
    every: list[Cell] = []
    for num_anchors in numbers_of_anchors:
        for width in widths:
            cells = [read(cloud, width=width, num_anchors=num_anchors, offset=offset) for offset in offsets]
            texts = (f"{cell.fraction:.3f} {cell.share:.3f} ±{_error(cell):.3f}" for cell in cells)
            print(f"{num_anchors:5}{width:6}  " + "  ".join(texts), flush=True)
            every += cells
    return every


def _error(cell: Cell) -> float:
    return math.hypot(cell.share_se, cell.anchor_se)


def main(
    quick: Annotated[bool, typer.Option("--quick", help="A few places and rows, to see that it runs.")] = False,
) -> None:
    """Print the fraction of log K and the share of the ceiling in every place, and how far each goes."""
    cloud = make_cloud(1200, 30) if quick else make_cloud()
    widths = (32, 128) if quick else WIDTHS
    numbers = (20, 100) if quick else NUMBERS_OF_ANCHORS
    offsets = OFFSETS[::4] if quick else OFFSETS
    cosines = [mean_cosine(cloud.placed(DIMENSIONS, offset)) for offset in offsets]
    print(f"{len(cloud.rows)} rows; labels tell {cloud.explained:.3f} of the variance; torch {torch.__version__}\n")
    print("fraction of log K, share of the ceiling ± one standard error (rows and anchors), by mean cosine\n")
    print("    K     D  " + "  ".join(f"{cosine:^19.2f}" for cosine in cosines))
    cells = _factorial(cloud, widths, numbers, offsets)

    print("\n                                        fraction of log K             share of the ceiling")
    narrow = [cell for cell in cells if cell.width <= 512]
    groups = {
        "D 32 to 512, no offset, K 100": [c for c in narrow if c.offset == 0 and c.num_anchors == 100],
        "all K, no offset, D 128": [c for c in cells if c.offset == 0 and c.width == 128],
        "all offsets, D 128, K 100": [c for c in cells if c.width == 128 and c.num_anchors == 100],
        "D 32 to 512, all K, no offset": [c for c in narrow if c.offset == 0],
        "D 32 to 512, all K, all offsets": narrow,
        "all": cells,
    }
    for name, group in groups.items():
        fraction, share = range_of(group, lambda cell: cell.fraction), range_of(group, lambda cell: cell.share)
        print(f"{name:38}  {fraction:28}  {share}")
    print(f"largest standard error of a share: {max(map(_error, cells)):.3f}")

    print("\nwhy the share moves: the sharper an assignment, the lower; D 128, K 100, no offset")
    print("\ntemperature  ceiling, of log K  share")
    for softer in SOFTER[:: 3 if quick else 1]:
        cell = read(cloud, softer=softer)
        print(f"{softer:10.0f}x  {cell.ceiling:17.3f}  {cell.share:.3f} ±{_error(cell):.3f}")

    print(
        f"\nwhat neither unit can say: D 128, K 100; {100 * decoded(cloud):.1f} % of the labels are told by the nearest"
    )
    print("mean along the axes of the cloud, whatever lies along 32 others\n\nnoise there  fraction of log K  share")
    for noise in NOISES[:: 2 if quick else 1]:
        cell = read(cloud, noise=noise)
        print(f"{noise:11.1f}  {cell.fraction:17.3f}  {cell.share:.3f} ±{_error(cell):.3f}")


if __name__ == "__main__":
    typer.run(main)
