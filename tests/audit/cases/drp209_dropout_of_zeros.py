"""Dropout of what is zero anyway."""

import torch
from torch import Tensor, nn

from support_cases import Case
from support_entry import numbers


class Recurrent(nn.Module):
    """A cell that starts from zero; the dropout is on its first state, or on its last."""

    def __init__(self, *, at_start: bool) -> None:
        super().__init__()
        self.cell, self.drop, self.head = nn.GRUCell(16, 8), nn.Dropout(0.1), nn.Linear(8, 4)
        self.at_start = at_start

    def forward(self, x: Tensor) -> Tensor:
        """``(batch, steps, 16)`` to ``(batch, 4)``."""
        h = x.new_zeros(x.shape[0], 8)
        if self.at_start:
            h = self.drop(h)
        for step in x.unbind(1):
            h = self.cell(step, h)
        return self.head(h if self.at_start else self.drop(h))


class Padded(nn.Module):
    """Drops the padding, and not the text."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.drop, self.head = nn.Linear(16, 8), nn.Dropout(0.3), nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        """``(batch, steps, 16)`` to ``(batch, 4)``."""
        x = self.inner(x)
        padding = self.drop(x.new_zeros(x.shape[0], 2, 8))
        return self.head(torch.cat([x, padding], dim=1).mean(1))


def zero_at_start() -> nn.Sequential:
    """A layer that begins at zero, as the last of a residual branch often does."""
    layer = nn.Linear(16, 8)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return nn.Sequential(layer, nn.Dropout(0.1), nn.Linear(8, 4))


SEQUENCES = numbers(4, 6, 16)
BAD = [
    Case("initial state", lambda: Recurrent(at_start=True), SEQUENCES),
    Case("padding", Padded, SEQUENCES),
]
GOOD = [
    Case("last state", lambda: Recurrent(at_start=False), SEQUENCES),
    Case("zero at the start of training", zero_at_start, numbers(8, 16)),
]
