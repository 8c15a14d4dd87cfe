"""A mask with a scale that is not that of its rate."""

import torch
from torch import Tensor, nn

from support_cases import Case
from support_entry import numbers


class Scaled(nn.Module):
    """A mask made by hand at one rate, and scaled for another."""

    def __init__(self, p: float, divisor: float) -> None:
        super().__init__()
        self.p, self.divisor = p, divisor

    def forward(self, x: Tensor) -> Tensor:
        """The same shape."""
        if not self.training:
            return x
        return x * (torch.rand_like(x) > self.p) / self.divisor


class ByShare(nn.Module):
    """A mask scaled by the share that it happened to keep."""

    def forward(self, x: Tensor) -> Tensor:
        """The same shape."""
        if not self.training:
            return x
        mask = (torch.rand_like(x) > 0.3).to(x.dtype)
        return x * mask * (mask.numel() / mask.sum())


class Normal(nn.Module):
    """Noise that multiplies, of mean one."""

    def forward(self, x: Tensor) -> Tensor:
        """The same shape."""
        return x * (1 + 0.3 * torch.randn_like(x)) if self.training else x


def net(*layers: nn.Module) -> nn.Sequential:
    """A perceptron with the given layers inside."""
    return nn.Sequential(nn.Linear(16, 64), nn.GELU(), *layers, nn.Linear(64, 4))


VECTORS = numbers(64, 16)
BAD = [
    Case("divided by the drop rate", lambda: net(Scaled(0.2, 0.2)), VECTORS),
    Case("of another rate", lambda: net(Scaled(0.5, 0.9)), VECTORS),
]
GOOD = [
    Case("of its rate", lambda: net(Scaled(0.2, 0.8)), VECTORS),
    Case("a share of a half", lambda: net(Scaled(0.5, 0.5)), VECTORS),
    Case("by the share kept", lambda: net(ByShare()), VECTORS),
    Case("too few to tell", lambda: net(Scaled(0.2, 0.7)), VECTORS[:1]),
    Case("noise of mean one", lambda: net(Normal()), VECTORS),
]
