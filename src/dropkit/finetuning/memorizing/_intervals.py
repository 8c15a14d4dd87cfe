"""Shares, means and chances with their intervals."""

import math
from collections.abc import Callable, Sequence

import numpy as np

from dropkit.core.estimate import Estimate
from dropkit.finetuning.memorizing._scipy import stats


def share(n_hits: int, n: int, confidence: float) -> Estimate:
    """The share of hits, with its exact binomial interval.

    Args:
        n_hits: In 0..n.
        n: At least 1.
        confidence: In (0, 1).

    Source:
        Clopper and Pearson 1934, Biometrika 26; scipy.
    """
    interval = stats().binomtest(n_hits, n).proportion_ci(confidence, method="exact")
    return Estimate(n_hits / n, float(interval.low), float(interval.high))


def difference(more: Sequence[float], less: Sequence[float], confidence: float) -> Estimate:
    """Mean of `more` minus mean of `less`, two independent samples of any two variances.

    Where one of them holds a single value the interval is the whole line.

    Source:
        Welch 1947, Biometrika 34.
    """
    value = float(np.mean(more) - np.mean(less))
    if min(len(more), len(less)) < 2:
        return Estimate(value, -math.inf, math.inf)
    parts = [float(np.var(x, ddof=1)) / len(x) for x in (more, less)]
    variance = sum(parts)
    if variance == 0.0:
        return Estimate(value, value, value)
    degrees = variance**2 / sum(
        part**2 / (len(x) - 1) for part, x in zip(parts, (more, less), strict=True)
    )
    reach = float(stats().t.ppf(0.5 + confidence / 2, degrees)) * math.sqrt(variance)
    return Estimate(value, value - reach, value + reach)


def auc_interval(auc: float, n_positive: int, n_negative: int, confidence: float) -> Estimate:
    """The area under a ROC curve with an interval that has a width at 0 and 1 too.

    Its ends are the areas that the measured one lies just `z` standard errors from, by the standard
    error that these would have themselves: Newcombe's method 5, which he recommends among eight.

    Args:
        auc: In [0, 1].
        n_positive: Examples, at least 1.
        n_negative: Likewise.
        confidence: In (0, 1).

    Source:
        Newcombe 2006, Statistics in Medicine 25, 559-573; the standard error is that of Hanley and
        McNeil 1982, Radiology 143, with the sizes of both samples replaced by their mean.
    """
    z = float(stats().norm.ppf(0.5 + confidence / 2))
    mean_size = (n_positive + n_negative) / 2

    def is_within(area: float) -> bool:
        spread = 1 + (mean_size - 1) * ((1 - area) / (2 - area) + area / (1 + area))
        variance = area * (1 - area) * spread / (n_positive * n_negative)
        return (area - auc) ** 2 <= z**2 * variance

    return Estimate(auc, _edge(is_within, auc, 0.0), _edge(is_within, auc, 1.0))


def _edge(is_within: Callable[[float], bool], inside: float, outside: float) -> float:
    """The last number on the way out that is within, to 2**-50."""
    for _ in range(50):
        middle = (inside + outside) / 2
        if is_within(middle):
            inside = middle
        else:
            outside = middle
    return inside
