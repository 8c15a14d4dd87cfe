"""On models with planted truth the numbers of a trace come out."""

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor, nn

import dropkit

N = 400
BLOCKS = 150
BATCH = torch.ones(1, N)


def _p_value(draws: np.ndarray, variance: float) -> float:
    """How likely as large or small a sum of squared changes of variance ``2 * variance`` is.

    A change is the difference of two sums over 400 independent elements: normal to within what
    150 squares can tell.
    """
    law = stats.chi2(len(draws))
    statistic = float(draws.sum()) / (2.0 * variance)
    return 2 * min(law.cdf(statistic), law.sf(statistic))


def test_linear_model(make_branches, walked, seed: int, false_alarm: float) -> None:
    """A site's variance is the sum of ``(w x)^2 p / (1 - p)``, as the algebra of a sum says."""
    weights = (1.0, 2.0, 0.5)
    moments = walked(make_branches(weights, N), BATCH, BLOCKS, seed)
    for draws, weight in zip(moments.along.T, weights, strict=True):
        assert _p_value(draws, N * weight**2) > false_alarm
    assert 0.0 == moments.across.max()  # sums of whole numbers: sites do nothing together


def test_doubled_weight(make_branches, walked, seed: int, false_alarm: float) -> None:
    """A weight that is doubled behind a site makes its variance four times as large, no other's."""
    moments = walked(make_branches((2.0, 2.0, 0.5), N), BATCH, BLOCKS, seed)
    for draws, weight in zip(moments.along.T, (2.0, 2.0, 0.5), strict=True):
        assert _p_value(draws, N * weight**2) > false_alarm
    assert _p_value(moments.along[:, 0], N * 1.0) < false_alarm


def _equal_p_value(one: np.ndarray, other: np.ndarray) -> float:
    """How likely two sites of equal leverage are as far apart: an F law, exact for normal sums."""
    law = stats.f(len(one), len(other))
    ratio = float(one.sum() / other.sum())
    return 2 * min(law.cdf(ratio), law.sf(ratio))


def test_equal_sites(make_branches, walked, seed: int, false_alarm: float) -> None:
    """Two equal sites differ by no more than chance allows once in 10^9."""
    along = walked(make_branches((1.0, 1.0), N), BATCH, BLOCKS, seed).along
    assert _equal_p_value(along[:, 0], along[:, 1]) > false_alarm


def test_equal_sites_check_can_fail(make_branches, walked, seed: int, false_alarm: float) -> None:
    """It tells apart a site whose weight is 2.2 times the other's."""
    along = walked(make_branches((1.0, 2.2), N), BATCH, BLOCKS, seed).along
    assert _equal_p_value(along[:, 0], along[:, 1]) < false_alarm


class _Dead(nn.Module):
    """A site that feeds nothing, and one that does."""

    def __init__(self) -> None:
        super().__init__()
        self.lost, self.used = nn.Dropout(0.5), nn.Dropout(0.5)

    def forward(self, x: Tensor) -> Tensor:
        """Draw both masks, use one."""
        self.lost(x)
        return self.used(x).sum(1)


def test_site_that_feeds_nothing() -> None:
    """Its total index is 0, and not 0 give or take."""
    found = dropkit.trace(_Dead(), BATCH, lambda y: y, samples=8)
    total = found["lost"].total
    assert total is not None
    assert (0.0, 0.0, 0.0) == (total.value, total.low, total.high)
    assert (
        found["used"].total == dropkit.trace(_Dead(), BATCH, lambda y: y, samples=8)["used"].total
    )
    assert any(one.startswith("No draw of these masks moved") for one in found.not_seen)


def test_linear_model_traced(make_branches, false_alarm: float) -> None:
    """The trace of one number an example is within its interval of the algebra's shares.

    64 examples draw masks of their own: at 21 blocks the shares are known to a few in a hundred.
    """
    model = make_branches((1.0, 2.0, 0.5), 64)
    found = dropkit.trace(model, torch.ones(64, 64), lambda y: y, samples=64)
    shares = [1.0 / 5.25, 4.0 / 5.25, 0.25 / 5.25]
    for row, share in zip(found.sites, shares, strict=True):
        assert row.total is not None
        assert row.first_order is not None
        reach = (row.total.high - row.total.low) / 2.0
        assert share == pytest.approx(
            row.total.value, abs=stats.norm.isf(false_alarm) / 1.96 * reach
        )
        assert row.total.high - row.total.low < 0.1
        assert row.first_order.value == pytest.approx(row.total.value, abs=1e-4)


def test_penalty_of_a_square(make_branches, false_alarm: float) -> None:
    """The expected square lies above the square of the mean by the site's variance."""
    n = 100
    signs = 1.0 - 2.0 * (torch.arange(n) % 2)
    model = make_branches((1.0, 2.0), n)
    found = dropkit.trace(model, signs.expand(256, n), lambda y: (y / n).square(), samples=64)
    for row, weight in zip(found.sites, (1.0, 2.0), strict=True):
        penalty, expected = row.penalty, weight**2 / n
        assert penalty is not None
        reach = (penalty.high - penalty.low) / 2.0
        assert abs(penalty.value - expected) < stats.norm.isf(false_alarm) / 1.96 * reach
        assert 0.0 < penalty.low
        assert reach < 0.25 * expected


def test_variance_ratio_of_batch_norm() -> None:
    """Right behind a dropout at rate p it is ``(1 + p mu^2 / s^2) / (1 - p)`` (Li et al. 2019)."""
    torch.manual_seed(3)
    x = torch.randn(4096, 3) + 2.0
    model = nn.Sequential(nn.Dropout(0.25), nn.BatchNorm1d(3), nn.Linear(3, 1))
    (row,) = dropkit.trace(model, x, lambda y: y.square().mean(), samples=8).sites
    expected = ((1 + 0.25 * x.mean(0) ** 2 / x.var(0)) / 0.75).mean()
    assert float(expected) == pytest.approx(row.variance_ratio, rel=0.1)


def test_signals_of_a_site() -> None:
    """Rate, shape, moments and the share of the gradient's norm are those of the mask itself."""
    model = nn.Sequential(nn.Linear(5, 1000), nn.ReLU(), nn.Dropout(0.3), nn.Linear(1000, 1))
    (row,) = dropkit.trace(model, torch.randn(20, 5), lambda y: y.mean(), samples=4).sites
    assert (20, 1000) == row.shape
    assert 0.3 == pytest.approx(row.measured_rate, abs=0.05)
    assert row.mean_in == pytest.approx(row.mean_out, rel=0.1)
    assert row.variance_in < row.variance_out
    assert 0.7**0.5 == pytest.approx(row.gradient_kept, abs=0.05)
    assert 0.5 == pytest.approx(row.saturation, abs=0.2)
    assert row.bytes_kept == 24
    assert row.bytes_kept_torch > 20 * 1000


def test_address_replays_the_mask() -> None:
    """The address of a row draws the very mask whose rate the row holds."""
    model = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.3))
    found = dropkit.trace(model, torch.ones(50, 4), lambda y: y.mean(), samples=4, seed=5)
    (row,) = found.sites
    replayed = dropkit.functional.dropout(torch.ones(50, 4), 0.3, address=row.address)
    assert row.measured_rate == pytest.approx(float((replayed == 0).float().mean()))
    with dropkit.masks_at(seed=5, step=0, sample=0), dropkit.accelerate(model):
        y = model(torch.ones(50, 4))
    assert torch.equal(y == 0, replayed == 0)


def test_units_that_lean_on_each_other() -> None:
    """Units that are copies are fully correlated."""
    model = nn.Sequential(nn.Linear(3, 8), nn.Dropout(0.5), nn.Linear(8, 2))
    with torch.no_grad():
        model[0].weight.copy_(model[0].weight[:1].expand(8, 3))
    (row,) = dropkit.trace(model, torch.randn(64, 3), lambda y: y.square().mean(), samples=4).sites
    assert 1.0 == pytest.approx(row.correlation, abs=1e-6)


def test_units_that_no_sample_kept() -> None:
    """With one sample these are all that were dropped."""
    model = nn.Sequential(nn.Dropout(0.5), nn.Linear(500, 1))
    (row,) = dropkit.trace(model, torch.ones(1, 500), lambda y: y.mean(), samples=4).sites
    assert row.never_kept == pytest.approx(row.measured_rate)
