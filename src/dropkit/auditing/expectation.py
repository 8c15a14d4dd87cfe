"""Where the chance to be kept lies, with an interval that says how often it misses."""

import math
from typing import NamedTuple

#: The chance that an interval of this file misses the truth: one healthy site in a billion is
#: called faulty.
FALSE_ALARM = 1e-9


class Interval(NamedTuple):
    """Two ends, both of them in it."""

    low: float
    high: float

    def holds(self, value: float, slack: float = 0.0) -> bool:
        """Whether `value` lies in it, or no further outside than `slack`, a share of `value`."""
        return self.low * (1.0 - slack) <= value <= self.high * (1.0 + slack)


def keep_interval(n_kept: int, n: int, false_alarm: float = FALSE_ALARM) -> Interval:
    """Where the chance to be kept lies, when `n_kept` of `n` independent elements were.

    It holds the chance except with a probability of at most `false_alarm`, whatever the chance and
    `n` are: an end is where the bound ``exp(-n * KL(n_kept / n, q))`` on the tail of the binomial
    law falls to half of that.

    Args:
        n_kept: In 0..n.
        n: At least 1.
        false_alarm: In (0, 1).

    Source:
        Hoeffding 1963, JASA 58, theorem 1 (his bound 2.1; KL is the relative entropy).

    >>> low, high = keep_interval(900, 1000)
    >>> round(low, 3), round(high, 3)
    (0.827, 0.951)
    """
    share, bound = n_kept / n, math.log(2.0 / false_alarm) / n
    low = _boundary(share, 0.0, bound)
    return Interval(low, _boundary(share, 1.0, bound))


def _boundary(share: float, far: float, bound: float) -> float:
    """The point between `share` and `far` where the relative entropy reaches `bound`."""
    near = share
    for _ in range(60):  # halves: to the last bit of what a rate can be
        middle = (near + far) / 2.0
        if _relative_entropy(share, middle) < bound:
            near = middle
        else:
            far = middle
    return far


def _relative_entropy(share: float, chance: float) -> float:
    """Of two Bernoulli laws."""
    total = 0.0
    for a, b in ((share, chance), (1.0 - share, 1.0 - chance)):
        if a > 0.0:
            total += a * math.log(a / b) if b > 0.0 else math.inf
    return total
