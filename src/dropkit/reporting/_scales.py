"""From numbers to places on a picture."""

import math
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Scale:
    """A straight line from data to places; finite for every number that is.

    Attributes:
        low: Data value at `start`.
        high: Data value at `end`, above `low`.
        start: Place of `low`, in the picture's unit.
        end: Place of `high`.
    """

    low: float
    high: float
    start: float
    end: float

    def place(self, value: float) -> float:
        """Where `value` lies, rounded to a hundredth; values outside go to the nearer end."""
        inside = min(max(value, self.low), self.high)
        share = (inside - self.low) / (self.high - self.low)
        return round(self.start + share * (self.end - self.start), 2)


@dataclass(frozen=True)
class Tick:
    """A mark on an axis.

    Attributes:
        at: Its place, in the picture's unit.
        text: Its number.
    """

    at: float
    text: str


def span_of(values: Iterable[float]) -> tuple[float, float] | None:
    """Lowest and highest of the finite `values`, made apart where they are one; None for none."""
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return None
    low, high = min(finite), max(finite)
    if high - low <= 1e-12 * max(abs(low), abs(high)):
        reach = abs(low) * 0.1 or 0.1
        return low - reach, high + reach
    return low, high


def round_values(low: float, high: float, n_wanted: int = 5) -> list[float]:
    """About `n_wanted` round numbers in ``low..high``, equally spaced by 1, 2 or 5 tens."""
    span = high - low
    power = 10.0 ** math.floor(math.log10(span / n_wanted))
    step = min((power * lead for lead in (1, 2, 5, 10)), key=lambda at: abs(span / at - n_wanted))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [index * step for index in range(first, last + 1)]


def decimals_between(values: list[float]) -> int:
    """Decimals that tell neighbours in `values` apart; 0 to 8."""
    if len(values) < 2:
        return 3
    return min(max(-math.floor(math.log10(values[1] - values[0]) + 1e-9), 0), 8)
