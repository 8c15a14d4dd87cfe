"""Intervals for what a mask does to the mean: they hold as often as they say, and can miss."""

import pytest
from scipy import stats

from dropkit.auditing.expectation import Interval, keep_interval


def _miss_chance(n: int, keep: float, rate: float) -> float:
    """How likely the interval misses the chance to be kept: summed over all outcomes, exact."""
    missed = [k for k in range(n + 1) if not keep_interval(k, n, rate).holds(keep)]
    return float(stats.binom(n, keep).pmf(missed).sum())


KEEPS = (0.0, 1e-3, 0.1, 0.5, 0.7, 0.9, 0.999, 1.0)


@pytest.mark.parametrize("n", [1, 2, 7, 200])
@pytest.mark.parametrize("rate", [0.3, 0.01, 1e-9])
def test_misses_no_more_often_than_it_says(n: int, rate: float) -> None:
    """The chance of a miss, summed over every outcome, is at most the false-alarm rate."""
    assert rate >= max(_miss_chance(n, keep, rate) for keep in KEEPS)


def test_misses_check_can_fail() -> None:
    """It is more than a hundredth of it too: the sum would see an interval that is too narrow."""
    assert _miss_chance(200, 0.5, 0.3) > 0.003


@pytest.mark.parametrize(
    ("kept", "n"), [(0, 40), (40, 40), (90, 100), (900, 1000), (50_000, 10**5)]
)
def test_not_much_wider_than_exact(kept: int, n: int, false_alarm: float) -> None:
    """It holds the exact interval of Clopper and Pearson and is at most a quarter wider."""
    ours = keep_interval(kept, n, false_alarm)
    exact = stats.binomtest(kept, n).proportion_ci(1.0 - false_alarm)
    assert ours.low <= exact.low + 1e-8  # 1 - 1e-9 is rounded
    assert exact.high <= ours.high + 1e-8  # 1 - 1e-9 is rounded
    assert ours.high - ours.low <= 1.25 * (exact.high - exact.low)


def test_one_more_observation_narrows() -> None:
    """At one share, more elements never widen the interval."""
    widths = [high - low for low, high in (keep_interval(9 * n, 10 * n) for n in range(1, 50))]
    assert sorted(widths, reverse=True) == widths


def test_slack_is_a_share() -> None:
    """An interval of one point holds what lies within the slack of it."""
    assert Interval(2.0, 2.0).holds(2.001, slack=1e-3)
    assert not Interval(2.0, 2.0).holds(2.003, slack=1e-3)
