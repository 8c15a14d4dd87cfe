"""Means, paired differences and how far they can be trusted."""

import math
from collections.abc import Sequence

import numpy as np

from dropkit.core.estimate import Estimate
from dropkit.errors import MissingExtraError, OptionError


def student_quantile(probability: float, degrees: int) -> float:
    """Quantile of Student's t distribution."""
    try:
        from scipy.special import stdtrit  # noqa: PLC0415 - scipy belongs to an extra
    except ImportError as error:
        message = "statistics need scipy: pip install 'dropkit[study]'."
        raise MissingExtraError(message) from error
    return float(stdtrit(degrees, probability))


def mean_with_interval(
    values: Sequence[float], *, confidence: float = 0.95, resample_ratio: float = 0.0
) -> Estimate:
    """The mean of paired differences with a Student interval.

    Replicates that re-split one data set are independent draws of what happens on that data set,
    and the plain interval speaks for it. They share examples, though, so that their spread is
    too small to speak for the next data set of the same kind. For that the variance of the mean
    is taken as ``s^2 (1 / n + n_validation / n_train)`` in place of ``s^2 / n``.

    Args:
        values: One a replicate; finite.
        confidence: Share of studies whose interval holds the truth, in (0, 1).
        resample_ratio: ``n_validation / n_train`` to speak for other data sets from re-splits of
            one; 0 for the plain interval.

    Returns:
        With fewer than two values the interval is the whole line.

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
    if n == 1:
        return Estimate(mean, -math.inf, math.inf)
    error = float(np.std(values, ddof=1)) * math.sqrt(1.0 / n + resample_ratio)
    reach = student_quantile(0.5 + confidence / 2.0, n - 1) * error
    return Estimate(mean, mean - reach, mean + reach)


def joint_confidence(confidence: float, n_intervals: int) -> float:
    """The confidence each of `n_intervals` must have for all to hold at once (Bonferroni)."""
    return 1.0 - (1.0 - confidence) / max(n_intervals, 1)
