"""A part of the model that does not follow ``eval()``."""

from typing import Self

from torch import Tensor, nn

from support_cases import Case
from support_entry import numbers


def mlp() -> nn.Sequential:
    """Two sites."""
    return nn.Sequential(
        nn.Linear(16, 32), nn.ReLU(), nn.Dropout(0.2), nn.Linear(32, 8), nn.GELU(), nn.Dropout(0.1)
    )


class Deaf(nn.Module):
    """Keeps its body in training mode, or freezes its batch norm, whatever it is told."""

    def __init__(self, *, is_body: bool) -> None:
        super().__init__()
        self.norm, self.body, self.head = nn.BatchNorm1d(16), mlp(), nn.Linear(8, 4)
        self.is_body = is_body

    def train(self, mode: bool = True) -> Self:
        """Set the mode, and change it again for a part."""
        super().train(mode)
        if self.is_body:
            self.body.train()
        else:
            self.norm.eval()
        return self

    def forward(self, x: Tensor) -> Tensor:
        """``(batch, 16)`` to ``(batch, 4)``."""
        return self.head(self.body(self.norm(x)))


class TrainsInForward(nn.Module):
    """Switches the mode on by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = mlp(), nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        """``(batch, 16)`` to ``(batch, 4)``."""
        self.body.train()
        return self.head(self.body(x))


VECTORS = numbers(8, 16)
BAD = [
    Case("train is overridden", lambda: Deaf(is_body=True), VECTORS),
    Case("mode set in forward", TrainsInForward, VECTORS),
]
GOOD = [Case("batch norm is frozen", lambda: Deaf(is_body=False), VECTORS)]
