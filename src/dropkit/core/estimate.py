"""A measured number that says how sure it is."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Estimate:
    """A number with an interval.

    Attributes:
        value: The best guess.
        low: Lower end; minus infinity where nothing is known.
        high: Upper end.
    """

    value: float
    low: float
    high: float
