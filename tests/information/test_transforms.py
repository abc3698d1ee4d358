import pytest
import torch
from torch import Tensor

from ibtrack.information.transforms import CloudStatistics

HERE = torch.device("cpu")


def _cloud(number: int = 500, width: int = 6, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(width, width, generator=generator)
    return torch.randn(number, width, generator=generator) @ mixing + 5


def _statistics(rule: str, cloud: Tensor, parts: int = 3) -> CloudStatistics:
    statistics = CloudStatistics({"L00": cloud.shape[1]}, rule, HERE)
    for part in cloud.chunk(parts):
        statistics.add("L00", part)
    return statistics


def test_a_centred_cloud_has_its_mean_at_the_origin_and_its_shape_kept() -> None:
    cloud = _cloud()
    centred = _statistics("center", cloud).transforms()["L00"](cloud)
    assert float(centred.mean(0).abs().max()) < 1e-5
    torch.testing.assert_close(centred - centred[0], cloud - cloud[0], rtol=1e-4, atol=1e-4)


def test_a_whitened_cloud_has_unit_covariance() -> None:
    cloud = _cloud()
    white = _statistics("whiten", cloud).transforms()["L00"](cloud).double()
    torch.testing.assert_close(white.T @ white / len(white), torch.eye(6).double(), rtol=0, atol=2e-3)


def test_fewer_rows_than_dimensions_stay_finite() -> None:
    cloud = _cloud(number=4, width=16)
    assert _statistics("whiten", cloud, parts=1).transforms()["L00"](cloud).isfinite().all()


def test_a_row_that_is_not_finite_is_not_hidden() -> None:
    cloud = _cloud()
    cloud[3, 2] = torch.nan
    for rule in ("center", "whiten"):
        assert _statistics(rule, cloud).transforms()["L00"](cloud).isnan().any(1).all()


def test_only_the_named_rows_count() -> None:
    cloud = _cloud()
    statistics = CloudStatistics({"L00": 6}, "center", HERE)
    statistics.add("L00", cloud, torch.arange(100))
    torch.testing.assert_close(statistics.transforms()["L00"].mean, cloud[:100].mean(0))


def test_unknown_rule() -> None:
    with pytest.raises(ValueError, match="transform must be one of 'center', 'whiten', got 'pca'"):
        CloudStatistics({"L00": 6}, "pca", HERE)
