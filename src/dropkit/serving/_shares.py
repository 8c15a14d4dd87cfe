"""Shares and medians with intervals that hold for any number of examples."""

import math
from collections.abc import Callable, Sequence

from dropkit.core.estimate import Estimate

_CONFIDENCE = 0.95


def share_of(k: int, n: int) -> Estimate:
    """`k` of `n` with the exact 95% interval.

    Source:
        Clopper and Pearson 1934, Biometrika 26.
    """
    tail = (1.0 - _CONFIDENCE) / 2
    low = 0.0 if k == 0 else _root(lambda p: 1.0 - _at_most(k - 1, n, p) - tail)
    high = 1.0 if k == n else _root(lambda p: tail - _at_most(k, n, p))
    return Estimate(k / n, low, high)


def median_of(values: Sequence[float]) -> Estimate:
    """The median, with an interval of two of the values that holds it in at least 95%.

    Below 6 values there is none.

    Source:
        The sign test's: David and Nagaraja 2003, Order Statistics, section 7.1.
    """
    ordered, n = sorted(values), len(values)
    middle = (ordered[(n - 1) // 2] + ordered[n // 2]) / 2
    place = -1  # so many values may lie outside on each side
    while _at_most(place + 1, n, 0.5) <= (1.0 - _CONFIDENCE) / 2:
        place += 1
    if place < 0:
        return Estimate(middle, -math.inf, math.inf)
    return Estimate(middle, ordered[place], ordered[n - 1 - place])


def _at_most(k: int, n: int, p: float) -> float:
    """Chance of at most `k` of `n` at chance `p` each."""
    if k < 0 or p >= 1.0:
        return float(k >= n)
    if p <= 0.0:
        return 1.0
    logs = (
        math.lgamma(n + 1)
        - math.lgamma(i + 1)
        - math.lgamma(n - i + 1)
        + i * math.log(p)
        + (n - i) * math.log1p(-p)
        for i in range(min(k, n) + 1)
    )
    return min(math.fsum(map(math.exp, logs)), 1.0)


def _root(rises: Callable[[float], float]) -> float:
    """Where a function that rises over [0, 1] is 0."""
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if rises(middle) > 0.0 else (middle, high)
    return (low + high) / 2
