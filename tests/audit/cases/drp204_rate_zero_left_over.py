"""Dropout modules at rate 0 beside others that drop."""

from torch import nn

from support_cases import Case
from support_entry import numbers


def mlp(first: float, second: float) -> nn.Sequential:
    """Two sites."""
    return nn.Sequential(
        nn.Linear(16, 32),
        nn.ReLU(),
        nn.Dropout(first),
        nn.Linear(32, 32),
        nn.ReLU(),
        nn.Dropout(second),
        nn.Linear(32, 4),
    )


VECTORS = numbers(8, 16)
BAD = [Case("second", lambda: mlp(0.2, 0.0), VECTORS)]
GOOD = [
    Case("both drop", lambda: mlp(0.2, 0.3), VECTORS),
    Case("none drops", lambda: mlp(0.0, 0.0), VECTORS),
]
