"""Means, paired differences and how far they can be trusted."""

import math
from collections.abc import Sequence

import numpy as np

from dropkit.core.estimate import Estimate
from dropkit.errors import OptionError
from dropkit.studies.looks import ONCE, Look


def mean_with_interval(
    values: Sequence[float],
    *,
    confidence: float = 0.95,
    resample_ratio: float = 0.0,
    look: Look = ONCE,
) -> Estimate:
    """The mean of paired differences with an interval.

    Replicates that re-split one data set are independent draws of what happens on that data set,
    and the plain interval speaks for it. They share examples, though, so that their spread is
    too small to speak for the next data set of the same kind. For that the variance of the mean
    is taken as ``s^2 (1 / n + n_validation / n_train)`` in place of ``s^2 / n``.

    Args:
        values: One a replicate; finite.
        confidence: Share of studies whose interval holds the truth, in (0, 1).
        resample_ratio: ``n_validation / n_train`` to speak for other data sets from re-splits of
            one; 0 for the plain interval.
        look: Whether this is the one look at a planned number of values (Student's interval), or
            one of many (a confidence sequence).

    Returns:
        Where there are too few values to say anything, the interval is the whole line.

    Raises:
        OptionError: `confidence` or `resample_ratio` is outside its range, or `values` is empty.
        MissingExtraError: scipy is not installed.

    Source:
        Nadeau and Bengio 2003, Machine Learning 52, "Inference for the generalization error",
        section 4.1 (corrected resampled t-test).
    """
    if not 0.0 < confidence < 1.0:
        raise OptionError(f"`confidence` must be in (0, 1); got {confidence!r}.")
    if not resample_ratio >= 0.0:
        raise OptionError(f"`resample_ratio` must be >= 0; got {resample_ratio!r}.")
    n = len(values)
    if n == 0:
        raise OptionError("`values` must hold at least one number; got none.")
    mean = float(np.mean(values))
    reach = look.reach(n, 1.0 - confidence)
    if math.isinf(reach):
        return Estimate(mean, -math.inf, math.inf)
    reach *= float(np.std(values, ddof=1)) * math.sqrt(1.0 + n * resample_ratio)
    return Estimate(mean, mean - reach, mean + reach)


def bounds(values: Sequence[float], alpha: float, look: Look) -> tuple[float, float]:
    """A lower and an upper bound of the mean, each of which errs in at most a share `alpha`.

    They do not hold at once with that share: each answers a question of its own, as the two
    one-sided tests of an equivalence do.

    Args:
        values: Paired differences, at least one.
        alpha: In (0, 1).
        look: The one look, or one of many.

    Source:
        Schuirmann 1987, J. Pharmacokinetics and Biopharmaceutics 15 (two one-sided tests).
    """
    mean, reach = float(np.mean(values)), look.reach_one_sided(len(values), alpha)
    if math.isinf(reach):
        return -math.inf, math.inf
    reach *= float(np.std(values, ddof=1))
    return mean - reach, mean + reach


def joint_confidence(confidence: float, n_intervals: int) -> float:
    """The confidence each of `n_intervals` must have for all to hold at once (Bonferroni)."""
    return 1.0 - (1.0 - confidence) / max(n_intervals, 1)
