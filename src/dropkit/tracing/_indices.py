"""First-order and total indices of the sites from what their walks say, with intervals.

The two half-sums ``(D + D') / 2`` and ``(D - D') / 2`` of a site are uncorrelated, and where many
elements are masked nearly normal, so that their squares are draws of two gamma laws whose means
are ``V (T + S)`` and ``V (T - S)``. The laws have one shape in common, a half for each number that
varies by itself; it is estimated from all sites together, by how far the logarithm of a mean lies
above the mean of the logarithms. From the two gamma intervals come those of T and S, as is usual
for sums and differences of variance components (Graybill and Wang 1980; Zou and Donner 2008).

V is the sum over all sites of the first mean, halved; a ratio of one mean to the sum of independent
others follows an F law, whose second number of degrees is that of the sum (Satterthwaite 1946).
"""

import math
from typing import NamedTuple

import numpy as np

from dropkit.core.estimate import Estimate
from dropkit.errors import MissingExtraError
from dropkit.tracing._walks import Array, Moments

CONFIDENCE = 0.95

#: Shapes that the law may have: below, single runs rule; above, nothing is left to chance.
_SHAPES = (0.05, 1e4)


class Indices(NamedTuple):
    """Of one site, as shares of the variance.

    Attributes:
        first_order: What the site does by itself.
        total: What would be left if all other masks were known: with what it does together with
            others.
    """

    first_order: Estimate
    total: Estimate


def indices(moments: Moments) -> list[Indices]:
    """The indices of each site; all are 0 where the answer never varies."""
    n_blocks, n_sites = moments.along.shape
    along, across = moments.along.mean(0), moments.across.mean(0)
    whole = float(along.sum())
    if not whole > 0.0:
        return [Indices(Estimate(0.0, 0.0, 0.0), Estimate(0.0, 0.0, 0.0))] * n_sites
    shape = n_blocks * common_shape(np.concatenate([moments.along.T, moments.across.T]))
    found = []
    for site in range(n_sites):
        others = np.delete(along, site)
        one = _share_of_sum(float(along[site]), others, shape)
        part = float(across[site]) / whole
        low, high = f_interval(shape, _shape_of_sum(along, shape))
        found.append(_from_two(one, Estimate(part, part * low, part * high)))
    return found


def _share_of_sum(one: float, others: Array, shape: float) -> Estimate:
    """``one / (one + sum of others)``."""
    rest = float(others.sum())
    if not rest > 0.0:
        return Estimate(1.0, 1.0, 1.0)
    low, high = f_interval(shape, _shape_of_sum(others, shape))
    shares = [one * factor / (one * factor + rest) for factor in (1.0, low, high)]
    return Estimate(*shares)


def _shape_of_sum(means: Array, shape: float) -> float:
    """The shape of a sum of gamma draws of one shape and these means."""
    return shape * float(means.sum()) ** 2 / float(np.sum(means**2))


def _from_two(along: Estimate, across: Estimate) -> Indices:
    """From ``T + S`` and ``T - S``."""
    down, up = along.value - along.low, along.high - along.value
    down_across, up_across = across.value - across.low, across.high - across.value
    total, first = along.value + across.value, along.value - across.value
    return Indices(
        _share(first, first - math.hypot(down, up_across), first + math.hypot(up, down_across)),
        _share(total, total - math.hypot(down, down_across), total + math.hypot(up, up_across)),
    )


def _share(*ends: float) -> Estimate:
    """Nothing is less than none of the variance, or more than all of it."""
    return Estimate(*(min(max(end, 0.0), 1.0) for end in ends))


def f_interval(shape: float, below: float, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """By what to multiply a ratio of two means of gamma draws to get the ends for their laws'.

    Args:
        shape: Of the sum of the draws above the line.
        below: Of that below.
        confidence: Share of intervals that hold the ratio, in (0, 1).
    """
    quantile, _, _ = _special()
    tail = (1.0 - confidence) / 2.0
    low, high = (quantile(2.0 * shape, 2.0 * below, p) for p in (1.0 - tail, tail))
    return 1.0 / float(low), 1.0 / float(high)


def gamma_reach(shape: float, confidence: float = CONFIDENCE) -> float:
    """How many deviations, measured by gamma draws of this whole shape, an interval reaches."""
    _, _, student = _special()
    return float(student(2.0 * shape, (1.0 + confidence) / 2.0))


def common_shape(draws: Array) -> float:
    """The shape that gamma laws of different means have in common.

    Solves ``psi(n a) - log(n) - psi(a) = mean over rows of log(mean) - mean(log)``, in which both
    sides have the same expectation whatever the means are.

    Args:
        draws: ``(laws, n)``, non-negative; rows with a 0 in them say nothing and are left out.

    Returns:
        In [0.05, 10000]; a half, the shape of one squared normal number, where nothing is known.
    """
    _, psi, _ = _special()
    n = draws.shape[1]
    known = draws[(draws > 0.0).all(1)]
    # a square that is nothing but rounding belongs to no law
    known = known[known.mean(1) > 1e-20 * max(float(draws.max(initial=0.0)), 1e-300)]
    if n < 2 or not len(known):
        return 0.5
    gap = float(np.mean(np.log(known.mean(1)) - np.log(known).mean(1)))
    low, high = map(math.log, _SHAPES)
    for _ in range(60):
        middle = (low + high) / 2.0
        a = math.exp(middle)
        if psi(n * a) - math.log(n) - psi(a) > gap:
            low = middle
        else:
            high = middle
    return math.exp((low + high) / 2.0)


def _special() -> tuple[np.ufunc, np.ufunc, np.ufunc]:
    try:
        from scipy.special import fdtri, psi, stdtrit  # noqa: PLC0415 - scipy belongs to an extra
    except ImportError as error:
        message = "intervals need scipy: pip install 'dropkit[study]'."
        raise MissingExtraError(message) from error
    return fdtri, psi, stdtrit
