"""The sequential t-test: its closed forms, and what it promises however often one looks."""

import math

import numpy as np
import pytest
from scipy import integrate, stats

from dropkit.studies.looks import ANYTIME, ONCE
from dropkit.studies.sequential import PRIOR_SD, log_e_value, reach, reach_one_sided
from dropkit.studies.statistics import bounds, mean_with_interval

VALUES = [0.9, 1.4, -0.2, 0.7, 1.1]
STUDIES, MOST = 2000, 30


def _integral(values, mean, side):
    """The same ratio by brute force: over the noncentral t distribution, effect by effect."""
    n = len(values)
    centred = np.asarray(values) - mean
    t = math.sqrt(n) * centred.mean() / centred.std(ddof=1)
    null = stats.t.pdf(t, n - 1)

    def weighed(delta):
        density = stats.nct.pdf(t, n - 1, delta * math.sqrt(n))
        return density / null * stats.norm.pdf(delta, scale=PRIOR_SD) * (2 if side else 1)

    low, high = {0: (-12, 12), 1: (0, 12), -1: (-12, 0)}[side]
    return integrate.quad(weighed, low, high, limit=200)[0]


@pytest.mark.parametrize("side", [0, 1, -1])
def test_e_value_is_the_ratio_it_says(side) -> None:
    """The closed form is the noncentral t's likelihood ratio averaged over the prior."""
    for mean in (0.0, 0.5, 2.0):
        assert math.exp(log_e_value(VALUES, mean, side=side)) == pytest.approx(
            _integral(VALUES, mean, side), rel=1e-6
        )


def test_e_value_knows_no_unit() -> None:
    """A loss in other units is the same evidence."""
    scaled = [1000.0 * value for value in VALUES]
    assert log_e_value(scaled) == pytest.approx(log_e_value(VALUES))


@pytest.mark.parametrize("n", [4, 5, 12, 40])
def test_reach_is_where_the_e_value_meets_its_bar(n) -> None:
    """At the end of an interval the evidence against the mean is 1 / alpha, on one side or two."""
    values = list(np.linspace(-1.0, 2.0, n) ** 2)
    mean, spread = float(np.mean(values)), float(np.std(values, ddof=1))
    at = mean - reach(n, 0.05) * spread
    assert log_e_value(values, at) == pytest.approx(math.log(20))
    at = mean - reach_one_sided(n, 0.05) * spread
    assert log_e_value(values, at, side=1) == pytest.approx(math.log(20))
    assert reach_one_sided(n, 0.05) < reach(n, 0.05)


def test_too_few_values_say_nothing() -> None:
    """Where no mean can be rejected the interval is the whole line."""
    assert [True, True, False] == [math.isinf(reach(n, 0.05)) for n in (1, 3, 4)]
    assert [True, False] == [math.isinf(reach_one_sided(n, 0.05)) for n in (2, 3)]
    found = mean_with_interval([0.1, 0.2], look=ANYTIME)
    assert (-math.inf, math.inf) == (found.low, found.high)


def test_looking_often_costs_width() -> None:
    """A confidence sequence is wider than the interval of one planned look."""
    once, anytime = (mean_with_interval(VALUES, look=look) for look in (ONCE, ANYTIME))
    assert anytime.low < once.low < once.high < anytime.high


def test_no_spread_is_certain_only_with_enough_values() -> None:
    """Pairs that are all alike end in a point, after as many as any rejection takes."""
    assert log_e_value([0.0, 0.0, 0.0]) < 0.0
    assert (0.0, 0.0) == bounds([0.0] * 5, 0.05, ANYTIME)
    assert -math.inf == bounds([0.0] * 2, 0.05, ANYTIME)[0]


def _ever_missed(rng, look, truth=0.3):
    """In how many studies the interval misses the truth at any look."""
    missed = 0
    for values in rng.normal(truth, 1.0, size=(STUDIES, MOST)):
        for n in range(2, MOST + 1):
            seen = values[:n]
            distance = abs(seen.mean() - truth) / seen.std(ddof=1)
            if distance > look.reach(n, 0.05):
                missed += 1
                break
    return missed


def test_interval_holds_at_all_looks_at_once(rng, false_alarm) -> None:
    """Watched after every replicate, it ever misses the truth in at most 5% of studies."""
    missed = _ever_missed(rng, ANYTIME)
    assert stats.binomtest(missed, STUDIES, 0.05, alternative="greater").pvalue > false_alarm


def test_watching_check_can_fail(rng, false_alarm) -> None:
    """The check above rejects Student's interval, which is meant for one look."""
    missed = _ever_missed(rng, ONCE)
    assert stats.binomtest(missed, STUDIES, 0.05, alternative="greater").pvalue < false_alarm
