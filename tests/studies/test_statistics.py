"""Means, intervals and what they promise."""

import math
import re

import numpy as np
import pytest
from scipy import stats

from dropkit.core.estimate import Estimate
from dropkit.errors import OptionError
from dropkit.studies.statistics import joint_confidence, mean_with_interval

STUDIES = 2000


def test_interval_is_student_s() -> None:
    """Without re-splitting the interval is the textbook one."""
    values = [0.1, 0.3, -0.2, 0.4, 0.05]
    low, high = stats.t.interval(0.95, 4, np.mean(values), stats.sem(values))
    found = mean_with_interval(values)
    assert (found.value, found.low, found.high) == pytest.approx((0.13, low, high))


def test_resampling_widens_by_nadeau_and_bengio() -> None:
    """The variance of the mean grows from 1/n to 1/n + n_validation/n_train."""
    values = [0.1, 0.3, -0.2, 0.4, 0.05]
    plain, widened = mean_with_interval(values), mean_with_interval(values, resample_ratio=3 / 7)
    assert (widened.high - widened.value) / (plain.high - plain.value) == pytest.approx(
        math.sqrt((1 / 5 + 3 / 7) / (1 / 5))
    )


def test_one_value_says_nothing_of_the_spread() -> None:
    """The interval of a single pair is the whole line."""
    assert mean_with_interval([0.5]) == Estimate(0.5, -math.inf, math.inf)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"values": []}, "`values` must hold at least one number; got none."),
        ({"values": [1.0], "confidence": 1.0}, "`confidence` must be in (0, 1); got 1.0."),
        (
            {"values": [1.0], "resample_ratio": math.nan},
            "`resample_ratio` must be >= 0; got nan.",
        ),
    ],
)
def test_refusals(arguments, message) -> None:
    """What cannot be is refused in one sentence."""
    with pytest.raises(OptionError, match="^" + re.escape(message) + "$"):
        mean_with_interval(**arguments)


@pytest.mark.parametrize("n", [3, 6])
def test_95_percent_intervals_cover(n, rng, false_alarm) -> None:
    """Over simulated studies the interval holds the truth as often as it says."""
    covered = 0
    for pairs in rng.normal(0.3, 1.0, size=(STUDIES, n)):
        found = mean_with_interval(list(pairs))
        covered += found.low <= 0.3 <= found.high
    assert stats.binomtest(covered, STUDIES, 0.95).pvalue > false_alarm


def test_coverage_check_can_fail(rng, false_alarm) -> None:
    """The check above rejects intervals that take the spread as known."""
    covered = 0
    for pairs in rng.normal(0.3, 1.0, size=(STUDIES, 3)):
        covered += abs(np.mean(pairs) - 0.3) <= 1.96 * np.std(pairs, ddof=1) / math.sqrt(3)
    assert stats.binomtest(covered, STUDIES, 0.95).pvalue < false_alarm


def test_joint_confidence_shares_the_error() -> None:
    """Three intervals at once leave each a third of the error."""
    assert joint_confidence(0.95, 3) == pytest.approx(1 - 0.05 / 3)
    assert joint_confidence(0.95, 0) == 0.95
