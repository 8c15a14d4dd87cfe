"""Dropout that is still drawn in eval mode."""

import torch
import torch.nn.functional as F  # noqa: N812 - everybody's name for it
from torch import Tensor, nn

from support_cases import Case
from support_entry import numbers


class Net(nn.Module):
    """A perceptron that drops by a function."""

    def __init__(self, *, is_gated: bool) -> None:
        super().__init__()
        self.inner, self.head = nn.Linear(16, 32), nn.Linear(32, 4)
        self.is_gated = is_gated

    def forward(self, x: Tensor) -> Tensor:
        """``(batch, 16)`` to ``(batch, 4)``."""
        x = self.inner(x).relu()
        x = F.dropout(x, 0.3, self.training) if self.is_gated else F.dropout(x, 0.3)
        return self.head(x)


class SimpleNet(nn.Module):
    """Channels lost by a function that is told to train."""

    def __init__(self, *, training: bool | None) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 8, 3), nn.Linear(8, 4)
        self.told = training

    def forward(self, x: Tensor) -> Tensor:
        """``(batch, 3, height, width)`` to ``(batch, 4)``."""
        x = self.conv(x).relu()
        x = F.dropout2d(x, 0.1, training=self.training if self.told is None else self.told)
        return self.head(x.mean((2, 3)))


class WeightDrop(nn.Module):
    """A linear layer whose weight loses entries."""

    def __init__(self, *, is_gated: bool) -> None:
        super().__init__()
        self.raw = nn.Parameter(torch.randn(4, 16) / 4)
        self.is_gated = is_gated

    def forward(self, x: Tensor) -> Tensor:
        """``(batch, 16)`` to ``(batch, 4)``."""
        weight = F.dropout(self.raw, 0.4, self.training or not self.is_gated)
        return F.linear(x, weight)


class FairseqDropout(nn.Module):
    """A gate of its own around a function that is told to train, as fairseq has it."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        """The same shape."""
        return F.dropout(x, p=self.p, training=True) if self.p > 0 and self.training else x


VECTORS = numbers(8, 16)
IMAGES = numbers(4, 3, 8, 8)
BAD = [
    Case("default", lambda: Net(is_gated=False), VECTORS, fault="pytorch#26338"),
    Case("told to train", lambda: SimpleNet(training=True), IMAGES, fault="Coderx7/SimpleNet#2"),
    Case("weight drop", lambda: WeightDrop(is_gated=False), VECTORS),
]
GOOD = [
    Case("gated", lambda: Net(is_gated=True), VECTORS),
    Case("gated channels", lambda: SimpleNet(training=None), IMAGES),
    Case("gated weight drop", lambda: WeightDrop(is_gated=True), VECTORS),
    Case(
        "fairseq",
        lambda: nn.Sequential(nn.Linear(16, 8), FairseqDropout(0.1), nn.Linear(8, 4)),
        VECTORS,
        fault="meant: fairseq",
    ),
]
