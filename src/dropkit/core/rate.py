"""A drop rate as the mask sees it: a whole number of 65536ths."""

import math

import numpy as np

from dropkit.errors import RateError

#: Rates are rounded to multiples of ``1 / STEPS``.
STEPS = 65536


#: In place of a threshold, in a compiled graph: that which the site has whenever the graph runs.
FROM_SITE = -1

_known: dict[float, int] = {}  # a model has few rates, and asks for them all the time


def threshold_from_rate(p: object, *, name: str = "p", site: str | None = None) -> int:
    """The halfword below which an element is dropped: ``round(p * 65536)``, ties to even.

    A rate above 0 never becomes 0, and one below 1 never becomes 1.

    Args:
        p: Drop rate in [0, 1]; a share, not a percentage.
        name: What the caller calls this rate, for the error.
        site: Where the rate is used, for the error.

    Raises:
        RateError: `p` is not a number, is outside [0, 1] or is nan.
    """
    if type(p) is float and p in _known:
        return _known[p]
    number = float(p) if isinstance(p, (int, float, np.floating, np.integer)) else math.nan
    if not 0.0 <= number <= 1.0:  # nan fails this too
        where = f" at site {site!r}" if site else ""
        message = f"`{name}` must be a drop rate in [0, 1]; got {p!r}{where}."
        if 2.0 <= number <= 100.0:
            message += f" Did you mean {number / 100:g}?"
        raise RateError(message)
    threshold = round(number * STEPS)
    if 0.0 < number < 1.0:
        threshold = min(max(threshold, 1), STEPS - 1)
    if len(_known) < 1024:
        _known[number] = threshold
    return threshold


def scale_from_threshold(threshold: int) -> float:
    """``1 / (1 - rate)`` for the rate really used, exactly; 1 where everything is dropped."""
    return STEPS / (STEPS - threshold) if threshold < STEPS else 1.0


def effective_rate(p: float) -> float:
    """The rate that `p` is rounded to: a multiple of 1/65536.

    >>> effective_rate(0.1)
    0.100006103515625
    """
    return threshold_from_rate(p) / STEPS
