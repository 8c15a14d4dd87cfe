"""A t-test that may be looked at after every replicate.

For values ``x_1, x_2, ...`` drawn independently from a normal distribution with mean `m` and any
spread, take the likelihood ratio of "the mean is `m`" against "the mean lies `delta` standard
deviations off it", `delta` drawn from ``Normal(0, PRIOR_SD**2)``, and let both sides integrate the
unknown spread over its right Haar measure. With ``y = x - m``, ``S = sum(y)``, ``Q = sum(y**2)``
and ``c = PRIOR_SD**-2`` that is

    E_n = sqrt(c / (n + c)) * (Q / (Q - S**2 / (n + c))) ** (n / 2)

It depends on the values through their ratios only, and is a martingale with mean 1 over those, so
that it ever reaches ``1 / alpha`` in at most a share `alpha` of studies (Ville's inequality): in
whatever way the study decides when to stop. The means that it has not rejected are a confidence
sequence. With half of the prior, on one side, ``E_n`` takes the factor ``2 * T_n(u)`` where ``T_n``
is Student's distribution function with n degrees of freedom and
``u = S * sqrt(n / ((n + c) * (Q - S**2 / (n + c))))``. That form grows with S at a given spread,
so what it rejects at `m` it rejects at every mean beyond `m` too.

E-values of different pairs of arms are martingales over different information; their average is
no e-process. Several arms therefore share alpha (Bonferroni), which asks for nothing.

Assumption: the differences are independent and normal. `bench/calibration.py` looks at others.

Source:
    Wang and Ramdas 2024, "Anytime-valid t-tests and confidence sequences for Gaussian means with
    unknown variance", arXiv:2310.03722v5, section 4 (Gaussian mixture, right Haar). The one-sided
    form follows from the same integral over half of the prior.
"""

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from dropkit.studies.special import student_cdf

#: Spread of the effects that the test is best at, in standard deviations of a paired difference.
#: What dropout does to a validation loss lies at 1 to 3 of them in paired studies.
PRIOR_SD = 2.0

_C = PRIOR_SD**-2
_STEPS = 200  # of a bisection: more than a float64 has bits


def log_e_value(values: Sequence[float], mean: float = 0.0, *, side: int = 0) -> float:
    """Natural logarithm of the evidence in `values` against `mean`.

    Args:
        values: One a replicate, in the order they came.
        mean: The null hypothesis.
        side: 0 against both sides; 1 for "the mean lies above", -1 for "below".

    Returns:
        0 for fewer than two values; plus infinity where all are alike and differ from `mean`,
        and there are enough of them for it.
    """
    n = len(values)
    if n < 2:
        return 0.0
    centred = np.asarray(values, dtype=float) - mean
    total, squares = float(centred.sum()), float(centred @ centred)
    return _log_e(n, total, max(squares - total**2 / n, 0.0), side)


def reach(n: int, alpha: float) -> float:
    """How far the two-sided confidence sequence reaches from the mean of `n` values.

    Args:
        n: Number of values.
        alpha: Share of studies in which it may ever miss the mean, in (0, 1).

    Returns:
        In standard deviations of the values (with n - 1); infinity where `n` is too small for any
        mean to be rejected at `alpha`.
    """
    if n < 2:
        return math.inf
    k = (math.sqrt((n + _C) / _C) / alpha) ** (2.0 / n)
    room = 1.0 - k * _C / (n + _C)
    return math.sqrt((n - 1) * (k - 1.0) / (n * room)) if room > 0.0 else math.inf


@lru_cache(maxsize=4096)
def reach_one_sided(n: int, alpha: float) -> float:
    """Likewise for a bound on one side, which is missed in at most a share `alpha` of studies."""
    if n < 2:
        return math.inf

    def is_rejected(distance: float) -> bool:
        return _log_e(n, n * distance, n - 1.0, 1) >= -math.log(alpha)

    low, high = 0.0, 1.0
    while not is_rejected(high):
        low, high = high, 2.0 * high
        if high > 1e6:
            return math.inf
    for _ in range(_STEPS):
        middle = (low + high) / 2.0
        low, high = (low, middle) if is_rejected(middle) else (middle, high)
        if math.nextafter(low, high) >= high:
            break
    return high


def _log_e(n: int, total: float, spread: float, side: int) -> float:
    """From the sum of `n` values and the sum of squares about their mean."""
    if total == 0.0 and spread == 0.0:
        return 0.0 if side else -0.5 * math.log1p(n / _C)
    by_prior = spread + total**2 * _C / (n * (n + _C))
    ratio = (spread + total**2 / n) / by_prior
    found = -0.5 * math.log1p(n / _C) + n / 2.0 * math.log(ratio)
    if side:
        u = side * total * math.sqrt(n / ((n + _C) * by_prior))
        share = student_cdf(u, n)
        found = found + math.log(2.0 * share) if share > 0.0 else -math.inf
    return found
