"""What a mask keeps is divided by the chance to be kept twice."""

import torch
import torch.nn.functional as F  # noqa: N812 - everybody's name for it
from torch import Tensor, nn

from support_cases import Case
from support_entry import numbers


class Twice(nn.Module):
    """A function that scales, and a division behind it or in front of it."""

    def __init__(self, p: float, place: str) -> None:
        super().__init__()
        self.p, self.place = p, place

    def forward(self, x: Tensor) -> Tensor:
        """The same shape."""
        if not self.training:
            return x
        if self.place == "front":
            x = x / (1 - self.p)
        x = F.dropout(x, self.p)
        return x / (1 - self.p) if self.place == "behind" else x


class ByHand(nn.Module):
    """A mask that is scaled, and so is what it is applied to."""

    def forward(self, x: Tensor) -> Tensor:
        """The same shape."""
        if not self.training:
            return x
        mask = torch.bernoulli(torch.full_like(x, 0.7)) / 0.7
        return x * mask / 0.7


class Branch(nn.Module):
    """Dropout in front of a mask by the row, which is scaled before it is applied."""

    def __init__(self) -> None:
        super().__init__()
        self.drop = nn.Dropout(0.1)

    def forward(self, x: Tensor) -> Tensor:
        """The same shape."""
        y = self.drop(x)
        if self.training:
            y = y.div(0.9) * (torch.rand(len(x), 1) < 0.9)
        return x + y


class Both(nn.Module):
    """A factor that eval has too: 2 is no scale of the rate's."""

    def __init__(self) -> None:
        super().__init__()
        self.drop = nn.Dropout(0.5)

    def forward(self, x: Tensor) -> Tensor:
        """The same shape."""
        return self.drop(x) * 2.0


def net(*layers: nn.Module) -> nn.Sequential:
    """A perceptron with the given layers inside."""
    return nn.Sequential(nn.Linear(16, 64), nn.GELU(), *layers, nn.Linear(64, 4))


VECTORS = numbers(64, 16)
BAD = [
    Case("behind the function", lambda: net(Twice(0.5, "behind")), VECTORS),
    Case("in front of the function", lambda: net(Twice(0.3, "front")), VECTORS),
    Case("by hand", lambda: net(ByHand()), VECTORS),
]
GOOD = [
    Case("once", lambda: net(Twice(0.5, "nowhere")), VECTORS),
    Case("a scale that is another mask's", lambda: net(Branch()), VECTORS),
    Case("a factor of both modes", lambda: net(Both()), VECTORS),
    Case("scaled embeddings", lambda: net(Both(), nn.Linear(64, 64), nn.Dropout(0.5)), VECTORS),
]
