"""Eval multiplies by the chance to be kept, though training has divided by it."""

import torch
import torch.nn.functional as F  # noqa: N812 - everybody's name for it
from torch import Tensor, nn

from support_cases import Case
from support_entry import numbers


class Layer(nn.Module):
    """Dropout by a function or by hand, and a factor in eval."""

    def __init__(self, p: float, factor: float, *, by_hand: bool = False) -> None:
        super().__init__()
        self.p, self.factor, self.by_hand = p, factor, by_hand

    def forward(self, x: Tensor) -> Tensor:
        """The same shape."""
        if not self.training:
            return x * self.factor
        if self.by_hand:
            return x * (torch.rand_like(x) > self.p) / (1 - self.p)
        return F.dropout(x, self.p)


class Around(nn.Module):
    """A module of dropout, and a factor in eval around it."""

    def __init__(self) -> None:
        super().__init__()
        self.drop = nn.Dropout(0.3)

    def forward(self, x: Tensor) -> Tensor:
        """The same shape."""
        x = self.drop(x)
        return x if self.training else x * (1 - self.drop.p)


def net(*layers: nn.Module) -> nn.Sequential:
    """A perceptron with the given layers inside."""
    return nn.Sequential(nn.Linear(16, 64), nn.GELU(), *layers, nn.Linear(64, 4))


VECTORS = numbers(64, 16)
BAD = [
    Case("a function", lambda: net(Layer(0.4, 0.6)), VECTORS),
    Case("by hand", lambda: net(Layer(0.4, 0.6, by_hand=True)), VECTORS),
    Case("around a module", lambda: net(Around()), VECTORS),
]
GOOD = [
    Case("a factor of its own", lambda: net(Layer(0.4, 0.9)), VECTORS),
    Case("elsewhere", lambda: net(nn.Dropout(0.4), nn.Sequential(Layer(0.0, 0.6))), VECTORS),
]
