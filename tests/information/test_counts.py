import torch
from torch import Tensor

from ibtrack.information.counts import count, merge, zero_counts


def _rows(number: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(number)
    return torch.randn(number, 6, generator=generator).softmax(-1), torch.randint(0, 4, (number,), generator=generator)


def test_counts_are_sums_over_the_rows_of_each_label() -> None:
    rows, labels = _rows(50)
    counts = count(rows, labels, 5)
    for x in range(5):
        torch.testing.assert_close(counts.sums[x], rows.double()[labels == x].sum(0))
        assert counts.occurrences[x] == (labels == x).sum()
        first, second = counts.half_occurrences[:, x].tolist()
        assert first - second in (0, 1)  # dealt in turn
        torch.testing.assert_close(counts.half_sums[0, x], rows.double()[labels == x][::2].sum(0))
    torch.testing.assert_close(counts.products, rows.double().T @ rows.double())
    torch.testing.assert_close(counts.row_entropy, -(rows.double() * rows.double().log()).sum())


def test_merging_is_counting_both() -> None:
    (rows, labels), (more, others) = _rows(50), _rows(31)
    both = count(torch.cat([rows, more]), torch.cat([labels, others]), 4)
    first = count(rows, labels, 4)
    merged = merge(merge(first, count(more, others, 4, before=first.occurrences)), zero_counts(4, 6))
    for name in ("half_sums", "half_occurrences", "products", "row_entropy"):
        torch.testing.assert_close(getattr(merged, name), getattr(both, name), rtol=1e-14, atol=0)


def test_half_precision_rows_are_summed_in_float64() -> None:
    rows = torch.full((100_000, 2), 0.5, dtype=torch.bfloat16)  # a bfloat16 sum of ones stops at 256
    counts = count(rows, torch.zeros(100_000, dtype=torch.long), 1)
    assert counts.sums.tolist() == [[50_000.0, 50_000.0]]
